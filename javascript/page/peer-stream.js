/**
 * Byte streams to and from other clients, end to end and without an exit: `MixPeerStream` in the shape of Direct
 * Sockets' `TCPSocket`, `MixListener` in that of its `TCPServerSocket`. What they promise: docs/peer-to-peer.md.
 *
 * @module
 */

import { ByteSocket } from "./byte-socket.js";
import { Channel } from "./channel.js";
import { Closable, closable } from "./dispose.js";
import { mixError } from "./errors.js";
import { unlessAborted } from "./signals.js";
import { checkInteger, checkSignal } from "./socket-options.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./connection.js").Opening} Opening */

/**
 * @typedef {object} MixPeerStreamOptions
 * @property {number} [surbs] reply SURBs on the first message, 1 to 100; default 10. More follow as they are used
 * @property {AbortSignal | null} [signal] resets the stream, at any time
 */

/**
 * @typedef {object} MixPeerStreamOpenInfo
 * @property {ReadableStream<Uint8Array<ArrayBuffer>>} readable bytes; "byob" readers may be used
 * @property {WritableStream<ArrayBuffer | ArrayBufferView>} writable
 * @property {string | null} remoteAddress the peer's Nym address; null of one that called us: it stays unknown
 * @property {string} localAddress our own, which the peer learns only where it has called us
 */

const DEFAULT_SURBS = 10;
const FIRST_CODE = 256;

const ignore = () => {};

/** @param {any} detail of the worker's `opened` @returns {Omit<MixPeerStreamOpenInfo, "readable" | "writable">} */
const describe = ({ remoteAddress, localAddress }) => ({ remoteAddress, localAddress });

/**
 * @param {unknown} address
 * @returns {string}
 */
export function checkAddress(address) {
  if (typeof address === "string" && address !== "") return address;
  throw new TypeError("a Nym address is a string: identity.encryption@gateway");
}

/**
 * A stream to another client. `opened` costs no round trip; a peer that is not there, or does not listen, shows in
 * `readable` and `closed`, which resolves when all that was written has arrived and both halves have ended.
 * @extends {ByteSocket<MixPeerStreamOpenInfo>}
 */
export class MixPeerStream extends ByteSocket {
  /** @type {{reliable: boolean | null, farewell: {code?: number, text?: string}}} */ #facts;

  /**
   * @param {Promise<WorkerConnection>} connected
   * @param {string} address
   * @param {MixPeerStreamOptions} [options]
   * @param {Opening | null} [accepting] how to become one that another client has opened
   */
  constructor(connected, address, options = {}, accepting = null) {
    connected.catch(ignore); // bad arguments are reported before a tunnel that is down
    if (typeof options !== "object" || options === null) throw new TypeError("the options of a stream are an object");
    const { surbs = DEFAULT_SURBS } = options;
    const signal = checkSignal(options.signal);
    const opening = accepting
      ?? { type: "stream", address: checkAddress(address), surbs: checkInteger(surbs, 1, 100, "surbs") };
    /** @type {{reliable: boolean | null, farewell: {code?: number, text?: string}}} */
    const facts = { reliable: null, farewell: {} };
    /** @param {import("../shared/messages.js").WorkerMessage} message */
    const notice = (message) => { if (message.type === "peer") facts.reliable = message.reliable; };
    super(
      async (signal) => new Channel(await unlessAborted(connected, signal), opening, { signal, notice, farewell: () => facts.farewell }),
      signal,
      describe,
    );
    this.#facts = facts;
  }

