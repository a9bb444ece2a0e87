/**
 * A byte stream in the shape of Direct Sockets' `TCPSocket` (WICG): what TCP connections and streams to other clients
 * have in common.
 *
 * The two halves end on their own: closing `writable` ends the sending half and reading goes on; cancelling `readable`
 * drops what still comes. Aborting `writable` resets all. Backpressure reaches the other side in both directions.
 *
 * @module
 */

import { Closable, closable } from "./dispose.js";
import { mixError } from "./errors.js";
import { bytesOf } from "./socket-options.js";

/** @typedef {import("./channel.js").Channel} Channel */

/**
 * @typedef {object} ByteStreams
 * @property {ReadableStream<Uint8Array<ArrayBuffer>>} readable bytes; "byob" readers may be used
 * @property {WritableStream<ArrayBuffer | ArrayBufferView>} writable
 */

/** How long `close` waits for the peer to take what was written. */
const CLOSE_TIMEOUT_MS = 120_000;

const ignore = () => {};

/** @template {ByteStreams} Info what `opened` gives */
export class ByteSocket extends Closable {
  /** @type {Promise<Info>} */ #opened;
  /** @type {Promise<void>} */ #closed;
  /** @type {(value?: undefined) => void} */ #markClosed = ignore;
  /** @type {(error: unknown) => void} */ #markFailed = ignore;
  /** @type {Info | null} */ #info = null;
  /** Ends everything, from the wait for the tunnel on. */ #control = new AbortController();
  #settled = false;
  #closing = false;

  /**
   * @internal
   * @param {(signal: AbortSignal) => Promise<Channel>} open
   * @param {AbortSignal | null} signal of the page
   * @param {(detail: any) => Omit<Info, keyof ByteStreams>} describe the rest of `opened`, from the worker's `opened`
   */
  constructor(open, signal, describe) {
    super();
    this.#closed = new Promise((resolve, reject) => {
      this.#markClosed = resolve;
      this.#markFailed = reject;
    });
    this.#closed.catch(ignore);
    const { signal: own } = this.#control;
    this.#opened = this.#open(open(signal ? AbortSignal.any([signal, own]) : own), describe);
    this.#opened.catch((error) => this.#end(error));
  }

  /** Resolves when the socket stands; rejects with what prevented it. @returns {Promise<Info>} */
  get opened() { return this.#opened; }

  /**
   * Resolves when both halves have ended in order; rejects with what broke the connection, or kept it from opening.
   * @returns {Promise<void>}
   */
  get closed() { return this.#closed; }

  /** Of an open socket, as in `opened`. @returns {Info["readable"]} */
  get readable() { return this.#opening().readable; }

  /** Of an open socket, as in `opened`. @returns {Info["writable"]} */
  get writable() { return this.#opening().writable; }

  /** @returns {Info} */
  #opening() {
    if (this.#info) return this.#info;
    throw new DOMException("the socket is not open", "InvalidStateError");
  }

  /**
   * @param {Promise<Channel>} opening
   * @param {(detail: any) => Omit<Info, keyof ByteStreams>} describe
   * @returns {Promise<Info>}
   */
  async #open(opening, describe) {
    const channel = await opening;
    channel.halves = true;
    void channel.closed.then((failure) => this.#end(failure?.error ?? null));
    const message = await channel.opened;
    if (message.type !== "opened") throw mixError("internal", "the worker opened something else than a socket");
    const readable = /** @type {ByteStreams["readable"]} */ (channel.readable);
    const info = /** @type {Info} */ ({ readable, writable: this.#writer(channel), ...describe(message.detail) });
    this.#info = info;
    return info;
  }

  /**
   * @param {Channel} channel
   * @returns {ByteStreams["writable"]}
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
          await channel.write(bytesOf(data, "what a socket writes"));
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

// One of its streams may be in somebody's hands, or it is broken: then there is no order to end it in.
closable(ByteSocket, (socket) => socket.close().catch(() => socket.abort()));
