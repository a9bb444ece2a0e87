/**
 * What `MixWebSocket` is given, converted and checked as the WebSockets Standard and Web IDL have it.
 *
 * @module
 */

import { baseUrl } from "./base-url.js";
import { isObject, isSignal, sequenceOf } from "./brands.js";
import { checkIsolation } from "./isolation.js";

/** @typedef {import("../shared/messages.js").HeaderPair} HeaderPair */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MAX_REASON_BYTES = 123;

const encoder = new TextEncoder();

/**
 * @param {string} text
 * @returns {{text: string, bytes: number}} as a USVString, in which lone surrogates are replaced; its length in UTF-8
 */
export function scalarText(text) {
  const encoded = encoder.encode(text);
  const ascii = encoded.length === text.length;
  return { text: ascii ? text : new TextDecoder("utf-8", { ignoreBOM: true }).decode(encoded), bytes: encoded.length };
}

/**
 * @param {string} input
 * @returns {URL}
 */
export function urlOf(input) {
  let url;
  try {
    url = new URL(input, baseUrl());
  } catch {
    throw new DOMException(`${input} is not a URL`, "SyntaxError");
  }
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new DOMException(`a WebSocket URL starts with ws: or wss:, not ${url.protocol}`, "SyntaxError");
  }
  if (url.hash || url.href.endsWith("#")) throw new DOMException("a WebSocket URL has no fragment", "SyntaxError");
  return url;
}

/**
 * Text is one subprotocol; what can be iterated, several. Only the conversion: it comes before the URL is looked at.
 * @param {any} given
 * @returns {string[]}
 */
export function textsOf(given) {
  if (given === undefined) return [];
  const iterate = isObject(given) ? given[Symbol.iterator] : null;
  if (iterate == null) return [`${given}`];
  return sequenceOf(given, iterate, (name) => `${name}`, "MixWebSocket: subprotocols are texts");
}

/**
 * @param {string[]} protocols
 */
export function checkProtocols(protocols) {
  if (!protocols.every((name) => TOKEN.test(name)) || new Set(protocols).size !== protocols.length) {
    throw new DOMException("subprotocols are distinct tokens", "SyntaxError");
  }
}

/**
 * @param {unknown} code undefined: none
 * @param {unknown} reason
 * @returns {{code: number | null, reason: string}}
 */
export function closeArguments(code, reason) {
  const number = code === undefined ? null : clampedShort(code);
  const given = reason === undefined ? { text: "", bytes: 0 } : scalarText(`${reason}`);
  if (number !== null && number !== 1000 && !(number >= 3000 && number <= 4999)) {
    throw new DOMException(`close code ${number} is not 1000 or 3000 to 4999`, "InvalidAccessError");
  }
  if (given.bytes > MAX_REASON_BYTES) {
    throw new DOMException(`a close reason has at most ${MAX_REASON_BYTES} bytes`, "SyntaxError");
  }
  return { code: number, reason: given.text };
}

/**
 * Web IDL's `[Clamp] unsigned short`.
 * @param {unknown} value
 * @returns {number}
 */
function clampedShort(value) {
  const number = Math.min(Math.max(Number(+/** @type {any} */ (value)), 0), 65535);
  if (Number.isNaN(number)) return 0;
  const down = Math.floor(number);
  const rest = number - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/**
 * How long the phases may take, in milliseconds; `Infinity`: for ever. What is not named is as the tunnel's option says.
 * @typedef {object} MixWebSocketTimeouts
 * @property {number} [queue] waiting for others that are being opened to the same host; default 300 000
 * @property {number} [dns]
 * @property {number} [connect]
 * @property {number} [tls]
 * @property {number} [response] from the request of the opening handshake to the server's answer; default 120 000
 * @property {number} [total] everything until the connection is open; default 120 000
 * @property {number} [idle] without a byte of the server, which is sent a ping after half of it; default Infinity
 * @property {number} [close] the closing handshake; default 30 000
 */

/**
 * What a `WebSocket` has not.
 * @typedef {object} MixWebSocketOptions
 * @property {HeadersInit} [headers] of the opening handshake, besides its own
 * @property {AbortSignal | null} [signal] ends it at once, connecting or open
 * @property {MixWebSocketTimeouts} [timeouts]
 * @property {string | null} [isolation] as of `mixFetch`
 */

/**
 * @param {unknown} given what is no object is a stray argument, of which a `WebSocket` takes no notice
 * @returns {{headers: HeaderPair[], signal: AbortSignal | null, timeouts: Record<string, number> | null,
 *   isolation: string | null}}
 */
export function optionsOf(given) {
  const options = typeof given === "object" && given !== null ? given : {};
  const { headers, signal = null, timeouts, isolation } = /** @type {MixWebSocketOptions} */ (options);
  if (signal !== null && !isSignal(signal)) throw new TypeError("MixWebSocket: signal must be an AbortSignal");
  if (timeouts !== undefined && (typeof timeouts !== "object" || timeouts === null)) {
    throw new TypeError("MixWebSocket: timeouts is an object of milliseconds by phase");
  }
  const limits = Object.entries(timeouts ?? {}).filter(([, value]) => value !== undefined);
  for (const [name, value] of limits) {
    if (typeof value !== "number" || !(value > 0)) throw new TypeError(`MixWebSocket: timeouts.${name} must be a number of milliseconds`);
  }
  return { headers: [...new Headers(headers)], signal, timeouts: limits.length ? Object.fromEntries(limits) : null, isolation: checkIsolation(isolation) };
}
