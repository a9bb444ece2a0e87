/**
 * The functions of `index.js` for programs that do not want to set up anything: the first use opens the tunnel, all others
 * wait for the same one. It is the shared tunnel of `index.js`.
 *
 * @module
 */

import * as api from "./index.js";

/** @typedef {import("./tunnel.js").SetupMixTunnelOpts} SetupMixTunnelOpts */
/** @typedef {import("./tunnel.js").MixTunnel} MixTunnel */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("./timing.js").MixFetchEntry} MixFetchEntry */

/** @typedef {{state: CustomEvent<TunnelSnapshot>, progress: CustomEvent<{step: string}>, timing: CustomEvent<MixFetchEntry>}} MixAutoEvents */

/**
 * `EventTarget` that knows these events by name.
 * @typedef {object} MixAutoListening
 * @property {<K extends keyof MixAutoEvents>(type: K, listener: ((event: MixAutoEvents[K]) => void) | null,
 *   options?: boolean | AddEventListenerOptions) => void} addEventListener
 * @property {<K extends keyof MixAutoEvents>(type: K, listener: ((event: MixAutoEvents[K]) => void) | null,
 *   options?: boolean | EventListenerOptions) => void} removeEventListener
 */

/**
 * Of the tunnel that is used, whichever it is: "state" (`event.detail` is the new snapshot); "progress" (`event.detail` is
 * `{step}`) for each step of a set-up; "timing" (`event.detail` is a `MixFetchEntry`).
 */
export const mixEvents = /** @type {MixAutoListening & EventTarget} */ (/** @type {unknown} */ (new EventTarget()));

/** @type {SetupMixTunnelOpts} */
let options = {};
let isOpen = false;
/** @type {WeakSet<MixTunnel>} */
const watched = new WeakSet();

/** @param {MixTunnel} tunnel */
function watch(tunnel) {
  if (watched.has(tunnel)) return;
  watched.add(tunnel);
  let last = "";
  const tell = (/** @type {TunnelSnapshot} */ snapshot) => {
    mixEvents.dispatchEvent(new CustomEvent("state", { detail: snapshot }));
    const step = snapshot.state === "connecting" ? snapshot.step ?? "" : "";
    if (step && step !== last) mixEvents.dispatchEvent(new CustomEvent("progress", { detail: { step } }));
    last = step;
  };
  tunnel.addEventListener("state", ({ detail }) => tell(detail));
  tunnel.addEventListener("timing", ({ detail }) => mixEvents.dispatchEvent(new CustomEvent("timing", { detail })));
  if (tunnel.active) tell(tunnel.state);
}

/** Open the tunnel unless it is open, or being opened. @returns {Promise<MixTunnel>} */
function open() {
  // Begun within this call: what is asked of `index.js` next finds it.
  const ready = api.setupMixTunnel(options);
  const tunnel = api.getMixTunnel();
  void tunnel.then(watch);
  const up = ready.then(() => tunnel);
  up.catch(() => {}); // told to whoever waits for it, or for what is asked next
  return up;
}

/**
 * Options of the tunnel, which is not opened by that. Before the first use, or after `closeMixTunnel`.
 * @param {SetupMixTunnelOpts} opts
 */
export function configure(opts) {
  if (isOpen) {
    const message = "the tunnel is in use: configure it before its first use, or after closeMixTunnel";
    throw new api.MixError({ name: "MixError", code: "already_set_up", phase: "setup", message });
  }
  new api.MixTunnel(opts); // what cannot be options is refused here
  options = { ...opts };
}

/** @template T @param {() => T} use @returns {T} */
function using(use) {
  isOpen = true;
  void open();
  return use();
}

/** Close the tunnel. The next use opens it again. @returns {Promise<void>} */
export async function closeMixTunnel() {
  isOpen = false;
  await api.disconnectMixTunnel();
}

/** The tunnel, opened: for what has no function here. @returns {Promise<MixTunnel>} */
export function openMixTunnel() {
  isOpen = true;
  return open();
}

/** @type {typeof api.mixFetch} */
export const mixFetch = (...given) => using(() => api.mixFetch(...given));
/** @type {typeof api.mixDNS} */
export const mixDNS = (...given) => using(() => api.mixDNS(...given));
/** @type {typeof api.mixResolve} */
export const mixResolve = (...given) => using(() => api.mixResolve(...given));
/** @type {typeof api.mixPing} */
export const mixPing = (...given) => using(() => api.mixPing(...given));

/** A WebSocket over the tunnel, which is opened for it. */
export class MixWebSocket extends api.MixWebSocket {
  /**
   * @param {string | URL} url
   * @param {string | Iterable<string>} [protocols]
   * @param {import("./websocket.js").MixWebSocketOptions} [opts]
   */
  constructor(url, protocols = [], opts = {}) {
    using(() => {});
    super(url, protocols, opts);
  }
}

/** A TCP connection over the tunnel, which is opened for it. */
export class TCPSocket extends api.TCPSocket {
  /**
   * @param {string} remoteAddress name or IP address
   * @param {number} remotePort
   * @param {import("./tcp-socket.js").TCPSocketOptions} [opts]
   */
  constructor(remoteAddress, remotePort, opts = {}) {
    using(() => {});
    super(remoteAddress, remotePort, opts);
  }
}

/** A UDP socket over the tunnel, which is opened for it. */
export class UDPSocket extends api.UDPSocket {
  /** @param {import("./udp-socket.js").UDPSocketOptions} [opts] */
  constructor(opts = {}) {
    using(() => {});
    super(opts);
  }
}
