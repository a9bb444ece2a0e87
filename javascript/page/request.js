/**
 * What a fetch was asked for: one pass over `input` and `init`, with the order and the refusals of the browser's own.
 *
 * A real `Request` is made of them, so that whatever `fetch` refuses is refused, in its words. It reads `init` through a
 * proxy: each member once, by the browser's hand, and what a `Request` does not show again is kept, that is the body as it
 * was given and the names of headers as they were written. `cache`, `keepalive`, `mode`, `priority`, `referrer`,
 * `referrerPolicy` and `window` have no meaning in a tunnel.
 *
 * @module
 */

import { baseUrl } from "./base-url.js";
import { bodyOf } from "./body.js";
import { isObject, isRequest, isSignal, isStream, sequenceOf } from "./brands.js";
import { checkIsolation } from "./isolation.js";

/** @typedef {import("./body.js").RequestBody} RequestBody */
/** @typedef {import("./fetch.js").MixFetchInit} MixFetchInit */
/** @typedef {import("./fetch.js").MixProgress} MixProgress */
/** @typedef {import("../shared/messages.js").FetchRequest} FetchRequest */
/** @typedef {import("../shared/messages.js").HeaderPair} HeaderPair */

/** Engines that cannot send a stream make text of it. */
const SENDS_STREAMS = !new Request("data:,", /** @type {RequestInit} */ ({ method: "POST", body: new ReadableStream(), duplex: "half" }))
  .headers.has("content-type");
/** Of a member that only we have. */
const COOKIES = ["omit", "jar"];
const PAIRS = "mixFetch: headers are pairs of texts";

/** @param {string} text @returns {TypeError} */
const refused = (text) => new TypeError(`mixFetch: ${text}`);

/**
 * Only the bytes of the body may take a while.
 * @typedef {object} Described
 * @property {URL} url
 * @property {Omit<FetchRequest, "streaming" | "length">} request
 * @property {AbortSignal} signal follows that of the caller
 * @property {RequestBody} body
 * @property {((progress: MixProgress) => void) | null} onProgress
 */

/**
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit | null | undefined} init
 * @returns {Described}
 */
export function describe(input, init) {
  /** Members of `init` as they were read. @type {Record<string, any>} */
  const read = {};
  const address = isRequest(input) ? input : addressOf(`${input}`);
  // A Request holds no credentials in its URL. Where the address is none, it says so.
  const asked = new Request(/** @type {RequestInfo} */ (address instanceof URL ? withoutCredentials(address) : address), recorded(init, read));
  const url = address instanceof URL ? address : new URL(asked.url);
  const extras = extrasOf(init ?? {}, asked.credentials);
  const headers = headersOf(asked, read.headers);
  // The last step: a body that is a stream is locked by it.
  const body = bodyOf(read.body ?? null, asked);
  url.hash = "";
  const { method, redirect, integrity, signal } = asked;
  return { url, request: { ...extras.request, method, redirect, integrity, headers, url: url.href }, signal, body, onProgress: extras.onProgress };
}

/** @param {string} text @returns {URL | string} the text where it is no address */
function addressOf(text) {
  try {
    return new URL(text, baseUrl());
  } catch {
    return text;
  }
}

/** @param {URL} url @returns {string} without what only its server may know */
export function withoutCredentials(url) {
  const bare = new URL(url);
  bare.username = bare.password = "";
  return bare.href;
}

/**
 * @param {unknown} init
 * @param {Record<string, unknown>} read takes what is read of it
 * @returns {RequestInit | undefined}
 */
function recorded(init, read) {
  if (!isObject(init)) return /** @type {undefined} */ (init);
  return new Proxy({}, {
    get(_, name) {
      let value = Reflect.get(init, name);
      if (name === "headers") value = pairsOf(value);
      if (name === "duplex" && value === undefined && isStream(read.body)) value = "half";
      // WebKit takes anything for one.
      if (name === "signal" && value != null && !isSignal(value)) throw refused("signal must be an AbortSignal");
      read[String(name)] = value;
      return name === "body" && isStream(value) && !SENDS_STREAMS ? null : value;
    },
  });
}

/**
 * Web IDL's conversion of what may be a sequence or a record, once: an iterator gives its items to nobody else.
 * @param {any} given
 * @returns {unknown} pairs of texts, or what is neither
 */
function pairsOf(given) {
  if (!isObject(given)) return given;
  const iterate = given[Symbol.iterator];
  const textsOf = (/** @type {any} */ pair) => sequenceOf(pair, pair?.[Symbol.iterator], (part) => `${part}`, PAIRS);
  if (iterate != null) return sequenceOf(given, iterate, textsOf, PAIRS);
  const pairs = [];
  for (const name of Reflect.ownKeys(given)) {
    const own = Reflect.getOwnPropertyDescriptor(given, name);
    if (own?.enumerable) pairs.push([`${/** @type {string} */ (name)}`, `${given[name]}`]);
  }
  return pairs;
}

/**
 * Sorted and combined as `Headers` does. Over HTTP/1.1 a name is sent as the caller wrote it first; where a `Headers` or a
 * `Request` was given nobody can know that. Which ones a caller may not set, the worker knows.
 * @param {Request} asked
 * @param {[string, string][] | undefined} pairs of `init`
 * @returns {HeaderPair[]}
 */
function headersOf(asked, pairs) {
  const headers = new Headers(pairs ?? asked.headers);
  const type = asked.headers.get("content-type");
  if (type !== null && !headers.has("content-type")) headers.set("content-type", type);
  const names = new Map([["content-type", "Content-Type"]]);
  for (const [name] of [...(pairs ?? [])].reverse()) names.set(name.toLowerCase(), name);
  return Array.from(headers, ([name, value]) => [names.get(name) ?? name, value]);
}

/**
 * The members that only we have.
 * @param {MixFetchInit} init
 * @param {RequestCredentials} credentials
 */
function extrasOf(init, credentials) {
  const { cookies, maxRedirects, allowInsecureRedirects, timeouts, isolation, onProgress = null } = init;
  if (cookies !== undefined && !COOKIES.includes(cookies)) throw refused(`cookies cannot be ${JSON.stringify(cookies)}`);
  if (onProgress !== null && typeof onProgress !== "function") throw refused("onProgress must be a function");
  const request = {
    maxRedirects: countOf(maxRedirects, "maxRedirects"),
    allowInsecureRedirects: Boolean(allowInsecureRedirects),
    cookies: cookies ?? cookiesOf(credentials),
    timeouts: timeoutsOf(timeouts),
    progress: onProgress !== null,
    isolation: checkIsolation(isolation),
  };
  return { request, onProgress };
}

/** @param {RequestCredentials} credentials @returns {"omit" | "jar" | null} */
function cookiesOf(credentials) {
  // "same-origin" is the default of every Request, and behind the tunnel no origin is the page's.
  if (credentials === "include") return "jar";
  return credentials === "omit" ? "omit" : null;
}

/** @param {unknown} value @param {string} name @returns {number | null} */
function countOf(value, name) {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  throw refused(`${name} must be a whole number`);
}

/** @param {unknown} given @returns {Record<string, number> | null} */
function timeoutsOf(given) {
  if (given === undefined || given === null) return null;
  if (typeof given !== "object") throw refused("timeouts is an object of milliseconds by phase");
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [name, value] of entries) {
    if (typeof value !== "number" || !(value > 0)) throw refused(`timeouts.${name} must be a number of milliseconds`);
  }
  return Object.fromEntries(entries);
}
