/**
 * One request of a page on its way through the tunnel, from the `fetch` event to a `Response` that the browser takes for
 * the server's.
 *
 * Redirects are not followed here: the browser follows them itself, by the request's own mode, and asks for each target by
 * another `fetch` event.
 *
 * @module
 */

import { MixError, mixError } from "../page/errors.js";
import { fetchThrough } from "../page/fetch.js";
import { printable, representable } from "../page/response.js";
import { unlessAborted } from "../page/signals.js";
import { checkCors, checkOpaque, exposed, kept, openly, Preflights, refusal } from "./cors.js";
import { headersOf, headersOfPage, refererOf } from "./outgoing.js";
import { Queue } from "./queue.js";
import { tunnels } from "./tunnels.js";

/** @typedef {import("./service-worker.js").MixFetchEvent} MixFetchEvent */
/** @typedef {import("./tunnels.js").Way} Way */
/** @typedef {import("../page/response.js").MixResponse} MixResponse */

/**
 * @typedef {object} Rules
 * @property {(url: URL) => boolean} matches
 * @property {boolean} pass
 * @property {boolean} open no CORS
 * @property {boolean} unreadable what no script may read is refused rather than given
 * @property {string[]} direct
 * @property {number} deadline milliseconds
 * @property {Record<string, number>} timeouts of the tunnel's requests
 */

const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));
const queue = new Queue();
const preflights = new Preflights();

/** The tunnel was lost before anything came. */
const LOST = ["tunnel_down", "tunnel_moved", "worker_crashed"];
const REPEATABLE = ["GET", "HEAD", "OPTIONS"];
const REDIRECTS = [301, 302, 303, 307, 308];
const EMPTY = [204, 205, 304];
/** Between two looks at a page that carries something of which nothing comes. */
const LOOK_MS = 10_000;

/** Of a body, on its way to a browser that reads all of it: what each piece would wait for otherwise is two threads away. */
const AHEAD_BYTES = 128 * 1024;

/** Where the browser goes next, and with an origin that is no more the page's. @type {Map<string, number>} */
const tainted = new Map();
const MOST_TAINTED = 256;

/** @param {string} url @returns {string} */
const withoutHash = (url) => url.split("#", 1)[0];

/** One request. */
class Journey {
  /** @type {MixFetchEvent} */ #event;
  /** @type {Rules} */ #rules;
  #abort = new AbortController();
  #origin;
  #client = "";

  /** @param {MixFetchEvent} event @param {Rules} rules */
  constructor(event, rules) {
    this.#event = event;
    this.#rules = rules;
    const { request, clientId } = event;
    const key = `${clientId} ${withoutHash(request.url)}`;
    const times = tainted.get(key) ?? 0;
    if (times > 1) tainted.set(key, times - 1);
    else tainted.delete(key);
    this.#origin = times ? "null" : scope.location.origin;
    request.signal.addEventListener("abort", () => this.#abort.abort(request.signal.reason));
  }

  get signal() {
    return this.#abort.signal;
  }

  /** @returns {Promise<Response>} */
  async answer() {
    const { request, clientId } = this.#event;
    const until = performance.now() + this.#rules.deadline;
    for (;;) {
      const way = await tunnels.way(clientId, request.url, until, this.#rules.pass, this.signal);
      if (typeof way === "string") {
        if (way === "pass") tunnels.pageOf(clientId)?.count({ passed: 1 });
        return fetch(request);
      }
      try {
        return await this.#through(way);
      } catch (error) {
        const lost = error instanceof MixError && LOST.includes(error.code);
        if (!lost) throw error;
        way.line.doubt();
        // Firefox shows no body; its methods have none.
        if (!REPEATABLE.includes(request.method)) throw error;
      }
    }
  }

  /** @param {Way} way @returns {Promise<Response>} */
  async #through({ page, line }) {
    const { request, clientId } = this.#event;
    const { mode, method, credentials } = request;
    const { open, timeouts } = this.#rules;
    if (mode === "no-cors" && request.integrity && !open) {
      throw refusal("integrity", `${request.url}: without crossorigin its integrity cannot be checked`);
    }
    if (mode === "same-origin") throw refusal("mode", `${request.url}: of another origin`);
    // To ask is a trip to another process.
    if (request.referrer === "about:client") this.#client ||= (await scope.clients.get(clientId))?.url ?? "";
    const referer = refererOf(request, this.#client);
    const set = headersOfPage(request);
    const withCookies = credentials === "include" && (mode === "cors" || open);
    const leave = await queue.enter(new URL(request.url).origin, request.destination, this.signal);
    let finish = () => {};
    // A browser stops a Service Worker that has nothing more to do; to be told twice is no harm.
    this.#event.waitUntil(new Promise((resolve) => { finish = () => resolve(undefined); }).then(() => {
      leave();
      page.count({}, -1);
    }));
    page.count({ requests: 1 }, 1);
    (tunnels.pageOf(clientId) ?? page).took(request.url);
    try {
      const connected = Promise.resolve(line);
      if (mode === "cors" && !open) {
        const asked = { url: withoutHash(request.url), method, headers: ofPage(set), origin: this.#origin, credentials: withCookies, referer };
        await this.#alive(preflights.check(asked, (url, init) => fetchThrough(connected, [url, { ...init, timeouts, signal: this.signal }], () => {})), page);
      }
      const stream = request.headers.get("accept") === "text/event-stream";
      const init = {
        headers: headersOf(request, set, this.#origin, referer), redirect: "manual", integrity: "", signal: this.signal,
        cookies: withCookies ? "jar" : "omit", timeouts: stream ? { idle: Infinity, ...timeouts } : timeouts,
      };
      const response = await this.#alive(fetchThrough(connected, [request, init], finish, AHEAD_BYTES), page);
      try {
        return this.#answerOf(response, withCookies);
      } catch (error) {
        void response.body?.cancel().catch(() => {});
        throw error;
      }
    } catch (error) {
      finish();
      throw error;
    }
  }

  /**
   * A page whose main thread stands still carries nothing, and nobody else would notice: a synchronous XMLHttpRequest
   * stops the very page that it waits for.
   * @template T
   * @param {Promise<T>} work
   * @param {Way["page"]} page
   * @returns {Promise<T>}
   */
  async #alive(work, page) {
    let timer = /** @type {ReturnType<typeof setInterval> | undefined} */ (undefined);
    const mute = new Promise((_, reject) => {
      timer = setInterval(() => {
        if (page.silent) {
          reject(new MixError({
            name: "TimeoutExpired", code: "service_mute", phase: "service", message: "the page that has the tunnel stands still", retryable: true,
          }));
        } else page.look();
      }, LOOK_MS);
    });
    try {
      return await Promise.race([work, /** @type {Promise<never>} */ (mute)]);
    } finally {
      clearInterval(timer);
      work.catch(() => {});
    }
  }

