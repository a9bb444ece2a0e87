/**
 * One worker and everything under way in it.
 *
 * A crash of the worker (a Rust panic, out of memory, a script that does not load) rejects every pending call and
 * ends every channel at once; the owner may then start a new connection.
 *
 * @module
 */

import { MixError, mixError } from "./errors.js";
import { Line } from "./line.js";
import { whyMute, whyNotStarted } from "../shared/parts.js";

/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../shared/messages.js").Loading} Loading */

/** @typedef {import("./line.js").Opening} Opening */
/** @typedef {import("./line.js").Listener} Listener */

/**
 * What the program gives its tunnel: who is told, and where things are kept.
 * @typedef {{log: import("./log.js").Log, storage: import("./own-storage.js").OwnStorage | null}} Own
 */

const BOOT_TIMEOUT_MS = 120_000;
/** A worker that has said nothing for so long is looked into; ours speaks first of all. */
const MUTE_MS = 1_500;
/** Reasons of a failed boot that may pass by themselves. @type {(string | null)[]} */
const TRANSIENT = ["unavailable", "unreachable"];

/** @param {string} message @param {string | null} reason @returns {MixError} */
export const bootError = (message, reason) =>
  new MixError({ name: "MixError", code: "boot_failed", phase: "boot", message, reason, retryable: TRANSIENT.includes(reason) });

/** What these have to say is the tunnel's state. @type {Opening["type"][]} */
const OWN_LIFE = ["setup", "disconnect", "suspend", "network"];

/** How engines and Pyodide say it. */
const NO_MEMORY = /out of memory|allocation failed|MemoryError|unable to grow|\bOOM\b/i;

/** @param {string} message @returns {MixError} the worker is gone, or must go */
const crashError = (message) => {
  const reason = NO_MEMORY.test(message) ? "out_of_memory" : null;
  return new MixError({ name: "MixError", code: "worker_crashed", phase: "worker", message, reason });
};

export class WorkerConnection extends Line {
  /** @type {Worker} */ #worker;
  #heard = false;
  #running = false;
  /** @type {(snapshot: TunnelSnapshot) => void} */ #onState;
  /** @type {(error: Error) => void} */ #onCrash;
  /** @type {(loading: Loading) => void} */ #onLoading;
  /** @type {import("./log.js").Log} */ #log;
  /** @type {ReturnType<import("./own-storage.js").OwnStorage["session"]> | undefined} */ #place;
  /** @type {(error: unknown) => void} */ #bootEnded = () => {};
  #ended = new AbortController();
  /** The worker's Python runs. @type {Promise<void>} */ booted;

  /**
   * @param {Worker & {hold?: (busy: boolean) => void}} worker `hold`: of a program (node/worker-script.js)
   * @param {() => string} script its address
   * @param {boolean} snapshot
   * @param {Own} own
   * @param {(snapshot: TunnelSnapshot) => void} onState
   * @param {(error: Error) => void} onCrash
   * @param {(loading: Loading) => void} [onLoading]
   */
  constructor(worker, script, snapshot, own, onState, onCrash, onLoading = () => {}) {
    super((message, transfer = []) => worker.postMessage(message, transfer), (busy) => worker.hold?.(busy));
    this.#worker = worker;
    this.#log = own.log;
    this.#place = own.storage?.session();
    this.#onState = onState;
    this.#onCrash = onCrash;
    this.#onLoading = onLoading;
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

  /**
   * As of every line, and told to the logger where it fails.
   * @param {Opening} message @param {Listener} listener @param {Transferable[]} [transfer]
   * @returns {number}
   */
  open(message, listener, transfer) {
    const failed = (/** @type {unknown} */ error) => {
      // With the worker everything ends, which is told once.
      if (!this.dead && error instanceof MixError && !OWN_LIFE.includes(message.type)) this.#log.failed(message.type, error);
      listener.failed(error);
    };
    const heard = (/** @type {WorkerMessage} */ reply) => {
      if (reply.type === "closed" && reply.error) this.#log.failed(message.type, reply.error);
      listener.message(reply);
    };
    return super.open(message, { message: heard, failed }, transfer);
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    if (this.dead) return;
    this.#heard = true;
    switch (message.type) {
      case "started":
        return;
      case "loading":
        this.#onLoading(message.loading);
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
      case "log":
        this.#log.worker(message);
        return;
      case "keep":
        void this.#place?.answer(message).then((answer) => { if (!this.dead) this.#worker.postMessage(answer); });
        return;
    }
    this.deliver(message);
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
    if (this.dead) return;
    this.stop(error);
    this.#onCrash(error);
  }

  /**
   * End the worker; everything under way fails with this error.
   * @param {unknown} error
   */
  stop(error) {
    if (this.dead) return;
    this.#worker.terminate();
    this.#place?.release();
    this.#ended.abort();
    this.#bootEnded(error);
    this.end(error);
  }
}
