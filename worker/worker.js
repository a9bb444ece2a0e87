/**
 * Entry of the module worker: starts Pyodide from our own distribution beside this file and hands every message to
 * the Python side. It decides nothing itself.
 *
 * @module
 */

import { createCrypto } from "./crypto/index.js";
import { startPython } from "./runtime.js";

/** @typedef {import("./messages.js").PageMessage} PageMessage */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

/** @type {((message: PageMessage) => void) | null} */
let receive = null;
/** @type {PageMessage[]} */
const early = [];

self.addEventListener("message", (event) => {
  if (receive) receive(event.data);
  else early.push(event.data);
});

/** @param {WorkerMessage} message */
const post = (message) => self.postMessage(message);

async function boot() {
  const base = new URL("./pyodide/", import.meta.url).href;
  const [pyodide, crypto] = await Promise.all([startPython(base), createCrypto()]);
  // A fatal error of the interpreter (a Rust panic, a failed allocation) may strike where no exception leaves the worker.
  pyodide._api.on_fatal = (error) => post({ type: "crashed", message: `Python stopped: ${error}` });
  pyodide.registerJsModule("smolmix_crypto", crypto);
  const bridge = pyodide.pyimport("smolmix_web.bridge.worker");
  receive = bridge.start(self);
  bridge.destroy();
  for (const message of early.splice(0)) receive?.(message);
  post({ type: "booted" });
}

boot().catch((error) => post({ type: "boot-failed", message: `the tunnel's code did not start: ${error}` }));
