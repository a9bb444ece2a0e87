/**
 * The option `storage`: a place of the program's own for what a tunnel keeps, in the place of IndexedDB or a folder. Its
 * functions live here and the tunnel in its worker, so the worker asks by messages. They are somebody else's code: what
 * throws, hangs or gives rubbish is told to the worker as an error within a bounded time, and never stops anything here.
 *
 * @module
 */

import { optionError } from "./errors.js";

/** @typedef {import("../shared/messages.js").Keeping} Keeping */
/** @typedef {import("../shared/messages.js").Kept} Kept */

/**
 * Where a tunnel keeps what is to last: text under names. A `Map` is one. Each function may give a promise.
 * @typedef {object} MixStorage
 * @property {(key: string) => unknown} get the text, or a promise of it; undefined or null where there is none
 * @property {(key: string, value: string) => unknown} set resolves when it is kept
 * @property {(key: string) => unknown} delete resolves when it is gone, also where there was none
 */

/** For each call: less than the worker gives it (smolmix_web/storage/store.py). */
const CALL_MS = 4_000;
/** Calls under way: more than a worker has that waits for each. */
const MOST_CALLS = 16;
/** Ten times what is ever kept. */
const MOST_TEXT = 1 << 20;
const FUNCTIONS = /** @type {const} */ (["get", "set", "delete"]);

/** Client ids that a tunnel of this program has, by the place where they are kept. @type {WeakMap<object, Set<string>>} */
const held = new WeakMap();

/** @param {string} what @param {Promise<unknown>} work @returns {Promise<unknown>} */
async function within(what, work) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`storage.${what}: no answer in ${CALL_MS / 1000} s`)), CALL_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export class OwnStorage {
  /** @type {MixStorage} */ #functions;
  #calls = 0;

  /** @param {MixStorage} functions */
  constructor(functions) {
    this.#functions = functions;
  }

  /**
   * For one worker: what it holds is free when it ends.
   * @returns {{answer: (asked: Keeping) => Promise<Kept>, release: () => void}}
   */
  session() {
    /** @type {Set<string>} */
    const mine = new Set();
    let over = false;
    const ids = held.get(this.#functions) ?? new Set();
    held.set(this.#functions, ids);
    return {
      answer: async ({ call, action, key, value = "" }) => {
        const answer = (/** @type {string | null} */ found) => ({ type: /** @type {const} */ ("kept"), call, value: found });
        if (action === "hold") {
          if (over || ids.has(key)) return answer("");
          ids.add(key);
          mine.add(key);
          return answer(key);
        }
        if (action === "let-go") {
          if (mine.delete(key)) ids.delete(key);
          return answer(null);
        }
        try {
          return answer(await this.#ask(action, key, value));
        } catch (error) {
          return { ...answer(null), error: textOf(error) };
        }
      },
      release: () => {
        over = true;
        for (const id of mine) ids.delete(id);
        mine.clear();
      },
    };
  }

  /** @param {"get" | "set" | "delete"} action @param {string} key @param {string} value @returns {Promise<string | null>} */
  async #ask(action, key, value) {
    if (this.#calls >= MOST_CALLS) throw new Error(`storage.${action}: ${MOST_CALLS} calls have no answer yet`);
    this.#calls += 1;
    // Counted until it answers, not until we stop waiting: one that hangs is not called for ever.
    const work = (async () => (action === "set" ? this.#functions.set(key, value) : this.#functions[action](key)))();
    work.catch(() => {}).finally(() => { this.#calls -= 1; });
    const found = await within(action, work);
    if (action !== "get" || found === undefined || found === null) return null;
    if (typeof found !== "string") throw new Error(`storage.get: expected text, got ${typeof found}`);
    if (found.length > MOST_TEXT) throw new Error(`storage.get: ${found.length} characters are more than ${MOST_TEXT}`);
    return found;
  }
}

/** @param {unknown} error @returns {string} whatever was thrown */
function textOf(error) {
  try {
    return String(error).slice(0, 500);
  } catch {
    return "storage: something was thrown that is no error";
  }
}

/**
 * @param {unknown} given the option
 * @returns {OwnStorage | null}
 */
export function ownStorage(given) {
  if (given === undefined || given === null) return null;
  const functions = /** @type {any} */ (given);
  const missing = FUNCTIONS.find((name) => typeof functions[name] !== "function");
  if (missing) throw optionError("storage", `expected an object with the functions get, set and delete; ${missing} is none`);
  return new OwnStorage(functions);
}

/**
 * Whether the worker may keep the memory of its Python in Cache Storage: who has a place of their own for what is kept has
 * to say so.
 * @param {Record<string, unknown>} options
 */
export const keepsSnapshot = ({ snapshot, storage }) => (storage ? snapshot === "auto" : snapshot !== "off");
