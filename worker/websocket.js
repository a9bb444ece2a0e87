/**
 * `MixWebSocket`: the browser's WebSocket interface over the mixnet.
 *
 * More than `WebSocket` has: `opened()` as a promise, and `error` events that carry the error. Different from it:
 * `binaryType` is "arraybuffer" at first, `close()` without a code sends 1000, and the close event of a connection that
 * broke (code 1006) says why in `reason`.
 *
 * @module
 */

import { mixError } from "./errors.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MAX_REASON_BYTES = 123;
const STATES = /** @type {const} */ ({ CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
const { CONNECTING, OPEN, CLOSING, CLOSED } = STATES;

// Messages and bytes in the worker that the tunnel has not taken; the rest waits here, where `bufferedAmount` counts it.
const WINDOW_MESSAGES = 64;
const WINDOW_BYTES = 1 << 20;
const PULLS_AHEAD = 16;

const encoder = new TextEncoder();

/** An `error` event with the reason attached. */
export class MixErrorEvent extends Event {
  /** @param {unknown} error */
  constructor(error) {
    super("error");
    /** @type {unknown} */ this.error = error;
    /** @type {string} */ this.message = error instanceof Error ? error.message : String(error);
  }
}

/**
 * @param {string | URL} input
 * @returns {URL}
 */
function webSocketUrl(input) {
  let url;
  try {
    url = new URL(String(input), globalThis.location?.href);
  } catch {
    throw new DOMException(`${String(input)} is not a URL`, "SyntaxError");
  }
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new DOMException(`a WebSocket URL starts with ws: or wss:, not ${url.protocol}`, "SyntaxError");
  }
  if (url.hash || url.href.endsWith("#")) throw new DOMException("a WebSocket URL has no fragment", "SyntaxError");
  return url;
}

/** @typedef {{data: string | Uint8Array<ArrayBuffer> | Blob, size: number} | {code: number, reason: string}} Outgoing */

export class MixWebSocket extends EventTarget {
  /** @type {0} */ static CONNECTING;
  /** @type {1} */ static OPEN;
  /** @type {2} */ static CLOSING;
  /** @type {3} */ static CLOSED;

  /** @type {0 | 1 | 2 | 3} */ #readyState = 0;
  /** @type {BinaryType} */ #binaryType = "arraybuffer";
  /** @type {URL} */ #url;
  #protocol = "";
  #extensions = "";
  #bufferedAmount = 0;
  /** @type {Map<string, ((event: any) => unknown) | null>} */ #handlers = new Map();
  /** @type {WorkerConnection | null} */ #connection = null;
  #id = 0;
  /** What `send` and `close` asked for and the worker has not got. @type {Outgoing[]} */ #queue = [];
  #flushing = false;
  #sentMessages = 0;
  #sentBytes = 0;
  /** @type {Promise<void>} */ #opened;
  /** @type {(value?: undefined) => void} */ #markOpened = () => {};
  /** @type {(error: unknown) => void} */ #markFailed = () => {};

  /**
   * @param {string | URL} url
   * @param {string | string[]} protocols
   * @param {Promise<WorkerConnection>} connected
   */
  constructor(url, protocols, connected) {
    super();
    this.#url = webSocketUrl(url);
    const list = typeof protocols === "string" ? [protocols] : [...protocols].map(String);
    if (!list.every((name) => TOKEN.test(name)) || new Set(list).size !== list.length) {
      throw new DOMException("subprotocols are distinct tokens", "SyntaxError");
    }
    this.#opened = new Promise((resolve, reject) => {
      this.#markOpened = resolve;
      this.#markFailed = reject;
    });
    this.#opened.catch(() => {});
    connected.then((connection) => this.#start(connection, list)).catch((error) => this.#fail(error));
  }

  get readyState() { return this.#readyState; }
  get url() { return this.#url.href; }
  get protocol() { return this.#protocol; }
  get extensions() { return this.#extensions; }
  /** Bytes given to `send` that the tunnel has not taken yet. */
  get bufferedAmount() { return this.#bufferedAmount; }
  get binaryType() { return this.#binaryType; }
  set binaryType(type) { if (type === "blob" || type === "arraybuffer") this.#binaryType = type; }

  /** @returns {((this: MixWebSocket, event: Event) => unknown) | null} */
  get onopen() { return this.#handlers.get("open") ?? null; }
  set onopen(handler) { this.#handle("open", handler); }
  /** @returns {((this: MixWebSocket, event: MessageEvent) => unknown) | null} */
  get onmessage() { return this.#handlers.get("message") ?? null; }
  set onmessage(handler) { this.#handle("message", handler); }
  /** @returns {((this: MixWebSocket, event: CloseEvent) => unknown) | null} */
  get onclose() { return this.#handlers.get("close") ?? null; }
  set onclose(handler) { this.#handle("close", handler); }
  /** @returns {((this: MixWebSocket, event: MixErrorEvent) => unknown) | null} */
  get onerror() { return this.#handlers.get("error") ?? null; }
  set onerror(handler) { this.#handle("error", handler); }

  /**
   * An event handler attribute: one listener, in the order of its first setting.
   * @param {string} type
   * @param {((event: any) => unknown) | null} handler
   */
  #handle(type, handler) {
    if (!this.#handlers.has(type)) {
      this.addEventListener(type, (event) => { this.#handlers.get(type)?.call(this, event); });
    }
    this.#handlers.set(type, typeof handler === "function" ? handler : null);
  }

  /**
   * @param {WorkerConnection} connection
   * @param {string[]} protocols
   */
  #start(connection, protocols) {
    if (this.#readyState !== CONNECTING) return;
    this.#connection = connection;
    this.#id = connection.open(
      { type: "websocket", url: this.url, protocols },
      { message: (message) => this.#receive(message), failed: (error) => this.#fail(error) },
    );
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "opened":
        if (this.#readyState !== CONNECTING) return;
        this.#readyState = OPEN;
        this.#protocol = String(message.detail.protocol ?? "");
        this.#extensions = String(message.detail.extensions ?? "");
        this.#markOpened();
        for (let n = 0; n < PULLS_AHEAD; n++) this.#pull();
        this.dispatchEvent(new Event("open"));
        break;
      case "chunk":
        this.#pull();
        if (this.#readyState !== OPEN) return;
        this.dispatchEvent(new MessageEvent("message", { data: this.#data(message.data), origin: this.#url.origin }));
        break;
      case "written":
        this.#sentMessages -= 1;
        this.#sentBytes -= message.bytes;
        this.#bufferedAmount -= message.bytes;
        void this.#flush();
        break;
      case "closed":
        if (message.clean) this.#end(null, message.code, message.reason, true);
        else this.#end(mixError("connection_closed", message.reason || "the connection broke", "websocket"), message.code, message.reason, false);
        break;
    }
  }

  #pull() {
    this.#connection?.send({ type: "pull", id: this.#id });
  }

  /** @param {Uint8Array<ArrayBuffer> | string} data */
  #data(data) {
    if (typeof data === "string") return data;
    return this.#binaryType === "blob" ? new Blob([data]) : data.buffer; // the array has its buffer for itself
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#end(error, 1006, error instanceof Error ? error.message : String(error), false);
  }

  /**
   * @param {unknown} error null when both sides closed in order
   * @param {number} code
   * @param {string} reason
   * @param {boolean} clean
   */
  #end(error, code, reason, clean) {
    if (this.#readyState === CLOSED) return;
    this.#readyState = CLOSED;
    this.#queue = [];
    this.#markFailed(error ?? mixError("connection_closed", `the WebSocket closed before it opened (code ${code})`, "websocket"));
    if (error !== null) this.dispatchEvent(new MixErrorEvent(error));
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean: clean }));
  }

  /** Resolves when the connection is open; rejects with the reason when it fails. @returns {Promise<void>} */
  opened() {
    return this.#opened;
  }

  /**
   * Queue a message; returns at once. After `close` it is dropped, as with `WebSocket`.
   * @param {string | ArrayBufferLike | ArrayBufferView | Blob} data
   */
  send(data) {
    if (this.#readyState === CONNECTING) throw new DOMException("the WebSocket is still connecting", "InvalidStateError");
    /** @type {string | Uint8Array<ArrayBuffer> | Blob} */
    let payload;
    let size;
    if (data instanceof Blob) {
      payload = data;
      size = data.size;
    } else if (ArrayBuffer.isView(data) || data instanceof ArrayBuffer || isShared(data)) {
      const view = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
      payload = view.slice();
      size = payload.byteLength;
    } else {
      const text = encoder.encode(String(data));
      payload = new TextDecoder("utf-8", { ignoreBOM: true }).decode(text); // lone surrogates are replaced
      size = text.byteLength;
    }
    this.#bufferedAmount += size;
    if (this.#readyState !== OPEN) return;
    this.#queue.push({ data: payload, size });
    void this.#flush();
  }

  /**
   * @param {number} [code] 1000 or 3000 to 4999
   * @param {string} [reason] at most 123 bytes in UTF-8
   */
  close(code = 1000, reason = "") {
    if (code !== 1000 && !(Number.isInteger(code) && code >= 3000 && code <= 4999)) {
      throw new DOMException(`close code ${code} is not 1000 or 3000 to 4999`, "InvalidAccessError");
    }
    const bytes = encoder.encode(String(reason));
    if (bytes.length > MAX_REASON_BYTES) {
      throw new DOMException(`a close reason has at most ${MAX_REASON_BYTES} bytes`, "SyntaxError");
    }
    const before = this.#readyState;
    if (before >= CLOSING) return;
    this.#readyState = CLOSING;
    if (before === CONNECTING) {
      if (this.#id) this.#connection?.abort(this.#id);
      queueMicrotask(() => this.#fail(mixError("aborted", "closed before the connection was open", "websocket")));
      return;
    }
    this.#queue.push({ code, reason: new TextDecoder().decode(bytes) });
    void this.#flush();
  }

  /** Hand over what the window allows, in order. */
  async #flush() {
    if (this.#flushing) return;
    this.#flushing = true;
    for (let next; (next = this.#queue[0]); this.#queue.shift()) {
      if ("code" in next) {
        this.#connection?.send({ type: "close", id: this.#id, code: next.code, reason: next.reason });
        continue;
      }
      if (this.#sentMessages >= WINDOW_MESSAGES || (this.#sentBytes > 0 && this.#sentBytes + next.size > WINDOW_BYTES)) break;
      let { data } = next;
      if (data instanceof Blob) {
        try {
          data = new Uint8Array(await data.arrayBuffer());
        } catch (error) {
          this.#connection?.abort(this.#id);
          this.#fail(mixError("unreadable_blob", `a Blob could not be read: ${error}`, "websocket"));
        }
        if (this.#queue[0] !== next || data instanceof Blob) break; // ended meanwhile
      }
      this.#sentMessages += 1;
      this.#sentBytes += next.size;
      this.#connection?.send({ type: "write", id: this.#id, data }, typeof data === "string" ? [] : [data.buffer]);
    }
    this.#flushing = false;
  }
}

/** @param {unknown} data @returns {data is SharedArrayBuffer} */
function isShared(data) {
  return typeof SharedArrayBuffer !== "undefined" && data instanceof SharedArrayBuffer;
}

for (const [name, value] of Object.entries(STATES)) {
  for (const target of [MixWebSocket, MixWebSocket.prototype]) Object.defineProperty(target, name, { value, enumerable: true });
}
