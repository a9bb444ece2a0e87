/** The page of the window: texts by `mixFetch`, pictures as any page shows them, through the tunnel by its Service Worker. */

import { MixTunnel } from "./smolmix/index.js";
import { registerMixServiceWorker } from "./smolmix/whole-page.js";

/** @typedef {{shell?: {onRest: (listener: (on: boolean) => void) => void}, smolmixOptions?: object}} Given */

const { shell, smolmixOptions = {} } = /** @type {Given} */ (globalThis);
const tunnel = new MixTunnel(smolmixOptions);
const element = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

tunnel.addEventListener("state", ({ detail: { state, step } }) => {
  element("state").value = step ? `${state} (${step})` : state;
});
shell?.onRest((on) => void (on ? tunnel.suspend() : tunnel.resume()));
const controlled = registerMixServiceWorker({ url: "service-worker.js", tunnel });
controlled.catch(() => {}); // told below

/** @param {string} url */
async function picture(url) {
  const image = element("picture");
  image.src = url;
  await image.decode();
  image.hidden = false;
  return `${image.naturalWidth} × ${image.naturalHeight}`;
}

element("form").addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  element("body").textContent = "";
  element("picture").hidden = true;
  const url = element("url").value;
  try {
    await Promise.all([tunnel.setup(), controlled]);
    const response = await tunnel.fetch(url);
    if (response.headers.get("content-type")?.startsWith("image/")) {
      void response.body?.cancel();
      element("told").textContent = `${response.status}: ${await picture(url)}`;
      return;
    }
    const text = await response.text();
    element("body").textContent = text.slice(0, 2_000);
    element("told").textContent = `${response.status}: ${text.length} characters`;
  } catch (error) {
    const { code, name, message } = /** @type {any} */ (error);
    element("told").textContent = `${code ?? name}: ${message}`;
  }
});
