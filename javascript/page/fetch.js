/**
 * `fetch` semantics on the page's side: one message to the worker, from the response head to a `Response`, and aborts.
 *
 * Everything about HTTP itself (redirects, decoding, connections) happens in the worker.
 *
 * @module
 */

import { bytesOnly } from "./body.js";
import { Channel } from "./channel.js";
import { mixError } from "./errors.js";
import { describe, withoutCredentials } from "./request.js";
import { MixResponse } from "./response.js";
import { unlessAborted } from "./signals.js";
import { FetchRecord } from "./timing.js";

/** @typedef {import("./body.js").Source} Source */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("../shared/messages.js").ResponseHead} ResponseHead */
/** @typedef {import("./request.js").Described} Described */
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
 * @property {string | null} [isolation] key: shares no connection, look-up or cookie with another; default: the tunnel's option
 * @property {"half"} [duplex]
 */
/** @typedef {RequestInit & MixFetchExtras} MixFetchInit */

const LOCAL = ["data:", "blob:"];
// What these name never leaves the browser. A page may put `mixFetch` in the place of its own `fetch` later.
const localFetch = globalThis.fetch.bind(globalThis);

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
    signal.throwIfAborted();
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
  if (saysEmpty(response)) channel.endReading();
  if (empty) {
    // The end follows at once; a server that sends a body all the same is cut off.
    const reader = channel.readable.getReader();
    reader.read().then(({ done }) => (done ? undefined : reader.cancel())).catch(() => {});
  }
  return response;
}

/** @param {Response} response @returns {boolean} its body has ended, though the worker's word for that is still to come */
const saysEmpty = ({ headers }) => headers.get("content-length") === "0" && !headers.has("transfer-encoding");

/**
 * Sends a body piece by piece.
 * @param {Channel} channel
 * @param {Source} source
 * @returns {(turn: number) => void} sends it once more from the beginning
 */
function upload(channel, source) {
  // A response that ends early, an abort or a failure lets the source stop too.
  void channel.closed.then((failure) => source.cancel(failure?.error)).catch(() => {});
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
      if (turn === latest) channel.abort(error);
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
 * @param {Promise<Line>} connected
 * @param {ArrayLike<any>} given what the caller gave: `input` and `init`
 * @param {(entry: MixFetchEntry) => void} report told of every fetch that ended
 * @param {number} [ahead] bytes of the body that are asked for before anybody reads
 * @returns {Promise<MixResponse>} rejected in the turn of the abort, as that of `fetch`
 */
export function fetchThrough(connected, given, report, ahead = 0) {
  connected.catch(() => {}); // a bad request is reported before a tunnel that is down
  let asked;
  try {
    if (given.length === 0) throw new TypeError("mixFetch: an argument is needed, and there is none");
    asked = describe(given[0], given[1]);
  } catch (error) {
    return Promise.reject(error);
  }
  const fetching = LOCAL.includes(asked.url.protocol) ? fetchLocal(asked) : fetchRemote(asked, connected, report, ahead);
  return unlessAborted(fetching, asked.signal);
}

/**
 * @param {Described} asked
 * @param {Promise<Line>} connected
 * @param {(entry: MixFetchEntry) => void} report
 * @param {number} ahead
 * @returns {Promise<MixResponse>}
 */
async function fetchRemote({ url, request, signal, body, onProgress }, connected, report, ahead) {
  const record = new FetchRecord(withoutCredentials(url), report);
  try {
    signal.throwIfAborted();
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
        ahead,
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
    void channel.closed.then((failure) => record.finish(failure));
    if (source) rewind = upload(channel, source);
    const message = await channel.opened;
    if (message.type !== "response") throw mixError("internal", "the worker answered a fetch with something else");
    return toResponse(message.head, channel, request.method, record);
  } catch (error) {
    body.cancel(error);
    record.finish({ error });
    throw error;
  }
}
