/**
 * A two-way channel of the worker as web streams: response bodies and byte sockets are read through `readable`,
 * request bodies and byte sockets are written with `write`. Backpressure crosses in both directions.
 *
 * @module
 */

import { mixError } from "./errors.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./line.js").Opening} Opening */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */

/** What broke something; any value can be the reason of an abort, null too. @typedef {{error: unknown}} Failure */

/** Bytes of one `write` at most. */
export const WRITE_PIECE = 64 * 1024;

const ignore = () => {};

/** @typedef {ReadableStreamDefaultController<Uint8Array> | ReadableByteStreamController} Controller */

/**
 * A stream of bytes, which also fills buffers of its reader's where the browser can do that.
 * @param {{start: (controller: Controller) => void, pull: () => Promise<void>, cancel: () => void}} source
 * @param {number} ahead bytes that are pulled before anybody reads
 * @returns {ReadableStream<Uint8Array>}
 */
function byteStream(source, ahead) {
  // What a page has put into `Object.prototype` is none of their members.
  const bare = (/** @type {object} */ members) => Object.assign(Object.create(null), members);
  const strategy = bare({ highWaterMark: ahead });
  if (typeof ReadableByteStreamController === "undefined") {
    return new ReadableStream(bare(source), bare({ highWaterMark: ahead, size: (/** @type {Uint8Array} */ chunk) => chunk.length }));
  }
  return new ReadableStream(bare({ type: "bytes", ...source }), strategy);
}

export class Channel {
  /** @type {Line} */ #connection;
  /** @type {number} */ #id;
  /** @type {Controller | null} */ #reader = null;
  /** @type {(() => void) | null} */ #pulled = null;
  /** @type {{resolve: (value?: undefined) => void, reject: (error: unknown) => void} | null} */ #writing = null;
  /** @type {(message: WorkerMessage) => void} */ #notice;
  /** @type {() => {code?: number, text?: string}} */ #farewell;
  /** @type {(message: WorkerMessage) => void} */ #resolveOpened = ignore;
  /** @type {(error: unknown) => void} */ #rejectOpened = ignore;
  /** @type {(failure: Failure | null) => void} */ #markClosed = ignore;
  /** What writers are told after the end. @type {Failure | null} */ #told = null;
  /** @type {Failure | null} */ #failure = null;
  /** Cancelling `readable` ends reading only; the owner of a channel whose halves end on their own sets it. */
  halves = false;
  /** A response whose body waits for its reader is no work under way: a program may end that leaves it unread. */
  #answered = false;
  /** First message of the channel: `response` or `opened`. @type {Promise<WorkerMessage>} */ opened;
  /** @type {ReadableStream<Uint8Array>} */ readable;
  /** Resolves when the channel has ended: with null, or with what ended it early. @type {Promise<Failure | null>} */ closed;

