/**
 * `MixEventSource`: the browser's EventSource interface over the mixnet (HTML 9.2), which asks again after a lost
 * connection, with the last event's id.
 *
 * @module
 */

import { baseUrl } from "./base-url.js";
import { closable, ClosableTarget } from "./dispose.js";
import { asInterface, handle, handlerOf } from "./event-handlers.js";
import { EventStreamReader } from "./event-stream.js";

/** @typedef {import("./xml-http-request.js").Fetch} Fetch */

const STATES = /** @type {const} */ ({ CONNECTING: 0, OPEN: 1, CLOSED: 2 });
const { CONNECTING, OPEN, CLOSED } = STATES;
const RECONNECT_MS = 3_000;
/** A server that fails again and again is asked more rarely. */
const MOST_RECONNECT_MS = 30_000;

/** @param {string} text @returns {string} its UTF-8, one character for each byte, as a header carries it */
const asHeader = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** EventSource over the shared tunnel; needs `setupMixTunnel`. */
export class MixEventSource extends ClosableTarget {
  /** @type {0} */ static CONNECTING;
  /** @type {1} */ static OPEN;
  /** @type {2} */ static CLOSED;
  /** What fetches; a class of another network sets its own. @internal @type {Fetch} */
  static transport = () => Promise.reject(new TypeError("MixEventSource: no tunnel"));

  /** @type {URL} */ #url;
  /** @type {boolean} */ #withCredentials;
  /** @type {0 | 1 | 2} */ #readyState = CONNECTING;
  #lastEventId = "";
  #reconnectMs = RECONNECT_MS;
  #failures = 0;
  #controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {unknown} */ #failure = null;

  /**
   * @param {string | URL} url relative to the document
   * @param {{withCredentials?: boolean}} [options]
   */
  constructor(url, options = {}) {
    super();
    if (arguments.length === 0) throw new TypeError("MixEventSource: a URL is needed");
    try {
      this.#url = new URL(`${url}`, baseUrl());
    } catch {
      throw new DOMException(`MixEventSource: ${url} is no URL`, "SyntaxError");
    }
    this.#withCredentials = Boolean(options?.withCredentials);
    void this.#connect();
  }

  get url() { return this.#url.href; }
  get withCredentials() { return this.#withCredentials; }
  get readyState() { return this.#readyState; }
  /** What brought the last `error` event: a `MixError` as a rule; null otherwise. @returns {unknown} */
  get failure() { return this.#failure; }

  /** @returns {((this: MixEventSource, event: Event) => unknown) | null} */
  get onopen() { return handlerOf(this, "open"); }
  set onopen(handler) { handle(this, "open", handler); }
  /** @returns {((this: MixEventSource, event: MessageEvent) => unknown) | null} */
  get onmessage() { return handlerOf(this, "message"); }
  set onmessage(handler) { handle(this, "message", handler); }
  /** @returns {((this: MixEventSource, event: Event) => unknown) | null} */
  get onerror() { return handlerOf(this, "error"); }
  set onerror(handler) { handle(this, "error", handler); }

  close() {
    this.#readyState = CLOSED;
    clearTimeout(this.#timer);
    this.#controller.abort();
  }

  async #connect() {
    const { signal } = (this.#controller = new AbortController());
    /** @type {Response} */ let response;
    try {
      response = await /** @type {typeof MixEventSource} */ (this.constructor).transport(this.url, {
        headers: [
          ["Accept", "text/event-stream"],
          ["Cache-Control", "no-cache"],
          ...(this.#lastEventId ? [/** @type {[string, string]} */ (["Last-Event-ID", asHeader(this.#lastEventId)])] : []),
        ],
        credentials: this.#withCredentials ? "include" : "same-origin",
        cache: "no-store",
        timeouts: { idle: Infinity, total: Infinity }, // a stream may have nothing to say for hours
        signal,
      });
    } catch (error) {
      if (signal.aborted) return;
      this.#again(error);
      return;
    }
    if (signal.aborted) return;
    const type = (response.headers.get("content-type") ?? "").split(";", 1)[0].trim().toLowerCase();
    if (response.status !== 200 || type !== "text/event-stream") {
      this.close();
      this.#tellError(new TypeError(`MixEventSource: ${this.url} answered with status ${response.status} and type "${type}"`));
      return;
    }
    this.#failures = 0;
    this.#readyState = OPEN;
    this.dispatchEvent(new Event("open"));
    if (signal.aborted) return;
    await this.#listen(response, signal);
  }

  /**
   * @param {Response} response
   * @param {AbortSignal} signal
   */
  async #listen(response, signal) {
    const stream = new EventStreamReader(this.#lastEventId);
    const { origin } = new URL(response.url || this.url);
    let failure = null;
    try {
      const reader = response.body?.getReader();
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
        if (signal.aborted) return;
        if (done) break;
        const events = stream.read(value);
        this.#lastEventId = stream.lastEventId;
        if (stream.retry !== null) this.#reconnectMs = stream.retry;
        for (const { type, data, lastEventId } of events) {
          this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin }));
          if (signal.aborted) return;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      failure = error;
    }
    this.#again(failure);
  }

  /** The connection was lost, or could not be made. @param {unknown} failure */
  #again(failure) {
    this.#readyState = CONNECTING;
    const wait = Math.max(this.#reconnectMs, Math.min(this.#reconnectMs * 2 ** this.#failures, MOST_RECONNECT_MS));
    if (failure) this.#failures += 1;
    this.#timer = setTimeout(() => void this.#connect(), wait);
    this.#tellError(failure);
  }

  /** @param {unknown} failure */
  #tellError(failure) {
    this.#failure = failure;
    this.dispatchEvent(new Event("error"));
  }
}

closable(MixEventSource, (source) => source.close());
asInterface(MixEventSource, "MixEventSource", STATES, ["url", "withCredentials", "readyState", "onopen", "onmessage", "onerror", "close"]);
Object.defineProperty(MixEventSource, "transport", { enumerable: false });
