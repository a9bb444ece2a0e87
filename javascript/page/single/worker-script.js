/**
 * The worker of the one-file build: its script is a string in the page's own, and what it needs besides comes to it as its
 * first message. Stands in the place of `../worker-script.js`.
 *
 * @module
 */

import { bootError } from "../connection.js";
import { optionError } from "../errors.js";
import { NOWHERE, notMade, scriptUrl } from "../script-url.js";
import { parts, script } from "./contents.js";

/** @param {unknown} assetsUrl @returns {null} */
export function folderOf(assetsUrl) {
  if (assetsUrl === undefined || assetsUrl === null) return null;
  throw optionError("assetsUrl", "there is no such folder: everything is inside this file");
}

/** @returns {string[]} nothing is loaded */
export const filesOf = () => [];

/** @returns {{worker: Worker, script: () => string}} */
export function startWorker() {
  if (typeof Worker !== "function") throw bootError(NOWHERE, "unsupported");
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    const worker = new Worker(scriptUrl(url), { name: "smolmix" });
    worker.postMessage({ type: "parts", parts });
    return { worker, script: () => url };
  } catch (error) {
    throw notMade(error);
  } finally {
    // The worker reads it in its own time.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}
