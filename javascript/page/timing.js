/**
 * Timings of a fetch, beside the response and as entries like those of Resource Timing. `performance` itself would show
 * them to every script of the page; here they go to who holds the tunnel.
 *
 * @module
 */

import { MixError } from "./errors.js";

/** @typedef {import("../shared/messages.js").FetchTimings} FetchTimings */

/**
 * What the event "timing" of a `MixTunnel` carries in `detail`, once for each fetch that ended, however it did.
 * @typedef {FetchTimings & {
 *   name: string, entryType: "mixnet-fetch", startTime: number, duration: number,
 *   responseStatus: number, error: string | null
 * }} MixFetchEntry `name` is the URL; `startTime` (as `performance.now()`) and `duration` in milliseconds;
 *   `responseStatus` 0 without a response; `error` is the code of what ended it early
 */

/** Follows one fetch. */
export class FetchRecord {
  /** @type {FetchTimings} */
  timings = {
    redirect: null, queue: null, dns: null, connect: null, tls: null, requestSent: null, ttfb: null, end: null,
    protocol: null, remoteAddress: null, reused: false, exit: null,
  };
  #startTime = performance.now();
  #status = 0;
  #name;
  /** @type {((entry: MixFetchEntry) => void) | null} */ #report;

  /**
   * @param {string} name the URL
   * @param {(entry: MixFetchEntry) => void} report
   */
  constructor(name, report) {
    this.#name = name;
    this.#report = report;
  }

  /** @param {{status: number, url: string, timings: FetchTimings}} head */
  answered(head) {
    this.#status = head.status;
    this.#name = head.url;
    Object.assign(this.timings, head.timings);
  }

  /**
   * The fetch is over; only the first call counts.
   * @param {import("./channel.js").Failure | null} failure null when it ended well
   */
  finish(failure) {
    const report = this.#report;
    this.#report = null;
    const code = failure && (failure.error instanceof MixError ? failure.error.code : "aborted");
    report?.({
      name: this.#name,
      entryType: "mixnet-fetch",
      startTime: this.#startTime,
      duration: performance.now() - this.#startTime,
      responseStatus: this.#status,
      error: code,
      ...this.timings,
    });
  }
}
