/**
 * SOCKS5 for other programs over the tunnel: CONNECT, with names, IPv4 and IPv6, and a password on request.
 *
 * The protocol is `@pondwader/socks5-server`'s. UDP, SOCKS4 and the HTTP and DNS proxies are the Python command's.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import process from "node:process";
import { createServer } from "@pondwader/socks5-server";
import { MixError } from "../../page/index.js";
import { MixSocket } from "../socket.js";

/** @typedef {import("../../page/tunnel.js").MixTunnel} MixTunnel */
/** @typedef {import("./commands.js").Values} Values */

export const PLACE = "127.0.0.1:1080";
/** @type {Record<string, import("node:util").ParseArgsOptionDescriptor>} */
export const PROXY_OPTIONS = {
  socks: { type: "string", default: PLACE }, anywhere: { type: "boolean" }, "credentials-file": { type: "string" },
  "max-connections": { type: "string" },
};
const MOST_CONNECTIONS = 512;
/** For a client to say what it wants; for a connection without a byte. */
const GREETING_MS = 30_000, IDLE_MS = 600_000;

/**
 * @typedef {"GENERAL_FAILURE" | "CONNECTION_NOT_ALLOWED" | "NETWORK_UNREACHABLE" | "HOST_UNREACHABLE" | "CONNECTION_REFUSED"
 *   | "TTL_EXPIRED"} Status
 */

/** @type {Record<string, Status>} */
const STATUSES = {
  policy_denied: "CONNECTION_NOT_ALLOWED", special_name: "CONNECTION_NOT_ALLOWED", tunnel_down: "NETWORK_UNREACHABLE",
  tunnel_timeout: "NETWORK_UNREACHABLE", network_unreachable: "NETWORK_UNREACHABLE", connect_refused: "CONNECTION_REFUSED",
};

/** @param {unknown} error @returns {Status} */
function statusOf(error) {
  const cause = error instanceof MixError ? error : /** @type {{cause?: unknown}} */ (error).cause;
  if (!(cause instanceof MixError)) return "GENERAL_FAILURE";
  if (cause.code in STATUSES) return STATUSES[cause.code];
  if (cause.phase === "dns" || cause.code === "host_unreachable") return "HOST_UNREACHABLE";
  return cause.kind === "TimeoutExpired" ? "TTL_EXPIRED" : "GENERAL_FAILURE";
}

/** @param {string} code @param {string} message @returns {MixError} */
const wrong = (code, message) => new MixError({ name: "UsageError", code, phase: null, message });

/** @param {string} text @param {boolean} anywhere @returns {{host: string, port: number}} */
function placeOf(text, anywhere) {
  const [, host = "", port = ""] = /^(.+):(\d+)$/.exec(text) ?? [];
  const address = host.replace(/^\[(.*)\]$/, "$1");
  if (!isIP(address) || Number(port) > 65535) throw wrong("bad_endpoint", `${JSON.stringify(text)} is not ADDRESS:PORT`);
  if (!anywhere && !/^(127\.|::1$)/.test(address)) throw wrong("bad_arguments", `${address} is not this machine alone: that takes --anywhere`);
  return { host: address, port: Number(port) };
}

/** @param {Values} values */
export function readProxy(values) {
  const most = Number(values["max-connections"] ?? MOST_CONNECTIONS);
  if (!Number.isInteger(most) || most < 1) throw wrong("bad_arguments", "--max-connections is a number");
  const line = values["credentials-file"] && readFileSync(values["credentials-file"], "utf8").split(/\r?\n/, 1)[0];
  if (line !== undefined && line.indexOf(":") < 1) throw wrong("bad_arguments", "the first line of --credentials-file is USER:PASSWORD");
  return { ...placeOf(values.socks, Boolean(values.anywhere)), most, line };
}

/** @param {MixTunnel} tunnel @param {Values} values */
export async function runProxy(tunnel, values) {
  const { host, port, most, line } = readProxy(values);
  const counters = { connections: 0, failed: 0, received: 0, sent: 0 };
  const proxy = createServer();
  if (line !== undefined) {
    const at = line.indexOf(":");
    proxy.setAuthHandler(({ username, password }) => username === line.slice(0, at) && password === line.slice(at + 1));
  }
  /** @type {Set<import("node:net").Socket>} */
  const open = new Set();
  proxy.setConnectionHandler(({ socket: given, destAddress, destPort }, tell) => {
    const socket = /** @type {import("node:net").Socket} */ (given);
    counters.connections += 1;
    const through = new MixSocket({ host: destAddress ?? "", port: destPort ?? 0, allowHalfOpen: true, tunnel });
    let isOpen = false;
    through.once("connect", () => {
      isOpen = true;
      socket.setTimeout(IDLE_MS);
      tell("REQUEST_GRANTED");
      through.pipe(socket);
    });
    through.on("error", (error) => {
      if (isOpen) return void socket.resetAndDestroy();
      counters.failed += 1;
      tell(statusOf(error));
    });
    socket.on("error", () => through.destroy());
    socket.on("close", () => {
      counters.received += through.bytesRead;
      counters.sent += through.bytesWritten;
      through.destroy();
    });
    socket.pipe(through); // which keeps what comes before it is connected
  });
  const { server } = /** @type {{server: import("node:net").Server}} */ (/** @type {unknown} */ (proxy));
  server.maxConnections = most;
  server.on("connection", (socket) => {
    open.add(socket);
    socket.allowHalfOpen = true;
    socket.setTimeout(GREETING_MS, () => socket.destroy());
    socket.once("close", () => open.delete(socket));
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, host, () => resolve(undefined)));
  const bound = /** @type {import("node:net").AddressInfo} */ (server.address());
  const where = `${bound.family === "IPv6" ? `[${bound.address}]` : bound.address}:${bound.port}`;
  if (values.json) console.log(JSON.stringify({ listening: { socks: where } }));
  else if (!values.quiet) console.error(`SOCKS on ${where}`);
  await new Promise((resolve) => { for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, resolve); });
  server.close();
  for (const socket of open) socket.destroy();
  return counters;
}
