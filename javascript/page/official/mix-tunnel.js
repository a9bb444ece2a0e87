/**
 * What `@nymproject/mix-tunnel` exports, over our tunnel, so that an alias in a bundler moves an app over unchanged.
 *
 * The official package hands out its worker behind Comlink; here the same calls are made on the page. States are told in its
 * words: it knows no reconnecting, and says `connecting` before the first set-up.
 *
 * @module
 */

import * as own from "../index.js";

/** @typedef {typeof import("../official-types/mix-tunnel.js")} Official */
/** @typedef {import("../official-types/mix-tunnel.js").IMixTunnelWorker} IMixTunnelWorker */
/** @typedef {import("../official-types/mix-tunnel.js").TunnelState} TunnelState */

export const EventKinds = { Loaded: "Loaded" };

let begun = false;
/** @type {Map<number, own.MixWebSocket>} */
const sockets = new Map();
let lastHandle = 0;

/** @type {Official["setupMixTunnel"]} */
export const setupMixTunnel = async (opts) => {
  begun = true;
  await own.setupMixTunnel(opts);
};

/** @type {Official["disconnectMixTunnel"]} */
export const disconnectMixTunnel = () => own.disconnectMixTunnel();

/** @type {Official["getTunnelState"]} */
export const getTunnelState = async () => {
  const { state, error } = await own.getTunnelState();
  if (state === "failed") {
    const crashed = error?.code === "worker_crashed";
    return { state, reason: crashed ? { kind: "task_panicked" } : { kind: "task_exited", task: "reactor" } };
  }
  if (state === "ready" || state === "shutting_down" || (state === "shutdown" && begun)) return { state };
  return { state: "connecting" };
};

/** @param {number} handle @returns {own.MixWebSocket} */
function socketOf(handle) {
  const socket = sockets.get(handle);
  if (!socket) throw new Error(`there is no WebSocket ${handle}`);
  return socket;
}

/** @type {IMixTunnelWorker} */
const tunnel = {
  setupMixTunnel, disconnectMixTunnel, getTunnelState,

  async mixFetch(url, init) {
    const response = await own.mixFetch(url, /** @type {RequestInit | undefined} */ (init));
    const body = new Uint8Array(await response.arrayBuffer());
    return { body, status: response.status, statusText: response.statusText, headers: [...response.headers] };
  },

  mixDNS: (hostname) => own.mixDNS(hostname),

  async mixWebSocket(url, protocols, onEvent) {
    const socket = new own.MixWebSocket(url, protocols ?? []);
    const handle = ++lastHandle;
    sockets.set(handle, socket);
    socket.addEventListener("open", () => onEvent(handle, "open", undefined));
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") onEvent(handle, "text", data);
      else onEvent(handle, "binary", new Uint8Array(data));
    });
    socket.addEventListener("error", ({ message }) => onEvent(handle, "error", message));
    socket.addEventListener("close", ({ code, reason, wasClean }) => {
      sockets.delete(handle);
      if (wasClean || code !== 1006) onEvent(handle, "close", { code, reason });
    });
    return handle;
  },

  async wsSend(handle, data) {
    await socketOf(handle).send(data);
  },

  async wsClose(handle, code, reason) {
    void socketOf(handle).close(code, reason);
  },
};

/** @type {Official["getMixTunnel"]} */
export const getMixTunnel = async () => tunnel;

/** Nothing crosses to a worker here: a callback is handed over as it is. @type {Official["proxy"]} */
export const proxy = (object) => object;
