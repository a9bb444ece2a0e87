/**
 * UDP sockets of the tunnel in the shape of Direct Sockets' `UDPSocket` (WICG), connected or bound.
 *
 * More than the shape has: `send`, `receive` and iteration, in which one datagram may fail and the socket goes on, while
 * a stream that has failed is over. Datagrams wait in the worker, in a bounded queue, until they are asked for.
 *
 * @module
 */

import { Closable, closable } from "./dispose.js";
import { MixError, mixError } from "./errors.js";
import { unlessAborted } from "./signals.js";
import { bytesOf, checkFamily, checkHost, checkInteger, checkPort, checkSignal, checkSize } from "./socket-options.js";
import { checkIsolation } from "./isolation.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("../shared/messages.js").UdpRequest} UdpRequest */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("./socket-options.js").SocketDnsQueryType} SocketDnsQueryType */

/**
 * With `remoteAddress` and `remotePort` the socket is connected: it speaks with that peer only. Without, it is bound.
 * @typedef {object} UDPSocketOptions
 * @property {string} [remoteAddress]
 * @property {number} [remotePort]
 * @property {SocketDnsQueryType} [dnsQueryType] of `remoteAddress`
 * @property {string} [localAddress] "0.0.0.0": IPv4 only; "::" or nothing: both; or an address of the tunnel
 * @property {number} [localPort] default: a random one
 * @property {boolean} [ipv6Only] with "::"
 * @property {number} [sendBufferSize] has no effect: datagrams of all sockets share one queue
 * @property {number} [receiveBufferSize] bytes, held within 4 KiB to 16 MiB; default 256 KiB
 * @property {AbortSignal | null} [signal] ends the socket, at any time
 * @property {string | null} [isolation] of the names that it speaks to, as of `mixFetch`
 */

/**
 * A datagram. Of a bound socket it says where from or where to; a connected one refuses a destination.
 * @typedef {object} UDPMessage
 * @property {ArrayBuffer | ArrayBufferView} data
 * @property {string} [remoteAddress]
 * @property {number} [remotePort]
 * @property {SocketDnsQueryType} [dnsQueryType] of a name in `remoteAddress`
 */

/** @typedef {{data: Uint8Array<ArrayBuffer>, remoteAddress: string, remotePort: number}} UDPReceived */

/**
 * @typedef {object} UDPSocketOpenInfo
 * @property {ReadableStream<UDPReceived>} readable
 * @property {WritableStream<UDPMessage>} writable
 * @property {string} [remoteAddress] of a connected socket
 * @property {number} [remotePort]
 * @property {string} localAddress
 * @property {number} localPort
 */

/**
 * @template T
 * @typedef {{resolve: (value: T) => void, reject: (error: unknown) => void}} Waiter
 */

const ignore = () => {};

/**
 * @param {UDPSocketOptions} options
 * @returns {UdpRequest}
 */
function describe(options) {
  if (typeof options !== "object" || options === null) throw new TypeError("the options of a socket are an object");
  const { remoteAddress, remotePort, localAddress, localPort, ipv6Only, dnsQueryType } = options;
  const connected = remoteAddress !== undefined;
  if (connected !== (remotePort !== undefined)) throw new TypeError("remoteAddress and remotePort go together");
  if (connected && localAddress !== undefined) throw new TypeError("a socket has a remoteAddress or a localAddress, not both");
  if (!connected && dnsQueryType !== undefined) throw new TypeError("dnsQueryType goes with remoteAddress");
  if (ipv6Only !== undefined && localAddress !== "::") throw new TypeError('ipv6Only goes with the localAddress "::"');
  checkSize(options.sendBufferSize, "sendBufferSize");
  return {
    localAddress: localAddress === undefined ? null : checkHost(localAddress, "localAddress"),
    port: localPort === undefined ? 0 : checkInteger(localPort, 0, 65535, "localPort"),
    host: connected ? checkHost(remoteAddress) : null,
    remotePort: connected ? checkPort(remotePort, "remotePort") : null,
    family: ipv6Only ? 6 : checkFamily(dnsQueryType),
    receiveBufferSize: checkSize(options.receiveBufferSize, "receiveBufferSize"),
    isolation: checkIsolation(options.isolation),
  };
}

