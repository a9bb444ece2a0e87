/**
 * `MixWebSocket`: the browser's WebSocket interface over the mixnet.
 *
 * Differs from `WebSocket` where the tunnel allows more (`opened()` as a promise) and nowhere else: `send` and `close`
 * return at once, `binaryType` may be "blob" or "arraybuffer" and is "arraybuffer" at first, `bufferedAmount` counts
 * bytes that the tunnel has not taken yet.
 *
 * @module
 */

import { MixError, mixError } from "./errors.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("./messages.js").WorkerMessage} WorkerMessage */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const MAX_REASON_BYTES = 123;

/** Event for a failure: an `error` event with the reason attached. */
export class MixErrorEvent extends Event {
  /** @param {Error} error */
  constructor(error) {
    super("error");
    /** @type {Error} */ this.error = error;
    /** @type {string} */ this.message = error.message;
  }
}

/**
 * @param {string | URL} input
 * @returns {string}
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
  if (url.hash) throw new DOMException("a WebSocket URL has no fragment", "SyntaxError");
  return url.href;
}

export class MixWebSocket extends EventTarget {
  static CONNECTING = /** @type {const} */ (0);
  static OPEN = /** @type {const} */ (1);
  static CLOSING = /** @type {const} */ (2);
  static CLOSED = /** @type {const} */ (3);

  /** @type {0 | 1 | 2 | 3} */ readyState = 0;
  /** @type {"arraybuffer" | "blob"} */ binaryType = "arraybuffer";
  bufferedAmount = 0;
  protocol = "";
  extensions = "";
  /** @type {((event: Event) => void) | null} */ onopen = null;
  /** @type {((event: MessageEvent) => void) | null} */ onmessage = null;
  /** @type {((event: CloseEvent) => void) | null} */ onclose = null;
  /** @type {((event: Event) => void) | null} */ onerror = null;
  /** @type {WorkerConnection | null} */ #connection = null;
  #id = 0;
  /** @type {Promise<void>} */ #opened;
  #markOpened = () => {};
  /** @type {(error: Error) => void} */ #markFailed = () => {};

  /**
   * @param {string | URL} url
   * @param {string | string[]} protocols
   * @param {Promise<WorkerConnection>} connection
   */
  constructor(url, protocols, connection) {
    super();
    /** @type {string} */ this.url = webSocketUrl(url);
    const list = typeof protocols === "string" ? [protocols] : [...protocols];
    if (!list.every((name) => TOKEN.test(name)) || new Set(list).size !== list.length) {
      throw new DOMException("subprotocols are distinct tokens", "SyntaxError");
    }
    this.#opened = new Promise((resolve, reject) => {
      this.#markOpened = () => resolve(undefined);
      this.#markFailed = reject;
    });
    this.#opened.catch(() => {});
    connection.then((ready) => this.#start(ready, list)).catch((error) => this.#fail(error));
  }

  /**
   * @param {WorkerConnection} connection
   * @param {string[]} protocols
   */
  #start(connection, protocols) {
    if (this.readyState !== 0) return;
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
        if (this.readyState !== 0) return;
        this.readyState = 1;
        this.protocol = String(message.detail.protocol ?? "");
        this.extensions = String(message.detail.extensions ?? "");
        this.#markOpened();
        this.#emit(new Event("open"), this.onopen);
        this.#pull();
        break;
      case "chunk":
        this.#pull();
        if (this.readyState === 1) this.#emit(new MessageEvent("message", { data: this.#data(message.data) }), this.onmessage);
        break;
      case "written":
        this.bufferedAmount = Math.max(0, this.bufferedAmount - message.bytes);
        break;
      case "closed":
        this.#end(message.code, message.reason, message.clean);
        break;
    }
  }

  #pull() {
    this.#connection?.send({ type: "pull", id: this.#id });
  }

  /** @param {Uint8Array | string} data */
  #data(data) {
    if (typeof data === "string") return data;
    const bytes = /** @type {Uint8Array<ArrayBuffer>} */ (data);
    return this.binaryType === "blob" ? new Blob([bytes]) : bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  }

  /**
   * @param {Event} event
   * @param {((event: any) => void) | null} handler
   */
  #emit(event, handler) {
    if (handler) this.addEventListener(event.type, handler, { once: true });
    this.dispatchEvent(event);
  }

  /** @param {Error} error */
  #fail(error) {
    if (this.readyState === 3) return;
    this.#markFailed(error);
    this.#emit(new MixErrorEvent(error), this.onerror);
    this.#end(1006, error instanceof MixError ? error.message.slice(0, MAX_REASON_BYTES) : "", false);
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} clean
   */
  #end(code, reason, clean) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#markFailed(mixError("connection_closed", `the WebSocket closed before it opened (code ${code})`, "websocket"));
    this.#emit(new CloseEvent("close", { code, reason, wasClean: clean }), this.onclose);
  }

  /** Resolves when the connection is open; rejects with the reason when it fails. @returns {Promise<void>} */
  opened() {
    return this.#opened;
  }

  /**
   * Queue a message. Blobs are not taken: read them first, so that the order of messages stays yours.
   * @param {string | ArrayBuffer | ArrayBufferView} data
   */
  send(data) {
    if (this.readyState === 0) throw new DOMException("the WebSocket is still connecting", "InvalidStateError");
    let payload;
    if (typeof data === "string") payload = data;
    else if (data instanceof ArrayBuffer) payload = new Uint8Array(data.slice(0));
    else if (ArrayBuffer.isView(data)) payload = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    else throw new TypeError("MixWebSocket.send takes a string, an ArrayBuffer or a view of one");
    this.bufferedAmount += typeof payload === "string" ? new TextEncoder().encode(payload).length : payload.byteLength;
    if (this.readyState === 1) this.#connection?.send({ type: "write", id: this.#id, data: payload });
  }

  /**
   * @param {number} [code] 1000 or 3000 to 4999
   * @param {string} [reason] at most 123 bytes in UTF-8
   */
  close(code = 1000, reason = "") {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException(`close code ${code} is not 1000 or 3000 to 4999`, "InvalidAccessError");
    }
    if (new TextEncoder().encode(reason).length > MAX_REASON_BYTES) {
      throw new DOMException(`a close reason has at most ${MAX_REASON_BYTES} bytes`, "SyntaxError");
    }
    if (this.readyState >= 2) return;
    if (this.readyState === 0) {
      if (this.#id) this.#connection?.abort(this.#id);
      this.#fail(mixError("cancelled", "closed before the connection was open", "websocket"));
      return;
    }
    this.readyState = 2;
    this.#connection?.send({ type: "close", id: this.#id, code, reason });
  }
}