  /**
   * Is the peer a client of ours, with which nothing is lost without a word? null: it has not shown yet. A client of the
   * reference tells no end, and `closed` says then what its gateway has taken.
   * @returns {boolean | null}
   */
  get reliable() { return this.#facts.reliable; }

  /**
   * End the stream, whatever is under way.
   * @param {unknown} [reason] what readers, writers and `closed` are told here
   * @param {{code?: number, text?: string}} [farewell] what a peer of ours is told: a code of 256 to 65535, a short text
   */
  abort(reason = mixError("aborted", "aborted by the page"), { code = FIRST_CODE, text = "" } = {}) {
    this.#facts.farewell = { code: checkInteger(code, FIRST_CODE, 65_535, "code"), text: String(text) };
    super.abort(reason);
  }
}

/**
 * @typedef {object} MixListenerOpenInfo
 * @property {ReadableStream<MixPeerStream>} readable streams that are open
 * @property {string} localAddress the Nym address that others call
 */

/** Incoming streams; `for await` over it, or read `(await listener.opened).readable`. */
export class MixListener extends Closable {
  /** @type {Promise<MixListenerOpenInfo>} */ #opened;
  /** @type {Promise<void>} */ #closed;
  /** @type {(value?: undefined) => void} */ #markClosed = ignore;
  /** @type {(error: unknown) => void} */ #markFailed = ignore;
  /** @type {ReadableStreamDefaultController<MixPeerStream> | null} */ #reader = null;
  /** Ends the wait for the next one. */ #control = new AbortController();
  #ended = false;
  /** @type {() => void} */ #stop = ignore;

  /** @param {Promise<WorkerConnection>} connected */
  constructor(connected) {
    super();
    connected.catch(ignore);
    this.#closed = new Promise((resolve, reject) => {
      this.#markClosed = resolve;
      this.#markFailed = reject;
    });
    this.#closed.catch(ignore);
    this.#opened = this.#open(connected);
    this.#opened.catch((error) => this.#end({ error }));
  }

  /** Resolves when others may call; rejects with what prevented it. @returns {Promise<MixListenerOpenInfo>} */
  get opened() { return this.#opened; }

  /** Resolves after `close`; rejects with what ended it otherwise. @returns {Promise<void>} */
  get closed() { return this.#closed; }

  /**
   * @param {Promise<WorkerConnection>} connected
   * @returns {Promise<MixListenerOpenInfo>}
   */
  async #open(connected) {
    const connection = await unlessAborted(connected, this.#control.signal);
    /** @type {any} */
    const detail = await new Promise((resolve, reject) => {
      const id = connection.open({ type: "listen" }, {
        message: (message) => { if (message.type === "opened") resolve(message.detail); },
        failed: (error) => {
          reject(error);
          this.#end({ error });
        },
      });
      this.#stop = () => {
        connection.abort(id);
        reject(this.#control.signal.reason);
      };
    });
    const readable = new ReadableStream({
      start: (controller) => { this.#reader = controller; },
      pull: async (controller) => {
        const stream = new MixPeerStream(connected, "", { signal: null }, { type: "accept" });
        const end = () => stream.abort();
        this.#control.signal.addEventListener("abort", end, { once: true });
        try {
          await stream.opened;
        } catch (error) {
          this.#end({ error });
          return;
        } finally {
          this.#control.signal.removeEventListener("abort", end);
        }
        if (this.#ended) stream.abort();
        else controller.enqueue(stream);
      },
      cancel: () => this.#end(null),
    }, { highWaterMark: 0 });
    return { readable, localAddress: detail.localAddress };
  }

  /** @param {{error: unknown} | null} failure null: the page closes it */
  #end(failure) {
    if (this.#ended) return;
    this.#ended = true;
    this.#control.abort(failure ? failure.error : mixError("connection_closed", "the listener is closed", "accept"));
    this.#stop();
    try {
      if (failure) this.#reader?.error(failure.error);
      else this.#reader?.close();
    } catch {
      // It was cancelled.
    }
    if (failure) this.#markFailed(failure.error);
    else this.#markClosed();
  }

  /** Take no more; those that nobody took are refused, streams that were taken live on. @returns {Promise<void>} */
  async close() {
    this.#end(null);
    return this.#closed;
  }

  /**
   * Streams until `close`, or the end of the loop, which closes it.
   * @returns {AsyncGenerator<MixPeerStream, void, undefined>}
   */
  async *[Symbol.asyncIterator]() {
    const reader = (await this.#opened).readable.getReader();
    try {
      for (let one = await reader.read(); !one.done; one = await reader.read()) yield one.value;
    } finally {
      this.#end(null);
    }
  }
}

closable(MixListener, (listener) => listener.close().catch(() => {}));
