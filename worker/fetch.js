/**
 * `fetch` semantics on the page's side: from (input, init) to one message, from the response head to a `Response`.
 *
 * Everything about HTTP itself (redirects, decoding, connections) happens in the worker. Checked as `fetch` checks it
 * and without meaning in a tunnel: `cache`, `keepalive`, `mode`, `priority`, `referrer`, `referrerPolicy`, `window`.
 *
 * @module
 */

import { NO_BODY, bodyOf, bodyOfRequest, bytesOnly } from "./body.js";
import { Channel } from "./channel.js";
import { mixError } from "./errors.js";
import { MixResponse } from "./response.js";
import { unlessAborted } from "./signals.js";
import { FetchRecord } from "./timing.js";

/** @typedef {import("./body.js").RequestBody} RequestBody */
/** @typedef {import("./body.js").Source} Source */
/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").FetchRequest} FetchRequest */
/** @typedef {import("./messages.js").ResponseHead} ResponseHead */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("./timing.js").MixFetchEntry} MixFetchEntry */

/**
 * Milliseconds for the phases of a request; Infinity: no limit.
 * @typedef {object} MixTimeouts
 * @property {number} [queue] waiting for a connection that may be used
 * @property {number} [dns]
 * @property {number} [connect] TCP, all addresses together
 * @property {number} [tls]
 * @property {number} [request] without progress while sending
 * @property {number} [response] from the end of the request to the response's header
 * @property {number} [idle] without a byte of the body
 * @property {number} [total] everything, to the end of the body; no limit by default
 */

/** @typedef {{phase: "upload" | "download", loaded: number, total: number | null}} MixProgress bytes as transferred */

/**
 * More than `fetch` has.
 * @typedef {object} MixFetchExtras
 * @property {"omit" | "jar"} [cookies] of the tunnel's jar; stronger than `credentials`
 * @property {MixTimeouts} [timeouts] what is not named is as the tunnel's option says
 * @property {number} [maxRedirects] default: the tunnel's option
 * @property {boolean} [allowInsecureRedirects] default false: a redirect from https to http is refused
 * @property {(progress: MixProgress) => void} [onProgress]
 * @property {"half"} [duplex]
 */
/** @typedef {RequestInit & MixFetchExtras} MixFetchInit */

/** The choices of Fetch, and ours. @type {Record<string, string[]>} */
const CHOICES = {
  redirect: ["follow", "error", "manual"],
  cookies: ["omit", "jar"],
  credentials: ["omit", "same-origin", "include"],
  duplex: ["half"],
  mode: ["same-origin", "no-cors", "cors"],
  cache: ["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"],
  priority: ["high", "low", "auto"],
  referrerPolicy: [
    "", "no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin",
    "origin-when-cross-origin", "strict-origin-when-cross-origin", "unsafe-url",
  ],
};
const UPPER_CASE = /^(DELETE|GET|HEAD|OPTIONS|POST|PUT)$/i;
const FORBIDDEN_METHOD = /^(CONNECT|TRACE|TRACK)$/i;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const LOCAL = ["data:", "blob:"];
/** Headers that belong to the client: left out without a word, as `fetch` does. */
const LEFT_OUT = [
  "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-authenticate",
  "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
];

// What these name never leaves the browser. A page may put `mixFetch` in the place of its own `fetch` later.
const localFetch = globalThis.fetch.bind(globalThis);

/** @param {string} text @returns {TypeError} */
const refused = (text) => new TypeError(`mixFetch: ${text}`);

/**
 * What the caller asked for, read from `input` and `init` at once; only the bytes of the body may take a while.
 * @typedef {object} Described
 * @property {URL} url
 * @property {Omit<FetchRequest, "streaming" | "length">} request
 * @property {AbortSignal | null} signal
 * @property {RequestBody} body
 * @property {((progress: MixProgress) => void) | null} onProgress
 */

/**
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit} init
 * @returns {Described}
 */
