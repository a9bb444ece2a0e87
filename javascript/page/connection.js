/**
 * One worker and everything under way in it: the only place that knows message ids.
 *
 * A crash of the worker (a Rust panic, out of memory, a script that does not load) rejects every pending call and
 * ends every channel at once; the owner may then start a new connection.
 *
 * @module
 */

import { MixError, mixError } from "./errors.js";
import { whyMute, whyNotStarted } from "../shared/parts.js";
import { unlessAborted } from "./signals.js";

/** @typedef {import("../shared/messages.js").PageMessage} PageMessage */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */

/**
 * Where messages of one id go. `failed` is the last of them.
 * @typedef {{message: (message: WorkerMessage) => void, failed: (error: unknown) => void}} Listener
 */

const BOOT_TIMEOUT_MS = 120_000;
/** A worker that has said nothing for so long is looked into; ours speaks first of all. */
const MUTE_MS = 1_500;
/** Reasons of a failed boot that may pass by themselves. @type {(string | null)[]} */
const TRANSIENT = ["unavailable", "unreachable"];

/**
 * A message without its id: the connection adds it.
 * @template T
 * @typedef {T extends {id: number} ? Omit<T, "id"> : never} WithoutId
 */
/** @typedef {WithoutId<PageMessage>} Opening */

/** @param {string} message @param {string | null} reason @returns {MixError} */
export const bootError = (message, reason) =>
  new MixError({ name: "MixError", code: "boot_failed", phase: "boot", message, reason, retryable: TRANSIENT.includes(reason) });

/** How engines and Pyodide say it. */
const NO_MEMORY = /out of memory|allocation failed|MemoryError|unable to grow|\bOOM\b/i;

/** @param {string} message @returns {MixError} the worker is gone, or must go */
const crashError = (message) => {
  const reason = NO_MEMORY.test(message) ? "out_of_memory" : null;
  return new MixError({ name: "MixError", code: "worker_crashed", phase: "worker", message, reason });
};

export class WorkerConnection {
  /** @type {Worker & {hold?: (busy: boolean) => void}} */ #worker;
  /** @type {Map<number, Listener>} */ #listeners = new Map();
  #nextId = 1;
  #heard = false;
  #running = false;
  /** @type {unknown} */ #dead = null;
  /** @type {(snapshot: TunnelSnapshot) => void} */ #onState;
  /** @type {(error: Error) => void} */ #onCrash;
  /** @type {(error: unknown) => void} */ #bootEnded = () => {};
  #ended = new AbortController();
  /** The worker's Python runs. @type {Promise<void>} */ booted;

  /**
   * @param {Worker} worker
   * @param {() => string} script its address
   * @param {boolean} snapshot
   * @param {(snapshot: TunnelSnapshot) => void} onState
   * @param {(error: Error) => void} onCrash
   */
  constructor(worker, script, snapshot, onState, onCrash) {
    this.#worker = worker;
    this.#onState = onState;
    this.#onCrash = onCrash;
    this.booted = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#crash(mixError("boot_timeout", `the worker did not start in ${BOOT_TIMEOUT_MS / 1000} s`, "boot"));
      }, BOOT_TIMEOUT_MS);
      const mute = setTimeout(() => void this.#mute(script), MUTE_MS);
      this.#bootEnded = (error) => {
        clearTimeout(timer);
        clearTimeout(mute);
        if (error) reject(error);
        else resolve();
      };
    });
    this.booted.catch(() => {}); // reported to whoever awaits it
    worker.addEventListener("message", (event) => this.#receive(event.data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      if (this.#running) this.#crash(crashError(`the worker stopped: ${event.message}`));
      else void this.#notLoaded(script, event.message);
    });
    worker.addEventListener("messageerror", () => {
      this.#crash(crashError("a message of the worker could not be read"));
    });
    worker.postMessage({ type: "boot", snapshot });
    this.#watchNetwork();
  }

  /**
   * Not every browser tells its workers. `null`: the network may be another one, as far as the browser lets us know: the
   * worker asks its gateway, and goes on meanwhile.
   */
  #watchNetwork() {
    const { signal } = this.#ended;
    const tell = (/** @type {boolean | null} */ online) => {
      if (online !== null || globalThis.navigator?.onLine !== false) this.call({ type: "network", online }).catch(() => {});
    };
    globalThis.addEventListener?.("online", () => tell(true), { signal });
    globalThis.addEventListener?.("offline", () => tell(false), { signal });
    /** @type {(EventTarget & {type?: string}) | undefined} */
    const connection = /** @type {any} */ (globalThis.navigator)?.connection;
    // "change" tells of every new estimate of its speed, too.
    let kind = connection?.type;
    connection?.addEventListener?.("change", () => {
      if (connection.type !== kind) tell(null);
      kind = connection.type;
    }, { signal });
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    if (this.#dead) return;
    this.#heard = true;
    switch (message.type) {
      case "started":
        return;
      case "booted":
        this.#running = true;
        this.#bootEnded(null);
        return;
      case "boot-failed":
        this.#crash(bootError(message.message, message.reason));
        return;
      case "crashed":
        this.#crash(crashError(message.message));
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
        this.#hold();
        listener.failed(new MixError(message.error));
        return;
      case "result":
      case "end":
      case "closed":
        this.#listeners.delete(message.id);
        this.#hold();
    }
    listener.message(message);
  }

  /**
   * The browser says next to nothing of a worker's script that it does not load.
   * @param {() => string} script @param {string} message
   */
  async #notLoaded(script, message) {
    const why = await whyNotStarted(script(), message);
    this.#crash(bootError(why.message, why.reason));
  }

  /** @param {() => string} script */
  async #mute(script) {
    const why = this.#heard ? null : await whyMute(script(), "boot-failed");
    if (why && !this.#heard) this.#crash(bootError(why.message, why.reason));
  }

  /** @param {Error} error */
  #crash(error) {
    if (this.#dead) return;
    this.stop(error);
    this.#onCrash(error);
  }

  /**
   * End the worker; everything under way fails with this error.
   * @param {unknown} error
   */
  stop(error) {
    if (this.#dead) return;
    this.#dead = error;
    this.#worker.terminate();
    this.#ended.abort();
    this.#bootEnded(error);
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listener of listeners) listener.failed(error);
  }

  /** Programs without a page end when nothing is under way (node/worker-script.js). */
  #hold() {
    this.#worker.hold?.(this.#listeners.size > 0);
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
    this.#worker.postMessage({ ...message, id }, transfer);
    this.#listeners.set(id, listener);
    this.#hold();
    return id;
  }

  /**
   * Send a message for an id that is open; void when it has ended.
   * @param {Extract<PageMessage, {type: "pull" | "write" | "finish" | "rewound" | "discard" | "close"}>} message
   * @param {Transferable[]} [transfer]
   */
  send(message, transfer = []) {
    if (this.#listeners.has(message.id)) this.#worker.postMessage(message, transfer);
  }

  /**
   * Tell the worker to drop an id and stop listening to it.
   * @param {number} id
   * @param {{code?: number, text?: string}} [farewell] what another client is told
   */
  abort(id, farewell = {}) {
    if (!this.#listeners.delete(id)) return;
    this.#worker.postMessage({ type: "abort", id, ...farewell });
    this.#hold();
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
