/**
 * What all panels have: a form whose fields stand in the page's address, a line that says how it goes, a place for what
 * came, and the code that does the same.
 *
 * @module
 */

import { snippets } from "./snippets.js";

/** @typedef {import("./smolmix/index.js").MixTunnel} MixTunnel */
/**
 * @typedef {object} Context
 * @property {DemoConfig} config
 * @property {() => Promise<MixTunnel>} tunnel
 * @property {(more: object) => Promise<void>} reconnect with further options
 */
/**
 * @typedef {object} DemoConfig
 * @property {import("./smolmix/index.js").SetupMixTunnelOpts} options
 * @property {string} name
 * @property {string} url
 * @property {string} websocketUrl
 * @property {string[]} [examples]
 * @property {string} [image]
 * @property {string} [tcp] host:port
 * @property {string} [local] where the local network tells what its parties see
 */
/** @typedef {{name: string, label: string, value: string, wide?: boolean, choices?: string[], check?: boolean, rows?: number, options?: string[]}} Field */
/** @typedef {Record<string, string>} Values of fields; "" and "on" of a check box */
/**
 * @typedef {object} View
 * @property {HTMLElement} output
 * @property {(text: string, bad?: boolean) => void} say
 * @property {AbortSignal} signal aborted by "Stop"
 * @property {Context} context
 */
/**
 * @typedef {object} Panel
 * @property {string} id
 * @property {string} title
 * @property {string} lead
 * @property {string} [action] of the button; without one there is no form
 * @property {(config: DemoConfig) => Field[]} [fields]
 * @property {(values: Values, view: View) => Promise<void>} [run]
 * @property {(view: View) => () => void} [show] while the panel is seen; returns what ends that
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {number} bytes */
export const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);

/** @param {unknown} error @returns {string} */
export function describe(error) {
  const { code, phase, message } = /** @type {any} */ (error) ?? {};
  return `${message ?? error}${code ? ` (${code}${phase ? `, phase ${phase}` : ""})` : ""}`;
}

/** @param {HTMLElement} element made by `table` @param {(string | number)[][]} rows in the place of those it has */
export function refill(element, rows) {
  element.querySelector("tbody")?.replaceChildren(...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, String(cell))))));
}

/** @param {string} caption @param {string[]} head @param {(string | number)[][]} rows @returns {HTMLElement} */
export function table(caption, head, rows) {
  const made = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, make("table", {}, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))), make("tbody")));
  refill(made, rows);
  return made;
}

