/** Fetch: headers, a waterfall of where the time went, and a look at what came. @module */

import { mixFetch } from "../smolmix/index.js";
import { headersOf } from "../snippets.js";
import { facts, make, size, table } from "../ui.js";

/** @typedef {import("../smolmix/index.js").FetchTimings} FetchTimings */

const PREVIEW_CHARACTERS = 20_000;
const MAX_BYTES = 32e6;

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "fetch",
  title: "Fetch",
  lead: "A request through the mixnet, as fetch would do it. TLS ends in this page; the exit sees the server's address and encrypted bytes.",
  action: "Fetch",
  fields: (config) => [
    { name: "url", label: "URL", value: config.image ?? config.url, wide: true, options: config.examples ?? [] },
    { name: "method", label: "Method", value: "GET", choices: ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] },
    { name: "headers", label: "Headers, one a line", value: "", wide: true, rows: 2 },
    { name: "body", label: "Body", value: "", wide: true, rows: 2 },
  ],
  async run({ url, method, headers, body }, { output, say, signal }) {
    const bar = make("progress", { "aria-label": "Body" });
    const amount = make("p", { class: "n" });
    output.append(bar, amount);
    say(`${method} ${url} …`);
    const hasBody = body && method !== "GET" && method !== "HEAD";
    const response = await mixFetch(url, {
      method, headers: headersOf(headers), signal, ...(hasBody ? { body } : {}),
      onProgress: ({ phase, loaded, total }) => {
        if (phase === "download" && total) bar.value = loaded / total;
        amount.textContent = `${phase} ${size(loaded)}${total ? ` of ${size(total)}` : ""}`;
      },
    });
    if (Number(response.headers.get("content-length")) > MAX_BYTES) {
      await response.body?.cancel();
      throw new Error(`more than ${size(MAX_BYTES)}: use "Download"`);
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    bar.remove();
    amount.remove();
    say(`${response.status} ${response.statusText}, ${size(bytes.length)}${response.redirected ? `, from ${response.url}` : ""}`);
    const { timings, mix } = response;
    output.append(
      facts([["Status", response.status], ["Bytes", bytes.length.toLocaleString("en")], ["Protocol", timings.protocol ?? "–"], ["TLS", mix.tls ?? "none"], ["Server", timings.remoteAddress ?? "–"], ["Connection", timings.reused ? "used before" : "new"]]),
      waterfall(timings), preview(bytes, response.headers.get("content-type") ?? ""),
      table("Response headers", ["name", "value"], [...response.headers]),
    );
  },
};

/** Where the time went; each part begins where the one before ended. @param {FetchTimings} timings @returns {HTMLElement} */
export function waterfall(timings) {
  const { redirect, queue, dns, connect, tls, requestSent, ttfb, end } = timings;
  /** @type {[string, number, number][]} */
  const parts = [];
  let at = redirect ?? 0;
  if (redirect) parts.push(["redirects", 0, redirect]);
  for (const [name, took] of /** @type {[string, number | null][]} */ ([["queue", queue], ["DNS", dns], ["TCP", connect], ["TLS", tls]])) {
    if (took === null) continue;
    parts.push([name, at, took]);
    at += took;
  }
  const sent = requestSent ?? at, first = ttfb ?? sent, last = end ?? first;
  parts.push(["request", at, Math.max(0, sent - at)], ["waiting", sent, first - sent], ["body", first, last - first]);
  const whole = Math.max(last, 1);
  return make("ul", { class: "waterfall", "aria-label": "Timings" }, ...parts.map(([name, from, took]) => {
    const bar = make("i");
    bar.style.setProperty("--from", `${(100 * from) / whole}%`);
    bar.style.setProperty("--part", `${(100 * took) / whole}%`);
    return make("li", {}, make("span", {}, name), bar, make("span", { class: "n" }, `${Math.round(took)} ms`));
  }));
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {string} type @returns {HTMLElement} */
function preview(bytes, type) {
  if (type.startsWith("image/")) {
    const url = URL.createObjectURL(new Blob([bytes], { type }));
    const image = make("img", { class: "preview", alt: `The picture that came, ${type}`, src: url });
    image.addEventListener("load", () => URL.revokeObjectURL(url));
    return image;
  }
  const binary = !/text|json|xml|javascript/.test(type) && bytes.subarray(0, 512).some((byte) => byte < 9);
  const text = binary
    ? [...bytes.subarray(0, 256)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")
    : new TextDecoder().decode(bytes).slice(0, PREVIEW_CHARACTERS);
  return make("pre", { tabindex: "0", role: "region", "aria-label": binary ? "First bytes" : "Text" }, text || "(empty)");
}
