/**
 * Numbers as numbers: tiles for what matters, a table of what waits, a table of open connections.
 *
 * @module
 */

import { make, number, show, size, write } from "./dom.js";

/** @typedef {import("./history.js").Flow} Flow */

/** What a tile shows: label, and its text of the statistics. @type {readonly [string, (s: any) => string][]} */
const TILES = [
  ["Round trip", (s) => number(s.round_trip_ms, "ms")],
  ["Acks not in time", (s) => (s.loss === null ? "–" : `${(s.loss * 100).toFixed(1)} %`)],
  ["SURBs at the exit", (s) => number(s.surbs.held)],
  ["Behind in listening", (s) => number(s.lag_ms, "ms")],
  ["Rate of traffic", (s) => s.traffic.rate + (s.traffic.reason ? ` (${s.traffic.reason})` : "")],
  ["Exit's protocol", (s) => (s.path.exit_version === null ? "–" : `version ${s.path.exit_version}`)],
];

/** @type {readonly [string, (s: any) => number][]} */
const QUEUES = [
  ["Data, small", (s) => s.queues.small],
  ["Data, bulk", (s) => s.queues.bulk],
  ["Control", (s) => s.queues.control],
  ["Repetitions", (s) => s.queues.retransmission],
  ["Reply SURBs", (s) => s.queues.surbs],
  ["Made, waiting for their tick", (s) => s.queues.ready],
  ["Sent, waiting for their ack", (s) => s.queues.in_flight],
  ["IP packets for a bundle", (s) => s.queues.ip],
  ["Frames received, not read yet", (s) => s.inbox?.frames ?? 0],
  ["SURBs on their way to the exit", (s) => s.surbs.queued],
  ["Replies lost or late", (s) => s.surbs.missing],
];
const COLUMNS = ["Name", "State", "Down", "Up", "Round trip"];
const MAX_ROWS = 64;

export class Tiles {
  #values = TILES.map(() => make("dd", {}, "–"));
  element = make("dl", { class: "tiles" }, ...TILES.map(([label], at) => make("div", {}, make("dt", {}, label), this.#values[at])));

  /** @param {any} statistics */
  update(statistics) {
    TILES.forEach(([, text], at) => write(this.#values[at], text(statistics)));
  }

  clear() {
    for (const value of this.#values) write(value, "–");
  }
}

export class Queues {
  #values = QUEUES.map(() => make("td", { class: "n" }, "–"));
  #table = make("table", {}, make("tbody", {}, ...QUEUES.map(([label], at) => make("tr", {}, make("th", { scope: "row" }, label), this.#values[at]))));
  element = make("details", {}, make("summary", {}, "Queues and SURBs"), this.#table);

  /** @param {any} statistics */
  update(statistics) {
    if (this.element.open) QUEUES.forEach(([, value], at) => write(this.#values[at], number(value(statistics))));
  }
}

export class Flows {
  #body = make("tbody");
  #scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Open connections" },
    make("table", {}, make("thead", {}, make("tr", {}, ...COLUMNS.map((name, at) => make("th", at > 1 ? { scope: "col", class: "n" } : { scope: "col" }, name)))), this.#body));
  #none = make("p", { class: "note" }, "None is open.");
  #title = make("summary", {}, "Open connections: 0");
  element = make("details", { open: "" }, this.#title, this.#none, this.#scroll);
  /** By their local end, which is one connection's. @type {Map<string, HTMLTableRowElement>} */ #rows = new Map();

  constructor() {
    show(this.#scroll, false);
  }

  /** @param {Flow[]} flows oldest first */
  update(flows) {
    write(this.#title, `Open connections: ${flows.length}`);
    show(this.#none, !flows.length);
    show(this.#scroll, flows.length > 0);
    if (!this.element.open) return;
    const kept = new Set(flows.map(({ local }) => local));
    for (const [local, row] of this.#rows) {
      if (kept.has(local)) continue;
      row.remove();
      this.#rows.delete(local);
    }
    for (const flow of flows.slice(-MAX_ROWS)) {
      let row = this.#rows.get(flow.local);
      if (!row) {
        row = make("tr", {}, make("th", { scope: "row", title: flow.remote }, flow.name), make("td"), make("td", { class: "n" }), make("td", { class: "n" }), make("td", { class: "n" }));
        this.#rows.set(flow.local, row);
        this.#body.prepend(row);
      }
      const cells = row.cells;
      write(cells[1], flow.state.toLowerCase().replaceAll("_", " "));
      write(cells[2], rate(flow.down));
      write(cells[3], rate(flow.up));
      write(cells[4], number(flow.trip, "ms"));
    }
  }
}

/** @param {number | null} bytes per second @returns {string} */
const rate = (bytes) => (bytes === null ? "–" : `${size(bytes)}/s`);
