/**
 * Tabs that share a tunnel are the browser's. Stands in the place of `../page/tab-worker.js`.
 *
 * @module
 */

import { optionError } from "../page/errors.js";

/** @param {Record<string, unknown>} options @returns {boolean} */
export function isShared({ shared }) {
  if (shared === undefined || shared === null || shared === false) return false;
  throw optionError("shared", "there are no tabs here: one program has one tunnel");
}

/** @returns {never} */
export function joinTabs() {
  throw new TypeError("there are no tabs here");
}
