/**
 * `MixTunnel`: one tunnel with its own worker and identity. The module's functions in `index.js` share one of them.
 *
 * @module
 */

import { WorkerConnection } from "./connection.js";
import { MixCookies } from "./cookies.js";
import { MixListener, MixPeerStream } from "./peer-stream.js";
import { MixMessages } from "./peer-messages.js";
import { closable } from "./dispose.js";
import { lookupThrough } from "./dns.js";
import { MixError, mixError, optionError } from "./errors.js";
import { fetchThrough } from "./fetch.js";
import { logOf } from "./log.js";
import { keepsSnapshot, ownStorage } from "./own-storage.js";
import { checkFamily, checkHost, checkInteger } from "./socket-options.js";
import { checkIsolation } from "./isolation.js";
import { share } from "./share.js";
import { unlessAborted } from "./signals.js";
import { MAINNET_DIRECTORY, serviceWorkers, SPEECH } from "../shared/service.js";
import { isShared, joinTabs } from "./tab-worker.js";
import { MixTcpSocket } from "./tcp-socket.js";
import { MixUdpSocket } from "./udp-socket.js";
import { webSocketOver } from "./websocket.js";
import { filesOf, folderOf, startWorker } from "./worker-script.js";

/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../shared/messages.js").Loading} Loading */
/** @typedef {import("./own-storage.js").MixStorage} MixStorage */
/** @typedef {import("./log.js").MixLogger} MixLogger */
/** @typedef {import("./log.js").MixLogLevel} MixLogLevel */
/** @typedef {import("./fetch.js").MixFetchInit} MixFetchInit */
/** @typedef {import("./response.js").MixResponse} MixResponse */
/** @typedef {import("./timing.js").MixFetchEntry} MixFetchEntry */
/** @typedef {import("./socket-options.js").SocketDnsQueryType} SocketDnsQueryType */
/** @typedef {import("./tcp-socket.js").TCPSocketOptions} TCPSocketOptions */
/** @typedef {import("./udp-socket.js").UDPSocketOptions} UDPSocketOptions */
/** @typedef {import("./peer-stream.js").MixPeerStreamOptions} MixPeerStreamOptions */

/**
 * @typedef {object} PingOptions
 * @property {number} [timeout] milliseconds, default 20000; the look-up of the name has its own limit
 * @property {number} [size] bytes of the echo request's body, default 32
 * @property {SocketDnsQueryType} [dnsQueryType] default: what the name and the tunnel have
 * @property {AbortSignal | null} [signal]
 * @property {string | null} [isolation] as of `mixFetch`
 */

/** @typedef {{address: string, rtt: number}} PingReply the address that answered; the round trip in milliseconds */

/**
 * Options of a tunnel. Names and defaults are those of `@nymproject/mix-tunnel`, and ours at the end.
 * @typedef {object} SetupMixTunnelOpts
 * @property {string} [preferredIpr] Nym address of the exit; default: drawn among the directory's exits
 * @property {string} [preferredGateway] base58 identity of the entry gateway; default: drawn
 * @property {string} [clientId] when given, the identity is stored under this name and used again; one tunnel at a time
 * @property {boolean} [forceTls] default true: reach the gateway by wss:// only
 * @property {boolean} [disablePoissonTraffic] default false
 * @property {boolean} [disableCoverTraffic] default false
 * @property {"default" | "fast" | "no_cover" | "no_cover_keepalive" | "no_poisson" | "no_delays"} [trafficPreset]
 * @property {"auto" | "1" | "1/2" | "1/4" | "1/8" | "1/16"} [trafficRate] part of the preset's rate; default "auto": what
 *   machine and line carry
 * @property {number} [openReplySurbs] default 10
 * @property {number} [dataReplySurbs] default 2
 * @property {string} [primaryDns] address:port, or tcp://, tls:// or https:// with an address; default "8.8.8.8:53"
 * @property {string} [fallbackDns] the same; default 1.1.1.1 in the way of the primary
 * @property {string} [storagePassphrase] seals the stored identity; needs `clientId`
 * @property {number} [connectTimeoutMs] default 60000
 * @property {number} [dnsTimeoutMs] default 30000
 * @property {number} [tcpKeepaliveMs] default 10000
 * @property {number} [tcpBufferSize] bytes, default 65535
 * @property {"whole" | "paired"} [tcpSegments] "paired": fewest packets per byte, slower start; default "whole"
 * @property {"usual" | "official"} [fingerprint] "official": behind the exit as the official client; default "usual"
 * @property {number} [maxRedirects] default 20
 * @property {import("./fetch.js").MixTimeouts} [timeouts] milliseconds for each phase of a request
 * @property {number} [maxDecodedBytes] to which a compressed response body may unpack; default 1 GiB
 * @property {MixStorage} [storage] where the identity is kept, in the place of IndexedDB or a folder
 * @property {MixLogger} [logger] who is told what happens; default: the console
 * @property {MixLogLevel | "silent"} [logLevel] default "info" with a logger, "warn" without
 * @property {boolean} [debug] default false; true: as `logLevel: "debug"`, which counts where both are given
 * @property {string[]} [directoryUrls] directory base URLs, tried in order
 * @property {"auto" | "none"} [exit] default "auto"; "none": the mixnet alone, no fetch and no sockets
 * @property {object | string} [topology] pinned network, no directory is asked; needs `preferredIpr`
 * @property {string | string[]} [caCertificates] PEM, trusted for TLS besides the others; roots or what they signed
 * @property {boolean} [defaultRoots] default true; false: trust `caCertificates` alone
 * @property {string} [isolation] key of what is asked without one; default: none, it shares
 * @property {"auto" | "pyca" | "browser"} [crypto] default "auto"
 * @property {string} [assetsUrl] address of the folder with `worker.js`; default: beside this script, or where a bundler put it
 * @property {"auto" | "require" | "off"} [integrity] "auto": check all files where the page vouches for `index.js` with a hash
 * @property {"auto" | "off"} [snapshot] "auto": keep Python's memory, before it knows anything, for a faster next visit
 * @property {boolean} [shared] default false; true: the tabs of the origin use one tunnel
 */

