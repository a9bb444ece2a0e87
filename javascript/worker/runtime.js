/**
 * Starts Python: Pyodide's core, and one compressed pack with the standard library, our package and its libraries.
 *
 * `distribution.js` says where these come from. The pack
 * is a zip without compression inside, compressed as a whole with Zstandard: smaller than a zip of compressed
 * files, and modules are imported straight from memory.
 *
 * @module
 */

import { PACK } from "./distribution.js";
import { mark } from "./marks.js";
import { unpack } from "./unpack.js";
import { PartError, checkWebAssembly, textOf } from "../shared/parts.js";

/**
 * The part of Pyodide's API that the worker uses.
 * @typedef {object} Pyodide
 * @property {(name: string, module: object) => void} registerJsModule
 * @property {(name: string) => any} pyimport
 * @property {(code: string, options?: object) => any} runPython
 * @property {(code: string, options?: object) => Promise<any>} runPythonAsync
 * @property {(names: string | string[], options?: object) => Promise<unknown>} loadPackage
 * @property {() => Uint8Array<ArrayBuffer>} makeMemorySnapshot
 * @property {any} FS
 * @property {{ on_fatal?: (error: unknown) => void, config: Record<string, unknown> }} _api
 * @property {any} globals
 */

/** The unpacked pack. @typedef {Uint8Array<ArrayBuffer>} Library */

const INTERPRETER = "pyodide/pyodide.asm.wasm";

/**
 * Loads the interpreter with everything that `import smolmix_web` needs. All files come at the same time; the first one
 * that cannot be had ends it.
 *
 * @param {import("./distribution.js").Distribution} parts
 * @param {(build: string) => Promise<{options?: object, library?: Library}>} [choose] by the name of the build: more
 *   options for `loadPyodide`, and the unpacked pack where it is at hand
 * @returns {Promise<{pyodide: Pyodide, library: Library}>} rejects with a `PartError` that names the file which could not
 *   be had
 */
export async function startPython(parts, choose = async () => ({})) {
  checkWebAssembly();
  const lock = parts.lock();
  const packed = parts.pack();
  packed.catch(() => {}); // nobody may need it
  const chosen = lock.then(({ info }) => choose(String(info?.build)));
  const [{ loadPyodide }, { default: createModule }, compiled, lockFileContents, { options, library: kept }, pack] = await Promise.all([
    parts.loader(),
    parts.script(),
    parts.program().then((module) => mark("compiled", module)),
    lock,
    chosen,
    chosen.then(({ library }) => library ? new Uint8Array() : packed),
  ]);
  mark("parts");
  // Python is not there yet to unpack what it starts with: Pyodide gets this in its place.
  const stdLibURL = URL.createObjectURL(new Blob());
  const scope = /** @type {any} */ (globalThis);
  // Pyodide would fetch the WebAssembly itself, and say nothing when that fails. This name stops it.
  scope.WasmOffsetConverter = null;
  try {
    await fetch(stdLibURL).catch(() => {
      throw new PartError(PACK, "blocked", "the Content-Security-Policy forbids it (connect-src needs blob:)");
    });
    let library = kept;
    const pyodide = await new Promise((resolve, reject) => {
      /** @param {Record<string, unknown>} settings @returns {Promise<unknown>} */
      const createPyodideModule = (settings) => {
        /** @type {any} */
        let decoder;
        const instantiateWasm = (/** @type {any} */ imports, /** @type {(...made: any) => void} */ receive) => {
          Object.assign(imports.env, ERROR_MARKER);
          WebAssembly.instantiate(compiled, imports).then((instance) => {
            decoder = instance.exports;
            receive(instance, compiled);
          }).catch((error) => {
            reject(new PartError(INTERPRETER, "damaged", `it does not fit the scripts beside it (${textOf(error)})`));
          });
          return {};
        };
        const onRuntimeInitialized = () => {
          try {
            library ??= unpack(decoder, pack);
          } catch (error) {
            reject(new PartError(PACK, "damaged", `it cannot be unpacked (${textOf(error)})`));
            module.noInitialRun = true;
            return;
          }
          mark("unpacked");
          const name = module.FS.readdir("/lib").find((/** @type {string} */ entry) => entry.endsWith(".zip"));
          module.FS.writeFile(`/lib/${name}`, library, { canOwn: true });
        };
        /** @type {any} */
        const module = { ...settings, instantiateWasm, onRuntimeInitialized };
        return createModule(module);
      };
      loadPyodide({
        indexURL: parts.base, packageBaseUrl: parts.base, lockFileContents, stdLibURL, createPyodideModule, ...options,
      }).then((/** @type {Pyodide} */ started) => resolve(mark("interpreter", started)), (/** @type {unknown} */ error) => {
        // Python has ended before it began.
        const exited = typeof error === "object" && error !== null && "status" in error;
        const file = exited ? PACK : "pyodide/pyodide.mjs";
        reject(new PartError(file, "damaged", `Python did not start with ${exited ? "it" : "it and the files beside it"} (${textOf(error)})`));
      });
    });
    delete pyodide._api.config._loadSnapshot; // as large as Python's memory
    return { pyodide, library: /** @type {Library} */ (library) };
  } finally {
    delete scope.WasmOffsetConverter;
    URL.revokeObjectURL(stdLibURL);
  }
}

/** How Python's side of a call into JavaScript tells that it threw: as Pyodide does it where it has no better way. */
const MARKER = Symbol("error");
const ERROR_MARKER = {
  Jsv_GetError_import: () => MARKER,
  JsvError_Check: (/** @type {unknown} */ value) => value === MARKER,
};
