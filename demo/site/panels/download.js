/** Download: a long body that can wait. While nobody reads, TCP's window closes and the server stops sending. @module */

import { mixFetch } from "../smolmix/index.js";
import { facts, make, size } from "../ui.js";

const KEPT = 64e6;

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "download",
  title: "Download",
  lead: "A body as a stream, with a pause: while this page does not read, nothing more is asked of the server.",
  action: "Download",
  fields: (config) => [{ name: "url", label: "URL", value: config.url.replace(/\/bytes\/\d+/, "/bytes/2000000"), wide: true }],
  async run({ url }, { output, say, signal }) {
    const bar = make("progress", { "aria-label": "Download" });
    const pause = make("button", { type: "button" }, "Pause"), row = make("div", { class: "row" }, pause), amount = make("p", { class: "n" });
    output.append(bar, amount, row);
    /** @type {(() => void) | null} */
    let resume = null;
    /** @type {Promise<void> | null} */
    let waiting = null;
    pause.addEventListener("click", () => {
      if (resume) {
        resume();
        resume = waiting = null;
      } else waiting = new Promise((resolve) => { resume = resolve; });
      pause.textContent = resume ? "Go on" : "Pause";
      say(resume ? "paused: the server waits" : "going on");
    });
    signal.addEventListener("abort", () => resume?.());
    say(`GET ${url} …`);
    const response = await mixFetch(url, { signal });
    if (!response.body) throw new Error("it has no body");
    const total = Number(response.headers.get("content-length")) || null;
    /** @type {Uint8Array<ArrayBuffer>[]} */
    const chunks = [];
    let loaded = 0;
    const began = performance.now();
    try {
      for (const reader = response.body.getReader(); ;) {
        if (waiting) await waiting;
        signal.throwIfAborted();
        const { done, value } = await reader.read();
        if (done) break;
        loaded += value.length;
        if (loaded <= KEPT) chunks.push(value);
        if (total) bar.value = loaded / total;
        amount.textContent = `${size(loaded)}${total ? ` of ${size(total)}` : ""}`;
      }
    } finally {
      pause.remove();
    }
    const seconds = (performance.now() - began) / 1000;
    say("done");
    output.append(facts([["Bytes", loaded.toLocaleString("en")], ["Seconds", seconds.toFixed(1)], ["Rate", `${size(loaded / seconds)}/s`]]));
    if (loaded <= KEPT) {
      const href = URL.createObjectURL(new Blob(chunks));
      row.append(make("a", { class: "button", href, download: new URL(response.url).pathname.split("/").at(-1) || "download" }, "Save"));
      setTimeout(() => URL.revokeObjectURL(href), 600_000);
    }
  },
};
