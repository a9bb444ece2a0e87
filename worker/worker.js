/**
 * Entry of the module worker: starts Pyodide from our own distribution beside this file and hands every message to
 * the Python side. It decides nothing itself.
 *
 * @module
 */

import { createCrypto } from "./crypto/index.js";

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
  const { loadPyodide } = await import(/* @vite-ignore */ `${base}pyodide.mjs`);
  const [pyodide, crypto] = await Promise.all([
    loadPyodide({ indexURL: base, lockFileURL: `${base}pyodide-lock.json`, packageBaseUrl: base, packages: ["smolmix-web"] }),
    createCrypto(),
  ]);
  pyodide.registerJsModule("smolmix_crypto", crypto);
  const bridge = pyodide.pyimport("smolmix_web.bridge.worker");
  receive = bridge.start(self);
  for (const message of early.splice(0)) receive?.(message);
  self.postMessage({ type: "booted" });
}

boot().catch((error) => self.postMessage({ type: "boot-failed", message: `the tunnel's code did not start: ${error}` }));