function describe(input, init) {
  const given = input instanceof Request ? input : null;
  const url = new URL(given ? given.url : String(input), globalThis.document?.baseURI ?? globalThis.location?.href);
  const method = methodOf(init.method ?? given?.method ?? "GET");
  for (const [name, choices] of Object.entries(CHOICES)) {
    const value = /** @type {Record<string, unknown>} */ (init)[name];
    if (value !== undefined && !choices.includes(String(value))) throw refused(`${name} cannot be ${JSON.stringify(value)}`);
  }
  if (init.window !== undefined && init.window !== null) throw refused("window can only be null");
  const signal = init.signal !== undefined ? init.signal : given?.signal ?? null;
  if (signal !== null && !(signal instanceof AbortSignal)) throw refused("signal must be an AbortSignal");
  const onProgress = init.onProgress ?? null;
  if (onProgress !== null && typeof onProgress !== "function") throw refused("onProgress must be a function");
  const headers = new Headers(init.headers ?? given?.headers);
  for (const name of LEFT_OUT) headers.delete(name);
  const bodiless = method === "GET" || method === "HEAD";
  const source = init.body ?? null;
  if (bodiless && (source !== null || (given && given.body))) throw refused(`a ${method} request cannot have a body`);
  const request = {
    method,
    redirect: init.redirect ?? given?.redirect ?? "follow",
    maxRedirects: countOf(init.maxRedirects, "maxRedirects"),
    allowInsecureRedirects: Boolean(init.allowInsecureRedirects),
    cookies: init.cookies ?? cookiesOf(init.credentials ?? given?.credentials),
    integrity: String(init.integrity ?? given?.integrity ?? ""),
    timeouts: timeoutsOf(init.timeouts),
    progress: onProgress !== null,
  };
  // The last step: a body that is a stream is locked by it.
  const body = source !== null ? bodyOf(source) : given && !bodiless ? bodyOfRequest(given) : NO_BODY;
  if (body.type && !headers.has("content-type")) headers.set("content-type", body.type);
  url.hash = "";
  return { url, request: { ...request, url: url.href, headers: [...headers] }, signal, body, onProgress };
}

/** @param {unknown} given @returns {string} */
function methodOf(given) {
  const method = String(given);
  if (!TOKEN.test(method)) throw refused(`${JSON.stringify(method)} is not an HTTP method`);
  if (FORBIDDEN_METHOD.test(method)) throw refused(`the method ${method} is not allowed`);
  return UPPER_CASE.test(method) ? method.toUpperCase() : method;
}

/** @param {RequestCredentials | undefined} credentials @returns {"omit" | "jar" | null} */
function cookiesOf(credentials) {
  // "same-origin" is the default of every Request, and behind the tunnel no origin is the page's.
  if (credentials === "include") return "jar";
  return credentials === "omit" ? "omit" : null;
}

/** @param {unknown} value @param {string} name @returns {number | null} */
function countOf(value, name) {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  throw refused(`${name} must be a whole number`);
}

/** @param {unknown} given @returns {Record<string, number> | null} */
function timeoutsOf(given) {
  if (given === undefined || given === null) return null;
  if (typeof given !== "object") throw refused("timeouts is an object of milliseconds by phase");
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [name, value] of entries) {
    if (typeof value !== "number" || !(value > 0)) throw refused(`timeouts.${name} must be a number of milliseconds`);
  }
  return Object.fromEntries(entries);
}

/**
 * `data:` and `blob:` are read by the browser itself, without any network.
 * @param {Described} asked
 * @returns {Promise<MixResponse>}
 */
