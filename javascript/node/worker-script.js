/**
 * The tunnel's worker under Node.js and its like: a worker thread, in the shape of the browser's `Worker`. Stands in the place
 * of `../page/worker-script.js`.
 *
 * @module
 */

import process from "node:process";
import { pathToFileURL } from "node:url";
import { Worker as Thread } from "node:worker_threads";
import { bootError } from "../page/connection.js";
import { optionError } from "../page/errors.js";

const FILE = "worker.js";
/** Of the program's own switches those that say how connections are made; others are about the program's code. */
const SWITCHES = /^--(use-\w+-ca|tls-|dns-result-order|network-family)/;

/**
 * @param {unknown} assetsUrl as the option of that name: a path, or a file: address
 * @returns {string | null} address of the folder, ending in "/"; null: beside this script
 */
export function folderOf(assetsUrl) {
  if (assetsUrl === undefined || assetsUrl === null) return null;
  if (typeof assetsUrl !== "string" || !assetsUrl) throw optionError("assetsUrl", "expected the path of a folder");
  const url = /^file:/.test(assetsUrl) ? assetsUrl : pathToFileURL(assetsUrl).href;
  return url.endsWith("/") ? url : `${url}/`;
}

/** @returns {string[]} nothing is asked of a network for it */
export const filesOf = () => [];

/**
 * A worker thread as `connection.js` uses a `Worker`. How it ends is told by messages, as the worker's own code tells it. While
 * nothing is under way in it, it keeps no program from ending.
 */
class ThreadWorker extends EventTarget {
  /** @type {Thread} */ #thread;
  #booted = false;
  #ended = false;

  /** @param {URL} url */
  constructor(url) {
    super();
    this.#thread = new Thread(url, { name: "smolmix", execArgv: process.execArgv.filter((given) => SWITCHES.test(given)) });
    this.#thread.on("message", (data) => {
      this.#booted ||= data.type === "booted";
      this.#tell(data);
    });
    this.#thread.on("messageerror", () => this.dispatchEvent(new Event("messageerror")));
    this.#thread.on("error", (error) => this.#end(`${error}`));
    this.#thread.on("exit", (code) => this.#end(`its thread ended (${code})`));
  }

  /** @param {import("../shared/messages.js").WorkerMessage} data */
  #tell(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** @param {string} why */
  #end(why) {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#booted) this.#tell({ type: "crashed", message: `the worker stopped: ${why}` });
    else this.#tell({ type: "boot-failed", message: `${FILE}: it did not start (${why})`, reason: "damaged" });
  }

  /** @param {unknown} message @param {any[]} [transfer] */
  postMessage(message, transfer) {
    this.#thread.postMessage(message, transfer);
  }

  /** @param {boolean} busy */
  hold(busy) {
    if (busy) this.#thread.ref();
    else this.#thread.unref();
  }

  terminate() {
    this.#ended = true;
    void this.#thread.terminate();
  }
}

/**
 * Start the worker.
 * @param {string | null} folder of `folderOf`
 * @param {unknown} [integrity] the option of that name
 * @returns {{worker: Worker, script: () => string}}
 */
export function startWorker(folder, integrity) {
  if (integrity === "require") throw bootError("integrity: only a document vouches for files", "unsupported");
  if (typeof WebSocket !== "function") {
    throw bootError(`this runtime has no WebSocket: Node.js 22 or newer, Deno or Bun is needed, and this is ${process.version}`, "unsupported");
  }
  const url = new URL(FILE, folder ?? import.meta.url);
  const worker = /** @type {Worker} */ (/** @type {unknown} */ (new ThreadWorker(url)));
  return { worker, script: () => url.href };
}
