/**
 * Addresses of scripts as `Worker` takes them: where the page demands Trusted Types, a policy of our name vouches for them.
 *
 * @module
 */

import { bootError } from "./connection.js";

/** Name of the Trusted Types policy, for `Content-Security-Policy: trusted-types smolmix-web`. */
const POLICY = "smolmix-web";

export const NOWHERE = "smolmix-web runs where there are Web Workers: pages, extensions, WebViews. Here there are none; "
  + "on a server, call it from code that runs in the browser alone";

/** @type {{createScriptURL: (url: string) => any} | null} */
let policy = null;
let forbidden = false; // there may be no policy of our name

/** @param {string} url of our own making @returns {any} */
export function scriptUrl(url) {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  if (!types || types.defaultPolicy) return url;
  try {
    policy ??= types.createPolicy(POLICY, { createScriptURL: (/** @type {string} */ known) => known });
  } catch {
    forbidden = true; // which matters only where the page demands them
    return url;
  }
  return policy?.createScriptURL(url) ?? url;
}

/** `Worker` has refused such an address. @param {unknown} error @returns {Error} */
export function notMade(error) {
  const remedy = forbidden ? `; where the page demands Trusted Types, its policy needs "trusted-types ${POLICY}"` : "";
  return bootError(`the worker cannot be made: ${error}${remedy}`, "blocked");
}
