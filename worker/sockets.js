/**
 * TCP and UDP sockets of the tunnel for the page: streams for TCP, datagrams as an async iterator for UDP.
 *
 * @module
 */

import { Channel } from "./channel.js";
import { MixError, mixError } from "./errors.js";
import { unlessAborted } from "./signals.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

/**
 * Bytes of a buffer or view, copied, so that the caller may go on using it.
 * @param {unknown} data
 * @param {string} what
 * @returns {Uint8Array<ArrayBuffer>}
 */
function copyBytes(data, what) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  throw new TypeError(`${what} takes an ArrayBuffer or a view of one`);
}

/**
 * @param {unknown} port
 * @param {number} least
 * @returns {number}
 */
function checkPort(port, least) {
  if (typeof port === "number" && Number.isInteger(port) && port >= least && port <= 65535) return port;
  throw new RangeError(`port ${String(port)} is not in ${least}..65535`);
}

/**
 * An open TCP (or TLS) connection. `writable.close()` ends the sending half; reading goes on. Cancelling `readable`,
 * aborting `writable` and `abort()` reset the connection.
 */
export class MixTcpSocket {
  /** @type {Channel} */ #channel;
  /** @type {ReadableStream<Uint8Array>} */ readable;
  /** @type {WritableStream<Uint8Array>} */ writable;
  /** Over TLS: `tls` (version), `cipher`, `alpn`. @type {Record<string, unknown>} */ detail;

  /**
   * @param {Channel} channel
   * @param {Record<string, unknown>} detail
   */
  constructor(channel, detail) {
    this.#channel = channel;
    this.detail = detail;
    this.readable = channel.readable;
    this.writable = new WritableStream({
      start: (controller) => {
        void channel.closed.then((error) => controller.error(error ?? mixError("connection_closed", "the connection is closed", "write")));
      },
      write: (data) => channel.write(copyBytes(data, "a TCP socket")),
      close: () => channel.finish(),
      abort: (reason) => channel.abort(reason),
    });
  }

  /** Resolves when the connection has ended, for whatever reason. @returns {Promise<void>} */
  get closed() {
    return this.#channel.closed.then(() => {});
  }

  /** Reset the connection and free it. */
  abort() {
    this.#channel.abort();
  }
}

/**
 * @param {Promise<WorkerConnection>} connected
 * @param {string} host
 * @param {number} port
 * @param {{tls?: boolean, signal?: AbortSignal | null}} options
 * @returns {Promise<MixTcpSocket>}
 */
export async function connectTcp(connected, host, port, { tls = false, signal = null }) {
  connected.catch(() => {}); // bad arguments are reported before a tunnel that is down
  const opening = { type: /** @type {const} */ ("tcp"), host: String(host), port: checkPort(port, 1), tls: Boolean(tls) };
  const channel = new Channel(await unlessAborted(connected, signal), opening, { signal });
  const message = await channel.opened;
  return new MixTcpSocket(channel, message.type === "opened" ? message.detail : {});
}

/** @typedef {{data: Uint8Array, host: string, port: number}} Datagram */

/**
 * @template T
 * @typedef {{resolve: (value: T) => void, reject: (error: unknown) => void}} Waiter
 */

/** A UDP socket on the tunnel's address. Iterate it for datagrams; they wait in the worker until then. */
export class MixUdpSocket {
  /** @type {WorkerConnection} */ #connection;
  #id = 0;
  /** @type {{error: unknown} | null} */ #ended = null;
  #closed = false;
  /** @type {Waiter<Datagram>[]} */ #waiting = [];
  /** @type {Waiter<void>[]} */ #writing = [];
  /** @type {Promise<MixUdpSocket>} */ opened;
  /** `localPort`. @type {Record<string, unknown>} */ detail = {};

  /**
   * @param {WorkerConnection} connection
   * @param {number} port 0 picks a random one
   */
  constructor(connection, port) {
    this.#connection = connection;
    this.opened = new Promise((resolve, reject) => {
      this.#id = connection.open(
        { type: "udp", port: checkPort(port, 0) },
        {
          message: (message) => {
            if (message.type === "opened") { this.detail = message.detail; resolve(this); }
            else this.#receive(message);
          },
          failed: (error) => { reject(error); this.#end(error); },
        },
      );
    });
    this.opened.catch(() => {});
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    if (message.type === "chunk" && message.data instanceof Uint8Array) {
      this.#waiting.shift()?.resolve({ data: message.data, host: String(message.host), port: Number(message.port) });
    } else if (message.type === "written") {
      this.#writing.shift()?.resolve();
    } else if (message.type === "failed") {
      (message.request === "pull" ? this.#waiting : this.#writing).shift()?.reject(new MixError(message.error));
    }
  }

  /** @param {unknown} error */
  #end(error) {
    if (this.#ended) return;
    this.#ended = { error };
    for (const waiter of [...this.#waiting.splice(0), ...this.#writing.splice(0)]) waiter.reject(error);
  }

  /**
   * Send one datagram; resolves when the tunnel has taken it. A datagram that cannot be sent leaves the socket open.
   * @param {Uint8Array | ArrayBuffer | ArrayBufferView} data
   * @param {string} host address or name
   * @param {number} port
   * @returns {Promise<void>}
   */
  async send(data, host, port) {
    const bytes = copyBytes(data, "a UDP socket");
    checkPort(port, 1);
    if (this.#ended) throw this.#ended.error;
    return new Promise((resolve, reject) => {
      this.#writing.push({ resolve, reject });
      this.#connection.send({ type: "write", id: this.#id, data: bytes, host: String(host), port }, [bytes.buffer]);
    });
  }

  /**
   * The next datagram; `close` ends the wait. Rejects once for each ICMP error about what was sent; then go on.
   * @returns {Promise<Datagram>}
   */
  async receive() {
    if (this.#ended) throw this.#ended.error;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#connection.send({ type: "pull", id: this.#id });
    });
  }

  close() {
    this.#closed = true;
    this.#connection.abort(this.#id);
    this.#end(mixError("connection_closed", "the socket is closed", "udp"));
  }

  /** Datagrams until `close`; a failure of the socket or the tunnel is thrown. */
  async *[Symbol.asyncIterator]() {
    while (!this.#closed) {
      try {
        yield await this.receive();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
    }
  }
}
