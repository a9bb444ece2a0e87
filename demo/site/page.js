/**
 * The whole page: an article whose every part comes through the mixnet by a Service Worker, and beside it the count of what
 * went there and of what went anywhere else.
 *
 * Nothing of another origin stands in the document before the Service Worker controls it. `config.json` says which network to
 * use and where the article is; `window.article` holds the outcome for scripts.
 *
 * @module
 */

import { setupMixTunnel } from "./smolmix/index.js";
import { auditPage, closeSideDoors, registerMixServiceWorker } from "./smolmix/whole-page.js";

/** @typedef {{options: import("./smolmix/index.js").SetupMixTunnelOpts, article: {origin: string, files: string[]}}} PageConfig */

const PATIENCE_MS = 150_000;
const PICTURES = 6;
/** For a frame to be seen that the engine says is shown. */
const FRAME_MS = 5_000;

/** @type {Record<string, any>} */
const outcome = { finished: false, state: "waiting", error: null, parts: {}, hashes: {}, counts: null, leaks: [] };
Object.assign(globalThis, { article: outcome });

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));

/**
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function part(name, work) {
  const item = document.createElement("li"), label = document.createElement("b"), output = document.createElement("output");
  label.textContent = name;
  output.value = "…";
  item.append(label, output);
  item.dataset.result = "working";
  element("steps").append(item);
  const began = performance.now();
  let late = 0;
  try {
    const value = await Promise.race([work(), new Promise((_, reject) => {
      late = setTimeout(() => reject(new Error(`${name}: nothing in ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
    })]);
    const ms = Math.round(performance.now() - began);
    outcome.parts[name] = { ok: true, ms };
    item.dataset.result = "done";
    output.value = `${(ms / 1000).toFixed(1)} s`;
    return /** @type {T} */ (value);
  } catch (error) {
    outcome.parts[name] = { ok: false, error: String(error) };
    item.dataset.result = "failed";
    output.value = String(error);
    throw error;
  } finally {
    clearTimeout(late);
  }
}

/** @param {HTMLElement} target @param {string} [event] @returns {Promise<void>} */
const loaded = (target, event = "load") => new Promise((resolve, reject) => {
  target.addEventListener(event, () => resolve(), { once: true });
  target.addEventListener("error", () => reject(new Error("it did not load")), { once: true });
});

/**
 * @template {HTMLElement} T
 * @param {T} made @param {Partial<T>} given @param {Element} where @param {string} [event]
 */
async function add(made, given, where, event) {
  Object.assign(made, given);
  const ended = loaded(made, event);
  where.append(made);
  await ended;
}

/** @param {string} url */
async function pictures(url) {
  await Promise.all(Array.from({ length: PICTURES }, (_, n) =>
    add(new Image(), { src: `${url}/picture/160x125?seed=${n}`, alt: `noise number ${n + 1}` }, element("pictures"))));
}

/** @param {string} url */
async function sound(url) {
  const audio = document.createElement("audio");
  audio.crossOrigin = "anonymous"; // without it Firefox asks no Service Worker for sound and video
  await add(audio, { src: `${url}/cors/sound/20`, controls: true, preload: "metadata" }, element("sound"), "loadedmetadata");
  const sought = loaded(audio, "seeked");
  audio.currentTime = 15;
  await sought;
}

/**
 * Below its picture the video shows the second that a frame belongs to, in binary: four fields, black or white.
 * @param {HTMLVideoElement} video
 * @returns {number}
 */
function shownSecond(video) {
  const canvas = document.createElement("canvas"), context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(video, 0, 0);
  const white = (/** @type {number} */ digit) => context.getImageData(20 + 40 * digit, 75, 1, 1).data[0] > 127;
  return [0, 1, 2, 3].reduce((sum, digit) => sum + (white(digit) ? 2 ** digit : 0), 0);
}

/**
 * @param {HTMLVideoElement} player
 * @param {number} second
 * @returns {Promise<void>} when a frame of it is shown
 */
const frameOf = (player, second) => new Promise((resolve) => {
  const look = (/** @type {number} */ _now, /** @type {VideoFrameCallbackMetadata} */ { mediaTime }) => {
    if (Math.floor(mediaTime) === second) resolve();
    else player.requestVideoFrameCallback(look);
  };
  player.requestVideoFrameCallback(look);
});

