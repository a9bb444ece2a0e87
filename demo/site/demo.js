/**
 * The demo page: sets the tunnel up and takes first steps (a name, a page, a WebSocket message), then offers panels to play
 * with. `config.json` beside this file says which network to use; `window.demo` holds the outcome for scripts.
 *
 * @module
 */

import "./smolmix/monitor.js";
import { MixWebSocket, disconnectMixTunnel, getMixTunnel, getTunnelState, mixDNS, mixFetch, setupMixTunnel } from "./smolmix/index.js";
import { showPanels } from "./tabs.js";

/** @typedef {import("./ui.js").DemoConfig} DemoConfig */

const ECHO_TIMEOUT_MS = 60_000;

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @type {Record<string, any>} */
const outcome = { finished: false, state: "shutdown", step: null, error: null };
Object.assign(globalThis, { demo: outcome });

/**
 * Run one step and show how it went.
 * @template T
 * @param {string} id
 * @param {() => Promise<T>} work
 * @param {(value: T) => string} describe
 * @returns {Promise<{value: T, ms: number}>}
 */
async function step(id, work, describe) {
  const item = element(`step-${id}`);
  const output = /** @type {HTMLOutputElement} */ (item.querySelector("output"));
  outcome.step = id;
  item.dataset.result = "working";
  output.value = "working";
  const started = performance.now();
  try {
    const value = await work();
    const ms = Math.round(performance.now() - started);
    item.dataset.result = "done";
    output.value = `${describe(value)} · ${(ms / 1000).toFixed(1)} s`;
    return { value, ms };
  } catch (error) {
    item.dataset.result = "failed";
    output.value = error instanceof Error ? error.message : String(error);
    throw error;
  }
}

/** @param {BufferSource} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string} url
 * @param {string} message
 * @returns {Promise<string>}
 */
async function echo(url, message) {
  const socket = new MixWebSocket(url);
  await socket.opened();
  try {
    return await new Promise((resolve, reject) => {
      socket.onmessage = (event) => resolve(event.data);
      socket.onclose = (event) => reject(new Error(`the WebSocket closed before its answer (code ${event.code})`));
      setTimeout(() => reject(new Error(`no answer in ${ECHO_TIMEOUT_MS / 1000} s`)), ECHO_TIMEOUT_MS);
      socket.send(message);
    });
  } finally {
    socket.close();
  }
}

/** Set up the shared tunnel, and show it from its first moment on. @param {DemoConfig["options"]} options */
async function connect(options) {
  const done = setupMixTunnel(options);
  done.catch(() => {}); // awaited below
  const tunnel = await getMixTunnel();
  /** @type {import("./smolmix/monitor.js").MixMonitor} */ (element("monitor")).tunnel = tunnel;
  const note = () => { outcome.state = tunnel.state.state; };
  tunnel.addEventListener("state", note);
  note();
  await done;
}

/** @param {DemoConfig} config */
function fillIn(config) {
  element("dns-name").textContent = config.name;
  element("fetch-url").textContent = config.url;
  element("websocket-url").textContent = config.websocketUrl;
}

async function main() {
  /** @type {DemoConfig} */
  const config = await (await fetch("config.json")).json();
  fillIn(config);
  showPanels(element("tabs"), element("panels"), {
    config,
    tunnel: getMixTunnel,
    async reconnect(more) {
      await disconnectMixTunnel();
      await connect({ ...config.options, ...more });
    },
  });
  outcome.setup_ms = (await step("setup", () => connect(config.options), () => "ready")).ms;

  const dns = await step("dns", () => mixDNS(config.name), (address) => address);
  outcome.dns = { name: config.name, address: dns.value, ms: dns.ms };

  const page = await step("fetch", async () => {
    const response = await mixFetch(config.url);
    const body = await response.arrayBuffer();
    return { status: response.status, bytes: body.byteLength, sha256: await sha256(body), tls: response.mix.tls };
  }, ({ status, bytes, tls }) => `${status} · ${bytes.toLocaleString("en")} bytes · ${tls ?? "no TLS"}`);
  outcome.fetch = { url: config.url, ...page.value, ms: page.ms };
  element("sha256").textContent = page.value.sha256;

  const sent = `hello through the mixnet ${crypto.randomUUID()}`;
  const socket = await step("websocket", () => echo(config.websocketUrl, sent), () => "text echoed");
  outcome.websocket = { sent, echoed: socket.value, ms: socket.ms };
  outcome.statistics = await (await getMixTunnel()).statistics();
  outcome.state = (await getTunnelState()).state;
}

/** @param {unknown} error */
function describeError(error) {
  if (!(error instanceof Error)) return { message: String(error) };
  return { ...error, name: error.name, message: error.message };
}

main()
  .catch((error) => { outcome.error = describeError(error); })
  .finally(() => { outcome.finished = true; });
