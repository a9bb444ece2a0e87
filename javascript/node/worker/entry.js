/**
 * Entry of the worker thread: the browser's worker in a scope as it knows it.
 *
 * @module
 */

import "./scope.js";

import("../../worker/worker.js").catch((error) => {
  postMessage({ type: "boot-failed", message: `the tunnel's code did not start: ${error}`, reason: "damaged" });
});
