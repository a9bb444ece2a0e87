/**
 * `<mix-monitor>`: puts the parts together, listens to the tunnel, and asks for its statistics while somebody looks.
 *
 * What a screen reader hears by itself is one short sentence when the state changes, at most one in three seconds; the
 * numbers are ordinary text and tables, read when the reader goes there.
 *
 * @module
 */

import { Charts } from "./charts.js";
import { make, show, write } from "./dom.js";
import { History } from "./history.js";
import { Route } from "./route.js";
import { SetUp } from "./setup.js";
import { styleSheet } from "./style.js";
import { Flows, Queues, Tiles } from "./tables.js";

/** @typedef {import("../../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../../shared/messages.js").Loading} Loading */
/**
 * What is asked of a tunnel: `MixTunnel` has it.
 * @typedef {EventTarget & {state: TunnelSnapshot, statistics: () => Promise<Record<string, unknown>>}} MonitoredTunnel
 */

const INTERVAL_MS = 1_000;
const ANNOUNCE_MS = 3_000;
/** States in which there are statistics. */
const ALIVE = ["ready", "reconnecting", "suspended"];
/** @type {Record<string, string>} */
const WORDS = {
  connecting: "Connecting", ready: "Connected", reconnecting: "Reconnecting", suspended: "Resting",
  shutting_down: "Disconnecting", shutdown: "Not connected", failed: "Failed",
};

const Base = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (/** @type {unknown} */ (class {}));

/** The element's property `tunnel` is what it shows; `paused` stops it from asking. */
export class MixMonitor extends Base {
  /** @type {MonitoredTunnel | null} */ #tunnel = null;
  /** @type {AbortController | null} */ #listening = null;
  /** @type {AbortController | null} */ #connected = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #asking = false;
  #paused = false;
  #seen = false;
  #history = new History();
  /** @type {Parts | null} */ #parts = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #announcing;
  #announcedAt = Number.NEGATIVE_INFINITY;

  /** The tunnel that is shown: a `MixTunnel`, or `await getMixTunnel()`; null for none. @returns {MonitoredTunnel | null} */
  get tunnel() {
    return this.#tunnel;
  }

