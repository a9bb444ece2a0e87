/**
 * TCP connections of the tunnel, with TLS on request, in the shape of Direct Sockets' `TCPSocket` (WICG).
 *
 * The two halves end on their own: closing `writable` sends FIN and reading goes on; cancelling `readable` drops what
 * still comes. Aborting `writable` resets the connection. Backpressure reaches TCP's window in both directions.
 *
 * @module
 */

import { Channel } from "./channel.js";
import { mixError } from "./errors.js";
import { unlessAborted } from "./signals.js";
import {
  bytesOf, checkFamily, checkHost, checkKeepAlive, checkPort, checkSignal, checkSize, checkTimeouts, checkTls,
} from "./socket-options.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").TcpRequest} TcpRequest */
/** @typedef {import("./socket-options.js").SocketDnsQueryType} SocketDnsQueryType */
/** @typedef {import("./socket-options.js").SocketTimeouts} SocketTimeouts */
/** @typedef {import("./socket-options.js").TlsOptions} TlsOptions */

/**
 * @typedef {object} TCPSocketOptions
 * @property {boolean} [noDelay] default true here: waiting for an acknowledgement costs a round trip of the mixnet
 * @property {number} [keepAliveDelay] milliseconds, at least 1000; default: the tunnel's `tcpKeepaliveMs`
 * @property {number} [sendBufferSize] bytes, held within 4 KiB to 16 MiB; default: grows with the path
 * @property {number} [receiveBufferSize] bytes, held within 4 KiB to 16 MiB; default: grows with the path
 * @property {SocketDnsQueryType} [dnsQueryType] default: what the name and the tunnel have
 * @property {boolean | TlsOptions} [tls] default false
 * @property {AbortSignal | null} [signal] resets the connection, at any time
 * @property {SocketTimeouts} [timeouts] of opening
 */

/**
 * What TLS negotiated.
 * @typedef {object} TlsFacts
 * @property {string} version "TLSv1.2" or "TLSv1.3"
 * @property {string} cipher
 * @property {string | null} alpn the protocol that the server chose
 */

/**
 * @typedef {object} TCPSocketOpenInfo
 * @property {ReadableStream<Uint8Array<ArrayBuffer>>} readable bytes; "byob" readers may be used
 * @property {WritableStream<ArrayBuffer | ArrayBufferView>} writable
 * @property {string} remoteAddress IP address
 * @property {number} remotePort
 * @property {string} localAddress the tunnel's IP address
 * @property {number} localPort
 * @property {TlsFacts | null} tls null without TLS
 */

/** How long `close` waits for the peer to take what was written. */
const CLOSE_TIMEOUT_MS = 120_000;

const ignore = () => {};

/**
 * @param {string} remoteAddress
 * @param {number} remotePort
 * @param {TCPSocketOptions} options
 * @returns {TcpRequest}
 */
function describe(remoteAddress, remotePort, options) {
  if (typeof options !== "object" || options === null) throw new TypeError("the options of a socket are an object");
  return {
    host: checkHost(remoteAddress),
    port: checkPort(remotePort, "remotePort"),
    family: checkFamily(options.dnsQueryType),
    tls: checkTls(options.tls),
    noDelay: options.noDelay === undefined || Boolean(options.noDelay),
    keepAliveDelay: checkKeepAlive(options.keepAliveDelay),
    sendBufferSize: checkSize(options.sendBufferSize, "sendBufferSize"),
    receiveBufferSize: checkSize(options.receiveBufferSize, "receiveBufferSize"),
    timeouts: checkTimeouts(options.timeouts),
  };
}

/** A TCP connection; made by `tunnel.tcpSocket`, or over the shared tunnel by `new TCPSocket`. */
export class MixTcpSocket {
  /** @type {Promise<TCPSocketOpenInfo>} */ #opened;
  /** @type {Promise<void>} */ #closed;
  /** @type {(value?: undefined) => void} */ #markClosed = ignore;
  /** @type {(error: unknown) => void} */ #markFailed = ignore;
  /** @type {TCPSocketOpenInfo | null} */ #info = null;
  /** Ends everything, from the wait for the tunnel on. */ #control = new AbortController();
  #settled = false;
  #truncated = false;
  #closing = false;

