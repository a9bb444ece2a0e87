/**
 * Where the worker's parts come from: Python's interpreter, its scripts, and the pack with the library.
 *
 * Here they are files below one folder, each fetched by its name. A build that has them elsewhere (a package for bundlers,
 * one file with everything inside) puts another module with the same `distribution` in the place of `own-files.js`; the
 * rest of the worker does not know the difference.
 *
 * @module
 */

import { PartError, compilePart, fetchBytes, fetchJson, importPart } from "../shared/parts.js";

/**
 * Pyodide's list of what belongs together.
 * @typedef {{info: Record<string, unknown>, packages: Record<string, {file_name: string}>}} Lock
 */

/**
 * @typedef {object} Distribution
 * @property {string} base address that wheels are relative to, ending in "/"; kept memory is filed below it
 * @property {readonly string[]} files addresses that the worker may fetch: files, and folders, which end in "/"
 * @property {() => Promise<Lock>} lock
 * @property {() => Promise<any>} loader module that exports `loadPyodide`
 * @property {() => Promise<any>} script Emscripten's module, which exports a function by default
 * @property {() => Promise<WebAssembly.Module>} program
 * @property {() => Promise<Uint8Array<ArrayBuffer>>} pack the compressed library; rejects with a `PartError`, as the others
 */

export const PACK = "python.zst";
/** Magic number of a Zstandard frame (RFC 8878 3.1.1). */
export const ZSTANDARD = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

/**
 * @param {string} base address of the folder, ending in "/"
 * @param {Record<string, string>} [hashes] SHA-256 in base64 by name, "pyodide/..."; what has none is not checked
 * @returns {Distribution}
 */
export const filesBelow = (base, hashes = {}) => ({
  base,
  files: [base],
  lock: () => fetchLock(`${base}pyodide-lock.json`, hashes["pyodide/pyodide-lock.json"]),
  loader: () => importPart(`${base}pyodide.mjs`, "loadPyodide", hashes["pyodide/pyodide.mjs"]),
  script: () => importPart(`${base}pyodide.asm.mjs`, "default", hashes["pyodide/pyodide.asm.mjs"]),
  program: () => compilePart(`${base}pyodide.asm.wasm`, hashes["pyodide/pyodide.asm.wasm"]),
  pack: () => fetchBytes(`${base}${PACK}`, ZSTANDARD, "a Zstandard archive", hashes[`pyodide/${PACK}`]),
});

/**
 * Pyodide's scripts inside the worker's own file, the rest at addresses of their own.
 * @param {{lock: Lock, loader: object, script: object, program: string, pack: string, wheels: Record<string, string>}} parts
 *   `wheels`: addresses by the names that the lock has
 * @returns {Distribution}
 */
export const scriptsInside = ({ lock, loader, script, ...parts }) => {
  // Some bundlers write addresses without their origin.
  const whole = (/** @type {string} */ url) => new URL(url, globalThis.location.href).href;
  const program = whole(parts.program), pack = whole(parts.pack), wheels = mapValues(parts.wheels, whole);
  return {
    base: new URL("./", pack).href,
    files: [program, pack, ...Object.values(wheels)],
    lock: async () => ({ ...lock, packages: mapValues(lock.packages, (entry) => ({ ...entry, file_name: wheels[entry.file_name] })) }),
    loader: async () => loader,
    script: async () => script,
    program: () => compilePart(program),
    pack: () => fetchBytes(pack, ZSTANDARD, "a Zstandard archive"),
  };
};

/**
 * @template T
 * @param {Record<string, T>} values @param {(value: T) => T} change
 * @returns {Record<string, T>}
 */
const mapValues = (values, change) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));

/** @param {string} url @param {string} [hash] @returns {Promise<Lock>} */
async function fetchLock(url, hash) {
  const lock = await fetchJson(url, hash);
  if (isRecord(lock) && isRecord(lock.info) && isRecord(lock.packages)) return /** @type {Lock} */ (/** @type {unknown} */ (lock));
  throw new PartError("pyodide/pyodide-lock.json", "damaged", "it has no `info` and `packages`");
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