/** A UDP socket; made by `tunnel.udpSocket`, or over the shared tunnel by `new UDPSocket`. */
export class MixUdpSocket extends Closable {
  /** @type {WorkerConnection | null} */ #connection = null;
  #id = 0;
  /** Ends everything, from the wait for the tunnel on. */ #control = new AbortController();
  /** @type {boolean} */ #connected;
  /** @type {Promise<UDPSocketOpenInfo>} */ #opened;
  /** @type {Promise<void>} */ #closed;
  /** @type {(value?: undefined) => void} */ #markClosed = ignore;
  /** @type {(error: unknown) => void} */ #markFailed = ignore;
  /** @type {(error: unknown) => void} */ #failOpening = ignore;
  /** @type {UDPSocketOpenInfo | null} */ #info = null;
  /** @type {WritableStreamDefaultController | null} */ #writer = null;
  /** @type {ReadableStreamDefaultController<UDPReceived> | null} */ #reader = null;
  /** `error` null: closed by the page. @type {{error: unknown} | null} */ #ended = null;
  #halves = 2; // streams that have not ended
  /** @type {Waiter<UDPReceived>[]} */ #waiting = [];
  /** @type {Waiter<void>[]} */ #writing = [];

  /**
   * @param {Promise<WorkerConnection>} connected
   * @param {UDPSocketOptions} [options]
   */
  constructor(connected, options = {}) {
    super();
    connected.catch(ignore);
    const request = describe(options);
    const signal = checkSignal(options.signal);
    this.#connected = request.host !== null;
    this.#closed = new Promise((resolve, reject) => {
      this.#markClosed = resolve;
      this.#markFailed = reject;
    });
    const own = this.#control.signal;
    const ending = signal ? AbortSignal.any([signal, own]) : own;
    const onAbort = () => this.#fail(ending.reason);
    ending.addEventListener("abort", onAbort);
    this.#closed.catch(ignore).then(() => ending.removeEventListener("abort", onAbort));
    this.#opened = this.#open(connected, request, ending);
    this.#opened.catch((error) => this.#end(error));
  }

  /** @returns {Promise<UDPSocketOpenInfo>} */
  get opened() { return this.#opened; }

  /** Resolves when the socket was closed; rejects with what ended it otherwise. @returns {Promise<void>} */
  get closed() { return this.#closed; }

  /** Of an open socket. @returns {number} */
  get localPort() { return this.#opening().localPort; }

  /** @returns {UDPSocketOpenInfo} */
  #opening() {
    if (this.#info) return this.#info;
    throw new DOMException("the socket is not open", "InvalidStateError");
  }

  /**
   * @param {Promise<WorkerConnection>} connected
   * @param {UdpRequest} request
   * @param {AbortSignal} signal
   * @returns {Promise<UDPSocketOpenInfo>}
   */
  async #open(connected, request, signal) {
    const connection = this.#connection = await unlessAborted(connected, signal);
    /** @type {Record<string, any>} */
    const detail = await new Promise((resolve, reject) => {
      this.#failOpening = reject;
      this.#id = connection.open({ type: "udp", request }, {
        message: (message) => {
          if (message.type === "opened") resolve(message.detail);
          else this.#receive(message);
        },
        failed: (error) => { this.#end(error); },
      });
    });
    const { remoteAddress, remotePort, localAddress, localPort } = detail;
    const peer = this.#connected ? { remoteAddress, remotePort } : {};
    this.#info = { readable: this.#readable(), writable: this.#writable(), ...peer, localAddress, localPort };
    return this.#info;
  }

  /** @returns {ReadableStream<UDPReceived>} */
  #readable() {
    return new ReadableStream({
      start: (controller) => { this.#reader = controller; },
      pull: async (controller) => {
        while (!this.#ended) {
          try {
            const message = await this.receive();
            if (this.#reader) controller.enqueue(message);
            return;
          } catch (error) {
            // What became of a datagram to one of many peers does not end the stream of all.
            if (this.#connected) this.#fail(error);
          }
        }
      },
      cancel: () => { this.#reader = null; this.#endHalf(); },
    }, { highWaterMark: 0 });
  }

  /** @returns {WritableStream<UDPMessage>} */
  #writable() {
    return new WritableStream({
      start: (controller) => { this.#writer = controller; },
      write: async (message) => {
        try {
          await this.#write(message);
        } catch (error) {
          this.#endHalf(); // by the rules of streams this one is over
          throw error;
        }
      },
      close: () => this.#endHalf(),
      abort: () => this.#endHalf(),
    });
  }

  #endHalf() {
    this.#halves -= 1;
    if (this.#halves === 0) this.#fail(null);
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    if (message.type === "chunk" && message.data instanceof Uint8Array) {
      this.#waiting.shift()?.resolve({ data: message.data, remoteAddress: String(message.host), remotePort: Number(message.port) });
    } else if (message.type === "written") {
      this.#writing.shift()?.resolve();
    } else if (message.type === "failed") {
      (message.request === "pull" ? this.#waiting : this.#writing).shift()?.reject(new MixError(message.error));
    }
  }

  /** @param {unknown} error null when the page closes the socket */
  #fail(error) {
    this.#connection?.abort(this.#id);
    this.#end(error);
  }

  /** @param {unknown} error */
  #end(error) {
    if (this.#ended) return;
    const told = error ?? mixError("connection_closed", "the socket is closed", "udp");
    this.#ended = { error: told };
    this.#failOpening(told);
    for (const waiter of [...this.#waiting.splice(0), ...this.#writing.splice(0)]) waiter.reject(told);
    if (error === null) this.#reader?.close();
    else this.#reader?.error(error);
    this.#reader = null;
    this.#writer?.error(told);
    if (error === null) this.#markClosed();
    else this.#markFailed(error);
  }

  /**
   * @param {UDPMessage} message
   * @returns {Promise<void>}
   */
  async #write(message) {
    if (typeof message !== "object" || message === null) throw new TypeError("a datagram is an object with data");
    const data = bytesOf(message.data, "the data of a datagram").slice();
    const { remoteAddress, remotePort, dnsQueryType } = message;
    /** @type {{host?: string, port?: number, family?: 4 | 6 | null}} */
    let destination = {};
    if (this.#connected) {
      if (remoteAddress !== undefined || remotePort !== undefined) throw new TypeError("a connected socket takes no destination");
    } else {
      destination = { host: checkHost(remoteAddress), port: checkPort(remotePort, "remotePort"), family: checkFamily(dnsQueryType) };
    }
    if (this.#ended) throw this.#ended.error;
    return new Promise((resolve, reject) => {
      this.#writing.push({ resolve, reject });
      this.#connection?.send({ type: "write", id: this.#id, data, ...destination }, [data.buffer]);
    });
  }

  /**
   * Send one datagram; resolves when the tunnel has taken it. One that cannot be sent leaves the socket open.
   * @param {ArrayBuffer | ArrayBufferView} data
   * @param {string} [remoteAddress] address or name; none on a connected socket
   * @param {number} [remotePort]
   * @returns {Promise<void>}
   */
  async send(data, remoteAddress, remotePort) {
    await this.#opened;
    await this.#write({ data, remoteAddress, remotePort });
  }

  /**
   * The next datagram; `close` ends the wait. Rejects once for each ICMP error about what was sent; then go on.
   * @returns {Promise<UDPReceived>}
   */
  async receive() {
    await this.#opened;
    if (this.#ended) throw this.#ended.error;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#connection?.send({ type: "pull", id: this.#id });
    });
  }

  /**
   * Close the socket. Rejects with `InvalidStateError` before it is open and while one of its streams is locked.
   * @returns {Promise<void>}
   */
  async close() {
    if (this.#ended) return this.#closed;
    const { readable, writable } = this.#opening();
    if (readable.locked || writable.locked) throw new DOMException("a stream of the socket is locked", "InvalidStateError");
    this.#fail(null);
    return this.#closed;
  }

  /**
   * End the socket, whatever is under way.
   * @param {unknown} [reason] what is told to everyone who waits, and to `closed`
   */
  abort(reason = mixError("aborted", "aborted by the page")) {
    this.#control.abort(reason);
  }

  /**
   * Datagrams until `close`; a failure of one datagram, the socket or the tunnel is thrown.
   * @returns {AsyncGenerator<UDPReceived, void, undefined>}
   */
  async *[Symbol.asyncIterator]() {
    while (!this.#ended) {
      try {
        yield await this.receive();
      } catch (error) {
        if (await this.#isClosed()) return;
        throw error;
      }
    }
    await this.#closed;
  }

  /** Closed in order, by the page. @returns {Promise<boolean>} */
  async #isClosed() {
    return this.#ended !== null && this.#closed.then(() => true, () => false);
  }
}

// One of its streams may be in somebody's hands, or it is broken: then there is no order to end it in.
closable(MixUdpSocket, (socket) => socket.close().catch(() => socket.abort()));
