/**
 * `tunnel.messages`: raw messages to and from other clients, up to 1 MiB each, without an exit.
 *
 * What arrives is kept from the first use of any of it on: a bounded number, in the worker, until it is taken.
 *
 * @module
 */

import { isArrayBuffer } from "./brands.js";
import { mixError } from "./errors.js";
import { handle, handlerOf } from "./event-handlers.js";
import { checkAddress } from "./peer-stream.js";
import { unlessAborted } from "./signals.js";
import { bytesOf, checkInteger } from "./socket-options.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./connection.js").Opening} Opening */

/**
 * @typedef {object} MixMessage
 * @property {Uint8Array<ArrayBuffer>} data
 * @property {string | null} senderTag whom `reply` answers; null of a sender that wants no answer
 * @property {string | null} source the address that we had written to, where this is the answer to that
 */

/**
 * @typedef {object} MixReplyOptions
 * @property {number} [timeout] milliseconds until it is given up; default 300000
 */

/**
 * @typedef {object} MixMessageOptions
 * @property {number | null} [surbs] packets that the recipient may send back, up to 100; default 13. 0 or null: it cannot
 *   answer, and nothing links two such messages
 * @property {number} [timeout] milliseconds until it is given up; default 300000
 */

/** Two more than a replier keeps for asking, so that a short answer needs no round trip first. */
const DEFAULT_SURBS = 13;
const MAX_TIMEOUT_MS = 86_400_000;

const ignore = () => {};

/** A message that is queued. */
export class MixSent {
  /** @type {"sending" | "delivered" | "failed"} */ #state = "sending";
  /** Resolves when the recipient's gateway has all of it; rejects, code "not_delivered". @type {Promise<void>} */ delivered;

  /** @param {Promise<void>} delivered */
  constructor(delivered) {
    this.delivered = delivered;
    delivered.then(() => { this.#state = "delivered"; }, () => { this.#state = "failed"; });
  }

  get state() { return this.#state; }
}

/**
 * @param {string | ArrayBuffer | ArrayBufferView} data
 * @returns {Uint8Array<ArrayBuffer>} a copy
 */
function octets(data) {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (isArrayBuffer(data) || ArrayBuffer.isView(data)) return bytesOf(data, "a message").slice();
  throw new TypeError("a message is text, an ArrayBuffer or a view of one");
}

/** @param {unknown} timeout @returns {number | null} */
const checkTimeout = (timeout) => (timeout === undefined ? null : checkInteger(timeout, 1, MAX_TIMEOUT_MS, "timeout"));

/**
 * `EventTarget` that knows the events of messages by name.
 * @typedef {object} MixMessagesListening
 * @property {(type: "message", listener: ((event: MessageEvent<MixMessage>) => void) | null,
 *   options?: boolean | AddEventListenerOptions) => void} addEventListener
 * @property {(type: "message", listener: ((event: MessageEvent<MixMessage>) => void) | null,
 *   options?: boolean | EventListenerOptions) => void} removeEventListener
 */

const Target = /** @type {new () => MixMessagesListening & EventTarget} */ (EventTarget);

/**
 * Events: "message", with a `MixMessage` in `event.data`, once `onmessage` is set or `start` was called, as of a
 * `MessagePort`. They take all messages, as a reader of `readable` does: a page does the one or the other.
 */
export class MixMessages extends Target {
  /** @type {() => Promise<WorkerConnection>} */ #connected;
  /** @type {ReadableStream<MixMessage> | null} */ #readable = null;
  #pumping = false;

  /**
   * @internal
   * @param {() => Promise<WorkerConnection>} connected
   */
  constructor(connected) {
    super();
    this.#connected = connected;
  }

  /**
   * Queue a message for a Nym address; resolves when it is queued.
   * @param {string} address
   * @param {string | ArrayBuffer | ArrayBufferView} data text goes as UTF-8
   * @param {MixMessageOptions} [options]
   * @returns {Promise<MixSent>}
   */
  async send(address, data, { surbs = DEFAULT_SURBS, timeout } = {}) {
    return this.#send({
      type: "message",
      address: checkAddress(address),
      surbs: checkInteger(surbs ?? 0, 0, 100, "surbs"),
      timeout: checkTimeout(timeout),
      data: octets(data),
    });
  }

  /**
   * Answer whoever is behind a tag; each 1.6 kB costs one of the sender's reply SURBs, and waits for more where need be.
   * @param {string} senderTag
   * @param {string | ArrayBuffer | ArrayBufferView} data not empty
   * @param {MixReplyOptions} [options]
   * @returns {Promise<MixSent>}
   */
  async reply(senderTag, data, { timeout } = {}) {
    if (typeof senderTag !== "string") throw new TypeError("a sender tag is the text that came with a message");
    return this.#send({ type: "reply", senderTag, timeout: checkTimeout(timeout), data: octets(data) });
  }

  /**
   * @param {Extract<Opening, {type: "message" | "reply"}>} message
   * @returns {Promise<MixSent>}
   */
  async #send(message) {
    const connection = await this.#connected();
    return new Promise((resolve, reject) => {
      /** @type {Promise<void>} */
      const delivered = new Promise((done, failed) => {
        connection.open(message, {
          message: ({ type }) => {
            if (type === "opened") resolve(new MixSent(delivered));
            else if (type === "result") done();
          },
          failed: (error) => {
            reject(error);
            failed(error);
          },
        }, [message.data.buffer]);
      });
      delivered.catch(ignore);
    });
  }

