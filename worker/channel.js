/**
 * A two-way channel of the worker as web streams: response bodies and TCP connections are read through `readable`,
 * request bodies and TCP connections are written through `writable`. Backpressure crosses in both directions.
 *
 * @module
 */

import { mixError } from "./errors.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./connection.js").Opening} Opening */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

/** @type {(error: Error) => void} */
const ignore = () => {};

export class Channel {
  /** @type {WorkerConnection} */ #connection;
  /** @type {number} */ #id;
  /** @type {ReadableStreamDefaultController<Uint8Array> | null} */ #reader = null;
  /** @type {(() => void) | null} */ #pulled = null;
  /** @type {{resolve: () => void, reject: (error: Error) => void} | null} */ #writing = null;
  /** @type {((message: WorkerMessage) => void) | null} */ #resolveOpened = null;
  /** @type {(error: Error) => void} */ #rejectOpened = ignore;
  #ended = false;
  /** First message of the channel: `response` or `opened`. @type {Promise<WorkerMessage>} */ opened;
  /** @type {ReadableStream<Uint8Array>} */ readable;
  /** Resolves when the channel has ended, for whatever reason. @type {Promise<void>} */ closed;
  #markClosed = () => {};

  /**
   * @param {WorkerConnection} connection
   * @param {Opening} message
   * @param {Transferable[]} [transfer]
   */
  constructor(connection, message, transfer = []) {
    this.#connection = connection;
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#rejectOpened = reject;
    });
    this.opened.catch(ignore);
    this.closed = new Promise((resolve) => { this.#markClosed = () => resolve(undefined); });
    this.#id = connection.open(message, { message: (m) => this.#receive(m), failed: (e) => this.#fail(e) }, transfer);
    this.readable = new ReadableStream(
      {
        start: (controller) => { this.#reader = controller; },
        pull: () => this.#pull(),
        cancel: () => this.abort(),
      },
      { highWaterMark: 0 },
    );
  }

  /** @returns {Promise<void>} */
  #pull() {
    return new Promise((resolve) => {
      this.#pulled = resolve;
      this.#connection.send({ type: "pull", id: this.#id });
    });
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "response":
      case "opened":
        this.#resolveOpened?.(message);
        break;
      case "chunk":
        if (message.data instanceof Uint8Array) this.#reader?.enqueue(message.data);
        this.#finishPull();
        break;
      case "end":
      case "closed":
        this.#ended = true;
        this.#reader?.close();
        this.#finishPull();
        this.#writing?.reject(mixError("connection_closed", "the connection is closed", "write"));
        this.#writing = null;
        this.#markClosed();
        break;
      case "written":
        this.#writing?.resolve();
        this.#writing = null;
        break;
    }
  }

  #finishPull() {
    this.#pulled?.();
    this.#pulled = null;
  }

  /** @param {Error} error */
  #fail(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#rejectOpened(error);
    this.#reader?.error(error);
    this.#finishPull();
    this.#writing?.reject(error);
    this.#writing = null;
    this.#markClosed();
  }

  /**
   * Hand bytes over; resolves when the tunnel has taken them.
   * @param {Uint8Array} data
   * @returns {Promise<void>}
   */
  write(data) {
    if (this.#ended) return Promise.reject(mixError("connection_closed", "the connection is closed", "write"));
    return new Promise((resolve, reject) => {
      this.#writing = { resolve, reject };
      this.#connection.send({ type: "write", id: this.#id, data });
    });
  }

  /** No more bytes will be written. */
  finish() {
    this.#connection.send({ type: "finish", id: this.#id });
  }

  /**
   * Drop everything at once.
   * @param {Error} [reason] what readers and writers are told
   */
  abort(reason) {
    this.#connection.abort(this.#id);
    this.#fail(reason ?? mixError("cancelled", "aborted by the page"));
  }
}
