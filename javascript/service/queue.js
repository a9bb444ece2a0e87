/**
 * How many requests an origin gets at a time, and which of those that wait is next: what a page needs to show itself first.
 *
 * The tunnel has its own rules for connections (docs/http.md), but knows nothing of what a request is for.
 *
 * @module
 */

import { unlessAborted } from "../page/signals.js";

/** At a time and origin; those that nobody waits for with an empty page leave some places to the others. */
const MOST = 40, MOST_LATER = 32;
/** By `request.destination`; the rest is as data that a script asks for. @type {Record<string, number>} */
const RANKS = {
  style: 0, script: 0, font: 1, xslt: 0, worker: 0, sharedworker: 0, image: 3, track: 4, audio: 4, video: 4, embed: 4,
  object: 4, report: 5,
};
const DATA = 2;

/** @typedef {{rank: number, go: () => void}} Waiting */

export class Queue {
  /** @type {Map<string, {running: number, waiting: Waiting[]}>} */ #origins = new Map();

  /**
   * @param {string} origin
   * @param {string} destination
   * @param {AbortSignal} signal
   * @returns {Promise<() => void>} gives the place back, once
   */
  async enter(origin, destination, signal) {
    const rank = RANKS[destination] ?? DATA;
    const line = this.#origins.get(origin) ?? { running: 0, waiting: [] };
    this.#origins.set(origin, line);
    /** @type {Waiting} */
    const one = { rank, go: () => {} };
    const turn = new Promise((resolve) => { one.go = () => resolve(undefined); });
    const before = line.waiting.findIndex((other) => other.rank > rank);
    line.waiting.splice(before < 0 ? line.waiting.length : before, 0, one);
    this.#next(origin);
    try {
      await unlessAborted(turn, signal);
    } catch (error) {
      const at = line.waiting.indexOf(one);
      if (at >= 0) line.waiting.splice(at, 1);
      else this.#leave(origin); // its turn had come
      throw error;
    }
    return () => this.#leave(origin);
  }

  /** @param {string} origin */
  #leave(origin) {
    const line = this.#origins.get(origin);
    if (!line) return;
    line.running -= 1;
    this.#next(origin);
    if (line.running === 0 && line.waiting.length === 0) this.#origins.delete(origin);
  }

  /** @param {string} origin */
  #next(origin) {
    const line = this.#origins.get(origin);
    while (line?.waiting.length && line.running < (line.waiting[0].rank <= DATA ? MOST : MOST_LATER)) {
      line.running += 1;
      line.waiting.shift()?.go();
    }
  }
}