/** @param {[string, string | number][]} entries */
export function facts(entries) {
  return make("dl", { class: "facts" }, ...entries.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

/**
 * Lines that come and go, and a field to send one.
 * @param {string} label
 * @param {(text: string) => void} send
 */
export function talk(label, send) {
  const lines = make("div", { class: "lines", role: "log", tabindex: "0", "aria-label": label });
  const input = make("input", { "aria-label": "Message", autocomplete: "off" });
  const form = make("form", { class: "row" }, input, make("button", {}, "Send"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(input.value);
    input.value = "";
  });
  const add = (/** @type {"sent" | "came" | "note"} */ kind, /** @type {string} */ text) => {
    while (lines.childElementCount > 200) lines.firstElementChild?.remove();
    lines.append(make("p", { class: kind }, `${{ sent: "→ ", came: "← ", note: "" }[kind]}${text}`));
    lines.scrollTop = lines.scrollHeight;
  };
  return { element: make("div", { class: "output" }, lines, form), add, input, end: () => { input.disabled = true; form.querySelector("button")?.setAttribute("disabled", ""); } };
}

/** @param {Field} field @returns {{label: HTMLElement, input: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement}} */
function input({ name, label, value, wide, choices, check, rows, options }) {
  /** @type {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} */
  let made;
  if (choices) made = make("select", { name }, ...choices.map((choice) => new Option(choice, choice)));
  else if (rows) made = make("textarea", { name, rows: String(rows), spellcheck: "false" });
  else made = make("input", check ? { name, type: "checkbox" } : { name, autocomplete: "off", spellcheck: "false" });
  const holder = make("label", { class: check ? "check" : wide ? "wide" : "" }, ...(check ? [made, label] : [label, made]));
  if (check) /** @type {HTMLInputElement} */ (made).checked = value === "on";
  else made.value = value;
  if (options) {
    const list = make("datalist", { id: `options-${name}` }, ...options.map((option) => new Option(option, option)));
    made.setAttribute("list", list.id);
    holder.append(list);
  }
  return { label: holder, input: made };
}

/** @param {Record<string, string>} code @returns {HTMLElement} */
function codeOf(code) {
  const parts = Object.entries(code).map(([language, text]) => {
    const button = make("button", { type: "button", "aria-label": `Copy the ${language} code` }, "Copy");
    button.addEventListener("click", () => void navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Select and copy"; }));
    return make("div", {}, make("div", { class: "row" }, make("span", {}, language), button), make("pre", { tabindex: "0", role: "region", "aria-label": `${language} code` }, text));
  });
  return make("div", { class: "two" }, ...parts);
}

/**
 * @param {Panel} panel
 * @param {Context} context
 * @param {(values: Values) => void} changed the form says something else now
 */
export function build(panel, context, changed) {
  const element = make("section", { class: "panel", role: "tabpanel", id: `panel-${panel.id}`, "aria-labelledby": `tab-${panel.id}`, hidden: "" }, make("p", {}, panel.lead));
  const output = make("div", { class: "output" });
  const said = make("p", { class: "said", role: "status" });
  const say = (/** @type {string} */ text, bad = false) => {
    said.textContent = text;
    said.toggleAttribute("data-bad", bad);
  };
  const inputs = (panel.fields?.(context.config) ?? []).map(input);
  const values = () => Object.fromEntries(inputs.map(({ input: one }) => [one.name, one instanceof HTMLInputElement && one.type === "checkbox" ? (one.checked ? "on" : "") : one.value]));
  const code = make("div");
  const showCode = () => {
    const made = snippets[panel.id]?.(values());
    code.replaceChildren(...(made ? [codeOf(made)] : []));
  };
  /** @type {AbortController | null} */
  let running = null;
  if (panel.run) {
    const { run } = panel;
    const go = make("button", { class: "main" }, panel.action ?? "Go");
    const stop = make("button", { type: "button", disabled: "" }, "Stop");
    const form = make("form", {}, make("div", { class: "fields" }, ...inputs.map(({ label }) => label), go, stop));
    stop.addEventListener("click", () => running?.abort());
    form.addEventListener("input", () => {
      showCode();
      changed(values());
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (running) return;
      running = new AbortController();
      changed(values());
      go.disabled = true;
      stop.disabled = false;
      output.replaceChildren();
      try {
        await run(values(), { output, say, signal: running.signal, context });
      } catch (error) {
        if (running.signal.aborted) say("stopped");
        else say(describe(error), true);
      }
      running = null;
      go.disabled = false;
      stop.disabled = true;
    });
    element.append(form);
  }
  element.append(said, output);
  if (snippets[panel.id]) element.append(make("details", { class: "code", open: "" }, make("summary", {}, "The same in code"), code));
  showCode();
  /** @type {(() => void) | null} */
  let ends = null;
  return {
    element,
    values,
    /** @param {boolean} shown */
    show(shown) {
      element.hidden = !shown;
      if (shown && panel.show) ends ??= panel.show({ output, say, signal: new AbortController().signal, context });
      if (!shown) {
        ends?.();
        ends = null;
      }
    },
    /** @param {URLSearchParams} wanted */
    fill(wanted) {
      for (const { input: one } of inputs) {
        const value = wanted.get(one.name);
        if (value === null) continue;
        if (one instanceof HTMLInputElement && one.type === "checkbox") one.checked = value === "on";
        else one.value = value;
      }
      showCode();
    },
  };
}