/** @type {TunnelSnapshot} */
const DOWN = { state: "shutdown", step: null, error: null, warnings: [], gateway: null, address: null, exit: null, addresses: [], traffic: null };
const DISCONNECT_TIMEOUT_MS = 5_000;

/** @param {unknown} options @returns {object} */
function checkOptions(options) {
  if (typeof options === "object" && options !== null && !Array.isArray(options)) return options;
  throw new TypeError("the options of a tunnel are an object");
}

/**
 * The options as they are sent. What they mean is checked in the worker, in one place; here only what cannot be sent.
 * @internal
 * @param {object} options
 * @returns {Record<string, unknown>}
 */
export function copyOptions(options) {
  /** @type {Record<string, unknown>} */
  const copy = {};
  for (const [name, value] of Object.entries(options)) {
    try {
      copy[name] = structuredClone(value);
    } catch {
      throw optionError(name, `a ${typeof value} cannot be an option`);
    }
  }
  return copy;
}

/** @typedef {{state: CustomEvent<TunnelSnapshot>, timing: CustomEvent<MixFetchEntry>, loading: CustomEvent<Loading>}} MixTunnelEvents */

/**
 * `EventTarget` that knows the events of a tunnel by name.
 * @typedef {object} MixTunnelListening
 * @property {<K extends keyof MixTunnelEvents>(type: K, listener: ((event: MixTunnelEvents[K]) => void) | null,
 *   options?: boolean | AddEventListenerOptions) => void} addEventListener
 * @property {<K extends keyof MixTunnelEvents>(type: K, listener: ((event: MixTunnelEvents[K]) => void) | null,
 *   options?: boolean | EventListenerOptions) => void} removeEventListener
 */

const Target = /** @type {new () => MixTunnelListening & EventTarget & AsyncDisposable & Disposable} */ (
  /** @type {unknown} */ (EventTarget));

/**
 * Events: "state", when the tunnel changed (`event.detail` is the new snapshot); "timing", when a fetch has ended
 * (`event.detail` is a `MixFetchEntry`); "loading", when another one of the worker's files is there (a `Loading`).
 */
export class MixTunnel extends Target {
  /** @type {Record<string, unknown>} */ #options;
  /** @type {import("./connection.js").Own} */ #own;
  /** @type {WorkerConnection | null} */ #connection = null;
  /** @type {Promise<WorkerConnection> | null} */ #ready = null;
  /** @type {Promise<void> | null} */ #closing = null;
  /** Counts `setup` and `disconnect`, so that a set-up notices that it is no longer wanted. */
  #turn = 0;
  /** @type {TunnelSnapshot} */ #snapshot = DOWN;
  /** Asked for by the page. */
  #suspended = false;
  /** The browser has stopped the page, or put it into its cache of pages. */
  #frozen = false;
  /** @type {AbortController | null} */ #watch = null;
  /** The cookies of requests with `cookies: "jar"`, a jar for each isolation key. */
  cookies = new MixCookies(() => this.connected());
  /** Messages to and from other clients. */
  messages = new MixMessages(() => this.connected());

