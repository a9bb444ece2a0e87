/**
 * One hash for everything: a page that vouches for `index.js` with Subresource Integrity has all the files checked that it
 * loads, each before it runs. The build has written their hashes into this script; it says so in the error which file differs.
 *
 * Scripts run from the bytes that were checked, so such a page needs `blob:` in `script-src` and `worker-src`.
 *
 * @module
 */

import { bootError } from "./connection.js";
import { optionError } from "./errors.js";
import { bytesOf, checkHash, fetchPart } from "../shared/parts.js";

/** SHA-256 in base64 by name, relative to the folder of `worker.js`. @typedef {Record<string, string>} Hashes */

/** @type {Hashes | null} null: not of this build */
const HASHES = typeof SMOLMIX_SHA256 === "undefined" ? null : SMOLMIX_SHA256;
const CHOICES = ["auto", "require", "off"];
const NO_DIGEST = "the hashes of the files cannot be checked here: the page is no secure context (https: or localhost)";

/** @param {string} script @returns {boolean} whether the document says what this script's hash is */
function isVouchedFor(script) {
  const { document } = globalThis;
  if (!document) return false;
  const same = (/** @type {string | null} */ url) => {
    const href = url !== null && URL.canParse(url, document.baseURI) && new URL(url, document.baseURI).href;
    return href === script;
  };
  for (const element of document.querySelectorAll("script[src][integrity], link[href][integrity]")) {
    if (same(element.getAttribute("src") ?? element.getAttribute("href"))) return true;
  }
  for (const { textContent } of document.querySelectorAll("script[type=importmap]")) {
    try {
      if (Object.keys(JSON.parse(textContent ?? "").integrity ?? {}).some(same)) return true;
    } catch {
      // The browser takes no notice of it either.
    }
  }
  return false;
}

/**
 * @param {unknown} choice the option `integrity`
 * @param {string} script address of `index.js`
 * @returns {Hashes | null} what is to be checked; null: nothing
 */
export function hashesFor(choice = "auto", script = import.meta.url) {
  if (typeof choice !== "string" || !CHOICES.includes(choice)) {
    throw optionError("integrity", `expected one of ${CHOICES.join(", ")}`);
  }
  if (choice === "off" || (choice === "auto" && !isVouchedFor(script))) return null;
  if (HASHES && globalThis.crypto?.subtle) return HASHES;
  if (choice === "auto") return null;
  throw bootError(HASHES ? NO_DIGEST : "this build of index.js does not have the hashes of its files inside", "unsupported");
}

/**
 * @param {string} url of the worker's script
 * @param {Hashes} hashes
 * @returns {Promise<Blob>} that script, checked, which knows what to check
 */
export async function checkedScript(url, hashes) {
  const bytes = await bytesOf(await fetchPart(url));
  await checkHash("worker.js", bytes, hashes["worker.js"]);
  const told = { base: new URL("./pyodide/", url).href, hashes };
  return new Blob([`globalThis.smolmixFiles = ${JSON.stringify(told)};\n`, bytes], { type: "text/javascript" });
}
