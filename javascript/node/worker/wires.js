/**
 * The leak guard below JavaScript's own interfaces: which hosts a socket of this thread may connect to.
 *
 * In a browser code has `fetch`, `WebSocket` and their like; in Node.js it can open sockets by itself. Modules of Node.js
 * are one set for each thread, and what its `fetch` and its `WebSocket` open goes through them. So here every connection is
 * looked at, and only those pass that the tunnel's two doors (worker/guard.js) have asked for: directory and gateway. Names
 * are looked up for these alone, and there is no UDP, no other process and no further thread.
 *
 * @module
 */

import childProcess from "node:child_process";
import dgram from "node:dgram";
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import threads from "node:worker_threads";
import { BlockedRequest } from "../../worker/guard.js";

/** Host and port, as in URLs. @type {Set<string>} */
const places = new Set();
/** @type {Set<string>} */
const names = new Set();
let stopped = 0;

const PORTS = new Map([["http:", 80], ["ws:", 80], ["https:", 443], ["wss:", 443]]);

/** @param {string} hostname of a URL @returns {string} as sockets have it */
const bare = (hostname) => hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();

/** The tunnel asks for this address: a socket may be opened to it from now on. @param {string | URL} url */
export function permit(url) {
  const { protocol, hostname, port } = new URL(url);
  const name = bare(hostname);
  places.add(`${name} ${port || PORTS.get(protocol)}`);
  names.add(name);
}

/** @type {(text: string) => void} */
let tell = (text) => console.error(`smolmix: ${text}`);

/** How many connections were stopped. */
export const stoppedWires = () => stopped;

const nativeConnect = net.Socket.prototype.connect;

/**
 * Hold a name of this machine until it is closed, or this program ends. No data comes or goes by it.
 * @param {string} name path of a socket, or of a pipe
 * @returns {Promise<net.Server | null>} null: something is there
 */
export function listenOn(name) {
  const server = net.createServer((caller) => void caller.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      if (/** @type {{code?: string}} */ (error).code === "EADDRINUSE") resolve(null);
      else reject(error);
    });
    server.listen(name, () => resolve(server.unref()));
  });
}

/** @param {string} name @returns {Promise<boolean>} whether somebody holds it */
export function knock(name) {
  const socket = new net.Socket();
  return new Promise((resolve) => {
    socket.once("connect", () => resolve(true));
    // Not a name that is not there any more: whoever held it has just let go.
    socket.once("error", (error) => resolve(/** @type {{code?: string}} */ (error).code !== "ECONNREFUSED"));
    /** @type {any} */ (nativeConnect).call(socket, { path: name });
  }).finally(() => socket.destroy());
}

/** @param {string} api @param {string} what @returns {BlockedRequest} */
function refuse(api, what) {
  stopped += 1;
  const error = new BlockedRequest(api, what);
  tell(error.message);
  return error;
}

/** @param {any} owner @param {string} name @param {unknown} value */
const replace = (owner, name, value) => Object.defineProperty(owner, name, { value, writable: false, configurable: false });

/** @param {any[]} given what `connect` of a socket takes, in all its forms @returns {{host?: string, port?: unknown, path?: unknown}} */
function placeOf(given) {
  const [first, second] = Array.isArray(given[0]) ? given[0] : given;
  if (typeof first === "object" && first !== null) return first;
  if (typeof first === "string" && !/^\d+$/.test(first)) return { path: first };
  return { port: first, host: typeof second === "string" ? second : undefined };
}

/** Shut this thread's ways to a network, for good. @param {(text: string) => void} [told] of each connection that is stopped */
export function guardWires(told = tell) {
  tell = told;
  /** @this {net.Socket} @param {any[]} given */
  function connect(...given) {
    const { host = "localhost", port, path } = placeOf(given);
    if (path || !places.has(`${bare(String(host))} ${port}`)) {
      throw refuse("net.connect", `${path ?? `${host}:${port}`} is neither a directory nor a gateway of this tunnel`);
    }
    return nativeConnect.apply(this, /** @type {any} */ (given));
  }
  replace(net.Socket.prototype, "connect", connect);

  const { lookup } = dns;
  const guardedLookup = (/** @type {any} */ ...given) => {
    if (!names.has(bare(String(given[0])))) throw refuse("dns.lookup", `${given[0]} is no host of this tunnel's`);
    return /** @type {any} */ (lookup)(...given);
  };
  const forbidden = (/** @type {string} */ api) => function () { throw refuse(api, "nothing here may use it"); };
  for (const [name, value] of Object.entries(dns)) {
    if (typeof value !== "function" || /^(set|get)/.test(name)) continue;
    replace(dns, name, name === "lookup" ? guardedLookup : forbidden(`dns.${name}`));
  }
  for (const name of Object.keys(dns.promises)) {
    if (!/^(set|get)/.test(name) && typeof /** @type {any} */ (dns.promises)[name] === "function") {
      replace(dns.promises, name, forbidden(`dns.promises.${name}`));
    }
  }
  for (const [module, name] of /** @type {[any, string][]} */ ([
    [dgram, "createSocket"], [dgram, "Socket"], [threads, "Worker"],
    ...["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"].map((name) => [childProcess, name]),
  ])) replace(module, name, forbidden(name));
  syncBuiltinESMExports();
}
