/**
 * Starts Python: Pyodide's core, and one compressed pack with the standard library, our package and its libraries.
 *
 * The build puts everything below one folder (`pyodide/` beside the worker); nothing is fetched from elsewhere. The pack
 * is a zip without compression inside, compressed as a whole with Zstandard: smaller than a zip of compressed
 * files, and modules are imported straight from memory.
 *
 * @module
 */

import { decompress } from "fzstd";

/**
 * The part of Pyodide's API that the worker uses.
 * @typedef {object} Pyodide
 * @property {(name: string, module: object) => void} registerJsModule
 * @property {(name: string) => any} pyimport
 * @property {(code: string, options?: object) => any} runPython
 * @property {(code: string, options?: object) => Promise<any>} runPythonAsync
 * @property {(names: string | string[], options?: object) => Promise<unknown>} loadPackage
 * @property {any} FS
 * @property {{ on_fatal?: (error: unknown) => void }} _api
 * @property {any} globals
 */

/**
 * Loads the interpreter with everything that `import smolmix_web` needs.
 *
 * @param {string} base address of the folder with Pyodide's files and the pack, ending in "/"
 * @param {object} [options] more options for `loadPyodide`
 * @returns {Promise<Pyodide>} rejects with an `Error` that names the file which could not be had
 */
export async function startPython(base, options = {}) {
  const packed = fetchBytes(`${base}python.zst`);
  packed.catch(() => {}); // awaited below; a failure of the import must not leave this one unhandled
  const { loadPyodide } = await import(/* @vite-ignore */ `${base}pyodide.mjs`);
  const unpacked = /** @type {Uint8Array<ArrayBuffer>} */ (decompress(await packed));
  const zip = URL.createObjectURL(new Blob([unpacked], { type: "application/zip" }));
  try {
    return await loadPyodide({
      indexURL: base,
      lockFileURL: `${base}pyodide-lock.json`,
      packageBaseUrl: base,
      stdLibURL: zip,
      ...options,
    });
  } finally {
    URL.revokeObjectURL(zip);
  }
}

/** @param {string} url @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
