/**
 * One worker and everything under way in it: the only place that knows message ids.
 *
 * A crash of the worker (a Rust panic, out of memory, a script that does not load) rejects every pending call and
 * ends every channel at once; the owner may then start a new connection.
 *
 * @module
 */

import { MixError, mixError } from "./errors.js";

/** @typedef {import("./messages.js").PageMessage} PageMessage */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("./messages.js").TunnelSnapshot} TunnelSnapshot */

/**
 * Where messages of one id go.
 * @typedef {{message: (message: WorkerMessage) => void, failed: (error: Error) => void}} Listener
 */

const BOOT_TIMEOUT_MS = 120_000;

/**
 * A message without its id: the connection adds it.
 * @template T
 * @typedef {T extends {id: number} ? Omit<T, "id"> : never} WithoutId
 */
/** @typedef {WithoutId<PageMessage>} Opening */

export class WorkerConnection {
  /** @type {Worker} */ #worker;
  /** @type {Map<number, Listener>} */ #listeners = new Map();
  #nextId = 1;
  /** @type {Error | null} */ #dead = null;
  /** @type {(snapshot: TunnelSnapshot) => void} */ #onState;
  /** @type {(error: Error) => void} */ #onCrash;
  /** @type {Promise<void>} */ booted;

  /**
   * @param {Worker} worker
   * @param {(snapshot: TunnelSnapshot) => void} onState
   * @param {(error: Error) => void} onCrash
   */
  constructor(worker, onState, onCrash) {
    this.#worker = worker;
    this.#onState = onState;
    this.#onCrash = onCrash;
    this.booted = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#crash(mixError("boot_timeout", `the worker did not start in ${BOOT_TIMEOUT_MS / 1000} s`, "boot"));
      }, BOOT_TIMEOUT_MS);
      this.#listeners.set(0, {
        message: () => { clearTimeout(timer); this.#listeners.delete(0); resolve(); },
        failed: (error) => { clearTimeout(timer); reject(error); },
      });
    });
    this.booted.catch(() => {}); // reported to whoever awaits it
    worker.addEventListener("message", (event) => this.#receive(event.data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#crash(mixError("worker_crashed", `the worker stopped: ${event.message || "it could not be loaded"}`, "worker"));
    });
    worker.addEventListener("messageerror", () => {
      this.#crash(mixError("worker_crashed", "a message of the worker could not be read", "worker"));
    });
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    if (this.#dead) return;
    switch (message.type) {
      case "booted":
        this.#listeners.get(0)?.message(message);
        return;
      case "boot-failed":
        this.#crash(mixError("worker_crashed", message.message, "boot"));
        return;
      case "state":
        this.#onState(message.snapshot);
        return;
    }
    const listener = this.#listeners.get(message.id);
    if (!listener) return;
    switch (message.type) {
      case "error":
        this.#listeners.delete(message.id);
        listener.failed(new MixError(message.error));
        return;
      case "result":
      case "end":
      case "closed":
        this.#listeners.delete(message.id);
    }
    listener.message(message);
  }

  /** @param {Error} error */
  #crash(error) {
    if (this.#dead) return;
    this.stop(error);
    this.#onCrash(error);
  }

  /**
   * End the worker; everything under way fails with this error.
   * @param {Error} error
   */
  stop(error) {
    if (this.#dead) return;
    this.#dead = error;
    this.#worker.terminate();
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listener of listeners) listener.failed(error);
  }

  /**
   * Send an opening message and listen to its id. Returns the id, or throws when the worker is gone.
   * @param {Opening} message
   * @param {Listener} listener
   * @param {Transferable[]} [transfer]
   * @returns {number}
   */
  open(message, listener, transfer = []) {
    if (this.#dead) throw this.#dead;
    const id = this.#nextId++;
    this.#listeners.set(id, listener);
    try {
      this.#worker.postMessage({ ...message, id }, transfer);
    } catch (error) {
      this.#listeners.delete(id);
      throw error;
    }
    return id;
  }

  /**
   * Send a message for an id that is open; void when it has ended.
   * @param {PageMessage} message
   * @param {Transferable[]} [transfer]
   */
  send(message, transfer = []) {
    if (this.#dead || !("id" in message) || !this.#listeners.has(message.id)) return;
    this.#worker.postMessage(message, transfer);
  }

  /**
   * Tell the worker to drop an id and stop listening to it.
   * @param {number} id
   */
  abort(id) {
    if (this.#listeners.delete(id) && !this.#dead) this.#worker.postMessage({ type: "abort", id });
  }

  /**
   * A call with one answer. The signal aborts it: the promise rejects with the signal's reason.
   * @param {Opening} message
   * @param {AbortSignal | null} [signal]
   * @returns {Promise<unknown>}
   */
  call(message, signal = null) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      /** @type {number} */
      let id = 0;
      const onAbort = () => {
        this.abort(id);
        reject(/** @type {AbortSignal} */ (signal).reason);
      };
      const done = () => signal?.removeEventListener("abort", onAbort);
      id = this.open(message, {
        message: (answer) => {
          done();
          resolve(answer.type === "result" ? answer.value : undefined);
        },
        failed: (error) => { done(); reject(error); },
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}
