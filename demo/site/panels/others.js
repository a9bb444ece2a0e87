/**
 * What others see: the gateway's record beside the exit's, from the local network's own nodes. There is no such thing in
 * the real network, so this panel is in the local demo alone.
 *
 * @module
 */

import { describe, facts, make, refill, table } from "../ui.js";

const INTERVAL_MS = 1_000;

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "others",
  title: "What others see",
  lead: "Both ends of your tunnel in this local network, as their own records have it. The gateway knows who you are and sees packets of one size; the exit sees where they go and does not know whose they are.",
  show({ output, say, context }) {
    const base = context.config.local ?? "";
    const gateway = party("The gateway sees", "Newest at the gateway", ["when", "way", "bytes", "next hop"]);
    const exit = party("The exit sees", "Newest at the exit", ["when", "flow", "bytes", "names"]);
    const cut = make("button", { type: "button", role: "switch", "aria-checked": "false" }, "Cut the gateway");
    const link = make("a", { class: "button", href: `${base}exit.pcap`, download: "exit.pcap" }, "Exit's packets (pcap)");
    output.replaceChildren(make("div", { class: "row" }, cut, link), make("div", { class: "two" }, gateway.element, exit.element));
    cut.addEventListener("click", async () => {
      const on = cut.getAttribute("aria-checked") !== "true";
      try {
        const answer = await fetch(`${base}cut`, { method: "POST", body: JSON.stringify({ on }), headers: { "content-type": "application/json" } });
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        cut.setAttribute("aria-checked", String(on));
        say(on ? "cut: the tunnel tries again, and takes another gateway after half a minute" : "the gateway may be reached again");
      } catch (error) {
        say(describe(error), true);
      }
    });
    let over = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    async function look() {
      try {
        if (document.visibilityState === "visible") update(await (await fetch(`${base}observed.json`)).json());
      } catch (error) {
        say(describe(error), true);
      }
      if (!over) timer = setTimeout(() => void look(), INTERVAL_MS);
    }
    /** @param {any} seen */
    function update(seen) {
      const { now, gateway: { newest: packets, ...counts }, exit: { newest: flows, ...out } } = seen;
      const when = (/** @type {{at: number}} */ { at }) => `${(at - now).toFixed(1)} s`;
      cut.setAttribute("aria-checked", String(seen.cut));
      gateway.update(
        [["Packets from you", counts.up], ["Packets to you", counts.down], ["Sizes from you", counts.sizes.join(", ") || "–"]],
        packets.map((/** @type {any} */ one) => [when(one), one.way, one.bytes, one.hop ?? "you"]),
      );
      exit.update(
        [["IP packets out", out.up], ["IP packets back", out.down], ["Names in the clear", out.names.join(", ") || "none"]],
        flows.map((/** @type {any} */ one) => [when(one), one.flow, one.bytes, one.names.join(", ")]),
      );
    }
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  },
};

/**
 * One party: a heading, numbers, its newest records. Only what changes is written, so that the focus stays where it is.
 * @param {string} title @param {string} caption @param {string[]} head
 */
function party(title, caption, head) {
  const numbers = make("div"), list = table(caption, head, []);
  return {
    element: make("div", { class: "output" }, make("h3", {}, title), numbers, list),
    update(/** @type {[string, string | number][]} */ entries, /** @type {(string | number)[][]} */ rows) {
      numbers.replaceChildren(facts(entries));
      refill(list, rows);
    },
  };
}
