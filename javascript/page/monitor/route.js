/**
 * The way of the newest packets as moving dots.
 *
 * Of a packet that we send we know the whole way, because we drew it: gateway, three mixes, and the exit's gateway or, of
 * cover, our own again. Its dot moves through these; a node's place in its column comes from its identity. Of what we
 * receive we know only that the gateway brought it. How long a packet takes at each hop is not measured, so all dots move
 * alike. With `prefers-reduced-motion` the ways are drawn and nothing moves.
 *
 * @module
 */

import { make, short, write } from "./dom.js";

/** @typedef {{number: number, kind: string, route: string[]}} Packet */
/** @typedef {{points: [number, number][], colour: string, begins: number}} Dot a point: column 0 to 5, height 0 to 1 */

const HEIGHT = 84;
const COLUMNS = ["Page", "Gateway", "Mix 1", "Mix 2", "Mix 3", "Exit"];
/** Two pictures a second, as each costs as much as all the text: one with each answer, one between two of them. */
const FRAME_MS = 550;
const LEG_MS = 1000;
/** Received packets that are shown for one answer, at most; the charts count them all. */
const MAX_DOWN = 4;
const MAX_DOTS = 48;
/** Heights: what leaves is above what comes. */
const DOWN = 0.9;
/** @type {Record<string, string>} */
const KINDS = { real: "data", retransmitted: "data again", surb: "reply SURBs", cover: "cover" };

/** @param {string} identity @returns {number} the same for the same node */
function heightOf(identity) {
  let hash = 7;
  for (let at = 0; at < identity.length; at += 1) hash = (hash * 31 + identity.charCodeAt(at)) % 9973;
  return 0.08 + 0.58 * (hash / 9973);
}