  /**
   * @param {Promise<WorkerConnection>} connected
   * @param {string} remoteAddress name or IP address
   * @param {number} remotePort
   * @param {TCPSocketOptions} [options]
   */
  constructor(connected, remoteAddress, remotePort, options = {}) {
    connected.catch(ignore); // bad arguments are reported before a tunnel that is down
    const request = describe(remoteAddress, remotePort, options);
    const signal = checkSignal(options.signal);
    this.#closed = new Promise((resolve, reject) => {
      this.#markClosed = resolve;
      this.#markFailed = reject;
    });
    this.#closed.catch(ignore);
    const { signal: own } = this.#control;
    this.#opened = this.#open(connected, request, signal ? AbortSignal.any([signal, own]) : own);
    this.#opened.catch((error) => this.#end(error));
  }

  /** Resolves when the connection stands; rejects with what prevented it. @returns {Promise<TCPSocketOpenInfo>} */
  get opened() { return this.#opened; }

  /**
   * Resolves when both halves have ended in order; rejects with what broke the connection, or kept it from opening.
   * @returns {Promise<void>}
   */
  get closed() { return this.#closed; }

  /** Of an open socket, as in `opened`. @returns {TCPSocketOpenInfo["readable"]} */
  get readable() { return this.#opening().readable; }

  /** Of an open socket, as in `opened`. @returns {TCPSocketOpenInfo["writable"]} */
  get writable() { return this.#opening().writable; }

  /** Once `readable` has ended: TLS was cut off without its closing message, so what came may not be all. */
  get truncated() { return this.#truncated; }

  /** @returns {TCPSocketOpenInfo} */
  #opening() {
    if (this.#info) return this.#info;
    throw new DOMException("the socket is not open", "InvalidStateError");
  }

  /**
   * @param {Promise<WorkerConnection>} connected
   * @param {TcpRequest} request
   * @param {AbortSignal} signal
   * @returns {Promise<TCPSocketOpenInfo>}
   */
  async #open(connected, request, signal) {
    const connection = await unlessAborted(connected, signal);
    /** @param {import("./messages.js").WorkerMessage} message */
    const notice = (message) => { if (message.type === "eof") this.#truncated = message.truncated; };
    const channel = new Channel(connection, { type: "tcp", request }, { signal, notice });
    channel.halves = true;
    void channel.closed.then((failure) => this.#end(failure?.error ?? null));
    const message = await channel.opened;
    if (message.type !== "opened") throw mixError("internal", "the worker opened something else than a socket");
    const { remoteAddress, remotePort, localAddress, localPort, tls } = /** @type {any} */ (message.detail);
    const readable = /** @type {TCPSocketOpenInfo["readable"]} */ (channel.readable);
    const info = { readable, writable: this.#writer(channel), remoteAddress, remotePort, localAddress, localPort, tls };
    this.#info = info;
    return info;
  }

  /**
   * @param {Channel} channel
   * @returns {WritableStream<ArrayBuffer | ArrayBufferView>}
   */
  #writer(channel) {
    return new WritableStream({
      start: (controller) => {
        void channel.closed.then((failure) => controller.error(failure?.error ?? mixError("connection_closed", "the connection is closed", "write")));
        // At once: `abort` below is called only when the write under way has ended.
        controller.signal.addEventListener("abort", () => {
          if (!this.#closing) channel.abort(controller.signal.reason);
        });
      },
      write: async (data) => {
        try {
          await channel.write(bytesOf(data, "what a TCP socket writes"));
        } catch (error) {
          channel.abort(error); // a stream that has failed once cannot end its half in order
          throw error;
        }
      },
      close: () => channel.finish(),
      abort: () => { if (this.#closing) channel.finish(); },
    });
  }

  /** @param {unknown} error null for an orderly end */
  #end(error) {
    this.#settled = true;
    if (error === null) this.#markClosed();
    else this.#markFailed(error);
  }

  /**
   * End both halves in order: what was written still arrives, what was not read is dropped. Rejects with
   * `InvalidStateError` before the socket is open and while one of its streams is locked.
   * @returns {Promise<void>}
   */
  async close() {
    if (this.#settled) return this.#closed;
    const { readable, writable } = this.#opening();
    if (readable.locked || writable.locked) throw new DOMException("a stream of the socket is locked", "InvalidStateError");
    this.#closing = true;
    void readable.cancel().catch(ignore);
    void writable.abort().catch(ignore);
    const late = mixError("close_timeout", `the peer did not take what was written in ${CLOSE_TIMEOUT_MS / 1000} s`, "close");
    const timer = setTimeout(() => this.abort(late), CLOSE_TIMEOUT_MS);
    return this.#closed.finally(() => clearTimeout(timer));
  }

  /**
   * Reset the connection and free it, whatever is under way.
   * @param {unknown} [reason] what readers, writers and `closed` are told; default: a `MixError`, code "aborted"
   */
  abort(reason = mixError("aborted", "aborted by the page")) {
    this.#control.abort(reason);
  }
}
