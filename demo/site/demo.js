/**
 * The demo page: connects, asks for a name, fetches a page, echoes a WebSocket message, and shows each step.
 *
 * `config.json` beside this file says which network to use; `window.demo` holds the outcome for scripts.
 *
 * @module
 */

import { MixWebSocket, getMixTunnel, mixDNS, mixFetch, setupMixTunnel } from "./smolmix/index.js";

/**
 * @typedef {object} DemoConfig
 * @property {import("./smolmix/index.js").SetupMixTunnelOpts} options
 * @property {string} name
 * @property {string} url
 * @property {string} websocketUrl
 */

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
const outcome = { finished: false, error: null };
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
  item.dataset.result = "working";
  output.value = "…";
  const started = performance.now();
  try {
    const value = await work();
    const ms = Math.round(performance.now() - started);
    item.dataset.result = "done";
    output.value = `${describe(value)} · ${ms} ms`;
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
  const answer = await new Promise((resolve, reject) => {
    socket.addEventListener("message", (event) => resolve(/** @type {MessageEvent} */ (event).data));
    socket.addEventListener("close", () => reject(new Error("the WebSocket closed before its answer")));
    socket.send(message);
  });
  socket.close();
  return answer;
}

async function showState() {
  const tunnel = await getMixTunnel();
  const badge = /** @type {HTMLOutputElement} */ (element("state"));
  const show = () => {
    const { state, step: doing } = tunnel.state;
    badge.dataset.state = state;
    badge.value = doing ? `${state}: ${doing}` : state;
  };
  tunnel.addEventListener("state", show);
  show();
}

async function showNumbers() {
  const tunnel = await getMixTunnel();
  const statistics = await tunnel.statistics();
  const list = element("numbers");
  list.replaceChildren();
  for (const [name, value] of Object.entries(statistics)) {
    if (typeof value !== "number") continue;
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const number = document.createElement("dd");
    term.textContent = name.replaceAll("_", " ");
    number.textContent = Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(3);
    row.append(term, number);
    list.append(row);
  }
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
    const head = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const ms = Math.round(performance.now() - started);
    answer.textContent = `${response.status} ${response.statusText} · ${body.length} characters · ${ms} ms\n${head}\n\n${body.slice(0, 4000)}`;
  } catch (error) {
    answer.textContent = String(error);
  } finally {
    button.disabled = false;
  }
}

async function main() {
  /** @type {DemoConfig} */
  const config = await (await fetch("config.json")).json();
  element("dns-name").textContent = config.name;
  element("fetch-url").textContent = config.url;
  element("websocket-url").textContent = config.websocketUrl;
  /** @type {HTMLInputElement} */ (element("url")).value = config.url;

  const setup = await step("setup", async () => {
    const done = setupMixTunnel(config.options);
    await showState();
    await done;
  }, () => "ready");
  outcome.setup_ms = setup.ms;
  const button = /** @type {HTMLButtonElement} */ (element("try").querySelector("button"));
  button.disabled = false;
  element("answer").textContent = "Type a URL of this network and press the button.";

  const dns = await step("dns", () => mixDNS(config.name), (address) => address);
  outcome.dns = { name: config.name, address: dns.value, ms: dns.ms };

  const page = await step("fetch", async () => {
    const response = await mixFetch(config.url);
    const body = await response.arrayBuffer();
    return { status: response.status, bytes: body.byteLength, sha256: await sha256(body) };
  }, ({ status, bytes }) => `${status}, ${bytes.toLocaleString("en")} bytes`);
  outcome.fetch = { url: config.url, ...page.value, ms: page.ms };

  const sent = `hello through the mixnet ${crypto.randomUUID()}`;
  const socket = await step("websocket", () => echo(config.websocketUrl, sent), () => "echoed");
  outcome.websocket = { sent, echoed: socket.value, ms: socket.ms };
  outcome.statistics = await showNumbers();
  setInterval(() => void showNumbers().catch(() => {}), 2000);
}

element("try").addEventListener("submit", (event) => void tryFetch(/** @type {SubmitEvent} */ (event)));
main()
  .catch((error) => { outcome.error = error instanceof Error ? { name: error.name, message: error.message, ...error } : { message: String(error) }; })
  .finally(() => { outcome.finished = true; });