  set tunnel(tunnel) {
    if (tunnel !== null && typeof tunnel?.statistics !== "function") throw new TypeError("tunnel: not a MixTunnel");
    if (tunnel === this.#tunnel) return;
    this.#tunnel = tunnel;
    this.#history.clear();
    this.#parts?.route.clear();
    this.#parts?.tiles.clear();
    this.#parts?.charts.redraw();
    this.#parts?.flows.update([]);
    if (this.#parts) this.#listen();
  }

  /** Whether it stands still; the button does the same. @returns {boolean} */
  get paused() {
    return this.#paused;
  }

  set paused(paused) {
    this.#paused = Boolean(paused);
    if (this.#parts) {
      write(this.#parts.pause, this.#paused ? "Go on" : "Pause");
      if (this.#paused) this.#parts.route.clear();
    }
    this.#next(0);
  }

  connectedCallback() {
    this.#parts ??= this.#build();
    const { charts, route } = this.#parts;
    this.#connected = new AbortController();
    const { signal } = this.#connected;
    const style = getComputedStyle(this);
    charts.connect(style);
    route.connect(style);
    document.addEventListener("visibilitychange", () => this.#next(0), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      charts.redraw();
      route.recolour();
    }, { signal });
    const watcher = new IntersectionObserver((entries) => {
      this.#seen = entries.some(({ isIntersecting }) => isIntersecting);
      this.#next(0);
    });
    watcher.observe(this);
    signal.addEventListener("abort", () => watcher.disconnect());
    this.#listen();
  }

  disconnectedCallback() {
    this.#connected?.abort();
    this.#connected = null;
    this.#listening?.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#announcing);
    this.#parts?.charts.disconnect();
    this.#parts?.route.disconnect();
  }

  /** @typedef {{state: HTMLElement, heard: HTMLElement, pause: HTMLButtonElement, setUp: SetUp, route: Route, charts: Charts, tiles: Tiles, queues: Queues, flows: Flows}} Parts */

  /** @returns {Parts} */
  #build() {
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [styleSheet()];
    const parts = {
      state: make("span", { class: "state", "data-state": "shutdown" }, WORDS.shutdown),
      heard: make("p", { class: "heard", role: "status" }),
      pause: make("button", { type: "button" }, "Pause"),
      setUp: new SetUp(), route: new Route(), charts: new Charts(this.#history), tiles: new Tiles(), queues: new Queues(), flows: new Flows(),
    };
    parts.pause.addEventListener("click", () => { this.paused = !this.#paused; });
    parts.queues.element.addEventListener("toggle", () => this.#next(0));
    const { state, heard, pause, setUp, route, charts, tiles, queues, flows } = parts;
    root.append(make("div", { role: "group", "aria-label": "Tunnel monitor" }, make("div", { class: "head" }, state, pause), heard,
      make("div", { class: "stage" }, setUp.steps, route.element), charts.element, tiles.element, setUp.errors, flows.element, queues.element));
    return parts;
  }

  #listen() {
    this.#listening?.abort();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    this.#tunnel?.addEventListener("state", () => this.#changed(), { signal });
    this.#tunnel?.addEventListener("loading", (event) => {
      this.#parts?.setUp.loaded(/** @type {CustomEvent<Loading>} */ (event).detail);
    }, { signal });
    this.#changed();
  }

  #changed() {
    const snapshot = this.#tunnel?.state;
    if (!this.#parts) return;
    const { state, setUp, route, flows } = this.#parts;
    const name = snapshot?.state ?? "shutdown";
    state.dataset.state = name;
    const step = snapshot?.step && name === "reconnecting" ? `, ${snapshot.step}` : "";
    write(state, `${WORDS[name] ?? name}${step}`);
    show(route.element, !(snapshot && setUp.update(snapshot))); // one in the other's place: nothing below moves
    if (!ALIVE.includes(name)) {
      flows.update([]);
      route.clear();
    }
    this.#announce();
    this.#next(0);
  }

  /** Only what holds when it is said: states that came and went meanwhile are not. */
  #announce() {
    clearTimeout(this.#announcing);
    const wait = Math.max(0, this.#announcedAt + ANNOUNCE_MS - performance.now());
    this.#announcing = setTimeout(() => {
      const snapshot = this.#tunnel?.state, heard = this.#parts?.heard;
      if (!snapshot || !heard) return;
      const error = snapshot.state === "failed" && snapshot.error ? `: ${snapshot.error.message}` : "";
      const text = `Tunnel: ${WORDS[snapshot.state] ?? snapshot.state}${error}`;
      if (heard.textContent === text) return;
      this.#announcedAt = performance.now();
      write(heard, text);
    }, wait);
  }

  get #wanted() {
    const alive = this.#tunnel !== null && ALIVE.includes(this.#tunnel.state.state);
    return alive && this.#seen && !this.#paused && this.#connected !== null && document.visibilityState === "visible";
  }

  /** @param {number} delay milliseconds */
  #next(delay) {
    clearTimeout(this.#timer);
    if (this.#wanted && !this.#asking) this.#timer = setTimeout(() => void this.#ask(), delay);
  }

  async #ask() {
    const tunnel = this.#tunnel, begun = performance.now();
    if (!tunnel || this.#asking) return;
    this.#asking = true;
    try {
      const statistics = await tunnel.statistics();
      if (tunnel === this.#tunnel && this.#wanted && statistics.path) this.#draw(statistics);
    } catch {
      // The tunnel is gone: its state says so.
    } finally {
      this.#asking = false;
    }
    this.#next(Math.max(0, begun + INTERVAL_MS - performance.now()));
  }

  /** @param {any} statistics */
  #draw(statistics) {
    const { route, charts, tiles, queues, flows } = /** @type {Parts} */ (this.#parts);
    flows.update(this.#history.add(performance.now() / 1000, statistics));
    route.add(statistics);
    charts.draw();
    tiles.update(statistics);
    queues.update(statistics);
  }
}
