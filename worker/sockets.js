/**
 * TCP and UDP sockets of the tunnel for the page: streams for TCP, datagrams as an async iterator for UDP.
 *
 * @module
 */

import { Channel } from "./channel.js";
import { mixError } from "./errors.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

const WRITE_PIECE = 64 * 1024;

/** An open TCP (or TLS) connection. `writable.close()` ends the sending half; reading goes on. */
export class MixTcpSocket {
  /** @type {Channel} */ #channel;
  /** @type {ReadableStream<Uint8Array>} */ readable;
  /** @type {WritableStream<Uint8Array>} */ writable;
  /** Addresses and TLS facts of the connection. @type {Record<string, unknown>} */ detail;

  /**
   * @param {Channel} channel
   * @param {Record<string, unknown>} detail
   */
  constructor(channel, detail) {
    this.#channel = channel;
    this.detail = detail;
    this.readable = channel.readable;
    this.writable = new WritableStream({
      write: async (data) => {
        const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : null;
        if (!bytes) throw new TypeError("a TCP socket takes Uint8Array chunks");
        for (let at = 0; at < bytes.length; at += WRITE_PIECE) await channel.write(bytes.slice(at, at + WRITE_PIECE));
      },
      close: () => channel.finish(),
      abort: () => channel.abort(),
    });
  }

  /** Resolves when the connection has ended. @returns {Promise<void>} */
  get closed() {
    return this.#channel.closed;
  }

  /** Reset the connection and free it. */
  abort() {
    this.#channel.abort();
  }
}

/**
 * @param {WorkerConnection} connection
 * @param {string} host
 * @param {number} port
 * @param {{tls?: boolean, signal?: AbortSignal | null}} options
 * @returns {Promise<MixTcpSocket>}
 */
export async function connectTcp(connection, host, port, { tls = false, signal = null }) {
  signal?.throwIfAborted();
  const channel = new Channel(connection, { type: "tcp", host, port, tls });
  const onAbort = () => channel.abort(/** @type {AbortSignal} */ (signal).reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  channel.closed.then(() => signal?.removeEventListener("abort", onAbort));
  const message = await channel.opened;
  return new MixTcpSocket(channel, message.type === "opened" ? message.detail : {});
}

/** @typedef {{data: Uint8Array, host: string, port: number}} Datagram */

/** A UDP socket on the tunnel's address. Iterate it for datagrams; they wait in the worker until then. */
export class MixUdpSocket {
  /** @type {WorkerConnection} */ #connection;
  #id = 0;
  /** @type {Error | null} */ #ended = null;
  /** @type {{resolve: (datagram: Datagram) => void, reject: (error: Error) => void}[]} */ #waiting = [];
  /** @type {{resolve: () => void, reject: (error: Error) => void}[]} */ #writing = [];
  /** @type {Promise<MixUdpSocket>} */ opened;
  /** @type {Record<string, unknown>} */ detail = {};

  /**
   * @param {WorkerConnection} connection
   * @param {number} port 0 picks a random one
   */
  constructor(connection, port) {
    this.#connection = connection;
    this.opened = new Promise((resolve, reject) => {
      this.#id = connection.open(
        { type: "udp", port },
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
    } else if (message.type === "closed") {
      this.#end(mixError("connection_closed", "the socket is closed", "udp"));
    }
  }

  /** @param {Error} error */
  #end(error) {
    if (this.#ended) return;
    this.#ended = error;
    for (const waiter of [...this.#waiting, ...this.#writing]) waiter.reject(error);
    this.#waiting = [];
    this.#writing = [];
  }

  /**
   * Send one datagram; resolves when the tunnel has taken it.
   * @param {Uint8Array} data
   * @param {string} host address or name
   * @param {number} port
   * @returns {Promise<void>}
   */
  send(data, host, port) {
    const ended = this.#ended;
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      this.#writing.push({ resolve, reject });
      this.#connection.send({ type: "write", id: this.#id, data: data.slice(), host, port });
    });
  }

  /** The next datagram. @returns {Promise<Datagram>} */
  receive() {
    const ended = this.#ended;
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#connection.send({ type: "pull", id: this.#id });
    });
  }

  close() {
    this.#connection.abort(this.#id);
    this.#end(mixError("connection_closed", "the socket is closed", "udp"));
  }

  async *[Symbol.asyncIterator]() {
    while (!this.#ended) yield await this.receive();
  }
}
