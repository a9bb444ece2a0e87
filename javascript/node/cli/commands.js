/**
 * What each command does with an open tunnel; its result is what `--json` prints.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { finished } from "node:stream/promises";
import { MixError } from "../../page/index.js";
import { PROXY_OPTIONS, readProxy, runProxy } from "./proxy.js";

/** @typedef {import("../../page/tunnel.js").MixTunnel} MixTunnel */
/** @typedef {Record<string, any>} Values */

/**
 * @typedef {object} Command
 * @property {Record<string, import("node:util").ParseArgsOptionDescriptor>} options
 * @property {number} places how many arguments it takes
 * @property {(values: Values) => void} [check] what is wrong with them is thrown, before anything is sent
 * @property {boolean} [endless] until it is interrupted
 * @property {(tunnel: MixTunnel, values: Values, places: string[]) => Promise<Record<string, unknown>>} run
 */

const ANSWER_MS = 60_000;

/** @param {string} code @param {string} message @returns {MixError} */
const wrong = (code, message) => new MixError({ name: "UsageError", code, phase: null, message });

/** @param {Values} values @returns {[string, string][]} */
const headersOf = ({ header = [] }) => header.map((/** @type {string} */ line) => {
  const at = line.indexOf(":");
  if (at < 0) throw wrong("bad_header", `header ${JSON.stringify(line)} is not NAME: VALUE`);
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
});

/** @param {MixTunnel} tunnel @param {Values} values @param {string[]} places */
async function runFetch(tunnel, values, [url]) {
  const headers = headersOf(values);
  const method = values.method ?? (values.data === undefined ? "GET" : "POST");
  const began = performance.now();
  const response = await tunnel.fetch(url, { method, headers, body: values.data });
  const hash = createHash("sha256");
  /** @type {Uint8Array[]} */
  const kept = [];
  const file = values.output === undefined ? null : createWriteStream(values.output);
  if (file) await once(file, "open");
  const target = file ?? (values.json ? null : process.stdout);
  let size = 0;
  for await (const piece of /** @type {AsyncIterable<Uint8Array>} */ (/** @type {unknown} */ (response.body ?? []))) {
    hash.update(piece);
    size += piece.length;
    if (!target) kept.push(piece);
    else if (!target.write(piece)) await once(target, "drain");
  }
  if (file) await finished(file.end());
  const result = {
    url: response.url, status: response.status, reason: response.statusText, headers: [...response.headers], bytes: size,
    sha256: hash.digest("hex"), tls: response.mix.tls, ms: Math.round(performance.now() - began),
  };
  if (target) return result;
  const whole = Buffer.concat(kept);
  try {
    return { ...result, text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(whole) };
  } catch {
    return { ...result, base64: whole.toString("base64") };
  }
}

/** @param {Values} values */
function checkDns({ family }) {
  if (family !== undefined && !["4", "6"].includes(family)) throw wrong("bad_arguments", "--family is 4 or 6");
}

/** @param {MixTunnel} tunnel @param {Values} values @param {string[]} places */
async function runDns(tunnel, { family, type, server, json }, [name]) {
  if (type === undefined && server === undefined) {
    const asked = family === undefined ? null : /** @type {4 | 6} */ (Number(family));
    const addresses = await tunnel.resolve(name, { family: asked });
    if (!json) console.log(addresses.join("\n"));
    return { name, addresses };
  }
  const wanted = /** @type {import("../../page/dns.js").MixRecordType} */ (type?.toUpperCase() ?? (family === "6" ? "AAAA" : "A"));
  const answer = await tunnel.lookup(name, { type: wanted, server });
  if (!json) {
    for (const { name: owner, ttl, type: kind, ...data } of answer.records) {
      console.log([owner, ttl, kind, ...Object.entries(data).map(([key, value]) => `${key}=${value}`)].join(" "));
    }
  }
  return { ...answer };
}

/** One answer is awaited for each message. @param {MixTunnel} tunnel @param {Values} values @param {string[]} places */
async function runWs(tunnel, values, [url]) {
  const socket = tunnel.webSocket(url);
  /** @type {string[]} */
  const waiting = [];
  let wake = () => {};
  socket.addEventListener("message", ({ data }) => {
    waiting.push(typeof data === "string" ? data : Buffer.from(data).toString("base64"));
    wake();
  });
  socket.addEventListener("close", () => wake());
  await socket.opened();
  /** @type {string[]} */
  const sent = [], received = [];
  for await (const message of values.message ?? createInterface({ input: process.stdin })) {
    sent.push(message);
    await socket.send(message);
    const late = setTimeout(() => wake(), ANSWER_MS);
    if (waiting.length === 0 && socket.readyState === 1) await new Promise((resolve) => { wake = () => resolve(undefined); });
    clearTimeout(late);
    const answer = waiting.shift();
    if (answer === undefined && socket.readyState !== 1) break;
    if (answer === undefined) {
      const text = `${url}: no answer in ${ANSWER_MS / 1000} s`;
      throw new MixError({ name: "TimeoutExpired", code: "timeout", phase: "receive", message: text });
    }
    received.push(answer);
    if (!values.json) console.log(answer);
  }
  const { code, reason } = await socket.close(1000);
  return { url, sent, received, close: [code, reason] };
}

/** @type {Record<string, Command>} */
export const COMMANDS = {
  fetch: {
    places: 1,
    options: {
      method: { type: "string", short: "X" }, header: { type: "string", short: "H", multiple: true },
      data: { type: "string", short: "d" }, output: { type: "string", short: "o" },
    },
    check: headersOf,
    run: runFetch,
  },
  dns: {
    places: 1,
    options: { family: { type: "string" }, type: { type: "string" }, server: { type: "string" } },
    check: checkDns,
    run: runDns,
  },
  ws: { places: 1, options: { message: { type: "string", short: "m", multiple: true } }, run: runWs },
  proxy: { places: 0, endless: true, options: PROXY_OPTIONS, check: readProxy, run: runProxy },
};
