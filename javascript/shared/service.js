/**
 * What a page and its Service Worker say to each other, besides the messages of messages.js on the port that the page
 * lends it (page/share.js).
 *
 * A page says `hello` when it is controlled, when its tunnel is another one, and whenever the Service Worker asks
 * (`wanted`): the browser stops and starts that as it likes, and all it knew is gone then. While a page is there it holds
 * a Web Lock of its name, so its end is noticed however it comes.
 *
 * @module
 */

/** @typedef {import("./messages.js").ErrorDetail} ErrorDetail */

/** As in options.py: what a tunnel asks where its options name no directory. */
export const MAINNET_DIRECTORY = ["https://validator.nymtech.net/api/"];

/** In each message; raised when releases could not understand each other. */
export const SPEECH = "smolmix-web service 1";

/** @param {string} page @returns {string} the lock of a page that is there */
export const pageLock = (page) => `${SPEECH} page ${page}`;

/** @returns {ServiceWorkerContainer | null} null: there are none here; frames without an origin may not even ask */
export function serviceWorkers() {
  try {
    return globalThis.navigator?.serviceWorker ?? null;
  } catch {
    return null;
  }
}

/** How much went through a page's tunnel for its Service Worker (`blocked`, `passed`: what did not). @typedef {{requests: number, bytes: number, blocked: number, passed: number}} MixServiceCounts */

/**
 * Page to Service Worker. `claim`: control the pages that have none. `hello` comes with the port of a tunnel that was not
 * lent yet; `direct` are beginnings of URLs that the tunnel itself needs to come up (said alone by a tunnel that comes up
 * before its page has said anything). `here` answers `there`, and is said
 * from time to time while something is under way, because the browser stops a Service Worker that hears nothing.
 * @typedef {{type: "claim"} | {type: "hello", page: string, direct: string[]} | {type: "bye", page: string}
 *   | {type: "direct", direct: string[]} | {type: "here"}} SaidToService
 * @typedef {SaidToService & {speech: typeof SPEECH}} ToService
 */

/**
 * Service Worker to page. `worker` is drawn anew whenever it starts. `counted` says what came since the last time, which
 * URLs were taken, and how many requests are under way.
 * @typedef {{type: "welcome", worker: string} | {type: "wanted", worker: string} | {type: "there"}
 *   | {type: "counted", counts: MixServiceCounts, urls: string[], open: number}
 *   | {type: "failed", url: string, destination: string, error: ErrorDetail}} SaidByService
 * @typedef {SaidByService & {speech: typeof SPEECH}} FromService
 */
