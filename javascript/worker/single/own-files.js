/**
 * The worker's parts in the one-file build: Pyodide's scripts inside its own, the rest in its first message. Stands in the
 * place of `../own-files.js`.
 *
 * Each part was compressed once and is text once: base64 of a gzip stream, which the browser unpacks while the
 * WebAssembly compiler already reads it; of a Zstandard frame, which the worker unpacks; of wheels.
 *
 * @module
 */

import { PACK } from "../distribution.js";
import { PartError, textOf } from "../../shared/parts.js";
import { loader, lock, script } from "./lock.js";

/** @typedef {import("../../shared/single-parts.js").Parts} Parts */

/** @type {(parts: Parts) => void} */
let take;
/** @type {Promise<Parts>} */
const taken = new Promise((resolve) => { take = resolve; });

addEventListener("message", function first(event) {
  if (event.data?.type !== "parts") return;
  event.stopImmediatePropagation();
  removeEventListener("message", first);
  take(event.data.parts);
});

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function bytesOf(text) {
  const native = /** @type {any} */ (Uint8Array).fromBase64;
  if (native) return native.call(Uint8Array, text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** @param {string} wheel @returns {string} an address of this worker's memory */
const addressOf = (wheel) => URL.createObjectURL(new Blob([bytesOf(wheel)], { type: "application/zip" }));

async function lockOf() {
  const { wheels } = await taken;
  const packages = Object.entries(lock.packages).map(([name, entry]) => [name, { ...entry, file_name: addressOf(wheels[entry.file_name]) }]);
  return { ...lock, packages: Object.fromEntries(packages) };
}

async function program() {
  const { program: text } = await taken;
  const unpacked = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return await WebAssembly.compileStreaming(new Response(unpacked, { headers: { "content-type": "application/wasm" } }));
  } catch (error) {
    throw new PartError("pyodide.asm.wasm", "damaged", `it cannot be compiled (${textOf(error)})`);
  }
}

const { origin } = self.location;
/** Of pages without an origin nothing is kept. Nothing is ever fetched from below it. */
const base = `${/^https?:/.test(origin) ? origin : "https://smolmix-web.invalid"}/smolmix-web/${PACK}/`;

/** @type {import("../distribution.js").Distribution} */
export const distribution = {
  base,
  files: [],
  lock: lockOf,
  loader: async () => loader,
  script: async () => script,
  program,
  pack: async () => bytesOf((await taken).pack),
};
