/**
 * Entry of the module worker: starts Pyodide from our own distribution beside this file and hands every message to
 * the Python side. It decides nothing itself.
 *
 * @module
 */

import { createCrypto } from "./crypto/index.js";
import { createGuard } from "./guard.js";
import { PartError, textOf } from "./parts.js";
import { startPython } from "./runtime.js";
import { createStorage } from "./storage.js";

/** @typedef {import("./messages.js").PageMessage} PageMessage */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

const base = new URL("./pyodide/", import.meta.url).href;
const guard = createGuard(self, base);

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
  const [pyodide, crypto] = await Promise.all([startPython(base), createCrypto()]);
  // A fatal error of the interpreter (a Rust panic, a failed allocation) may strike where no exception leaves the worker.
  pyodide._api.on_fatal = (error) => post({ type: "crashed", message: `Python stopped: ${error}` });
  pyodide.registerJsModule("smolmix_crypto", crypto);
  pyodide.registerJsModule("smolmix_storage", createStorage());
  pyodide.registerJsModule("smolmix_guard", guard);
  const bridge = pyodide.pyimport("smolmix_web.bridge.worker");
  receive = bridge.start(self);
  bridge.destroy();
  for (const message of early.splice(0)) receive?.(message);
  post({ type: "booted" });
}

boot().catch((error) => {
  const [message, reason] = error instanceof PartError ? [error.message, error.reason] : [textOf(error), null];
  post({ type: "boot-failed", message: `the tunnel's code did not start: ${message}`, reason });
});
