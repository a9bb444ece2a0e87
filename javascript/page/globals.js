/**
 * The tunnel in the place of the page's own network functions, so that code that was written for these goes through the
 * mixnet unchanged.
 *
 * Only what a script of this page calls by its name can be caught: not pictures, styles, scripts, frames, WebRTC, nor what
 * other workers do; docs/whole-pages.md names the Content-Security-Policy that forbids it.
 *
 * @module
 */

import { mixFetch, MixWebSocket } from "./index.js";
import { baseUrl } from "./base-url.js";
import { isRequest } from "./brands.js";
import { MixEventSource } from "./event-source.js";
import { MixXMLHttpRequest, MixXMLHttpRequestUpload } from "./xml-http-request.js";
import { matcherOf } from "../shared/matcher.js";

export { MixEventSource, MixXMLHttpRequest, MixXMLHttpRequestUpload };

/** @typedef {import("../shared/matcher.js").MixMatcher} MixMatcher */

/**
 * @typedef {object} InstallOptions
 * @property {MixMatcher | MixMatcher[]} [match] URLs that go through the tunnel, all by default; the rest goes the browser's way
 * @property {boolean} [fetch] default true, as the others
 * @property {boolean} [XMLHttpRequest]
 * @property {boolean} [WebSocket]
 * @property {boolean} [EventSource]
 * @property {boolean} [sendBeacon]
 */

/** @typedef {"fetch" | "XMLHttpRequest" | "WebSocket" | "EventSource" | "sendBeacon"} MixGlobal */

const NAMES = /** @type {const} */ (["fetch", "XMLHttpRequest", "WebSocket", "EventSource", "sendBeacon"]);
const MOST_BEACON_BYTES = 64 << 10;
/** What these name never leaves the browser. */
const LOCAL = ["data:", "blob:", "about:"];

/** As they were when this file was loaded. */
const nativeFetch = globalThis.fetch.bind(globalThis);
const NativeWebSocket = globalThis.WebSocket;
const nativeBeacon = globalThis.navigator?.sendBeacon?.bind(navigator);

/** @type {(url: URL) => boolean} */
let matches = () => false;
/** What stood where ours stands now. @type {Map<MixGlobal, {target: object, before: PropertyDescriptor | undefined, ours: unknown}>} */
const replaced = new Map();

/** @param {unknown} address @returns {boolean} what is no URL is refused, in the tunnel's words */
function through(address) {
  const text = `${address}`;
  const base = baseUrl();
  if (!URL.canParse(text, base)) return true;
  const url = new URL(text, base);
  return !LOCAL.includes(url.protocol) && matches(url);
}

MixXMLHttpRequest.transport = mixFetch;
MixEventSource.transport = mixFetch;
/** @type {import("./xml-http-request.js").Fetch} */
const routed = (url, init) => (through(url) ? mixFetch : nativeFetch)(url, init);

/**
 * @param {RequestInfo | URL} input
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
function fetchGlobal(input, init = undefined) {
  const way = through(isRequest(input) ? input.url : input) ? mixFetch : nativeFetch;
  return way(.../** @type {[RequestInfo | URL]} */ (/** @type {unknown} */ (arguments)));
}

class RoutedXMLHttpRequest extends MixXMLHttpRequest {
  static transport = routed;
}

class RoutedEventSource extends MixEventSource {
  static transport = routed;
}

class RoutedWebSocket extends MixWebSocket {
  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   */
  constructor(url, protocols = []) {
    if (arguments.length > 0 && !through(url)) return /** @type {any} */ (new NativeWebSocket(url, protocols));
    super(.../** @type {[string]} */ (/** @type {unknown} */ (arguments.length === 0 ? [] : [url, protocols])));
    /** @type {MixWebSocket} */ (this).binaryType = "blob"; // the standard's default
  }

  /** @param {unknown} value */
  static [Symbol.hasInstance](value) {
    return value instanceof NativeWebSocket || value instanceof MixWebSocket;
  }
}

/**
 * Sent when there is time; nobody learns how it went.
 * @param {string | URL} url
 * @param {BodyInit | null} [data]
 * @returns {boolean} false: too large
 */
function beaconGlobal(url, data = null) {
  if (!through(url)) return nativeBeacon?.(url, data) ?? false;
  const request = new Request(new URL(url, baseUrl()), { method: "POST", body: data });
  const size = typeof data === "string" ? new TextEncoder().encode(data).length
    : /** @type {any} */ (data)?.size ?? /** @type {any} */ (data)?.byteLength ?? 0;
  if (size > MOST_BEACON_BYTES) return false;
  mixFetch(request).then((response) => response.body?.cancel()).catch(() => {});
  return true;
}

for (const [type, name] of /** @type {[Function, string][]} */ ([[fetchGlobal, "fetch"], [beaconGlobal, "sendBeacon"],
  [RoutedXMLHttpRequest, "XMLHttpRequest"], [RoutedEventSource, "EventSource"], [RoutedWebSocket, "WebSocket"]])) {
  Object.defineProperty(type, "name", { value: name, configurable: true });
}

/** @type {Record<MixGlobal, unknown>} */
const OURS = {
  fetch: fetchGlobal,
  XMLHttpRequest: RoutedXMLHttpRequest,
  WebSocket: RoutedWebSocket,
  EventSource: RoutedEventSource,
  sendBeacon: beaconGlobal,
};

/**
 * Put the tunnel's functions and classes in the place of the page's. Called again, it takes the new options. What is made
 * before the tunnel is set up fails with `tunnel_down`; it never goes another way.
 * @param {InstallOptions} [options]
 * @returns {MixGlobal[]} what stands in its place now
 */
export function install(options = {}) {
  const unknown = Object.keys(options).find((name) => name !== "match" && !NAMES.includes(/** @type {any} */ (name)));
  if (unknown !== undefined) throw new TypeError(`install: there is no option ${unknown}`);
  const wanted = matcherOf(options.match, "install");
  uninstall();
  matches = wanted;
  for (const name of NAMES) {
    const target = name === "sendBeacon" ? globalThis.navigator : globalThis;
    if (options[name] === false || !target || !(name in target)) continue;
    replaced.set(name, { target, before: Object.getOwnPropertyDescriptor(target, name), ours: OURS[name] });
    Object.defineProperty(target, name, { value: OURS[name], writable: true, enumerable: true, configurable: true });
  }
  return [...replaced.keys()];
}

/**
 * Give the page its own functions back. Where another script has put its own in the place since, that stays; what it calls
 * of ours goes the browser's way from now on.
 */
export function uninstall() {
  matches = () => false;
  for (const [name, { target, before, ours }] of replaced) {
    if (Reflect.get(target, name) !== ours) continue;
    if (before) Object.defineProperty(target, name, before);
    else Reflect.deleteProperty(target, name);
  }
  replaced.clear();
}
