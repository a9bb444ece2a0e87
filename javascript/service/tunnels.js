/**
 * Which pages have lent their tunnel, and which of them a request goes through.
 *
 * A page that has introduced itself uses its own tunnel alone. Others (frames, workers, pages that do not load our code)
 * use that of the page that came last. All of this is forgotten whenever the browser stops the Service Worker; then the
 * pages are asked anew.
 *
 * @module
 */

import { detailOf, MixError } from "../page/errors.js";
import { MAINNET_DIRECTORY, pageLock, SPEECH } from "../shared/service.js";
import { PortLine } from "./port-line.js";

/** @typedef {import("../shared/service.js").SaidByService} SaidByService */
/** @typedef {import("../shared/service.js").MixServiceCounts} MixServiceCounts */

const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));

/** A page that is loading has this long to say what it is; then it gets another page's tunnel. */
const INTRODUCTION_MS = 2_000;
/** For a page whose tunnel is in use to show that its main thread does not stand still. */
const SILENCE_MS = 10_000;
/** Between two questions to the pages. */
const ASK_MS = 500;
/** And when nothing has come of one. */
const ASK_AGAIN_MS = 3_000;
const MOST_DIRECT = 64;
/** Between two reports to a page. */
const REPORT_MS = 200;

/** @param {string} message @returns {MixError} */
const lost = (message) =>
  new MixError({ name: "NetworkError", code: "tunnel_moved", phase: "service", message, retryable: true });

/** What a page without a tunnel of its own, or without any page, waits for in vain. @returns {MixError} */
const none = () => new MixError({
  name: "TimeoutExpired", code: "tunnel_timeout", phase: "service", message: "no page of this site has set up a tunnel in time", retryable: true,
});

class Page {
  /** @type {PortLine | null} */ line = null;
  /** @type {string[]} */ direct = [];
  gone = new AbortController();
  /** @type {MixServiceCounts} */ #counts = { requests: 0, bytes: 0, blocked: 0, passed: 0 };
  #open = 0;
  /** @type {string[]} */ #urls = [];
  /** When it was asked for a sign of life, null once it gave one. @type {number | null} */ #looked = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #reported = -Infinity;

  /** @param {string} name @param {Client} client */
  constructor(name, client) {
    this.name = name;
    this.client = client;
  }

  /** @param {SaidByService} message */
  tell(message) {
    this.client.postMessage({ speech: SPEECH, ...message });
  }

  /** Ask it for a sign of life. */
  look() {
    this.#looked ??= performance.now();
    this.tell({ type: "there" });
  }

  /** It gave one. */
  seen() {
    this.#looked = null;
  }

  /** It has not answered in time. */
  get silent() {
    return this.#looked !== null && performance.now() > this.#looked + SILENCE_MS;
  }

  /** A request was taken: it has not gone another way. @param {string} url */
  took(url) {
    this.#urls.push(url);
    this.count({});
  }

  /** @param {Partial<MixServiceCounts>} more @param {number} [open] requests that began, less those that ended */
  count(more, open = 0) {
    for (const [name, value] of Object.entries(more)) this.#counts[/** @type {keyof MixServiceCounts} */ (name)] += value;
    this.#open += open;
    // The first of many at once: a page that is told of each has less time for what carries them.
    this.#timer ??= setTimeout(() => this.report(), Math.max(this.#reported + REPORT_MS - performance.now(), 0));
  }

  /** What came since the last time. */
  report() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#reported = performance.now();
    this.tell({ type: "counted", counts: this.#counts, urls: this.#urls.splice(0), open: this.#open });
    this.#counts = { requests: 0, bytes: 0, blocked: 0, passed: 0 };
  }
}

/** @typedef {{page: Page, line: PortLine}} Way */

class Tunnels {
  #worker = crypto.randomUUID();
  /** By client, the one that came last at the end. @type {Map<string, Page>} */ #pages = new Map();
  /** @type {Set<() => void>} */ #waiting = new Set();
  /** When clients that have not introduced themselves were first met. @type {Map<string, number>} */ #met = new Map();
  #asked = -Infinity;
  /** Of tunnels that come up. @type {string[]} */ #direct = MAINNET_DIRECTORY;