  /** @param {MixResponse} response @param {boolean} withCookies @returns {Response} */
  #answerOf(response, withCookies) {
    const { request } = this.#event;
    const { open, unreadable } = this.#rules;
    const cors = request.mode === "cors";
    if (cors && !open) checkCors(response, this.#origin, withCookies);
    const location = response.headers.get("location");
    if (REDIRECTS.includes(response.status) && location) return this.#redirect(response, location);
    let { body } = response;
    let { headers } = response;
    if (open) headers = openly(headers);
    // Of what an element asked for no script sees the headers, and the browser needs them (Content-Range).
    else if (cors) headers = request.destination === "" ? exposed(headers, withCookies) : kept(headers);
    else if (request.destination === "" || request.destination === "report") {
      // A script asked, and may not know what came.
      void body?.cancel().catch(() => {});
      return new Response(null);
    } else {
      checkOpaque(response, request.destination, scope.location.origin);
      if (unreadable) checkCors(response, this.#origin, false);
      headers = kept(headers);
    }
    if (EMPTY.includes(response.status)) body = null;
    return new Response(body, { status: representable(response.status), statusText: printable(response.statusText), headers });
  }

  /** @param {MixResponse} response @param {string} location @returns {Response} */
  #redirect(response, location) {
    const { request, clientId } = this.#event;
    void response.body?.cancel().catch(() => {});
    if (!URL.canParse(location, request.url)) throw mixError("bad_redirect", `${request.url}: its Location is no URL`, "redirect");
    const target = new URL(location, request.url);
    const from = new URL(request.url);
    if (from.protocol === "https:" && target.protocol === "http:") {
      throw mixError("insecure_redirect", `${from.origin} redirects to http:`, "redirect");
    }
    // Fetch 4.4: who was sent on to a third origin comes from nowhere.
    if (request.mode === "cors" && (this.#origin === "null" || target.origin !== from.origin) && target.origin !== scope.location.origin) {
      const key = `${clientId} ${withoutHash(target.href)}`;
      if (tainted.size < MOST_TAINTED) tainted.set(key, (tainted.get(key) ?? 0) + 1);
    }
    return new Response(null, { status: response.status, headers: { location: target.href } });
  }
}

/** @param {[string, string][]} set @returns {[string, string][]} without what EventSource adds, which needs no leave */
const ofPage = (set) => (set.some(([name, value]) => name === "accept" && value === "text/event-stream")
  ? set.filter(([name]) => name !== "last-event-id") : set);

/**
 * @param {MixFetchEvent} event
 * @param {Rules} rules
 * @returns {Promise<Response>} an error of the network where it failed, of which its page is told
 */
export async function carry(event, rules) {
  const { request, clientId } = event;
  const journey = new Journey(event, rules);
  try {
    return await unlessAborted(journey.answer(), journey.signal);
  } catch (error) {
    if (!journey.signal.aborted) tunnels.failed(clientId, request, error);
    return Response.error();
  }
}
