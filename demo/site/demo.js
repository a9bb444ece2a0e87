/**
 * The demo page: connects, asks for a name, fetches a page, echoes a WebSocket message, and shows each step.
 *
 * `config.json` beside this file says which network to use; `window.demo` holds the outcome for scripts.
 *
 * @module
 */

import { MixWebSocket, getMixTunnel, getTunnelState, mixDNS, mixFetch, setupMixTunnel } from "./smolmix/index.js";

/**
 * @typedef {object} DemoConfig
 * @property {import("./smolmix/index.js").SetupMixTunnelOpts} options
 * @property {string} name
 * @property {string} url
 * @property {string} websocketUrl
 * @property {string[]} [examples]
 */

const ECHO_TIMEOUT_MS = 60_000;
const REFRESH_MS = 1_000;

/** What is shown of the statistics: label and the counters that are added up. @type {[string, string[]][]} */
const NUMBERS = [
  ["Sphinx sent", ["packets_sent"]],
  ["of them cover", ["main_cover_sent", "loop_cover_sent"]],
  ["sent again", ["retransmitted"]],
  ["Sphinx received", ["bodies_received"]],
  ["IP sent", ["ip_packets_sent"]],
  ["IP received", ["ip_packets_received"]],
];

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
  output.value = "…";
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

/** @param {string | null} text */
const short = (text) => (text ? `${text.slice(0, 9)}…` : "…");

async function showState() {
  const tunnel = await getMixTunnel();
  const badge = /** @type {HTMLOutputElement} */ (element("state"));
  const show = () => {
    const { state, step: doing, gateway, exit, addresses } = tunnel.state;
    outcome.state = state;
    badge.dataset.state = state;
    badge.value = doing ? `${state}: ${doing}` : state;
    element("hop-gateway").textContent = short(gateway);
    element("hop-exit").textContent = short(exit);
    element("hop-page").textContent = addresses[0] ?? "Web Worker";
  };
  tunnel.addEventListener("state", show);
  show();
}

async function showNumbers() {
  const tunnel = await getMixTunnel();
  const statistics = await tunnel.statistics();
  element("numbers").replaceChildren(
    ...NUMBERS.map(([label, counters]) => {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const number = document.createElement("dd");
      term.textContent = label;
      number.textContent = counters.reduce((sum, name) => sum + Number(statistics[name] ?? 0), 0).toLocaleString("en");
      row.append(term, number);
      return row;
    }),
  );
  return statistics;
}

/** @param {SubmitEvent} event */
async function tryFetch(event) {
  event.preventDefault();
  const answer = element("answer");
  const button = /** @type {HTMLButtonElement} */ (element("try").querySelector("button"));
  const url = /** @type {HTMLInputElement} */ (element("url")).value;
  button.disabled = true;
  answer.textContent = `GET ${url} …`;
  try {
    const started = performance.now();
    const response = await mixFetch(url);
    const body = await response.text();
    const ms = Math.round(performance.now() - started);
    const head = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const way = `${response.url} · ${/** @type {any} */ (response).mix.tls ?? "no TLS"} · ${ms} ms`;
    answer.textContent = `${response.status} ${response.statusText} · ${way}\n${head}\n\n${body.slice(0, 4000)}`;
  } catch (error) {
    answer.textContent = String(error);
  } finally {
    button.disabled = false;
  }
}

/** @param {DemoConfig} config */
function fillIn(config) {
  element("dns-name").textContent = config.name;
  element("hop-web").textContent = config.name;
  element("fetch-url").textContent = config.url;
  element("websocket-url").textContent = config.websocketUrl;
  const examples = config.examples ?? [config.url];
  /** @type {HTMLInputElement} */ (element("url")).value = examples[0] ?? config.url;
  element("examples").replaceChildren(...examples.map((url) => new Option(url, url)));
}

async function main() {
  /** @type {DemoConfig} */
  const config = await (await fetch("config.json")).json();
  fillIn(config);
  const setup = await step("setup", async () => {
    const done = setupMixTunnel(config.options);
    done.catch(() => {}); // awaited below
    await showState();
    await done;
  }, () => "ready");
  outcome.setup_ms = setup.ms;
  const numbers = setInterval(() => void showNumbers().catch(() => clearInterval(numbers)), REFRESH_MS);
  /** @type {HTMLButtonElement} */ (element("try").querySelector("button")).disabled = false;
  element("answer").textContent = "Choose a URL of this network and press the button.";

  const dns = await step("dns", () => mixDNS(config.name), (address) => address);
  outcome.dns = { name: config.name, address: dns.value, ms: dns.ms };

  const page = await step("fetch", async () => {
    const response = await mixFetch(config.url);
    const body = await response.arrayBuffer();
    const { tls } = /** @type {import("./smolmix/index.js").MixResponse} */ (response).mix;
    return { status: response.status, bytes: body.byteLength, sha256: await sha256(body), tls };
  }, ({ status, bytes, tls }) => `${status} · ${bytes.toLocaleString("en")} bytes · ${tls ?? "no TLS"}`);
  outcome.fetch = { url: config.url, ...page.value, ms: page.ms };
  element("sha256").textContent = page.value.sha256;
  element("proof").hidden = false;

  const sent = `hello through the mixnet ${crypto.randomUUID()}`;
  const socket = await step("websocket", () => echo(config.websocketUrl, sent), () => "text echoed");
  outcome.websocket = { sent, echoed: socket.value, ms: socket.ms };
  outcome.statistics = await showNumbers();
  outcome.state = (await getTunnelState()).state;
}

/** @param {unknown} error */
function describeError(error) {
  if (!(error instanceof Error)) return { message: String(error) };
  return { ...error, name: error.name, message: error.message };
}

element("try").addEventListener("submit", (event) => void tryFetch(event));
main()
  .catch((error) => { outcome.error = describeError(error); })
  .finally(() => { outcome.finished = true; });
