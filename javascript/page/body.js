/**
 * Request bodies (Fetch, "extract a body"): which bytes go with the request, and which follow while it is being sent.
 *
 * What is short goes with the request as one buffer that is given away; the worker can send it again where a redirect asks
 * for that. A larger body becomes a `Blob`, which the browser keeps, and is read piece by piece with its length known.
 * Only a stream has no length. The caller's own buffers are copied once, because it may go on using them.
 *
 * @module
 */

import { isBlob, isBytes, isStream } from "./brands.js";
import { WRITE_PIECE } from "./channel.js";
import { mixError } from "./errors.js";

/** Larger bodies are not sent in one message. */
const WHOLE_BYTES = 1 << 18;
/** The body of a `Request` is a stream even where it was text: it has this long to come at once, so that its length is known. */
const COLLECT_MS = 20;

/**
 * Where the pieces of a body come from: a reader of a stream, or one of those below.
 * @typedef {object} Source
 * @property {() => Promise<{done: boolean, value?: unknown}>} read
 * @property {(reason?: unknown) => Promise<void>} cancel
 * @property {boolean} [owned] nobody else holds the pieces: they need not be copied
 * @property {() => void} [rewind] begin again
 */

/**
 * A body that is ready to be sent: all of its bytes, or their source.
 * @typedef {{data: Uint8Array<ArrayBuffer> | null, source: Source | null, length: number | null}} ReadyBody
 */

/**
 * @typedef {object} RequestBody
 * @property {() => Promise<ReadyBody>} ready once
 * @property {(reason: unknown) => void} cancel it will not be sent
 */

/** @param {Uint8Array<ArrayBuffer>} data @returns {ReadyBody} */
const whole = (data) => ({ data, source: null, length: null });

const ignore = () => {};

/** @param {unknown} chunk of a stream @returns {Uint8Array} */
export function bytesOnly(chunk) {
  if (isBytes(chunk)) return chunk;
  throw new TypeError("mixFetch: a body stream gives Uint8Array chunks");
}

/** @type {RequestBody} */
const NO_BODY = { ready: async () => ({ data: null, source: null, length: null }), cancel: ignore };

/**
 * @param {Blob} blob
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function bytesOf(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    throw mixError("bad_body", `the body cannot be read: ${error instanceof Error ? error.message : error}`, "request");
  }
}

/** Reads a blob by slices: each is a buffer of its own. @implements {Source} */
class BlobSource {
  owned = true;
  #at = 0;
  /** @type {Blob} */ #blob;

  /** @param {Blob} blob */
  constructor(blob) {
    this.#blob = blob;
  }

  async read() {
    if (this.#at >= this.#blob.size) return { done: true };
    const slice = this.#blob.slice(this.#at, this.#at + WRITE_PIECE);
    this.#at += slice.size;
    return { done: false, value: await bytesOf(slice) };
  }

  rewind() {
    this.#at = 0;
  }

  async cancel() {
    this.#at = this.#blob.size;
  }
}

/** A stream of which some was read ahead. @implements {Source} */
class ResumedSource {
  /** @type {unknown[]} */ #first;
  /** @type {Promise<{done: boolean, value?: unknown}> | null} */ #pending;
  /** @type {Source} */ #rest;

  /**
   * @param {unknown[]} first
   * @param {Promise<{done: boolean, value?: unknown}>} pending the read that has begun
   * @param {Source} rest
   */
  constructor(first, pending, rest) {
    pending.catch(ignore); // told to whoever reads on
    this.#first = first;
    this.#pending = pending;
    this.#rest = rest;
  }

  async read() {
    if (this.#first.length) return { done: false, value: this.#first.shift() };
    const next = this.#pending ?? this.#rest.read();
    this.#pending = null;
    return next;
  }

  /** @param {unknown} [reason] */
  cancel(reason) {
    this.#first.length = 0;
    return this.#rest.cancel(reason);
  }
}

/**
 * @param {Blob} blob
 * @returns {Promise<ReadyBody>}
 */
async function blobReady(blob) {
  if (blob.size <= WHOLE_BYTES) return whole(await bytesOf(blob));
  return { data: null, source: new BlobSource(blob), length: blob.size };
}

/**
 * @param {Source} reader
 * @returns {Promise<ReadyBody>}
 */
async function collected(reader) {
  /** @type {Uint8Array[]} */
  const parts = [];
  let size = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, COLLECT_MS, null); });
  try {
    for (let pending = reader.read(); ; pending = reader.read()) {
      const got = size > WHOLE_BYTES ? null : await Promise.race([pending, late]);
      if (!got) return { data: null, source: new ResumedSource(parts, pending, reader), length: null };
      if (got.done) break;
      const part = bytesOnly(got.value);
      parts.push(part);
      size += part.length;
    }
  } finally {
    clearTimeout(timer);
  }
  const data = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return whole(data);
}

/**
 * @param {ReadableStreamDefaultReader<any>} reader
 * @param {() => Promise<ReadyBody>} ready
 * @returns {RequestBody}
 */
const streamed = (reader, ready) => ({ ready, cancel: (reason) => void reader.cancel(reason).catch(ignore) });

/**
 * Firefox shows no body of a request, and so not whether it has one: an empty one is as good as none.
 * @param {Request} request
 * @returns {RequestBody}
 */
const hidden = (request) => ({
  ready: async () => {
    const blob = await request.blob();
    return blob.size ? blobReady(blob) : NO_BODY.ready();
  },
  cancel: ignore,
});

/**
 * @param {BodyInit | null} given as `init` had it
 * @param {Request} request made with it, which has the bytes as they were then
 * @returns {RequestBody}
 */
export function bodyOf(given, request) {
  if (isStream(given)) {
    new Response(given); // throws when the stream is locked or was read from
    const reader = given.getReader();
    return streamed(reader, async () => ({ data: null, source: reader, length: null }));
  }
  if (isBlob(given)) return { ready: () => blobReady(given), cancel: ignore };
  if (given !== null) return { ready: async () => blobReady(await request.blob()), cancel: ignore };
  if (!("body" in request)) return hidden(request);
  if (request.body === null) return NO_BODY;
  const reader = request.body.getReader();
  return streamed(reader, () => collected(reader));
}
