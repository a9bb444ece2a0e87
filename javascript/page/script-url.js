/**
 * Addresses of scripts as `Worker` takes them: where the page demands Trusted Types, a policy of our name vouches for them.
 *
 * @module
 */

/** Name of the Trusted Types policy, for `Content-Security-Policy: trusted-types smolmix-web`. */
const POLICY = "smolmix-web";

export const NOWHERE = "smolmix-web runs where there are Web Workers: pages, extensions, WebViews. Here there are none; "
  + "on a server, call it from code that runs in the browser alone";

/** @type {{createScriptURL: (url: string) => any} | null} */
let policy = null;

/** @param {string} url of our own making @returns {any} */
export function scriptUrl(url) {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  if (!types || types.defaultPolicy) return url;
  try {
    policy ??= types.createPolicy(POLICY, { createScriptURL: (/** @type {string} */ known) => known });
  } catch {
    return url; // nobody demands them, or it fails with the browser's words
  }
  return policy?.createScriptURL(url) ?? url;
}
