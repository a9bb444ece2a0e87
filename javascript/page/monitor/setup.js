/**
 * How far the set-up is, and what went wrong: steps, bytes of the first load, errors with their code and advice.
 *
 * What a code means stands in docs/errors.md alone; the build puts its table in.
 *
 * @module
 */

import { make, show, size, write } from "./dom.js";

/** @typedef {import("../../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../../shared/messages.js").ErrorDetail} ErrorDetail */
/** @typedef {import("../../shared/messages.js").Loading} Loading */

/** @type {readonly [string, string][]} */
const STEPS = [["boot", "Load the client"], ["storage", "Stored identity"], ["directory", "Ask the directory"],
  ["gateway", "Reach a gateway"], ["exit", "Get an address"]];
/** Of the bar: loading takes the longest. */
const LOAD_SHARE = 0.6;

/** @type {Record<string, string>} */
const MEANINGS = typeof SMOLMIX_ERRORS === "undefined" ? {} : SMOLMIX_ERRORS;

/** What a code means, of docs/errors.md. @param {string | null | undefined} code @returns {string} */
export const adviceFor = (code) => MEANINGS[code ?? ""] ?? "";

export class SetUp {
  #items = new Map(STEPS.map(([step, label]) => {
    const detail = make("small", {}, "");
    return [step, { item: make("li", {}, label, detail), detail }];
  }));
  #bar = make("progress", { max: "1", "aria-label": "Set-up" });
  steps = make("section", { hidden: "" }, make("h3", {}, "Set-up"),
    make("ol", { class: "steps" }, ...[...this.#items.values()].map(({ item }) => item)), this.#bar);
  errors = make("section", { class: "part", hidden: "" });

  constructor() {
    // Only an identity that is stored has this step.
    show(/** @type {HTMLElement} */ (this.#items.get("storage")?.item), false);
  }

  /** @param {Loading | null} loading */
  loaded(loading) {
    const boot = this.#items.get("boot");
    if (!boot) return;
    const bytes = loading?.bytes ? `, ${size(loading.bytes)}` : "";
    write(boot.detail, loading ? `${loading.files} of ${loading.of} files${bytes}` : "");
    if (loading && boot.item.getAttribute("aria-current")) this.#bar.value = (LOAD_SHARE * loading.files) / (loading.of + 1);
  }

  /** @param {TunnelSnapshot} snapshot @returns {boolean} the steps are shown */
  update({ state, step, error, warnings }) {
    const connecting = state === "connecting" && step !== null;
    show(this.steps, connecting);
    if (connecting) {
      if (step === "boot") this.loaded(null);
      const at = STEPS.findIndex(([name]) => name === step);
      STEPS.forEach(([name], index) => {
        const { item } = /** @type {{item: HTMLElement}} */ (this.#items.get(name));
        if (name === step) item.setAttribute("aria-current", "step");
        else item.removeAttribute("aria-current");
        item.dataset.at = index < at ? "done" : index === at ? "now" : "later";
        if (name === "storage" && name === step) show(item, true);
      });
      this.#bar.value = step === "boot" ? 0 : LOAD_SHARE + ((1 - LOAD_SHARE) * (at - 1)) / (STEPS.length - 1);
    }
    const all = error ? [error, ...warnings] : warnings;
    show(this.errors, all.length > 0);
    this.errors.replaceChildren(...all.map((detail) => describe(detail, detail === error)));
    return connecting;
  }
}

/** @param {ErrorDetail} error @param {boolean} fatal @returns {HTMLElement} */
function describe({ code, phase, message, retryable, reason }, fatal) {
  const facts = [phase && `phase ${phase}`, reason && `reason ${reason}`, retryable && "trying again may help"].filter(Boolean);
  const advice = adviceFor(code);
  return make("div", { class: fatal ? "error" : "error warning" },
    make("p", {}, make("strong", {}, fatal ? "The tunnel failed: " : "Warning: "), message),
    make("p", {}, make("code", {}, code), facts.length ? ` (${facts.join(", ")})` : "", advice ? `: ${advice}` : ""));
}
