// The module worker of PyodidePage: starts Python exactly as the product's worker does, then runs what it is sent.
//
// Messages in: {id, code, arguments}; out: {id, ok, value} or {id, ok: false, error}. `code` is Python: the body of a
// module that may await; the value of its last expression, or what it puts into `result`, comes back as JSON.

import { createCrypto } from "../javascript/worker/crypto/index.js";
import { filesBelow } from "../javascript/worker/distribution.js";
import { startPython } from "../javascript/worker/runtime.js";

const parts = filesBelow(new URL("/dist/pyodide/", self.location.href).href);

const RUN = `
import json as _json
def _prepare(arguments):
    return {"__name__": "__main__", "arguments": _json.loads(arguments), "result": None}
def _finish(value, namespace):
    return _json.dumps(namespace["result"] if value is None else value)
`;

async function start() {
  const began = performance.now();
  const { pyodide } = await startPython(parts);
  pyodide.registerJsModule("smolmix_crypto", await createCrypto());
  pyodide.runPython(RUN);
  pyodide._api.on_fatal = (/** @type {unknown} */ error) => {
    died = `the interpreter died: ${error}`;
    onFatal(died);
  };
  return { pyodide, milliseconds: performance.now() - began };
}

/** @typedef {import("../javascript/worker/runtime.js").Pyodide} Pyodide */

/** @param {Pyodide} pyodide @param {string} code @param {string} argumentsText */
async function execute(pyodide, code, argumentsText) {
  const namespace = pyodide.globals.get("_prepare")(argumentsText);
  const value = await pyodide.runPythonAsync(code, { globals: namespace, filename: "<page>" });
  try {
    return pyodide.globals.get("_finish")(value, namespace);
  } finally {
    value?.destroy?.();
    namespace.destroy();
  }
}

/** Answers the call under way when the interpreter dies, since that call never returns. @type {(text: string) => void} */
let onFatal = () => {};
/** @type {string | null} */
let died = null;

const started = start();
started.then(
  ({ milliseconds }) => self.postMessage({ id: 0, ok: true, value: JSON.stringify(milliseconds) }),
  (error) => self.postMessage({ id: 0, ok: false, error: String(error?.stack ?? error) }),
);

/** @param {Pyodide} pyodide @param {any} data */
async function answer(pyodide, data) {
  if (died) throw new Error(died);
  if (!data.file) {
    const fatal = new Promise((_, reject) => (onFatal = (text) => reject(new Error(text))));
    return Promise.race([execute(pyodide, data.code, data.arguments), fatal]);
  }
  const { path, bytes } = data.file;
  pyodide.FS.mkdirTree(path.replace(/\/[^/]*$/, ""));
  pyodide.FS.writeFile(path, new Uint8Array(bytes));
  return "null";
}

/** @type {Promise<unknown>} */
let queue = started.catch(() => {});
self.addEventListener("message", ({ data }) => {
  queue = queue.then(async () => {
    try {
      const { pyodide } = await started;
      self.postMessage({ id: data.id, ok: true, value: await answer(pyodide, data) });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      self.postMessage({ id: data.id, ok: false, error: text, died: died !== null });
    }
  });
});
