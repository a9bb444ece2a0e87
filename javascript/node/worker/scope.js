/**
 * What a Web Worker's global has and a worker thread's has not: so that worker/worker.js finds the place it knows.
 *
 * `fetch` reads the package's own files, as it would have them from a server; whatever else reaches it comes from one of the
 * guard's doors, and its host is permitted then. What programs have and no page is taken away:
 * Python and what it loads shall use the web's interfaces, which the guard knows.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parentPort } from "node:worker_threads";
import { guardWires, permit } from "./wires.js";

const TYPES = new Map([["wasm", "application/wasm"], ["mjs", "text/javascript"], ["js", "text/javascript"], ["json", "application/json"]]);
const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const scope = /** @type {any} */ (globalThis);

/** @param {string} name @param {unknown} value */
const give = (name, value) => Object.defineProperty(scope, name, { value, writable: true, configurable: true, enumerable: false });

const events = new EventTarget();
for (const name of /** @type {const} */ (["addEventListener", "removeEventListener", "dispatchEvent"])) {
  give(name, events[name].bind(events));
}
give("self", scope);
give("location", new URL(import.meta.url));
give("WorkerGlobalScope", class WorkerGlobalScope {
  /** @param {unknown} value */
  static [Symbol.hasInstance](value) {
    return value === scope;
  }
});
give("postMessage", (/** @type {unknown} */ message, /** @type {any} */ transfer) => port.postMessage(message, transfer));
port.on("message", (data) => events.dispatchEvent(new MessageEvent("message", { data })));

const nativeFetch = scope.fetch;
const NativeWebSocket = scope.WebSocket;

/** @param {string} url @returns {Promise<Response>} */
async function readOwn(url) {
  let response;
  try {
    const headers = { "content-type": TYPES.get(/\.(\w+)$/.exec(url)?.[1] ?? "") ?? "application/octet-stream" };
    response = new Response(new Uint8Array(await readFile(fileURLToPath(url))), { headers });
  } catch (error) {
    const missing = /** @type {{code?: unknown}} */ (error).code === "ENOENT";
    if (!missing) throw error;
    response = new Response(null, { status: 404 });
  }
  return Object.defineProperty(response, "url", { value: url });
}

give("fetch", (/** @type {string | Request} */ input, /** @type {RequestInit} */ init) => {
  const url = input instanceof Request ? input.url : String(input);
  if (url.startsWith("file:")) return readOwn(url);
  if (/^https?:/.test(url)) permit(url);
  return nativeFetch(input, init);
});

/** @param {string} url */
function WebSocket(url) {
  permit(url);
  return new NativeWebSocket(url);
}
WebSocket.prototype = NativeWebSocket.prototype;
give("WebSocket", WebSocket);

/** @param {string} code */
const log = (code) => (/** @type {unknown} */ what) => port.postMessage({ type: "log", level: "error", code, text: String(what) });
guardWires(log("blocked_request"));
// In a browser such a one is a line on the console; here it would end the thread.
process.on("unhandledRejection", log("internal"));
for (const name of ["process", "Deno", "Bun"]) Reflect.deleteProperty(scope, name);
