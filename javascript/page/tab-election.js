/**
 * Which tab leads: who is first in the browser's queue for the lock `LEAD`. The browser takes it from a tab that is gone,
 * within milliseconds, however it went.
 *
 * A tab that lives and answers nothing keeps its lock: a frozen one, one whose process was stopped. So tabs ask the leader
 * for a sign of life at each tick, and one takes the lock from a leader that was silent for several. Ticks are counted, not
 * seconds: whoever has slept has heard nothing either.
 *
 * @module
 */

import { LEAD, REPLACE, WIRE } from "../shared/tabs.js";

/** @typedef {import("../shared/tabs.js").WireMessage} WireMessage */

/** @param {Event} event `pagehide` or `pageshow` @returns {boolean} the page goes into the browser's cache of pages, or comes out of it */
export const persisted = (event) => /** @type {PageTransitionEvent} */ (event).persisted;

const TICK_MS = 1_000;

/** @typedef {{depose: () => void, over: Promise<unknown>}} Reign */

/**
 * What the tab does of it.
 * @typedef {object} Events
 * @property {(leader: string) => void} found this one leads, as it says or says again
 * @property {(leader: string, ending: import("../shared/tabs.js").Ending) => void} over
 * @property {(term: number, takeOver: boolean) => Reign} lead we lead
 * @property {() => void} ask ask the leader for a sign of life, as far as one is known
 * @property {() => number} patience silent ticks that are forgiven
 */

/** @returns {Promise<string | null>} the browser's name for the page that holds the lead */
async function holder() {
  const { held = [] } = await navigator.locks.query();
  return held.find(({ name }) => name === LEAD)?.clientId ?? null;
}

export class Election {
  /** @type {Events} */ #events;
  #wire = new BroadcastChannel(WIRE);
  #term = 0;
  /** Our place in the queue. @type {AbortController | null} */ #place = null;
  /** Our own lead. @type {Reign | null} */ #reign = null;
  #resting = false;
  #ended = false;
  #silent = 0;
  /** Who held the lead when the silence began. @type {string | null} */ #suspect = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  #watch = new AbortController();

  /** @param {Events} events */
  constructor(events) {
    this.#events = events;
    this.#wire.onmessage = ({ data }) => this.#hear(data);
    const { signal } = this.#watch;
    // A page that stands still must not be given the lead.
    globalThis.document?.addEventListener("freeze", () => this.#rest(), { signal });
    globalThis.document?.addEventListener("resume", () => this.begin(), { signal });
    globalThis.addEventListener?.("pagehide", (event) => { if (persisted(event)) this.#rest(); }, { signal });
    globalThis.addEventListener?.("pageshow", (event) => { if (persisted(event)) this.begin(); }, { signal });
  }

  begin() {
    this.#resting = false;
    if (this.#reign) return;
    this.#silent = 0;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    void this.#stand();
    this.#events.ask();
  }

  #rest() {
    this.#resting = true;
    clearInterval(this.#timer);
    if (!this.#reign) this.#withdraw();
  }

  #withdraw() {
    this.#place?.abort();
    this.#place = null;
  }

  /** The leader has given a sign of life. */
  heard() {
    this.#silent = 0;
  }

  /** Ask who leads. */
  ask() {
    this.say({ type: "who" });
  }

  /** @param {WireMessage} message */
  say(message) {
    if (!this.#ended) this.#wire.postMessage(message);
  }

  /** @param {WireMessage} message */
  #hear(message) {
    if (message?.type === "over") this.#events.over(message.leader, message);
    // One that woke up and does not know yet that it was replaced has a lower term.
    if (message?.type !== "lead" || message.term < this.#term) return;
    this.#term = message.term;
    this.heard();
    this.#events.found(message.leader);
  }

  /**
   * Queue for the lead, and lead when it is ours.
   * @param {boolean} [steal] take it from whoever has it
   * @param {() => void} [settled] called when it is ours, or will not be
   */
  async #stand(steal = false, settled = () => {}) {
    if (this.#place) return;
    const place = this.#place = new AbortController();
    try {
      await navigator.locks.request(LEAD, steal ? { steal } : { signal: place.signal }, () => {
        settled();
        if (place !== this.#place) return undefined; // withdrawn in the moment it was given
        this.#term = Math.max(Date.now(), this.#term + 1);
        this.#reign = this.#events.lead(this.#term, steal);
        return this.#reign.over;
      });
    } catch {
      settled();
      if (place !== this.#place) return; // withdrawn
      // Another tab took it from us, of whom it had heard nothing.
      this.#reign?.depose();
      await this.#reign?.over;
    }
    if (place !== this.#place) return;
    this.#reign = null;
    this.#place = null;
    if (!this.#ended && !this.#resting) this.begin();
  }

  #tick() {
    if (this.#reign) return;
    this.#silent += 1;
    if (this.#silent === 1) void holder().then((name) => { this.#suspect = name; }, () => {});
    if (this.#silent > this.#events.patience()) void this.#replace().catch(() => {}); // the next silence tries again
    this.#events.ask();
  }

  /** Take the lead from who has it, if that is still the one who has been silent. One tab at a time does so. */
  async #replace() {
    const suspect = this.#suspect;
    this.#silent = 0;
    await navigator.locks.request(REPLACE, { ifAvailable: true }, async (lock) => {
      if (!lock || suspect === null || (await holder()) !== suspect || this.#ended || this.#resting || this.#reign) return;
      this.#withdraw();
      await new Promise((settled) => void this.#stand(true, () => settled(undefined)));
    });
  }

  /** The tab leaves. A tunnel that it leads stays until no other tab is left. */
  end() {
    this.#ended = true;
    clearInterval(this.#timer);
    this.#watch.abort();
    if (!this.#reign) this.#withdraw();
    this.#wire.close();
  }
}
