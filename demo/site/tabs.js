/**
 * The panels as tabs, by the arrow keys as well; which one is open, and what its form says, stands after the address's `#`,
 * which browsers send to nobody.
 *
 * @module
 */

import { panel as dns } from "./panels/dns.js";
import { panel as download } from "./panels/download.js";
import { panel as exits } from "./panels/exits.js";
import { panel as fetching } from "./panels/fetch.js";
import { panel as others } from "./panels/others.js";
import { panel as ping } from "./panels/ping.js";
import { panel as tcp } from "./panels/tcp.js";
import { panel as websocket } from "./panels/websocket.js";
import { build, make } from "./ui.js";

/** @typedef {import("./ui.js").Context} Context */

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} place
 * @param {Context} context
 */
export function showPanels(list, place, context) {
  const panels = [fetching, download, websocket, dns, ping, tcp, exits, ...(context.config.local ? [others] : [])];
  const entries = panels.map((panel) => {
    const keep = (/** @type {Record<string, string>} */ values) => history.replaceState(null, "", `#${new URLSearchParams({ panel: panel.id, ...values })}`);
    const built = build(panel, context, keep);
    const tab = make("button", { type: "button", role: "tab", id: `tab-${panel.id}`, "aria-controls": `panel-${panel.id}` }, panel.title);
    tab.addEventListener("click", () => {
      open(panel.id);
      keep(built.values());
    });
    return { id: panel.id, tab, built };
  });

  /** @param {string} id */
  function open(id) {
    for (const { id: own, tab, built } of entries) {
      tab.setAttribute("aria-selected", String(own === id));
      tab.tabIndex = own === id ? 0 : -1;
      built.show(own === id);
    }
  }

  function read() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const entry = entries.find(({ id }) => id === wanted.get("panel")) ?? entries[0];
    entry.built.fill(wanted);
    open(entry.id);
  }

  list.addEventListener("keydown", (event) => {
    const at = entries.findIndex(({ tab }) => tab === document.activeElement);
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -at, End: entries.length - 1 - at }[event.key];
    if (at < 0 || move === undefined) return;
    event.preventDefault();
    const { tab } = entries[(at + move + entries.length) % entries.length];
    tab.focus();
    tab.click();
  });
  list.append(...entries.map(({ tab }) => tab));
  place.append(...entries.map(({ built }) => built.element));
  addEventListener("hashchange", read);
  read();
}
