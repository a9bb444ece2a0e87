/**
 * From counters to what happens now: rates between two answers of `statistics()`, and the last two minutes of them.
 *
 * @module
 */

/** Seconds that the charts show. */
export const SPAN = 120;
/** Longer silences are gaps in the charts, s. */
const GAP = 5;

/** Lines of the charts. @typedef {"up.real" | "up.cover" | "up.surb" | "up.retransmitted" | "down.real" | "down.cover" | "down.surb" | "down.ack" | "trip"} Line */
/** @type {readonly Line[]} */
export const LINES = ["up.real", "up.cover", "up.surb", "up.retransmitted", "down.real", "down.cover", "down.surb", "down.ack", "trip"];

/**
 * @param {any} statistics
 * @param {Line} line
 * @returns {number}
 */
function packets(statistics, line) {
  const [side, kind] = line.split(".");
  return Number(statistics?.[side]?.packets?.[kind] ?? 0);
}

export class History {
  /** Seconds. @type {number[]} */ times = [];
  /** Packets per second by line; of "trip" milliseconds. null: unknown. @type {Map<Line, (number | null)[]>} */
  lines = new Map(LINES.map((line) => [line, []]));
  /** @type {any} */ #last = null;
  #at = 0;
  /** Bytes that flows had, by their local end. @type {Map<string, {sent: number, received: number}>} */
  #flows = new Map();

  clear() {
    this.times.length = 0;
    for (const values of this.lines.values()) values.length = 0;
    this.#last = null;
    this.#flows.clear();
  }

  /** The newest value. @param {Line} line @returns {number | null} */
  latest(line) {
    return this.lines.get(line)?.at(-1) ?? null;
  }

  /**
   * @param {number} now seconds
   * @param {any} statistics
   * @returns {Flow[]} with their rates
   */
  add(now, statistics) {
    // Another tunnel counts from zero.
    if (this.#last && statistics.packets_sent < this.#last.packets_sent) this.clear();
    const elapsed = now - this.#at, last = this.#last;
    const measured = last !== null && elapsed > 0 && elapsed < GAP;
    this.times.push(now);
    for (const line of LINES) {
      const values = /** @type {(number | null)[]} */ (this.lines.get(line));
      if (line === "trip") values.push(measured || !last ? statistics.round_trip_ms ?? null : null); // null: a gap
      else values.push(measured ? (packets(statistics, line) - packets(last, line)) / elapsed : null);
    }
    while (now - this.times[0] > SPAN) {
      this.times.shift();
      for (const values of this.lines.values()) values.shift();
    }
    const flows = this.#rates(statistics.flows ?? [], measured ? elapsed : 0);
    this.#last = statistics;
    this.#at = now;
    return flows;
  }

  /**
   * @typedef {{name: string, remote: string, local: string, state: string, trip: number | null, up: number | null, down: number | null}} Flow
   *   `trip` in milliseconds; `up` and `down` in bytes per second, null while unknown
   * @param {any[]} flows
   * @param {number} elapsed
   * @returns {Flow[]}
   */
  #rates(flows, elapsed) {
    const before = this.#flows;
    this.#flows = new Map(flows.map((flow) => [flow.local, { sent: flow.bytes_sent, received: flow.bytes_received }]));
    return flows.map(({ name, remote, local, state, round_trip_ms: trip, bytes_sent: sent, bytes_received: received }) => {
      const then = before.get(local);
      const rate = (/** @type {number} */ bytes, /** @type {number} */ old) => (then && elapsed ? Math.max(0, bytes - old) / elapsed : null);
      return { name: name ?? remote, remote, local, state, trip, up: rate(sent, then?.sent ?? 0), down: rate(received, then?.received ?? 0) };
    });
  }
}