async function fetchLocal({ url, request: { method, headers, integrity }, signal, body }) {
  body.cancel(undefined);
  let local;
  try {
    local = await localFetch(url.href, { method, headers, integrity, signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw mixError("bad_url", `${url.protocol} URL: ${error instanceof Error ? error.message : error}`, "request");
  }
  const { status, statusText } = local;
  const head = { status, statusText, headers: [...local.headers], url: local.url, redirected: false, httpVersion: "", tls: null };
  return new MixResponse(local.body, head, new FetchRecord(local.url, () => {}).timings, () => null);
}

/**
 * @param {ResponseHead} head
 * @param {Channel} channel
 * @param {string} method
 * @param {FetchRecord} record
 * @returns {MixResponse}
 */
function toResponse(head, channel, method, record) {
  const empty = [101, 204, 205, 304].includes(head.status) || method === "HEAD";
  let response;
  try {
    response = new MixResponse(empty ? null : channel.readable, head, record.timings, () => channel.failure);
  } catch (error) {
    const broken = mixError("http_protocol", `${head.url}: ${error instanceof Error ? error.message : error}`, "response");
    channel.abort(broken);
    throw broken;
  }
  if (empty) {
    // The end follows at once; a server that sends a body all the same is cut off.
    const reader = channel.readable.getReader();
    reader.read().then(({ done }) => (done ? undefined : reader.cancel())).catch(() => {});
  }
  return response;
}

/**
 * Sends a body piece by piece.
 * @param {Channel} channel
 * @param {Source} source
 * @returns {(turn: number) => void} sends it once more from the beginning
 */
function upload(channel, source) {
  // A response that ends early, an abort or a failure lets the source stop too.
  void channel.closed.then((error) => source.cancel(error ?? undefined)).catch(() => {});
  let latest = 0;
  const send = async (turn = 0) => {
    try {
      for (;;) {
        const { done, value } = await source.read();
        if (turn !== latest) return;
        if (done) break;
        await channel.write(bytesOnly(value), source.owned);
        if (turn !== latest) return;
      }
      channel.finish();
    } catch (error) {
      if (turn === latest) channel.abort(error ?? undefined);
    }
  };
  void send();
  return (turn) => {
    latest = turn;
    source.rewind?.();
    channel.rewound(turn);
    void send(turn);
  };
}

/**
 * @param {(progress: MixProgress) => void} onProgress
 * @param {MixProgress} progress
 */
function tellProgress(onProgress, { phase, loaded, total }) {
  try {
    onProgress({ phase, loaded, total });
  } catch (error) {
    reportError(error); // it is the page's, and no reason to end the request
  }
}

/**
 * @param {Promise<WorkerConnection>} connected
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit | null | undefined} init
 * @param {(entry: MixFetchEntry) => void} report told of every fetch that ended
 * @returns {Promise<MixResponse>}
 */
export async function fetchThrough(connected, input, init, report) {
  connected.catch(() => {}); // a bad request is reported before a tunnel that is down
  const asked = describe(input, init ?? {});
  const { url, request, signal, body, onProgress } = asked;
  if (LOCAL.includes(url.protocol)) return fetchLocal(asked);
  const record = new FetchRecord(nameOf(url), report);
  try {
    signal?.throwIfAborted();
    if (url.protocol !== "http:" && url.protocol !== "https:") {
      throw mixError("bad_url", `${url.protocol} URLs cannot be fetched`, "request");
    }
    const waiting = Promise.all([connected, body.ready()]);
    const [connection, { data, source, length }] = await unlessAborted(waiting, signal);
    let rewind = (/** @type {number} */ _turn) => {};
    /** @type {ResponseHead | null} */ let head = null;
    const channel = new Channel(
      connection,
      { type: "fetch", request: { ...request, streaming: source !== null, length }, data },
      {
        signal,
        transfer: data ? [data.buffer] : [],
        notice: (message) => {
          if (message.type === "progress" && onProgress) tellProgress(onProgress, message);
          else if (message.type === "rewind") rewind(message.turn);
          else if (message.type === "response") record.answered((head = message.head));
          else if ("timings" in message && message.timings) Object.assign(record.timings, message.timings);
          if (message.type === "end" && head) head.truncated = message.truncated;
        },
      },
    );
    void channel.closed.then((error) => record.finish(error));
    if (source) rewind = upload(channel, source);
    const message = await channel.opened;
    if (message.type !== "response") throw mixError("internal", "the worker answered a fetch with something else");
    return toResponse(message.head, channel, request.method, record);
  } catch (error) {
    body.cancel(error);
    record.finish(error);
    throw error;
  }
}

/** @param {URL} url @returns {string} without what only its server may know */
function nameOf(url) {
  const name = new URL(url);
  name.username = name.password = "";
  return name.href;
}
