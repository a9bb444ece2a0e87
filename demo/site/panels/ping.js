/** Ping: round trips, one bar each. What scatters them are the mixes, which hold every packet for a random time. @module */

import { mixPing } from "../smolmix/index.js";
import { describe, facts, make } from "../ui.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 400, HEIGHT = 140;

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "ping",
  title: "Ping",
  lead: "ICMP echoes through five nodes and back. The mixes hold each packet for a random time of its own: that is what scatters the bars.",
  action: "Ping",
  fields: (config) => [
    { name: "host", label: "Host", value: config.name, wide: true },
    { name: "count", label: "How many", value: "20" },
  ],
  async run({ host, count }, { output, say, signal }) {
    const wanted = Math.min(100, Math.max(1, Number(count) || 1));
    /** @type {(number | null)[]} */
    const trips = [];
    const plot = document.createElementNS(SVG, "svg"), summary = make("div");
    plot.setAttribute("class", "plot");
    plot.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    plot.setAttribute("preserveAspectRatio", "none");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", "No round trip yet");
    output.append(plot, summary);
    say(`${wanted} round trips …`);
    while (trips.length < wanted) {
      try {
        trips.push((await mixPing(host, { signal })).rtt);
      } catch (error) {
        if (signal.aborted || !(/** @type {any} */ (error).code === "ping_timeout")) throw error;
        trips.push(null);
        say(describe(error), true);
      }
      draw(plot, trips, wanted);
      const back = /** @type {number[]} */ (trips.filter((trip) => trip !== null));
      if (!back.length) continue;
      const mean = back.reduce((sum, trip) => sum + trip, 0) / back.length;
      plot.setAttribute("aria-label", `${trips.length} round trips, ${Math.round(mean)} ms on average`);
      summary.replaceChildren(facts([["Shortest", `${Math.round(Math.min(...back))} ms`], ["Average", `${Math.round(mean)} ms`], ["Longest", `${Math.round(Math.max(...back))} ms`], ["Lost", `${trips.length - back.length} of ${trips.length}`]]));
    }
    say("done");
  },
};

/** @param {SVGSVGElement} plot @param {(number | null)[]} trips @param {number} wanted */
function draw(plot, trips, wanted) {
  const top = Math.max(...trips.map((trip) => trip ?? 0), 1), step = WIDTH / wanted;
  plot.replaceChildren(...trips.map((trip, at) => {
    const bar = document.createElementNS(SVG, "rect"), height = trip === null ? HEIGHT : (trip / top) * HEIGHT;
    const place = { x: at * step + step * 0.15, y: HEIGHT - height, width: step * 0.7, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, String(value));
    if (trip === null) bar.setAttribute("class", "lost");
    return bar;
  }));
}