  /** Of a pool; null for one tunnel. @internal @type {Record<string, unknown> | null} */
  poolOptions = null;

  /** @param {SetupMixTunnelOpts} [options] */
  constructor(options = {}) {
    super();
    const { storage, logger, logLevel, ...sent } = /** @type {SetupMixTunnelOpts} */ (checkOptions(options));
    this.#own = { log: logOf(options), storage: ownStorage(storage) };
    this.#options = copyOptions(sent);
    if (this.#own.storage) this.#options.storage = true;
    // What is no boolean goes as it is, to be refused.
    if (typeof (sent.debug ?? true) === "boolean") this.#options.debug = this.#own.log.debug;
  }

  /**
   * Connect. Calls while connecting or connected share one outcome; after a failure or `disconnect` it starts anew.
   * @returns {Promise<void>}
   */
  async setup() {
    this.#ready ??= this.#start(++this.#turn);
    await this.#ready;
  }

  /**
   * @param {number} turn
   * @returns {Promise<WorkerConnection>}
   */
  async #start(turn) {
    await this.#closing; // also: nothing happens before `setup` holds the promise of this
    if (turn !== this.#turn) throw mixError("tunnel_down", "the tunnel was disconnected", "setup");
    this.#change({ ...DOWN, state: "connecting", step: "boot" });
    let made;
    try {
      // A Service Worker that sends everything through a tunnel would have our own requests wait for it.
      serviceWorkers()?.controller?.postMessage({ speech: SPEECH, type: "direct", direct: this.ownUrls });
      made = isShared(this.#options)
        ? joinTabs(this.#options, this.#own)
        : await startWorker(folderOf(this.#options.assetsUrl), this.#options.integrity);
    } catch (error) {
      this.#failed(null, error);
      throw error;
    }
    if (turn !== this.#turn) {
      made.worker.terminate();
      throw mixError("tunnel_down", "the tunnel was disconnected", "setup");
    }
    const connection = new WorkerConnection(
      made.worker,
      made.script,
      keepsSnapshot(this.#options),
      this.#own,
      (snapshot) => this.#changed(connection, snapshot),
      (error) => this.#failed(connection, error),
      (detail) => this.dispatchEvent(new CustomEvent("loading", { detail })),
    );
    this.#connection = connection;
    this.#watchLife();
    try {
      // The worker has the options at once: what they ask of the directory need not wait for Python, unless we rest.
      if (this.#resting) await connection.booted;
      const up = connection.call({ type: "setup", options: this.#options, pool: this.poolOptions });
      if (this.#resting) void this.#tell(connection);
      await Promise.all([connection.booted, up]);
    } catch (error) {
      this.#failed(connection, error);
      throw error;
    }
    return connection;
  }

  /**
   * @param {WorkerConnection} connection
   * @param {TunnelSnapshot} snapshot
   */
  #changed(connection, snapshot) {
    if (connection !== this.#connection) return;
    if (snapshot.state === "failed" && snapshot.error) this.#failed(connection, new MixError(snapshot.error), snapshot);
    else this.#change(snapshot);
  }

  /**
   * The tunnel is over: the worker goes, and everything under way in it ends with the same error.
   * @param {WorkerConnection | null} connection
   * @param {unknown} error
   * @param {TunnelSnapshot} [last]
   */
  #failed(connection, error, last = DOWN) {
    if (connection !== this.#connection) return;
    this.#ready = null;
    this.#connection = null;
    this.#ended();
    connection?.stop(error);
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    const typed = error instanceof MixError ? error : mixError("internal", message);
    const { code, phase, reason, retryable } = typed;
    const detail = { name: typed.kind === "MixError" ? name : typed.kind, code, phase, message, reason, retryable };
    this.#change({ ...last, state: "failed", step: null, error: typed.option ? { ...detail, option: typed.option } : detail });
  }

  /** @param {TunnelSnapshot} snapshot */
  #change(snapshot) {
    this.#snapshot = snapshot;
    this.#own.log.changed(snapshot);
    this.dispatchEvent(new CustomEvent("state", { detail: snapshot }));
  }

  /**
   * The app rests: cover traffic stops, and the connection to the gateway is closed when this resolves. Nothing is asked
   * for anything until `resume`. What is begun meanwhile waits within its own time limits, at most 90 s; what is open lives
   * on for as long as the exit keeps it, 60 s as a rule. Void while there is no tunnel.
   * @returns {Promise<void>}
   */
  async suspend() {
    if (!this.active) return;
    this.#suspended = true;
    await this.#tell(this.#connection);
  }

  /**
   * Go on after `suspend`: resolves when the connection is being made; the state tells when it is there.
   * @returns {Promise<void>}
   */
  async resume() {
    if (!this.#suspended) return;
    this.#suspended = false;
    await this.#tell(this.#connection);
  }

  get #resting() {
    return this.#suspended || this.#frozen;
  }

  /** @param {WorkerConnection | null} connection that may not have booted: then `#start` tells it */
  async #tell(connection) {
    try {
      await connection?.call({ type: "suspend", on: this.#resting });
    } catch {
      // It ended meanwhile, or has no tunnel yet.
    }
  }

  /**
   * A page that the browser freezes, or keeps in its cache of pages, can do nothing; one that is only hidden goes on. An
   * open connection would keep it from that cache.
   */
  #watchLife() {
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    const freeze = (/** @type {boolean} */ on) => {
      if (this.#frozen === on) return;
      this.#frozen = on;
      void this.#tell(this.#connection);
    };
    globalThis.document?.addEventListener("freeze", () => freeze(true), { signal });
    globalThis.document?.addEventListener("resume", () => freeze(false), { signal });
    globalThis.addEventListener?.("pagehide", (event) => {
      if (/** @type {PageTransitionEvent} */ (event).persisted) freeze(true);
    }, { signal });
    globalThis.addEventListener?.("pageshow", () => freeze(false), { signal });
  }

  #ended() {
    this.#watch?.abort();
    this.#watch = null;
    this.#suspended = this.#frozen = false;
  }

  /** It is up, or being set up. */
  get active() {
    return this.#ready !== null;
  }

  /**
   * Beginnings of the URLs that the tunnel's own worker asks for past the tunnel, where they are of another origin.
   * @internal
   * @returns {string[]}
   */
  get ownUrls() {
    const { directoryUrls, assetsUrl } = this.#options;
    return [...(Array.isArray(directoryUrls) ? directoryUrls.map(String) : MAINNET_DIRECTORY), ...filesOf(assetsUrl)];
  }

  /** What the tunnel is doing now. @returns {TunnelSnapshot} */
  get state() {
    return this.#snapshot;
  }

  /**
   * The worker, once the tunnel is up. Rejects at once when it is not even being set up.
   * @internal
   * @returns {Promise<WorkerConnection>}
   */
  connected() {
    if (this.#ready) return this.#ready;
    const { error: cause } = this.#snapshot;
    if (cause) {
      const { phase, message, code: reason } = cause;
      return Promise.reject(new MixError({ name: "MixError", code: "tunnel_down", phase, reason, message: `the tunnel failed: ${message}`, cause }));
    }
    return Promise.reject(mixError("tunnel_down", "the tunnel is not set up: call setupMixTunnel first", "setup"));
  }

  /**
   * Say goodbye to the exit, close the gateway's connection and end the worker. What is under way fails with the code
   * "tunnel_down". `setup` may be called again.
   * @returns {Promise<void>}
   */
  disconnect() {
    this.#turn += 1;
    this.#ready = null;
    this.#closing ??= this.#disconnect().finally(() => { this.#closing = null; });
    return this.#closing;
  }

  /** @returns {Promise<void>} */
  async #disconnect() {
    const connection = this.#connection;
    this.#ended();
    const running = ["ready", "reconnecting", "suspended"].includes(this.#snapshot.state);
    this.#connection = null;
    if (this.#snapshot.state === "shutdown") return;
    if (connection && running) {
      this.#change({ ...this.#snapshot, state: "shutting_down", step: null });
      try {
        await connection.call({ type: "disconnect" }, AbortSignal.timeout(DISCONNECT_TIMEOUT_MS));
      } catch {
        // The worker is ended below in any case.
      }
    }
    connection?.stop(mixError("tunnel_down", "the tunnel was disconnected"));
    this.#change(DOWN);
  }

  /**
   * `fetch` over the mixnet. When it has ended, the event "timing" tells how long it took.
   * @param {RequestInfo | URL} input
   * @param {MixFetchInit} [init]
   * @returns {Promise<MixResponse>}
   */
  fetch(input, init = undefined) {
    const report = (/** @type {MixFetchEntry} */ entry) => this.dispatchEvent(new CustomEvent("timing", { detail: entry }));
    return fetchThrough(this.connected(), arguments, report);
  }

  /**
   * Addresses of a name, asked through the mixnet.
   * @param {string} name
   * @param {{family?: 4 | 6 | null, signal?: AbortSignal | null, isolation?: string | null}} [options]
   * @returns {Promise<string[]>}
   */
  async resolve(name, { family = null, signal = null, isolation } = {}) {
    const key = checkIsolation(isolation);
    const connection = await unlessAborted(this.connected(), signal);
    return /** @type {Promise<string[]>} */ (connection.call({ type: "resolve", name: String(name), family, isolation: key }, signal));
  }

  /**
   * Records of a name, asked through the mixnet.
   * @template {import("./dns.js").MixRecordType} [T="A"]
   * @param {string} name for PTR also an address
   * @param {import("./dns.js").MixResolveOptions<T>} [options]
   * @returns {Promise<import("./dns.js").MixDnsAnswer<T>>}
   */
  lookup(name, options) {
    return lookupThrough(this.connected(), name, options);
  }

  /** Forget what names were resolved. @returns {Promise<void>} */
  async clearDnsCache() {
    await (await this.connected()).call({ type: "clear-dns-cache" });
  }

  /**
   * @param {string | URL} url
   * @param {string | Iterable<string>} [protocols]
   * @param {import("./websocket.js").MixWebSocketOptions} [options]
   * @returns {import("./websocket.js").MixWebSocket}
   */
  webSocket(url, protocols = [], options = {}) {
    return webSocketOver(() => this.connected(), url, protocols, options);
  }

  /**
   * A TCP connection, being opened: `await socket.opened`.
   * @param {string} remoteAddress name or IP address
   * @param {number} remotePort
   * @param {TCPSocketOptions} [options]
   * @returns {MixTcpSocket}
   */
  tcpSocket(remoteAddress, remotePort, options = {}) {
    return new MixTcpSocket(this.connected(), remoteAddress, remotePort, options);
  }

  /**
   * A UDP socket, being opened: `await socket.opened`.
   * @param {UDPSocketOptions} [options]
   * @returns {MixUdpSocket}
   */
  udpSocket(options = {}) {
    return new MixUdpSocket(this.connected(), options);
  }

  /**
   * As `tcpSocket`, once it is open.
   * @param {string} remoteAddress
   * @param {number} remotePort
   * @param {TCPSocketOptions} [options]
   * @returns {Promise<MixTcpSocket>}
   */
  async connectTcp(remoteAddress, remotePort, options = {}) {
    const socket = this.tcpSocket(remoteAddress, remotePort, options);
    await socket.opened;
    return socket;
  }

  /**
   * A bound UDP socket, once it is open.
   * @param {{port?: number}} [options]
   * @returns {Promise<MixUdpSocket>}
   */
  async bindUdp({ port = 0 } = {}) {
    const socket = this.udpSocket({ localPort: port });
    await socket.opened;
    return socket;
  }

  /**
   * Send an ICMP echo request and wait for its answer.
   * @param {string} host name or IP address
   * @param {PingOptions} [options]
   * @returns {Promise<PingReply>}
   */
  async ping(host, { timeout = 20_000, size = 32, dnsQueryType, signal = null, isolation } = {}) {
    /** @type {import("./connection.js").Opening} */
    const request = {
      type: "ping",
      host: checkHost(host, "host"),
      family: checkFamily(dnsQueryType),
      timeout: checkInteger(timeout, 1, 86_400_000, "timeout"),
      size: checkInteger(size, 0, 65_535, "size"),
      isolation: checkIsolation(isolation),
    };
    const connection = await unlessAborted(this.connected(), signal);
    return /** @type {Promise<PingReply>} */ (connection.call(request, signal));
  }

  /** Our Nym address, by which other clients reach us (docs/peer-to-peer.md); null while there is none. @returns {string | null} */
  get address() {
    return this.#snapshot.address ?? null;
  }

  /**
   * Take the streams that other clients open to `address`: `for await (const stream of tunnel.listen())`. One at a time.
   * @returns {MixListener}
   */
  listen() {
    return new MixListener(this.connected());
  }

  /**
   * A byte stream to another client, which learns nothing of who we are.
   * @param {string} address its Nym address
   * @param {MixPeerStreamOptions} [options]
   * @returns {MixPeerStream}
   */
  openStream(address, options = {}) {
    return new MixPeerStream(this.connected(), address, options);
  }

  /**
   * Lend the tunnel to other code of this site: a port for `shared_tunnel` in a Pyodide (docs/pyodide.md), in this page or
   * transferred to a worker.
   * @param {{signal?: AbortSignal | null}} [options] the signal takes it back
   * @returns {MessagePort}
   */
  share({ signal = null } = {}) {
    return share(this, signal);
  }

  /** Live numbers of the tunnel; docs/javascript.md says which. @returns {Promise<Record<string, unknown>>} */
  async statistics() {
    const connection = await this.connected();
    return /** @type {Promise<Record<string, unknown>>} */ (connection.call({ type: "statistics" }));
  }
}

closable(MixTunnel, (tunnel) => tunnel.disconnect());