/** @param {string} url */
async function video(url) {
  const player = document.createElement("video");
  Object.assign(player, { controls: true, muted: true, playsInline: true, crossOrigin: "anonymous" });
  await add(player, { src: `${url}/cors/video`, preload: "auto" }, element("video"), "loadedmetadata");
  player.scrollIntoView({ block: "center" }); // out of sight WebKit paints no frame, not on a canvas either
  for (const second of [12, 3, 15]) {
    const both = Promise.all([loaded(player, "seeked"), frameOf(player, second)]);
    player.currentTime = second + 0.5;
    await both;
    for (const end = performance.now() + FRAME_MS; shownSecond(player) !== second;) {
      if (performance.now() > end) throw new Error(`after a seek to second ${second} it shows second ${shownSecond(player)}`);
      await new Promise((resolve) => { requestAnimationFrame(resolve); });
    }
  }
}

/** @param {string} url */
async function events(url) {
  const source = new EventSource(`${url}/cors/events?count=3&interval=0.05`);
  try {
    await new Promise((resolve, reject) => {
      let seen = 0;
      source.onmessage = ({ data }) => {
        /** @type {HTMLOutputElement} */ (element("events")).value = data;
        if (++seen === 3) resolve(undefined);
      };
      source.onerror = () => reject(new Error("the stream broke"));
    });
  } finally {
    source.close();
  }
}

/** @param {string} url */
async function scripts(url) {
  await add(document.createElement("script"), { src: `${url}/page/script.js` }, document.head);
  await add(document.createElement("script"), { type: "module", src: `${url}/page/module.js` }, document.head);
  const { articleModule } = /** @type {any} */ (globalThis);
  /** @type {HTMLOutputElement} */ (element("scripts")).value = `a script, and a ${articleModule}`;
}

/** @param {string} url */
async function styles(url) {
  await add(document.createElement("link"), { rel: "stylesheet", href: `${url}/page/style.css` }, document.head);
  const [face] = await document.fonts.load('20px "Localnet"');
  if (!face) throw new Error("the font did not load");
}

/** @param {string} url @param {string[]} files */
async function hashes(url, files) {
  for (const path of files) {
    const bytes = await (await fetch(`${url}/cors${path}`)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    outcome.hashes[path] = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

async function run() {
  closeSideDoors();
  /** @type {PageConfig} */
  const config = await (await fetch("config.json")).json();
  const { origin, files } = config.article;
  const ready = setupMixTunnel(config.options);
  ready.catch(() => {}); // told below
  const service = await registerMixServiceWorker();
  const state = /** @type {HTMLOutputElement} */ (element("state"));
  const show = () => {
    const { requests, bytes, blocked } = service.counts;
    element("requests").textContent = String(requests);
    element("bytes").textContent = bytes.toLocaleString("en");
    element("blocked").textContent = String(blocked);
    outcome.state = service.state;
    state.value = service.state;
    state.dataset.state = service.state === "waiting" ? "connecting" : service.state;
  };
  service.addEventListener("counts", show);
  service.addEventListener("state", show);
  service.addEventListener("failed", ({ detail: { url, error } }) => console.warn(`${url}: ${error.code}: ${error.message}`));
  show();
  // Begun before there is a tunnel: it all waits for it.
  element("article").hidden = false;
  const parts = [
    part("styles and a font", () => styles(origin)), part(`${PICTURES} pictures`, () => pictures(origin)),
    part("scripts", () => scripts(origin)), part("sound, and a seek", () => sound(origin)),
    part("video, and three seeks", () => video(origin)),
    part("events", () => events(origin)), part("files by fetch", () => hashes(origin, files)),
  ];
  const ends = await Promise.allSettled([ready, ...parts]);
  await new Promise((resolve) => setTimeout(resolve, 300)); // the last counts
  const { leaks } = await auditPage();
  show();
  outcome.counts = service.counts;
  outcome.leaks = leaks;
  element("others").textContent = String(leaks.filter(({ happened }) => happened).length);
  const failed = ends.find(({ status }) => status === "rejected");
  if (failed) throw /** @type {PromiseRejectedResult} */ (failed).reason;
}

run().catch((error) => {
  const { code, phase, message } = error;
  outcome.error = { code, phase, message: message ?? String(error) };
  Object.assign(element("error"), { hidden: false, textContent: outcome.error.message });
}).finally(() => { outcome.finished = true; });
