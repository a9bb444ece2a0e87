/**
 * The charts: packets per second by kind, each way, and the round trip; two minutes, drawn by uPlot, by turns one a second.
 *
 * The pictures are for eyes; beside each stands its legend with the newest values as text.
 *
 * @module
 */

import { restore } from "./locale.js"; // before the next one
import uPlot from "uplot";
import { make, number, write } from "./dom.js";
import { SPAN } from "./history.js";

restore();

/** @typedef {import("./history.js").History} History */
/** @typedef {import("./history.js").Line} Line */
/** @typedef {{plan: Plan, box: HTMLElement, width: number, plot: uPlot | null, values: HTMLElement[]}} Chart */
/** @typedef {{title: string, unit: string, lines: {line: Line, label: string, colour: string, dash?: number[]}[]}} Plan */

const HEIGHT = 120;
/** Kinds differ by colour and by how their line is drawn. */
const REAL = { colour: "real" }, COVER = { colour: "cover", dash: [2, 3] }, SURB = { colour: "surb", dash: [7, 3] };

/** @type {readonly Plan[]} */
const PLANS = [
  { title: "Sent, packets per second", unit: "", lines: [
    { line: "up.real", label: "Real", ...REAL }, { line: "up.cover", label: "Cover", ...COVER },
    { line: "up.surb", label: "SURBs", ...SURB }, { line: "up.retransmitted", label: "Repeated", colour: "retransmitted", dash: [4, 2] },
  ] },
  { title: "Received, packets per second", unit: "", lines: [
    { line: "down.real", label: "Real", ...REAL }, { line: "down.cover", label: "Cover", ...COVER },
    { line: "down.surb", label: "SURB requests", ...SURB }, { line: "down.ack", label: "Acks", colour: "ack", dash: [5, 2] },
  ] },
  { title: "Round trip", unit: "ms", lines: [{ line: "trip", label: "To the ack", colour: "accent" }] },
];

export class Charts {
  element = make("div", { class: "charts part" });
  /** @type {Chart[]} */ #charts;
  /** @type {CSSStyleDeclaration | null} */ #style = null;
  /** @type {History} */ #history;
  #turn = 0;
  #watcher = new ResizeObserver((entries) => this.#resize(entries));

  /** @param {History} history what is drawn */
  constructor(history) {
    this.#history = history;
    this.#charts = PLANS.map((plan) => {
      const box = make("div", { class: "plot", "aria-hidden": "true" });
      const values = plan.lines.map(() => make("b", {}, "–"));
      const legend = make("ul", { class: "legend" }, ...plan.lines.map(({ line, label, dash }, at) => {
        const colour = line === "trip" ? "trip" : line.split(".")[1];
        return make("li", { "data-line": colour, ...(dash ? { "data-dash": "" } : {}) }, `${label} `, values[at]);
      }));
      this.element.append(make("figure", {}, make("h3", {}, plan.title), box, legend));
      return { plan, box, width: 0, plot: null, values };
    });
  }

  /** @param {CSSStyleDeclaration} style of the host */
  connect(style) {
    this.#style = style;
    for (const { box } of this.#charts) this.#watcher.observe(box);
  }

  disconnect() {
    this.#watcher.disconnect();
    this.#clear();
  }

  /** All of them, anew: colours may be others now, or the tunnel. */
  redraw() {
    this.#clear();
    for (const chart of this.#charts) if (chart.width) this.#picture(chart);
  }

  #clear() {
    for (const chart of this.#charts) {
      chart.plot?.destroy();
      chart.plot = null;
    }
  }

  /** What was laid out is told; to ask would have it laid out anew. @param {ResizeObserverEntry[]} entries */
  #resize(entries) {
    for (const { target, contentRect } of entries) {
      const chart = this.#charts.find(({ box }) => box === target);
      if (!chart) continue;
      chart.width = Math.floor(contentRect.width);
      if (!chart.width) continue;
      if (!chart.plot) this.#picture(chart);
      else if (chart.width !== chart.plot.width) chart.plot.setSize({ width: chart.width, height: HEIGHT });
    }
  }

  /** What has come: the values each time, of the pictures one. */
  draw() {
    const history = this.#history;
    this.#turn = (this.#turn + 1) % this.#charts.length;
    for (const [turn, chart] of this.#charts.entries()) {
      chart.plan.lines.forEach(({ line }, at) => write(chart.values[at], number(history.latest(line), chart.plan.unit)));
      if (chart.width && turn === this.#turn) this.#picture(chart);
    }
  }

  /** Axes alone, where there is nothing yet. @param {Chart} chart */
  #picture(chart) {
    const { times, lines } = this.#history, now = times.at(-1) ?? 0;
    chart.plot ??= this.#plot(chart.plan, chart.box, chart.width);
    chart.plot.setData(/** @type {any} */ ([times, ...chart.plan.lines.map(({ line }) => lines.get(line))]), false);
    chart.plot.setScale("x", { min: now - SPAN, max: now });
  }

  /** @param {string} name @returns {string} */
  #colour(name) {
    return this.#style?.getPropertyValue(`--${name}`).trim() || "gray";
  }

  /** @param {Plan} plan @param {HTMLElement} box @param {number} width */
  #plot(plan, box, width) {
    const axis = { stroke: this.#colour("soft"), font: "11px system-ui, sans-serif", ticks: { show: false }, gap: 4 };
    const grid = { stroke: this.#colour("line"), width: 1 };
    return new uPlot({
      width,
      height: HEIGHT,
      pxAlign: 0,
      padding: [6, 16, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      select: /** @type {any} */ ({ show: false }),
      scales: { x: { time: false, auto: false }, y: { range: (_plot, _low, high) => [0, Math.max(1, (high ?? 0) * 1.1)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 20, space: 70, values: (plot, marks) => marks.map((mark) => ago(mark, plot.scales.x.max ?? mark)),
          splits: (_plot, _axis, _low, high) => [high - 120, high - 90, high - 60, high - 30, high] },
        { ...axis, grid, size: 38, space: 28 },
      ],
      series: [{}, ...plan.lines.map(({ colour, dash }) => ({ stroke: this.#colour(colour), width: 1.5, dash, points: { show: false } }))],
    }, [[], ...plan.lines.map(() => [])], box);
  }
}

/** @param {number} at @param {number} now seconds @returns {string} */
const ago = (at, now) => (now - at < 1 ? "now" : now - at > SPAN - 1 ? "" : `−${Math.round(now - at)} s`);
