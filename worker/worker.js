/**
 * Entry of the module worker: starts Pyodide from our own distribution beside this file and hands every message to
 * the Python side. It decides nothing itself.
 *
 * @module
 */

import { createCrypto } from "./crypto/index.js";
import { startPython } from "./runtime.js";

/** @typedef {import("./messages.js").PageMessage} PageMessage */

/** @type {((message: PageMessage) => void) | null} */
let receive = null;
/** @type {PageMessage[]} */
const early = [];

self.addEventListener("message", (event) => {
  if (receive) receive(event.data);
  else early.push(event.data);
});

async function boot() {
  const base = new URL("./pyodide/", import.meta.url).href;
  const [pyodide, crypto] = await Promise.all([startPython(base), createCrypto()]);
  pyodide.registerJsModule("smolmix_crypto", crypto);
  const bridge = pyodide.pyimport("smolmix_web.bridge.worker");
  receive = bridge.start(self);
  for (const message of early.splice(0)) receive?.(message);
  self.postMessage({ type: "booted" });
}

boot().catch((error) => self.postMessage({ type: "boot-failed", message: `the tunnel's code did not start: ${error}` }));
