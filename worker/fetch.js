/**
 * `fetch` semantics on the page's side: from (input, init) to one message, from the response head to a `Response`.
 *
 * Everything about HTTP itself (redirects, decoding, connections) happens in the worker. Without meaning in a tunnel,
 * and ignored: `cache`, `credentials`, `keepalive`, `mode`, `priority`, `referrer`, `referrerPolicy`, `window`.
 *
 * @module
 */

import { Channel } from "./channel.js";
import { mixError } from "./errors.js";
import { MixResponse } from "./response.js";
import { unlessAborted } from "./signals.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").FetchRequest} FetchRequest */
/** @typedef {import("./messages.js").ResponseHead} ResponseHead */

const REDIRECT_MODES = ["follow", "error", "manual"];
const NULL_BODY_STATUS = [101, 204, 205, 304];
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** @param {string} text @returns {TypeError} */
const refused = (text) => new TypeError(`mixFetch: ${text}`);

/**
 * What the caller asked for, read from `input` and `init` at once; only the bytes of the body may take a while.
 * @typedef {object} Described
 * @property {Omit<FetchRequest, "body">} request
 * @property {AbortSignal | null} signal
 * @property {ReadableStream<Uint8Array> | null} stream a body to be sent as it comes
 * @property {() => Promise<Uint8Array<ArrayBuffer> | null>} bytes the whole body otherwise
 */

/**
 * @param {RequestInfo | URL} input
 * @param {RequestInit} init
 * @returns {Described}
 */
function describe(input, init) {
  const given = input instanceof Request ? input : null;
  const url = new URL(given ? given.url : String(input), globalThis.location?.href);
  if (url.username || url.password) throw refused("the URL must not hold a user name or password");
  const method = init.method ?? given?.method ?? "GET";
  if (!TOKEN.test(method)) throw refused(`${JSON.stringify(method)} is not an HTTP method`);
  const redirect = init.redirect ?? given?.redirect ?? "follow";
  if (!REDIRECT_MODES.includes(redirect)) throw refused(`redirect cannot be ${JSON.stringify(redirect)}`);
  if (init.integrity || given?.integrity) throw refused("integrity is not checked, so it is not accepted");
  const signal = init.signal !== undefined ? init.signal : given?.signal ?? null;
  if (signal !== null && !(signal instanceof AbortSignal)) throw refused("signal must be an AbortSignal");
  const bodiless = /^(GET|HEAD)$/i.test(method);
  const source = init.body ?? null;
  if (source !== null && bodiless) throw refused(`a ${method} request cannot have a body`);
  const headers = new Headers(init.headers ?? given?.headers);
  /** @type {ReadableStream<Uint8Array> | null} */
  let stream = null;
  /** @type {Described["bytes"]} */
  let bytes = async () => null;
  if (source instanceof ReadableStream) {
    if (source.locked) throw refused("the body stream is locked");
    stream = source;
  } else if (source !== null) {
    const carrier = new Response(source);
    const type = carrier.headers.get("content-type");
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    bytes = async () => new Uint8Array(await carrier.arrayBuffer());
  } else if (given && !bodiless) {
    if (given.bodyUsed) throw refused("the body of the request was used before");
    // Read whole: not every browser shows it as a stream, and its length is worth sending.
    bytes = async () => new Uint8Array(await given.arrayBuffer());
  }
  url.hash = "";
  return {
    request: { method, url: url.href, headers: [...headers], redirect, streaming: stream !== null },
    signal,
    stream,
    bytes,
  };
}

/**
 * @param {ResponseHead} head
 * @param {Channel} channel
 * @param {string} method
 * @returns {Response}
 */
function toResponse(head, channel, method) {
  const empty = NULL_BODY_STATUS.includes(head.status) || method.toUpperCase() === "HEAD";
  let response;
  try {
    response = new MixResponse(empty ? null : channel.readable, head, () => channel.failure);
  } catch (error) {
    channel.abort();
    throw mixError("http_protocol", `${head.url}: ${error instanceof Error ? error.message : error}`, "response");
  }
  if (empty) {
    // The end follows at once; a server that sends a body all the same is cut off.
    const reader = channel.readable.getReader();
    reader.read().then(({ done }) => (done ? undefined : reader.cancel())).catch(() => {});
  }
  return response;
}

/**
 * @param {Channel} channel
 * @param {ReadableStream<Uint8Array>} stream
 */
async function upload(channel, stream) {
  const reader = stream.getReader();
  // A response that ends early, an abort or a failure lets the source stop too.
  void channel.closed.then((error) => reader.cancel(error)).catch(() => {});
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (!(value instanceof Uint8Array)) throw refused("a body stream gives Uint8Array chunks");
      await channel.write(value);
    }
    channel.finish();
  } catch (error) {
    channel.abort(error ?? undefined);
  }
}

/**
 * @param {Promise<WorkerConnection>} connected
 * @param {RequestInfo | URL} input
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 */
export async function fetchThrough(connected, input, init) {
  connected.catch(() => {}); // a bad request is reported before a tunnel that is down
  const { request, signal, stream, bytes } = describe(input, init);
  signal?.throwIfAborted();
  const [connection, body] = await unlessAborted(Promise.all([connected, bytes()]), signal);
  const channel = new Channel(
    connection,
    { type: "fetch", request: { ...request, body } },
    { signal, transfer: body ? [body.buffer] : [] },
  );
  if (stream) void upload(channel, stream);
  const message = await channel.opened;
  if (message.type !== "response") throw mixError("internal", "the worker answered a fetch with something else");
  return toResponse(message.head, channel, request.method);
}
