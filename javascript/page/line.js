/**
 * Ids and who listens to them, on whatever carries the messages of messages.js: a worker (connection.js), or the port of a
 * page that lends its tunnel (service/port-line.js).
 *
 * @module
 */

import { MixError } from "./errors.js";
import { unlessAborted } from "./signals.js";

/** @typedef {import("../shared/messages.js").PageMessage} PageMessage */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */

/**
 * Where messages of one id go. `failed` is the last of them.
 * @typedef {{message: (message: WorkerMessage) => void, failed: (error: unknown) => void}} Listener
 */

/**
 * A message without its id: the line adds it.
 * @template T
 * @typedef {T extends {id: number} ? Omit<T, "id"> : never} WithoutId
 */
/** @typedef {WithoutId<PageMessage>} Opening */

export class Line {
  /** @type {(message: any, transfer?: Transferable[]) => void} */ #post;
  /** @type {Map<number, Listener>} */ #listeners = new Map();
  /** Ids of which nothing comes before the page asks for more. @type {Set<number>} */ #resting = new Set();
  #nextId = 1;
  /** @type {unknown} */ #dead = null;

  /** @type {(busy: boolean) => void} */ #hold;

  /**
   * @param {(message: any, transfer?: Transferable[]) => void} post
   * @param {(busy: boolean) => void} [hold] told whether anything is under way: programs end when nothing is
   */
  constructor(post, hold = () => {}) {
    this.#post = post;
    this.#hold = hold;
  }

  /** @param {number} id @returns {boolean} whether somebody listened to it */
  #drop(id) {
    const known = this.#listeners.delete(id);
    this.#resting.delete(id);
    this.#tell();
    return known;
  }

  #tell() {
    this.#hold(this.#listeners.size > this.#resting.size);
  }

  /** Whether an id rests: it is open, and nothing is under way. @param {number} id @param {boolean} on */
  rest(id, on) {
    if (this.#resting.has(id) === on || !this.#listeners.has(id)) return;
    if (on) this.#resting.add(id);
    else this.#resting.delete(id);
    this.#tell();
  }

  /** What ended it, null while it works. @returns {unknown} */
  get dead() {
    return this.#dead;
  }

  /**
   * Everything under way fails with this error, and what is begun later.
   * @param {unknown} error
   */
  end(error) {
    if (this.#dead) return;
    this.#dead = error;
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    this.#resting.clear();
    for (const listener of listeners) listener.failed(error);
  }

  /** @param {Extract<WorkerMessage, {id: number}>} message */
  deliver(message) {
    const listener = this.#listeners.get(message.id);
    if (!listener) return;
    switch (message.type) {
      case "error":
        this.#drop(message.id);
        listener.failed(new MixError(message.error));
        return;
      case "result":
      case "end":
      case "closed":
        this.#drop(message.id);
    }
    listener.message(message);
  }

  /**
   * Send an opening message and listen to its id. Returns the id, or throws when the line is dead.
   * @param {Opening} message
   * @param {Listener} listener
   * @param {Transferable[]} [transfer]
   * @returns {number}
   */
  open(message, listener, transfer = []) {
    if (this.#dead) throw this.#dead;
    const id = this.#nextId++;
    this.#post({ ...message, id }, transfer);
    this.#listeners.set(id, listener);
    this.#tell();
    return id;
  }

  /**
   * Send a message for an id that is open; void when it has ended.
   * @param {Extract<PageMessage, {type: "pull" | "write" | "finish" | "rewound" | "discard" | "close"}>} message
   * @param {Transferable[]} [transfer]
   */
  send(message, transfer = []) {
    if (this.#listeners.has(message.id)) this.#post(message, transfer);
  }

  /**
   * Tell the other side to drop an id and stop listening to it.
   * @param {number} id
   * @param {{code?: number, text?: string}} [farewell] what another client is told
   */
  abort(id, farewell = {}) {
    if (this.#drop(id)) this.#post({ type: "abort", id, ...farewell });
  }

  /**
   * A call with one answer. The signal aborts it: the promise rejects with the signal's reason.
   * @param {Opening} message
   * @param {AbortSignal | null} [signal]
   * @returns {Promise<unknown>}
   */
  call(message, signal = null) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    let id = 0;
    const answer = new Promise((resolve, reject) => {
      id = this.open(message, {
        message: (reply) => resolve(reply.type === "result" ? reply.value : undefined),
        failed: reject,
      });
    });
    return unlessAborted(answer, signal, () => this.abort(id));
  }
}
