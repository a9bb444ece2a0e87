/**
 * What may be said about a socket, checked the way Direct Sockets do: a bad value is a `TypeError`, before anything
 * is sent.
 *
 * @module
 */

import { isArrayBuffer, isSignal } from "./brands.js";

/** @typedef {import("../shared/messages.js").TlsRequest} TlsRequest */

/** @typedef {"ipv4" | "ipv6"} SocketDnsQueryType */

/**
 * TLS on a TCP connection. Certificates are always checked.
 * @typedef {object} TlsOptions
 * @property {string} [serverName] for SNI and the certificate; default: the host connected to
 * @property {string[]} [alpn] protocols offered, the preferred one first
 * @property {string | string[]} [caCertificates] PEM roots trusted besides the others
 * @property {boolean} [defaultRoots] default true; false: trust `caCertificates` alone
 */

/**
 * How long a step of opening may take, in milliseconds; `Infinity`: no limit.
 * @typedef {{dns?: number, connect?: number, tls?: number, total?: number}} SocketTimeouts
 */

const MAX_SIZE = 2 ** 32 - 1;
const MIN_KEEP_ALIVE_MS = 1_000;
const PHASES = ["dns", "connect", "tls", "total"];

/**
 * @param {unknown} value
 * @param {number} low
 * @param {number} high
 * @param {string} name
 * @returns {number}
 */
export function checkInteger(value, low, high, name) {
  if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
  throw new TypeError(`${name} is ${String(value)}, not a whole number of ${low} to ${high}`);
}

/**
 * @param {unknown} value
 * @param {string} [name]
 * @returns {number}
 */
export function checkPort(value, name = "port") {
  return checkInteger(value, 1, 65535, name);
}

/**
 * @param {unknown} value
 * @param {string} [name]
 * @returns {string}
 */
export function checkHost(value, name = "remoteAddress") {
  const host = String(value);
  if (value === undefined || value === null || host === "") throw new TypeError(`${name} is a name or an IP address`);
  return host;
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {number | null}
 */
export function checkSize(value, name) {
  return value === undefined ? null : checkInteger(value, 1, MAX_SIZE, name);
}

/**
 * @param {unknown} value
 * @returns {number | null}
 */
export function checkKeepAlive(value) {
  return value === undefined ? null : checkInteger(value, MIN_KEEP_ALIVE_MS, MAX_SIZE, "keepAliveDelay");
}

/**
 * @param {unknown} value
 * @returns {4 | 6 | null}
 */
export function checkFamily(value) {
  if (value === undefined) return null;
  if (value === "ipv4") return 4;
  if (value === "ipv6") return 6;
  throw new TypeError(`dnsQueryType is "ipv4" or "ipv6", not ${JSON.stringify(value)}`);
}

/**
 * @param {unknown} value
 * @returns {AbortSignal | null}
 */
export function checkSignal(value) {
  if (value === undefined || value === null) return null;
  if (isSignal(value)) return value;
  throw new TypeError("signal is an AbortSignal");
}

/**
 * @param {unknown} value
 * @returns {Record<string, number>}
 */
export function checkTimeouts(value) {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null) throw new TypeError("timeouts is an object of milliseconds");
  /** @type {Record<string, number>} */
  const checked = {};
  for (const [phase, limit] of Object.entries(value)) {
    if (!PHASES.includes(phase)) throw new TypeError(`timeouts has ${PHASES.join(", ")}, not ${phase}`);
    if (limit === undefined) continue;
    if (!(typeof limit === "number" && limit >= 1)) throw new TypeError(`timeouts.${phase} is milliseconds, at least 1`);
    checked[phase] = limit;
  }
  return checked;
}

/**
 * @param {unknown} list
 * @param {string} name
 * @returns {string[]}
 */
function strings(list, name) {
  if (Array.isArray(list) && list.every((item) => typeof item === "string")) return [...list];
  throw new TypeError(`${name} is a list of strings`);
}

/**
 * @param {boolean | TlsOptions | undefined} value
 * @returns {TlsRequest | null}
 */
export function checkTls(value) {
  if (value === undefined || value === false) return null;
  const given = value === true ? {} : value;
  if (typeof given !== "object" || given === null) throw new TypeError("tls is true, false or an object");
  const { serverName, alpn = [], caCertificates = [], defaultRoots = true } = given;
  if (serverName !== undefined && (typeof serverName !== "string" || !serverName)) throw new TypeError("tls.serverName is a name");
  if (typeof defaultRoots !== "boolean") throw new TypeError("tls.defaultRoots is true or false");
  return {
    serverName: serverName ?? null,
    alpn: strings(alpn, "tls.alpn"),
    caCertificates: typeof caCertificates === "string" ? [caCertificates] : strings(caCertificates, "tls.caCertificates"),
    defaultRoots,
  };
}

/**
 * The bytes of a buffer or view, not copied.
 * @param {unknown} data
 * @param {string} what
 * @returns {Uint8Array}
 */
export function bytesOf(data, what) {
  if (isArrayBuffer(data)) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError(`${what} is an ArrayBuffer or a view of one`);
}