export class Route {
  #canvas = make("canvas", { "aria-hidden": "true" });
  #names = COLUMNS.map(() => make("code", {}, "–"));
  #note = make("p", { class: "note" }, "");
  element = make("section", { class: "route" }, make("h3", {}, "The newest packets, slowed down"), this.#canvas,
    make("ol", { class: "hops" }, ...COLUMNS.map((name, at) => make("li", {}, make("b", {}, name), this.#names[at]))), this.#note);
  /** @type {CSSStyleDeclaration | null} */ #style = null;
  /** @type {Dot[]} */ #dots = [];
  /** @type {ReturnType<typeof setInterval> | null} */ #timer = null;
  #last = 0;
  /** @type {Record<string, number> | null} */ #received = null;
  /** @type {Record<string, string>} */ #colours = {};
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** As it was told: asking would have everything laid out. */ #still = this.#calm.matches;
  #told = () => { this.#still = this.#calm.matches; };
  /** As it was laid out: asking would have it laid out anew. */ #width = 0;
  #watcher = new ResizeObserver(([{ contentRect }]) => {
    this.#width = contentRect.width;
    this.#draw();
  });
  /** @type {CanvasRenderingContext2D | null} */ #context = this.#canvas.getContext("2d");

  /** @param {CSSStyleDeclaration} style of the host */
  connect(style) {
    this.#style = style;
    this.recolour();
    this.#watcher.observe(this.#canvas);
    this.#told();
    this.#calm.addEventListener("change", this.#told);
  }

  disconnect() {
    this.#watcher.disconnect();
    this.#calm.removeEventListener("change", this.#told);
    this.#stop();
  }

  recolour() {
    const names = ["real", "cover", "surb", "ack", "retransmitted", "line", "soft"];
    this.#colours = Object.fromEntries(names.map((name) => [name, this.#style?.getPropertyValue(`--${name}`).trim() || "gray"]));
  }

  clear() {
    this.#last = 0;
    this.#received = null;
    this.#stop();
    for (const name of this.#names) write(name, "–");
    write(this.#note, "");
    this.#draw();
  }

  /** @param {any} statistics */
  add(statistics) {
    const { path, newest = [], down } = statistics;
    const fresh = /** @type {Packet[]} */ (newest).filter(({ number, route }) => number > this.#last && route.length === 4);
    const shown = fresh.at(-1);
    write(this.#names[0], path.addresses[0] ?? "no address");
    write(this.#names[1], short(path.gateway));
    write(this.#names[5], short(path.exit?.split("@").at(-1)));
    if (shown) {
      shown.route.slice(0, 3).forEach((identity, at) => write(this.#names[2 + at], short(identity)));
      const back = shown.kind === "cover" ? ", back to our gateway" : "";
      write(this.#note, `No. ${shown.number.toLocaleString("en")}: ${KINDS[shown.kind] ?? shown.kind}${back}. Of what comes back only the last leg is known.`);
      this.#last = shown.number;
    }
    const begins = performance.now(), gap = 1000 / Math.max(1, fresh.length);
    fresh.forEach((packet, at) => this.#dots.push({ points: this.#way(packet, path.gateway), colour: packet.kind, begins: begins + at * gap }));
    this.#arrivals(down?.packets ?? {}, begins);
    this.#dots.splice(0, this.#dots.length - MAX_DOTS);
    this.#stop(false);
    if (this.#still) {
      this.#draw();
      this.#dots = [];
      return;
    }
    this.#timer = setInterval(() => this.#tick(), FRAME_MS);
    this.#tick();
  }

  /** @param {Packet} packet @param {string} gateway @returns {[number, number][]} */
  #way({ route }, gateway) {
    const [one, two, three, last] = route;
    const own = heightOf(gateway);
    const end = last === gateway ? 1 : 5;
    return [[0, 0.35], [1, own], [2, heightOf(one)], [3, heightOf(two)], [4, heightOf(three)], [end, heightOf(last)]];
  }

  /** @param {Record<string, number>} packets @param {number} begins */
  #arrivals(packets, begins) {
    const before = this.#received;
    this.#received = packets;
    if (!before) return;
    const came = Object.keys(packets).filter((kind) => kind in this.#colours && packets[kind] > (before[kind] ?? 0));
    came.slice(0, MAX_DOWN).forEach((colour, at) => {
      this.#dots.push({ points: [[1, DOWN], [0, DOWN]], colour, begins: begins + (1000 / came.length) * at });
    });
  }

  #tick() {
    const now = performance.now();
    this.#dots = this.#dots.filter(({ begins, points }) => now < begins + LEG_MS * (points.length - 1));
    this.#draw();
    if (!this.#dots.length) this.#stop();
  }

  #stop(empty = true) {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    if (empty) this.#dots = [];
  }

  #draw() {
    const context = this.#context, width = this.#width, ratio = devicePixelRatio;
    if (!context || !width) return;
    if (this.#canvas.width !== Math.round(width * ratio)) this.#canvas.width = Math.round(width * ratio);
    if (this.#canvas.height !== HEIGHT * ratio) this.#canvas.height = HEIGHT * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, HEIGHT);
    const x = (/** @type {number} */ column) => ((column + 0.5) * width) / COLUMNS.length;
    const y = (/** @type {number} */ height) => 6 + height * (HEIGHT - 12);
    context.strokeStyle = this.#colours.line;
    context.lineWidth = 4;
    context.lineCap = "round";
    context.beginPath();
    for (let column = 0; column < COLUMNS.length; column += 1) {
      context.moveTo(x(column), y(0));
      context.lineTo(x(column), y(column < 2 ? 1 : 0.74));
    }
    context.stroke();
    const now = performance.now();
    for (const { points, colour, begins } of this.#dots) {
      context.strokeStyle = context.fillStyle = this.#colours[colour] ?? this.#colours.soft;
      if (this.#still) {
        context.lineWidth = 1.5;
        context.beginPath();
        points.forEach(([column, height]) => context.lineTo(x(column), y(height)));
        context.stroke();
        continue;
      }
      const at = (now - begins) / LEG_MS, leg = Math.floor(at);
      if (at < 0 || leg >= points.length - 1) continue;
      const [from, to] = [points[leg], points[leg + 1]], part = at - leg;
      context.beginPath();
      context.arc(x(from[0] + (to[0] - from[0]) * part), y(from[1] + (to[1] - from[1]) * part), 3.5, 0, 7);
      context.fill();
    }
  }
}