  #changed() {
    for (const wake of [...this.#waiting]) wake();
  }

  /**
   * @param {Client} client
   * @param {import("../shared/service.js").ToService} message
   * @param {MessagePort | undefined} port
   */
  receive(client, message, port) {
    const known = this.#pages.get(client.id);
    known?.seen();
    if (message.type === "direct") this.#direct = [...message.direct, ...this.#direct].slice(0, MOST_DIRECT);
    if (message.type === "bye") this.#gone(client.id, message.page);
    if (message.type === "direct") this.#changed();
    if (message.type !== "hello") return;
    if (known && known.name !== message.page) this.#gone(client.id, known.name);
    const page = this.#pages.get(client.id) ?? this.#introduced(client, message.page);
    page.direct = message.direct.slice(0, MOST_DIRECT);
    if (port) {
      page.line?.end(lost("the page has another tunnel"));
      page.line = new PortLine(port, () => this.#changed(), (bytes) => page.count({ bytes }));
      this.#pages.delete(client.id);
      this.#pages.set(client.id, page);
    }
    page.report();
    page.tell({ type: "welcome", worker: this.#worker });
    this.#changed();
  }

  /** @param {Client} client @param {string} name @returns {Page} */
  #introduced(client, name) {
    const page = new Page(name, client);
    this.#pages.set(client.id, page);
    this.#met.delete(client.id);
    navigator.locks.request(pageLock(name), { signal: page.gone.signal }, () => this.#gone(client.id, name)).catch(() => {});
    return page;
  }

  /** @param {string} id @param {string} name */
  #gone(id, name) {
    const page = this.#pages.get(id);
    if (page?.name !== name) return;
    this.#pages.delete(id);
    page.gone.abort();
    page.line?.end(lost("the page that had the tunnel is gone"));
    this.#changed();
  }

  /** @param {string} client @returns {Page | undefined} */
  pageOf(client) {
    return this.#pages.get(client);
  }

  /**
   * A request has ended in an error of the network: its page learns why.
   * @param {string} id of the client
   * @param {Request} request
   * @param {unknown} error
   */
  failed(id, { url, destination }, error) {
    const page = this.#pages.get(id) ?? this.#last();
    page?.took(url);
    page?.count({ blocked: 1 });
    page?.tell({ type: "failed", url, destination, error: detailOf(error) });
  }

  /** @param {string} url @returns {boolean} a tunnel needs it to come up */
  isDirect(url) {
    const begins = (/** @type {string} */ beginning) => URL.canParse(beginning) && url.startsWith(new URL(beginning).href);
    return this.#direct.some(begins) || [...this.#pages.values()].some(({ direct }) => direct.some(begins));
  }

  /** Who is there, and with which tunnel? */
  async #ask() {
    if (performance.now() < this.#asked + ASK_MS) return;
    this.#asked = performance.now();
    for (const client of await scope.clients.matchAll({ type: "window" })) {
      client.postMessage({ speech: SPEECH, type: "wanted", worker: this.#worker });
    }
  }

  /** @returns {Page | undefined} */
  #last() {
    return [...this.#pages.values()].reverse().find(({ line }) => line?.up);
  }

  /**
   * @param {string} id of the client that asks
   * @param {string} url
   * @param {number} until `performance.now()` at which it is too late
   * @param {boolean} pass whether there is another way
   * @param {AbortSignal} signal
   * @returns {Promise<Way | "direct" | "pass">}
   */
  async way(id, url, until, pass, signal) {
    const client = this.#pages.has(id) ? undefined : await scope.clients.get(id);
    const alone = client?.type === "window" && /** @type {any} */ (client).frameType !== "nested";
    for (;;) {
      signal.throwIfAborted();
      if (this.isDirect(url)) return "direct";
      const own = this.#pages.get(id);
      const now = performance.now();
      let patience = Infinity;
      if (!own) {
        if (!this.#met.has(id)) this.#met.set(id, now);
        patience = alone || this.#pages.size === 0 ? (this.#met.get(id) ?? now) + INTRODUCTION_MS : now;
      }
      const page = own ?? (patience <= now ? this.#last() : undefined);
      if (page?.line?.up) return { page, line: page.line };
      const coming = own ? own.line?.coming : [...this.#pages.values()].some(({ line }) => line?.coming);
      if (pass && !coming && (own || patience <= now)) return "pass";
      if (now >= until) throw none();
      void this.#ask();
      await this.#change(Math.min(until, patience > now ? patience : until, now + ASK_AGAIN_MS) - now, signal);
    }
  }

  /** @param {number} ms at most @param {AbortSignal} signal @returns {Promise<void>} */
  #change(ms, signal) {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.max(ms, 0));
      signal.addEventListener("abort", wake);
      this.#waiting.add(wake);
    });
  }
}

export const tunnels = new Tunnels();