  /**
   * Messages as they come, until the tunnel is over; the same stream until it has ended.
   * @returns {ReadableStream<MixMessage>}
   */
  get readable() {
    return (this.#readable ??= this.#open());
  }

  /** @returns {ReadableStream<MixMessage>} */
  #open() {
    let id = 0;
    /** @type {WorkerConnection | null} */
    let connection = null;
    let cancelled = false;
    /** @type {() => void} */
    let taken = ignore;
    /** @type {ReadableStream<MixMessage>} */
    const readable = new ReadableStream({
      start: async (controller) => {
        /** @param {any} error */
        const end = (error) => {
          if (this.#readable === readable) this.#readable = null;
          if (!cancelled) {
            if (error?.code === "tunnel_down") controller.close();
            else controller.error(error);
          }
          taken();
        };
        try {
          connection = await this.#connected();
        } catch (error) {
          if (this.#readable === readable) this.#readable = null;
          throw error;
        }
        if (cancelled) return;
        id = connection.open({ type: "messages" }, {
          message: (message) => {
            if (message.type !== "chunk" || !(message.data instanceof Uint8Array) || cancelled) return;
            controller.enqueue({ data: message.data, senderTag: message.senderTag ?? null, source: message.source ?? null });
            taken();
          },
          failed: end,
        });
      },
      pull: () => new Promise((resolve) => {
        taken = () => resolve();
        connection?.send({ type: "pull", id });
      }),
      cancel: () => {
        cancelled = true;
        if (this.#readable === readable) this.#readable = null;
        connection?.abort(id);
      },
    }, { highWaterMark: 0 });
    return readable;
  }

  /**
   * The next message.
   * @param {{signal?: AbortSignal | null}} [options]
   * @returns {Promise<MixMessage>}
   */
  async receive({ signal = null } = {}) {
    const reader = this.readable.getReader();
    try {
      const { value, done } = await unlessAborted(reader.read(), signal);
      if (done) throw mixError("tunnel_down", "the tunnel was disconnected");
      return value;
    } finally {
      reader.releaseLock();
    }
  }

  /**
   * Messages until the tunnel is over, or the end of the loop; what is not taken then waits in the worker.
   * @returns {AsyncGenerator<MixMessage, void, undefined>}
   */
  async *[Symbol.asyncIterator]() {
    const reader = this.readable.getReader();
    try {
      for (let one = await reader.read(); !one.done; one = await reader.read()) yield one.value;
    } finally {
      reader.releaseLock();
    }
  }

  /** @returns {((event: MessageEvent<MixMessage>) => void) | null} */
  get onmessage() { return handlerOf(this, "message"); }
  set onmessage(handler) {
    handle(this, "message", handler);
    this.start();
  }

  /** Begin to dispatch "message" events, until the tunnel is over; setting `onmessage` does it by itself. */
  start() {
    if (this.#pumping) return;
    this.#pumping = true;
    void this.#pump().catch(ignore).finally(() => { this.#pumping = false; }); // the tunnel's own events tell of its end
  }

  async #pump() {
    for await (const data of this) this.dispatchEvent(new MessageEvent("message", { data }));
  }
}
