/**
 * `fetch` semantics on the page's side: from (url, init) to one message, from the response head to a real `Response`.
 *
 * Everything about HTTP itself (redirects, decoding, connections) happens in the worker.
 *
 * @module
 */

import { Channel } from "./channel.js";
import { mixError } from "./errors.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").FetchRequest} FetchRequest */
/** @typedef {import("./messages.js").ResponseHead} ResponseHead */

const REDIRECT_MODES = ["follow", "error", "manual"];
const NULL_BODY_STATUS = [101, 204, 205, 304];
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/**
 * @param {RequestInfo | URL} input
 * @param {RequestInit & {duplex?: "half"}} init
 * @returns {Promise<{request: FetchRequest, stream: ReadableStream<Uint8Array> | null, signal: AbortSignal | null}>}
 */
async function describe(input, init) {
  const given = input instanceof Request ? input : null;
  const url = new URL(given ? given.url : String(input), globalThis.location?.href);
  const method = init.method ?? given?.method ?? "GET";
  if (!TOKEN.test(method)) throw new TypeError(`mixFetch: ${JSON.stringify(method)} is not an HTTP method`);
  const upper = method.toUpperCase();
  const known = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"].includes(upper) ? upper : method;
  const redirect = init.redirect ?? given?.redirect ?? "follow";
  if (!REDIRECT_MODES.includes(redirect)) throw new TypeError(`mixFetch: redirect cannot be ${JSON.stringify(redirect)}`);
  const headers = new Headers(init.headers ?? given?.headers);
  const source = init.body ?? given?.body ?? null;
  if (source !== null && (known === "GET" || known === "HEAD")) {
    throw new TypeError(`mixFetch: a ${known} request cannot have a body`);
  }
  /** @type {Uint8Array | null} */
  let body = null;
  /** @type {ReadableStream<Uint8Array> | null} */
  let stream = null;
  if (source instanceof ReadableStream) {
    stream = source;
  } else if (source !== null) {
    const carrier = new Response(source);
    const type = carrier.headers.get("content-type");
    if (type && !headers.has("content-type")) headers.set("content-type", type);
    body = new Uint8Array(await carrier.arrayBuffer());
  }
  return {
    request: { method: known, url: url.href, headers: [...headers], redirect, body, streaming: stream !== null },
    stream,
    signal: init.signal ?? given?.signal ?? null,
  };
}

/**
 * @param {ResponseHead} head
 * @param {ReadableStream<Uint8Array>} readable
 * @returns {Response}
 */
function toResponse(head, readable) {
  const empty = NULL_BODY_STATUS.includes(head.status);
  const response = new Response(empty ? null : readable, { status: head.status, statusText: head.statusText });
  // A constructed Response would drop Set-Cookie and has no URL.
  const headers = new Headers();
  for (const [name, value] of head.headers) headers.append(name, value);
  Object.defineProperties(response, {
    headers: { value: headers, enumerable: true },
    url: { value: head.url, enumerable: true },
    redirected: { value: head.redirected, enumerable: true },
  });
  return response;
}

/**
 * @param {Channel} channel
 * @param {ReadableStream<Uint8Array>} stream
 */
async function upload(channel, stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (!(value instanceof Uint8Array)) throw new TypeError("mixFetch: a body stream gives Uint8Array chunks");
      await channel.write(value);
    }
    channel.finish();
  } catch (error) {
    await reader.cancel(error).catch(() => {});
    channel.abort(error instanceof Error ? error : mixError("cancelled", String(error), "request"));
  }
}

/**
 * @param {WorkerConnection} connection
 * @param {RequestInfo | URL} input
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 */
export async function fetchThrough(connection, input, init) {
  const { request, stream, signal } = await describe(input, init);
  signal?.throwIfAborted();
  const channel = new Channel(connection, { type: "fetch", request });
  const onAbort = () => {
    const reason = /** @type {AbortSignal} */ (signal).reason;
    channel.abort(reason instanceof Error ? reason : mixError("cancelled", String(reason)));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  if (stream) void upload(channel, stream);
  channel.closed.then(() => signal?.removeEventListener("abort", onAbort));
  const message = await channel.opened;
  if (message.type !== "response") throw mixError("internal", "the worker answered a fetch with something else");
  return toResponse(message.head, channel.readable);
}
