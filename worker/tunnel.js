/**
 * `MixTunnel`: one tunnel with its own worker and identity. The module's functions in `index.js` share one of them.
 *
 * @module
 */

import { WorkerConnection } from "./connection.js";
import { mixError } from "./errors.js";
import { fetchThrough } from "./fetch.js";
import { MixUdpSocket, connectTcp } from "./sockets.js";
import { MixWebSocket } from "./websocket.js";

/** @typedef {import("./messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("./sockets.js").MixTcpSocket} MixTcpSocket */

/**
 * Options of a tunnel. Names and defaults are those of `@nymproject/mix-tunnel`, and ours at the end.
 * @typedef {object} SetupMixTunnelOpts
 * @property {string} [preferredIpr] Nym address of the exit; default: drawn among the directory's exits
 * @property {string} [preferredGateway] base58 identity of the entry gateway; default: drawn
 * @property {string} [clientId] default "smolmix-wasm"
 * @property {boolean} [forceTls] default true: reach the gateway by wss:// only
 * @property {boolean} [disablePoissonTraffic] default false
 * @property {boolean} [disableCoverTraffic] default false
 * @property {number} [openReplySurbs] default 10
 * @property {number} [dataReplySurbs] default 2
 * @property {string} [primaryDns] host:port, default "8.8.8.8:53"
 * @property {string} [fallbackDns] host:port, default "1.1.1.1:53"
 * @property {string} [storagePassphrase]
 * @property {number} [connectTimeoutMs] default 60000
 * @property {number} [dnsTimeoutMs] default 30000
 * @property {number} [tcpKeepaliveMs] default 10000
 * @property {number} [tcpBufferSize] bytes, default 65535
 * @property {number} [maxRedirects] default 5
 * @property {boolean} [debug] default false
 * @property {string[]} [directoryUrls] directory base URLs, tried in order
 * @property {string | string[]} [caCertificates] extra PEM roots for TLS
 * @property {"auto" | "pyca" | "browser"} [crypto] default "auto"
 */

/** @type {TunnelSnapshot} */
const DOWN = { state: "shutdown", step: null, error: null, gateway: null, exit: null, addresses: [] };
const DISCONNECT_TIMEOUT_MS = 5_000;

/** The tunnel changed: `event.detail` is the new snapshot. Event name "state". */
export class MixTunnel extends EventTarget {
  /** @type {SetupMixTunnelOpts} */ #options;
  /** @type {WorkerConnection | null} */ #connection = null;
  /** @type {Promise<WorkerConnection> | null} */ #ready = null;
  /** @type {TunnelSnapshot} */ #snapshot = DOWN;

  /** @param {SetupMixTunnelOpts} [options] */
  constructor(options = {}) {
    super();
    this.#options = options;
  }

  /**
   * Connect. Calls while connecting or connected share one outcome; after a failure or `disconnect` it starts anew.
   * @returns {Promise<void>}
   */
  async setup() {
    this.#ready ??= this.#start();
    await this.#ready;
  }

  /** @returns {Promise<WorkerConnection>} */
  async #start() {
    this.#change({ ...DOWN, state: "connecting", step: "boot" });
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "smolmix" });
    const connection = new WorkerConnection(worker, (snapshot) => this.#change(snapshot), (error) => this.#crashed(error));
    this.#connection = connection;
    try {
      await connection.booted;
      await connection.call({ type: "setup", options: { ...this.#options } });
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      if (this.#connection === connection) {
        this.#ready = null;
        this.#connection = null;
        connection.stop(reason);
        this.#failed(reason);
      }
      throw error;
    }
    return connection;
  }

  /** @param {Error} error */
  #crashed(error) {
    this.#ready = null;
    this.#connection = null;
    this.#failed(error);
  }

  /** @param {Error} error */
  #failed(error) {
    if (this.#snapshot.state === "failed") return;
    const { code = "internal", phase = null } = /** @type {{code?: string, phase?: string | null}} */ (error);
    this.#change({ ...DOWN, state: "failed", error: { name: error.name, code, phase, message: error.message } });
  }

  /** @param {TunnelSnapshot} snapshot */
  #change(snapshot) {
    this.#snapshot = snapshot;
    this.dispatchEvent(new CustomEvent("state", { detail: snapshot }));
  }

  /** What the tunnel is doing now. @returns {TunnelSnapshot} */
  get state() {
    return this.#snapshot;
  }

  /** @returns {Promise<WorkerConnection>} */
  connected() {
    return this.#ready ?? Promise.reject(mixError("not_connected", "call setupMixTunnel first", "setup"));
  }

  /** Say goodbye to the exit, close the gateway's connection and end the worker. @returns {Promise<void>} */
  async disconnect() {
    const connection = this.#connection;
    this.#ready = null;
    this.#connection = null;
    if (!connection) {
      if (this.#snapshot.state !== "shutdown") this.#change(DOWN);
      return;
    }
    const closed = mixError("tunnel_closed", "the tunnel was disconnected");
    try {
      await connection.call({ type: "disconnect" }, AbortSignal.timeout(DISCONNECT_TIMEOUT_MS));
    } catch {
      // The worker is ended below in any case.
    } finally {
      connection.stop(closed);
      this.#change(DOWN);
    }
  }

  /**
   * `fetch` over the mixnet.
   * @param {RequestInfo | URL} input
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async fetch(input, init = {}) {
    return fetchThrough(await this.connected(), input, init);
  }

  /**
   * Addresses of a name, asked through the mixnet.
   * @param {string} name
   * @param {{family?: 4 | 6 | null, signal?: AbortSignal | null}} [options]
   * @returns {Promise<string[]>}
   */
  async resolve(name, { family = null, signal = null } = {}) {
    const connection = await this.connected();
    return /** @type {Promise<string[]>} */ (connection.call({ type: "resolve", name, family }, signal));
  }

  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   * @returns {MixWebSocket}
   */
  webSocket(url, protocols = []) {
    return new MixWebSocket(url, protocols, this.connected());
  }

  /**
   * @param {string} host
   * @param {number} port
   * @param {{tls?: boolean, signal?: AbortSignal | null}} [options]
   * @returns {Promise<MixTcpSocket>}
   */
  async connectTcp(host, port, options = {}) {
    return connectTcp(await this.connected(), host, port, options);
  }

  /**
   * @param {{port?: number}} [options]
   * @returns {Promise<MixUdpSocket>}
   */
  async bindUdp({ port = 0 } = {}) {
    return new MixUdpSocket(await this.connected(), port).opened;
  }

  /** Packet and byte counters of the tunnel. @returns {Promise<Record<string, unknown>>} */
  async statistics() {
    const connection = await this.connected();
    return /** @type {Promise<Record<string, unknown>>} */ (connection.call({ type: "statistics" }));
  }
}
