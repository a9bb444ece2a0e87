/**
 * The page's side of the worker's file: where it is, and a worker from it also where a page may not simply make one.
 *
 * Bundlers find the file by the one expression `new Worker(new URL("./worker.js", import.meta.url), ...)`, which is why it
 * stands here as it is, and put an address of theirs in its place. `new Worker` takes no script of another origin (a CDN),
 * and for a page without an origin all are; there a few lines of script of the page's own import it. Where the page demands
 * Trusted Types, a policy of our name vouches for this one address.
 *
 * @module
 */

import { baseUrl } from "./base-url.js";
import { bootError } from "./connection.js";
import { optionError } from "./errors.js";
import { checkedScript, hashesFor } from "./integrity.js";
import { PartError } from "../shared/parts.js";
import { NOWHERE, notMade, scriptUrl } from "./script-url.js";

/** @typedef {{type?: WorkerType, name?: string}} Manner */
/** @typedef {{url: string, manner: Manner}} Place */

const FILE = "worker.js";
const MANNER = /** @type {const} */ ({ type: "module", name: "smolmix" });
/** Vite's development server puts packages into one file each, elsewhere, and leaves their other files where they are. */
const VITE_CACHE = /^.*\/node_modules\/\.vite[^/]*\/deps[^/]*\//;
const PACKAGE = "../../smolmix-web/dist/";

/**
 * @param {unknown} assetsUrl as the option of that name
 * @returns {string | null} address of the folder, ending in "/"; null: beside this script
 */
export function folderOf(assetsUrl) {
  if (assetsUrl === undefined || assetsUrl === null) return null;
  if (typeof assetsUrl !== "string") throw optionError("assetsUrl", `expected a string, got ${typeof assetsUrl}`);
  const base = baseUrl();
  if (!assetsUrl || !URL.canParse(assetsUrl, base)) throw optionError("assetsUrl", "is not the address of a folder");
  const url = new URL(assetsUrl, base);
  if (url.search || url.hash) throw optionError("assetsUrl", "is the address of a folder, without ? and #");
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url.href;
}

/** @param {unknown} assetsUrl @returns {string[]} where the worker and what it loads are */
export const filesOf = (assetsUrl) => [folderOf(assetsUrl) ?? import.meta.url.replace(/[^/]*$/, "")];

/** As a bundler has written it. @returns {Worker} */
const bundled = () => new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "smolmix" });

/**
 * What `bundled` hands to `Worker`. For the length of that call another class stands under the name.
 * @returns {Place | null}
 */
function bundledPlace() {
  const scope = /** @type {any} */ (globalThis);
  const native = scope.Worker;
  /** @type {Place | null} */
  let place = null;
  try {
    scope.Worker = class {
      /** @param {string | URL} url @param {Manner} manner */
      constructor(url, manner = {}) {
        place = { url: new URL(url, baseUrl()).href, manner };
      }
    };
    bundled();
  } catch {
    // The page has frozen its globals.
  } finally {
    if (scope.Worker !== native) scope.Worker = native;
  }
  return place;
}

/** @param {string | null} folder @returns {Place | null} null: a bundler knows */
function knownPlace(folder) {
  const beside = folder ?? VITE_CACHE.exec(import.meta.url)?.[0].concat(PACKAGE) ?? null;
  return beside === null ? null : { url: new URL(FILE, beside).href, manner: MANNER };
}

/** @param {Blob} script @param {Manner} manner @returns {Worker} */
function workerOf(script, manner) {
  const blob = URL.createObjectURL(script);
  try {
    return new Worker(scriptUrl(blob), manner);
  } finally {
    // The worker reads it in its own time.
    setTimeout(() => URL.revokeObjectURL(blob), 60_000);
  }
}

/**
 * A classic script that imports a module: Chromium starts no module from a `blob:` of a page without an origin. What the
 * page says meanwhile waits for the module, as it does for one that the browser starts, and a failure is an error event,
 * too. What the policy of the page forbids in a worker is told there alone.
 * @param {string} url @returns {string}
 */
const importing = (url) => `const kept = [], loading = new AbortController(), { signal } = loading;
addEventListener("message", (event) => { event.stopImmediatePropagation(); kept.push(event); }, { signal });
addEventListener("securitypolicyviolation", ({ disposition, effectiveDirective }) => {
  const message = "worker.js: the Content-Security-Policy forbids it (" + effectiveDirective + ")";
  if (disposition === "enforce") postMessage({ type: "boot-failed", reason: "blocked", message });
}, { signal });
import(${JSON.stringify(url)}).then(() => {
  loading.abort();
  for (const { data, ports } of kept) dispatchEvent(new MessageEvent("message", { data, ports: [...ports] }));
}).catch((error) => setTimeout(() => { throw error; }));`;

/** @param {Place} place @returns {Worker} */
function workerFrom({ url, manner }) {
  // Not that of `location`: a sandboxed frame has an address of its site, and no origin.
  const ours = new URL(url).origin === globalThis.origin || /^(blob|data):/.test(url);
  if (ours) return new Worker(scriptUrl(url), manner);
  const script = manner.type === "module" ? importing(url) : `importScripts(${JSON.stringify(url)});`;
  return workerOf(new Blob([script], { type: "text/javascript" }), { ...manner, type: "classic" });
}

/**
 * @param {string} url @param {import("./integrity.js").Hashes} hashes
 * @returns {Promise<Started>}
 */
async function startChecked(url, hashes) {
  try {
    return { worker: workerOf(await checkedScript(url, hashes), MANNER), script: () => "blob:worker.js" };
  } catch (error) {
    if (error instanceof PartError) throw bootError(`the tunnel's code did not start: ${error.message}`, error.reason);
    throw notMade(error);
  }
}

/** `script`: its address, as far as it can be learnt. @typedef {{worker: Worker, script: () => string}} Started */

/**
 * Start the worker.
 * @param {string | null} folder of `folderOf`
 * @param {unknown} [integrity] the option of that name
 * @returns {Started | Promise<Started>}
 */
export function startWorker(folder, integrity) {
  if (typeof Worker !== "function") throw bootError(NOWHERE, "unsupported");
  const hashes = hashesFor(integrity);
  if (hashes) return startChecked(new URL(FILE, folder ?? import.meta.url).href, hashes);
  const known = knownPlace(folder);
  const place = () => known ?? bundledPlace() ?? { url: new URL(FILE, import.meta.url).href, manner: MANNER };
  const script = () => place().url;
  let worker;
  try {
    worker = known ? workerFrom(known) : bundled();
  } catch (error) {
    try {
      if (known) throw error;
      worker = workerFrom(place());
    } catch (last) {
      throw notMade(last);
    }
  }
  return { worker, script };
}