  /**
   * @param {Line} connection
   * @param {Opening} message
   * @param {{signal?: AbortSignal | null, transfer?: Transferable[], notice?: (message: WorkerMessage) => void,
   *   farewell?: () => {code?: number, text?: string}, ahead?: number}} [options]
   *   the signal aborts the channel; `notice` sees every message first; `farewell` goes with an abort; `ahead`: bytes that are
   *   pulled before anybody reads, none by default
   */
  constructor(connection, message, { signal = null, transfer = [], notice = ignore, farewell = () => ({}), ahead = 0 } = {}) {
    signal?.throwIfAborted();
    this.#connection = connection;
    this.#notice = notice;
    this.#farewell = farewell;
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#rejectOpened = reject;
    });
    this.opened.catch(ignore);
    this.closed = new Promise((resolve) => { this.#markClosed = resolve; });
    this.readable = byteStream({
      start: (controller) => { this.#reader = controller; },
      pull: () => this.#pull(),
      cancel: () => (this.halves ? this.#discard() : this.abort()),
    }, ahead);
    this.#id = connection.open(message, { message: (m) => this.#receive(m), failed: (error) => this.#end({ error }) }, transfer);
    if (signal) {
      const onAbort = () => this.abort(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      void this.closed.then(() => signal.removeEventListener("abort", onAbort));
    }
  }

  /** What `readable` was broken with, null when nothing broke it. @returns {Failure | null} */
  get failure() {
    return this.#failure;
  }

  /** @returns {Promise<void>} */
  #pull() {
    return new Promise((resolve) => {
      this.#pulled = resolve;
      this.#rest();
      this.#connection.send({ type: "pull", id: this.#id });
    });
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    this.#notice(message);
    switch (message.type) {
      case "response":
        this.#answered = true;
        this.#resolveOpened(message);
        this.#rest();
        break;
      case "opened":
        this.#resolveOpened(message);
        break;
      case "chunk":
        if (message.data instanceof Uint8Array) /** @type {any} */ (this.#reader)?.enqueue(message.data);
        this.#finishPull();
        break;
      case "eof":
        this.endReading();
        break;
      case "written":
        this.#writing?.resolve();
        this.#writing = null;
        this.#rest();
        break;
      case "end":
        this.endReading();
        this.#end(null);
        break;
    }
  }

  #finishPull() {
    this.#pulled?.();
    this.#pulled = null;
    this.#rest();
  }

  #rest() {
    this.#connection.rest(this.#id, this.#answered && !this.#pulled && !this.#writing);
  }

  /** Nothing more comes to `readable`. */
  endReading() {
    const reader = this.#reader;
    this.#reader = null;
    try {
      reader?.close();
      if (reader && "byobRequest" in reader) reader.byobRequest?.respond(0); // a buffer that waits is given back
    } catch {
      // The bytes do not fill an element of the reader's array: the stream has told it, and ends all the same.
    }
    this.#finishPull();
  }

  #discard() {
    this.#reader = null;
    this.#finishPull();
    this.#connection.send({ type: "discard", id: this.#id });
  }

  /** @param {Failure | null} failure null for an orderly end */
  #end(failure) {
    if (this.#told) return;
    this.#told = failure ?? { error: mixError("connection_closed", "the connection is closed", "write") };
    const { error } = this.#told;
    this.#rejectOpened(error);
    if (this.#reader) {
      this.#failure = this.#told;
      this.#reader.error(error);
    }
    this.#reader = null;
    this.#finishPull();
    this.#writing?.reject(error);
    this.#writing = null;
    this.#markClosed(failure);
  }

  /**
   * Hand bytes over; resolves when the tunnel has taken them. One call at a time.
   * @param {Uint8Array} data copied, unless it is
   * @param {boolean} [owned] a whole buffer of at most `WRITE_PIECE` that nobody else holds
   * @returns {Promise<void>}
   */
  async write(data, owned = false) {
    if (owned) return this.#writePiece(/** @type {Uint8Array<ArrayBuffer>} */ (data));
    for (let at = 0; at < data.length; at += WRITE_PIECE) {
      // Not `slice`: that of a Buffer of Node.js copies nothing.
      await this.#writePiece(new Uint8Array(data.subarray(at, at + WRITE_PIECE)));
    }
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} data given away
   * @returns {Promise<void>}
   */
  #writePiece(data) {
    if (this.#told) return Promise.reject(this.#told.error);
    return new Promise((resolve, reject) => {
      this.#writing = { resolve, reject };
      this.#rest();
      this.#connection.send({ type: "write", id: this.#id, data }, [data.buffer]);
    });
  }

  /**
   * What was written is void; a write that waits for its turn is over, and others follow from the beginning.
   * @param {number} turn the number of the `rewind` that is answered
   */
  rewound(turn) {
    this.#connection.send({ type: "rewound", id: this.#id, turn });
    this.#writing?.resolve();
    this.#writing = null;
  }

  /** No more bytes will be written. */
  finish() {
    this.#connection.send({ type: "finish", id: this.#id });
  }

  /**
   * Drop everything at once.
   * @param {unknown} [reason] what readers and writers are told
   */
  abort(reason = mixError("aborted", "aborted by the page")) {
    this.#connection.abort(this.#id, this.#farewell());
    this.#end({ error: reason });
  }
}
