/**
 * `MixWebSocket`: the browser's WebSocket interface over the mixnet.
 *
 * More than `WebSocket` has: `opened()` as a promise, promises from `send` and `close`, options (headers, signal,
 * timeouts), and `error` events that carry the error. Different from it: `binaryType` is "arraybuffer" at first, and the
 * close event of a connection that broke (code 1006) says why in `reason`.
 *
 * @module
 */

import { isArrayBuffer, isBlob, isSharedBuffer } from "./brands.js";
import { closable, ClosableTarget } from "./dispose.js";
import { MixError, mixError } from "./errors.js";
import { asInterface, handle, handlerOf } from "./event-handlers.js";
import { checkProtocols, closeArguments, optionsOf, scalarText, textsOf, urlOf } from "./websocket-arguments.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("../shared/messages.js").WorkerMessage} WorkerMessage */
/** @typedef {import("./websocket-arguments.js").MixWebSocketOptions} MixWebSocketOptions */
/** @typedef {import("./websocket-arguments.js").MixWebSocketTimeouts} MixWebSocketTimeouts */

const STATES = /** @type {const} */ ({ CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
const { CONNECTING, OPEN, CLOSING, CLOSED } = STATES;
const EVENTS = ["open", "message", "error", "close"];

// Messages and bytes in the worker that the tunnel has not taken; the rest waits here, where `bufferedAmount` counts it.
const WINDOW_MESSAGES = 64;
const WINDOW_BYTES = 1 << 20;
const MAX_BUFFERED = 256 << 20;
const ENDED_BY_SERVER = new Set(["connection_closed", "connection_reset"]);

/** An `error` event with the reason attached. */
export class MixErrorEvent extends Event {
  /** @param {unknown} error */
  constructor(error) {
    super("error");
    /** @type {unknown} */ this.error = error;
    /** @type {string} */ this.message = textOf(error);
  }
}

/** @param {unknown} error @returns {string} */
const textOf = (error) => (error instanceof Error || error instanceof DOMException ? error.message : String(error));

/**
 * @typedef {object} Message one that was given to `send`
 * @property {string | Uint8Array<ArrayBuffer> | Blob} data
 * @property {number} size bytes
 * @property {(value?: undefined) => void} taken
 * @property {(error: unknown) => void} lost
 */
/** @typedef {Message | {code: number | null, reason: string}} Outgoing */
/** @typedef {{open: Event, message: MessageEvent, error: MixErrorEvent, close: CloseEvent}} MixWebSocketEvents */

/** @typedef {() => Promise<WorkerConnection>} Connect the worker that opens it */

/** Of sockets that no tunnel makes. @type {Connect} */
let shared = () => Promise.reject(mixError("tunnel_down", "no tunnel", "setup"));
/** The tunnel that is making one. @type {Connect | null} */
let maker = null;

/** The worker of what `new MixWebSocket` makes. @param {Connect} connect */
export function connectSharedBy(connect) {
  shared = connect;
}

/**
 * `new MixWebSocket` over one tunnel. The class is the page's own, whose constructor has no place for more arguments.
 * @param {Connect} connect
 * @param {string | URL} url
 * @param {string | Iterable<string>} [protocols]
 * @param {MixWebSocketOptions} [options]
 * @returns {MixWebSocket}
 */
export function webSocketOver(connect, url, protocols, options) {
  maker = connect;
  return new MixWebSocket(url, protocols, options);
}

/** WebSocket over the shared tunnel; needs `setupMixTunnel`. */
export class MixWebSocket extends ClosableTarget {
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
  #wasOpen = false;
  /** @type {WorkerConnection | null} */ #connection = null;
  #id = 0;
  /** What `send` and `close` asked for and the worker has not got. @type {Outgoing[]} */ #queue = [];
  #flushing = false;
  /** What the worker has and the tunnel has not taken. @type {Message[]} */ #window = [];
  #windowBytes = 0;
  /** @type {() => void} */ #forgetSignal = () => {};
  /** @type {Promise<void>} */ #opened;
  /** @type {(value?: undefined) => void} */ #markOpened = () => {};
  /** @type {(error: unknown) => void} */ #markFailed = () => {};
  /** @type {Promise<CloseEvent>} */ #closed;
  /** @type {(event: CloseEvent) => void} */ #markClosed = () => {};

  /**
   * @param {string | URL} url
   * @param {string | Iterable<string>} [protocols]
   * @param {MixWebSocketOptions} [options]
   */
  constructor(url, protocols = [], options = {}) {
    super();
    const connect = maker ?? shared;
    maker = null;
    if (arguments.length === 0) throw new TypeError("MixWebSocket: a URL is needed");
    const text = scalarText(`${url}`).text;
    const names = textsOf(protocols);
    const { headers, signal, timeouts, isolation } = optionsOf(options);
    this.#url = urlOf(text);
    checkProtocols(names);
    this.#opened = new Promise((resolve, reject) => {
      this.#markOpened = resolve;
      this.#markFailed = reject;
    });
    this.#opened.catch(() => {});
    this.#closed = new Promise((resolve) => { this.#markClosed = resolve; });
    if (signal?.aborted) {
      setTimeout(() => this.#abort(signal.reason)); // events find their listeners; nothing is sent
      return;
    }
    if (signal) this.#heed(signal);
    connect()
      .then((connection) => this.#start(connection, { type: "websocket", url: this.url, protocols: names, headers, timeouts, isolation }))
      .catch((error) => this.#fail(error));
  }

  get readyState() { return this.#readyState; }
  get url() { return this.#url.href; }
  get protocol() { return this.#protocol; }
  /** The extensions in use with their parameters, for example "permessage-deflate; client_max_window_bits=12". */
  get extensions() { return this.#extensions; }
  /** Bytes given to `send` that the tunnel has not taken yet; those given to it after `close` it never will. */
  get bufferedAmount() { return this.#bufferedAmount; }
  get binaryType() { return this.#binaryType; }
  set binaryType(type) {
    const name = `${type}`;
    if (name === "blob" || name === "arraybuffer") this.#binaryType = name;
  }

  /** @returns {((this: MixWebSocket, event: Event) => unknown) | null} */
  get onopen() { return this.#handler("open"); }
  set onopen(handler) { this.#handle("open", handler); }
  /** @returns {((this: MixWebSocket, event: MessageEvent) => unknown) | null} */
  get onmessage() { return this.#handler("message"); }
  set onmessage(handler) { this.#handle("message", handler); }
  /** @returns {((this: MixWebSocket, event: CloseEvent) => unknown) | null} */
  get onclose() { return this.#handler("close"); }
  set onclose(handler) { this.#handle("close", handler); }
  /** @returns {((this: MixWebSocket, event: MixErrorEvent) => unknown) | null} */
  get onerror() { return this.#handler("error"); }
  set onerror(handler) { this.#handle("error", handler); }

  // Private: on an object that is no MixWebSocket they throw, as the browser's do.
  /** @param {string} type @returns {any} */
  #handler(type) { return handlerOf(this, type); }
  /** @param {string} type @param {unknown} handler */
  #handle(type, handler) { handle(this, type, handler); }

  /**
   * @template {keyof MixWebSocketEvents} K
   * @overload
   * @param {K} type
   * @param {(this: MixWebSocket, event: MixWebSocketEvents[K]) => unknown} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @param {string} type
   * @param {any} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
  }

  /**
   * @template {keyof MixWebSocketEvents} K
   * @overload
   * @param {K} type
   * @param {(this: MixWebSocket, event: MixWebSocketEvents[K]) => unknown} listener
   * @param {boolean | EventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | EventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @param {string} type
   * @param {any} listener
   * @param {boolean | EventListenerOptions} [options]
   */
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, listener, options);
  }

  /** @param {AbortSignal} signal */
  #heed(signal) {
    const abort = () => this.#abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#forgetSignal = () => signal.removeEventListener("abort", abort);
  }

  /**
   * @param {WorkerConnection} connection
   * @param {Extract<import("./connection.js").Opening, {type: "websocket"}>} opening
   */
  #start(connection, opening) {
    if (this.#readyState !== CONNECTING) return;
    this.#connection = connection;
    this.#id = connection.open(opening, {
      message: (message) => this.#receive(message),
      failed: (error) => this.#fail(error),
    });
  }

  /** @param {WorkerMessage} message */
  #receive(message) {
    switch (message.type) {
      case "opened":
        if (this.#readyState !== CONNECTING) return;
        this.#readyState = OPEN;
        this.#wasOpen = true;
        this.#protocol = String(message.detail.protocol);
        this.#extensions = String(message.detail.extensions);
        this.#markOpened();
        this.dispatchEvent(new Event("open"));
        break;
      case "chunk":
        if (this.#readyState === OPEN) {
          this.dispatchEvent(new MessageEvent("message", { data: this.#data(message.data), origin: this.#url.origin }));
        }
        this.#connection?.send({ type: "pull", id: this.#id }); // the page has taken it
        break;
      case "written":
        this.#written(this.#window.shift());
        break;
      case "closed":
        this.#end(message.error && new MixError(message.error), message.code, message.reason, message.clean);
        break;
    }
  }

  /** @param {Uint8Array<ArrayBuffer> | string} data */
  #data(data) {
    if (typeof data === "string") return data;
    return this.#binaryType === "blob" ? new Blob([data]) : data.buffer; // the array has its buffer for itself
  }

  /** @param {Message | undefined} message */
  #written(message) {
    if (!message) return;
    this.#windowBytes -= message.size;
    this.#bufferedAmount -= message.size;
    message.taken();
    void this.#flush();
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#end(error, 1006, textOf(error), false);
  }

  /**
   * Without a closing handshake.
   * @param {unknown} error
   */
  #abort(error) {
    if (this.#id) this.#connection?.abort(this.#id);
    this.#fail(error);
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
    this.#forgetSignal();
    const told = error ?? mixError("connection_closed", `the WebSocket is closed (code ${code})`, "websocket");
    for (const item of [...this.#window.splice(0), ...this.#queue.splice(0)]) if ("lost" in item) item.lost(told);
    this.#markFailed(told);
    const event = new CloseEvent("close", { code, reason, wasClean: clean });
    this.#markClosed(event);
    // A server that ends the open connection without a close frame is no failure to the standard: no error event.
    const ended = this.#wasOpen && told instanceof MixError && ENDED_BY_SERVER.has(told.code);
    if (!clean && !ended) this.dispatchEvent(new MixErrorEvent(told));
    this.dispatchEvent(event);
  }

  /** Resolves when the connection is open; rejects with the reason when it fails. @returns {Promise<void>} */
  opened() {
    return this.#opened;
  }

  /**
   * Queue a message. The promise resolves when the tunnel has taken it, and rejects when the connection ends before, or
   * is closing already; nobody needs to look at it.
   * @param {string | ArrayBufferLike | ArrayBufferView | Blob} data
   * @returns {Promise<void>}
   */
  send(data) {
    if (arguments.length === 0) throw new TypeError("MixWebSocket: nothing to send");
    const [payload, size] = payloadOf(data);
    if (this.#readyState === CONNECTING) throw new DOMException("the WebSocket is still connecting", "InvalidStateError");
    this.#bufferedAmount += size;
    /** @type {Promise<void>} */
    const taken = new Promise((resolve, reject) => {
      if (this.#readyState !== OPEN) {
        reject(mixError("connection_closed", "the WebSocket is closing or closed", "websocket"));
      } else {
        this.#queue.push({ data: payload, size, taken: resolve, lost: reject });
      }
    });
    taken.catch(() => {});
    if (this.#bufferedAmount > MAX_BUFFERED && this.#readyState === OPEN) {
      this.#abort(mixError("buffer_full", `more than ${MAX_BUFFERED} bytes wait to be sent`, "websocket"));
    }
    void this.#flush();
    return taken;
  }

  /**
   * Start the closing handshake. The promise resolves with the close event when the connection has ended.
   * @param {number} [code] 1000 or 3000 to 4999
   * @param {string} [reason] at most 123 bytes in UTF-8
   * @returns {Promise<CloseEvent>}
   */
  close(code = undefined, reason = undefined) {
    const frame = closeArguments(code, reason);
    const before = this.#readyState;
    if (before < CLOSING) this.#readyState = CLOSING;
    if (before === CONNECTING) {
      if (this.#id) this.#connection?.abort(this.#id);
      setTimeout(() => this.#fail(mixError("aborted", "closed before the connection was open", "websocket")));
    } else if (before === OPEN) {
      this.#queue.push(frame);
      void this.#flush();
    }
    return this.#closed;
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
      const full = this.#windowBytes > 0 && this.#windowBytes + next.size > WINDOW_BYTES;
      if (full || this.#window.length >= WINDOW_MESSAGES) break;
      let { data } = next;
      if (isBlob(data)) {
        try {
          data = new Uint8Array(await data.arrayBuffer());
        } catch (error) {
          this.#abort(mixError("unreadable_blob", `a Blob could not be read: ${error}`, "websocket"));
        }
        if (this.#queue[0] !== next || isBlob(data)) break; // ended meanwhile
      }
      this.#window.push(next);
      this.#windowBytes += next.size;
      this.#connection?.send({ type: "write", id: this.#id, data }, typeof data === "string" ? [] : [data.buffer]);
    }
    this.#flushing = false;
  }
}

/**
 * @param {unknown} data
 * @returns {[string | Uint8Array<ArrayBuffer> | Blob, number]} a copy of its own of what may change, and its size in bytes
 */
function payloadOf(data) {
  if (isBlob(data)) return [data, data.size];
  const view = ArrayBuffer.isView(data) ? data : null;
  const buffer = /** @type {ArrayBuffer & {resizable?: boolean}} */ (view ? view.buffer : data);
  const shared = isSharedBuffer(buffer);
  if (shared || isArrayBuffer(buffer)) {
    // As Web IDL's BufferSource: none that another thread or a resize may change; one that was given away is empty.
    if (shared || buffer.resizable) throw new TypeError("MixWebSocket: a buffer to send is neither shared nor resizable");
    const size = (view ?? buffer).byteLength;
    return [size ? new Uint8Array(buffer, view ? view.byteOffset : 0, size).slice() : new Uint8Array(), size];
  }
  const { text, bytes } = scalarText(`${data}`);
  return [text, bytes];
}

closable(MixWebSocket, (socket) => socket.close());
asInterface(MixWebSocket, "MixWebSocket", STATES, [...EVENTS.map((type) => `on${type}`), "url", "readyState", "bufferedAmount",
  "extensions", "protocol", "binaryType", "send", "close"]);
// They are written down for their types: what listens is `EventTarget`'s.
for (const name of ["addEventListener", "removeEventListener"]) Reflect.deleteProperty(MixWebSocket.prototype, name);
