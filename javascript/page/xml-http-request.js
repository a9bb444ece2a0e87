/**
 * `MixXMLHttpRequest`: the browser's XMLHttpRequest interface over the mixnet, by the standard (xhr.spec.whatwg.org), for
 * code that was written for it. HTTP is `mixFetch`'s.
 *
 * Different from it: none is synchronous; `withCredentials` means the tunnel's own jar; every header of a response is
 * visible; `failure` tells the error behind an `error` event.
 *
 * @module
 */

import { MIMEType } from "whatwg-mimetype";

import { baseUrl } from "./base-url.js";
import { asInterface, handle, handlerOf } from "./event-handlers.js";
import { encodingOf, ReceivedBody, responseType } from "./xhr-body.js";

/** @typedef {(url: string, init: import("./fetch.js").MixFetchInit) => Promise<Response>} Fetch */
/** @typedef {"" | "arraybuffer" | "blob" | "document" | "json" | "text"} ResponseKind */
/** @typedef {((this: any, event: ProgressEvent) => unknown) | null} ProgressHandler */

const STATES = /** @type {const} */ ({ UNSENT: 0, OPENED: 1, HEADERS_RECEIVED: 2, LOADING: 3, DONE: 4 });
const { UNSENT, OPENED, HEADERS_RECEIVED, LOADING, DONE } = STATES;
const EVENTS = ["loadstart", "progress", "abort", "error", "load", "timeout", "loadend"];
const KINDS = ["", "arraybuffer", "blob", "document", "json", "text"];
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[^\0\r\n]*$/;
const NORMALIZED = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
const FORBIDDEN = ["CONNECT", "TRACE", "TRACK"];
const PROGRESS_MS = 50;

/** @param {string} name @param {string} message */
const refused = (name, message) => new DOMException(`MixXMLHttpRequest: ${message}`, name);

class XhrTarget extends EventTarget {
  /** @returns {ProgressHandler} */
  get onloadstart() { return handlerOf(this, "loadstart"); }
  set onloadstart(handler) { handle(this, "loadstart", handler); }
  /** @returns {ProgressHandler} */
  get onprogress() { return handlerOf(this, "progress"); }
  set onprogress(handler) { handle(this, "progress", handler); }
  /** @returns {ProgressHandler} */
  get onabort() { return handlerOf(this, "abort"); }
  set onabort(handler) { handle(this, "abort", handler); }
  /** @returns {ProgressHandler} */
  get onerror() { return handlerOf(this, "error"); }
  set onerror(handler) { handle(this, "error", handler); }
  /** @returns {ProgressHandler} */
  get onload() { return handlerOf(this, "load"); }
  set onload(handler) { handle(this, "load", handler); }
  /** @returns {ProgressHandler} */
  get ontimeout() { return handlerOf(this, "timeout"); }
  set ontimeout(handler) { handle(this, "timeout", handler); }
  /** @returns {ProgressHandler} */
  get onloadend() { return handlerOf(this, "loadend"); }
  set onloadend(handler) { handle(this, "loadend", handler); }

  /**
   * @internal
   * @param {string} type
   * @param {number} [loaded]
   * @param {number} [total] 0: not known
   */
  tell(type, loaded = 0, total = 0) {
    this.dispatchEvent(new ProgressEvent(type, { loaded, total, lengthComputable: total !== 0 }));
  }
}

/** What `upload` is: events about the request's body. */
export class MixXMLHttpRequestUpload extends XhrTarget {
  /** Somebody listened at some time: the standard's "upload listener flag" is taken from it. @internal */
  listened = false;

  /**
   * @param {string} type
   * @param {any} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    this.listened ||= listener != null;
    super.addEventListener(type, listener, options);
  }
}

/** The state of one request, from `send` to its end; a new one takes its place, and what the old one still does is nobody's. */
class Exchange {
  controller = new AbortController();
  /** @type {Response | null} */ response = null;
  body = new ReceivedBody();
  started = performance.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ timer;
  uploaded = false;
  toldUpload = false;
  total = 0; // bytes of the request's body, as far as they are known
}

/** XMLHttpRequest over the shared tunnel; needs `setupMixTunnel`. */
export class MixXMLHttpRequest extends XhrTarget {
  /** @type {0} */ static UNSENT;
  /** @type {1} */ static OPENED;
  /** @type {2} */ static HEADERS_RECEIVED;
  /** @type {3} */ static LOADING;
  /** @type {4} */ static DONE;
  /** What fetches; a class of another network sets its own. @internal @type {Fetch} */
  static transport = () => Promise.reject(new TypeError("MixXMLHttpRequest: no tunnel"));

  /** @type {0 | 1 | 2 | 3 | 4} */ #readyState = UNSENT;
  #method = "GET";
  /** @type {URL | null} */ #url = null;
  #headers = new Headers();
  #timeout = 0;
  #withCredentials = false;
  /** @type {ResponseKind} */ #kind = "";
  /** @type {MIMEType | null} */ #override = null;
  /** @type {Exchange | null} of the last `send` */ #exchange = null;
  #sending = false;
  /** @type {unknown} */ #object = undefined;
  /** @type {unknown} */ #failure = null;
  #upload = new MixXMLHttpRequestUpload();

  get readyState() { return this.#readyState; }
  get upload() { return this.#upload; }
  /** What brought the `error` event: a `MixError` as a rule; null otherwise. @returns {unknown} */
  get failure() { return this.#failure; }
  /** @returns {((this: MixXMLHttpRequest, event: Event) => unknown) | null} */
  get onreadystatechange() { return handlerOf(this, "readystatechange"); }
  set onreadystatechange(handler) { handle(this, "readystatechange", handler); }

  /** Milliseconds from `send` to the end; 0: none but the tunnel's own. */
  get timeout() { return this.#timeout; }
  set timeout(milliseconds) {
    this.#timeout = milliseconds >>> 0;
    if (this.#sending && this.#exchange) this.#arm(this.#exchange);
  }

  get withCredentials() { return this.#withCredentials; }
  set withCredentials(value) {
    if (this.#readyState > OPENED || this.#sending) throw refused("InvalidStateError", "withCredentials is set before send");
    this.#withCredentials = Boolean(value);
  }

  /** @returns {ResponseKind} */
  get responseType() { return this.#kind; }
  set responseType(kind) {
    const name = `${kind}`;
    if (!KINDS.includes(name)) return;
    if (this.#readyState >= LOADING) throw refused("InvalidStateError", "responseType is set before the body comes");
    this.#kind = /** @type {ResponseKind} */ (name);
  }

  /**
   * @param {string} method
   * @param {string | URL} url relative to the document
   * @param {boolean} [async] true: no thread of a page can wait for a tunnel in its own worker
   * @param {string | null} [username]
   * @param {string | null} [password]
   */
  open(method, url, async = true, username = null, password = null) {
    if (arguments.length < 2) throw new TypeError("MixXMLHttpRequest: open needs a method and a URL");
    const name = `${method}`;
    if (!TOKEN.test(name)) throw refused("SyntaxError", `${name} is no method`);
    const upper = name.toUpperCase();
    if (FORBIDDEN.includes(upper)) throw refused("SecurityError", `the method ${name} is not allowed`);
    let parsed;
    try {
      parsed = new URL(`${url}`, baseUrl());
    } catch {
      throw refused("SyntaxError", `${url} is no URL`);
    }
    if (!async) throw refused("InvalidAccessError", "synchronous requests cannot go through the mixnet: leave `async` out");
    if (parsed.host && username != null) parsed.username = username;
    if (parsed.host && password != null) parsed.password = password;
    this.#forget();
    this.#method = NORMALIZED.includes(upper) ? upper : name;
    this.#url = parsed;
    this.#headers = new Headers();
    if (this.#readyState !== OPENED) this.#change(OPENED);
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  setRequestHeader(name, value) {
    if (arguments.length < 2) throw new TypeError("MixXMLHttpRequest: setRequestHeader needs a name and a value");
    if (this.#readyState !== OPENED || this.#sending) throw refused("InvalidStateError", "headers are set between open and send");
    const text = `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
    if (!TOKEN.test(`${name}`) || !VALUE.test(text)) throw refused("SyntaxError", `${name}: ${value} is no header`);
    this.#headers.append(name, text);
  }

  /** @param {string} mime used in the place of the response's own type */
  overrideMimeType(mime) {
    if (this.#readyState >= LOADING) throw refused("InvalidStateError", "the body is coming already");
    this.#override = MIMEType.parse(`${mime}`) ?? new MIMEType("application/octet-stream");
  }

  /** @param {Document | XMLHttpRequestBodyInit | null} [body] */
  send(body = null) {
    if (this.#readyState !== OPENED || this.#sending || !this.#url) throw refused("InvalidStateError", "send follows open, once");
    const exchange = new Exchange();
    const given = this.#method === "GET" || this.#method === "HEAD" ? null : bodyOf(body, this.#headers);
    exchange.total = sizeOf(given);
    exchange.uploaded = given === null;
    exchange.toldUpload = this.#upload.listened;
    this.#exchange = exchange;
    this.#sending = true;
    this.#failure = null;
    this.#object = undefined;
    this.tell("loadstart");
    if (!exchange.uploaded && exchange.toldUpload) this.#upload.tell("loadstart", 0, exchange.total);
    if (this.#exchange !== exchange || !this.#sending) return; // a listener opened it anew, or aborted it
    this.#arm(exchange);
    void this.#run(exchange, this.#url.href, {
      method: this.#method,
      headers: this.#headers,
      body: given,
      signal: exchange.controller.signal,
      credentials: this.#withCredentials ? "include" : "same-origin",
      ...(exchange.toldUpload && !exchange.uploaded ? { onProgress: (progress) => this.#uploading(exchange, progress) } : {}),
    });
  }

  abort() {
    const under = this.#sending;
    this.#exchange?.controller.abort();
    const started = this.#readyState === HEADERS_RECEIVED || this.#readyState === LOADING;
    if ((this.#readyState === OPENED && under) || started) this.#broken("abort");
    if (this.#readyState === DONE) {
      this.#readyState = UNSENT;
      this.#forget();
    }
  }

  get responseURL() {
    const url = this.#exchange?.response?.url;
    return url ? url.split("#", 1)[0] : "";
  }

  get status() { return this.#exchange?.response?.status ?? 0; }
  get statusText() { return this.#exchange?.response?.statusText ?? ""; }

  /** @param {string} name @returns {string | null} */
  getResponseHeader(name) {
    try {
      return this.#exchange?.response?.headers.get(`${name}`) ?? null;
    } catch {
      return null; // no name of a header
    }
  }

  /** @returns {string} */
  getAllResponseHeaders() {
    const { headers } = this.#exchange?.response ?? {};
    const lines = [...new Set(headers?.keys())].map((name) => ({ upper: name.toUpperCase(), line: `${name}: ${headers?.get(name)}\r\n` }));
    return lines.sort((one, other) => (one.upper < other.upper ? -1 : 1)).map(({ line }) => line).join("");
  }

  /** @returns {string} */
  get responseText() {
    if (this.#kind !== "" && this.#kind !== "text") throw refused("InvalidStateError", `responseType is "${this.#kind}"`);
    return this.#text();
  }

  /** @returns {Document | null} */
  get responseXML() {
    if (this.#kind !== "" && this.#kind !== "document") throw refused("InvalidStateError", `responseType is "${this.#kind}"`);
    return this.#readyState === DONE ? this.#made(() => this.#document()) : null;
  }

  /** @returns {any} */
  get response() {
    if (this.#kind === "" || this.#kind === "text") return this.#text();
    const exchange = this.#exchange;
    if (this.#readyState !== DONE || !exchange?.response) return null;
    const { body, response } = exchange;
    switch (this.#kind) {
      case "arraybuffer": return this.#made(() => body.bytes().buffer);
      case "blob": return this.#made(() => body.blob(String(this.#type(response))));
      case "document": return this.#made(() => this.#document());
      default: return this.#made(() => (response.body ? body.json() : null));
    }
  }

  /** @param {() => unknown} make once for each response @returns {any} */
  #made(make) {
    if (this.#object === undefined) this.#object = make();
    return this.#object;
  }

  #text() {
    const exchange = this.#exchange;
    if (this.#readyState < LOADING || !exchange?.response) return "";
    const type = this.#type(exchange.response);
    const declared = this.#kind === "" && type.isXML() ? exchange.body.xmlEncoding() : null;
    return exchange.body.text(this.#encoding(exchange.response) ?? declared ?? "utf-8", this.#readyState === DONE);
  }

  /** @returns {Document | null} */
  #document() {
    const { response, body } = this.#exchange ?? {};
    if (!response?.body || !body) return null;
    const type = this.#type(response);
    if (this.#kind === "" && type.isHTML()) return null;
    return body.document(type, this.#encoding(response));
  }

  /** @param {Response} response @returns {MIMEType} */
  #type(response) {
    return this.#override ?? responseType(response.headers);
  }

  /** @param {Response} response @returns {string | null} */
  #encoding(response) {
    const label = this.#override?.parameters.get("charset") ?? responseType(response.headers).parameters.get("charset");
    return encodingOf(label);
  }

  /** @param {0 | 1 | 2 | 3 | 4} state */
  #change(state) {
    this.#readyState = state;
    this.dispatchEvent(new Event("readystatechange"));
  }

  /** What is under way is nobody's any more. */
  #forget() {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#sending = false;
    this.#object = undefined;
    if (!exchange) return;
    clearTimeout(exchange.timer);
    exchange.controller.abort();
  }

  /** @param {Exchange} exchange */
  #arm(exchange) {
    clearTimeout(exchange.timer);
    if (!this.#timeout) return;
    exchange.timer = setTimeout(() => {
      if (this.#exchange !== exchange || !this.#sending) return;
      exchange.controller.abort();
      this.#broken("timeout");
    }, exchange.started + this.#timeout - performance.now());
  }

  /**
   * The request error steps.
   * @param {"abort" | "error" | "timeout"} type
   * @param {unknown} [failure]
   */
  #broken(type, failure = null) {
    const exchange = this.#exchange;
    if (!exchange) return;
    clearTimeout(exchange.timer);
    exchange.response = null;
    exchange.body = new ReceivedBody();
    this.#object = undefined;
    this.#failure = failure;
    this.#sending = false;
    const uploading = !exchange.uploaded;
    exchange.uploaded = true;
    this.#change(DONE);
    for (const target of uploading && exchange.toldUpload ? [this.#upload, this] : [this]) {
      target.tell(type);
      target.tell("loadend");
    }
  }

  /**
   * @param {Exchange} exchange
   * @param {import("./fetch.js").MixProgress} progress
   */
  #uploading(exchange, { phase, loaded, total }) {
    if (this.#exchange !== exchange || exchange.uploaded || phase !== "upload") return;
    if (total !== null) exchange.total = total;
    if (loaded === total) this.#uploaded(exchange);
    else this.#upload.tell("progress", loaded, exchange.total);
  }

  /** @param {Exchange} exchange */
  #uploaded(exchange) {
    if (exchange.uploaded) return;
    exchange.uploaded = true;
    if (!exchange.toldUpload) return;
    for (const type of ["progress", "load", "loadend"]) {
      if (this.#exchange === exchange) this.#upload.tell(type, exchange.total, exchange.total);
    }
  }

  /**
   * @param {Exchange} exchange
   * @param {string} url
   * @param {import("./fetch.js").MixFetchInit} init
   */
  async #run(exchange, url, init) {
    const mine = () => this.#exchange === exchange && this.#sending;
    try {
      const response = await /** @type {typeof MixXMLHttpRequest} */ (this.constructor).transport(url, init);
      if (!mine()) return;
      this.#uploaded(exchange);
      if (!mine()) return;
      exchange.response = response;
      this.#change(HEADERS_RECEIVED);
      if (!mine()) return;
      const total = lengthOf(response.headers);
      let told = performance.now();
      const reader = response.body?.getReader();
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
        if (!mine()) return;
        if (done) break;
        exchange.body.push(value);
        if (performance.now() - told < PROGRESS_MS && this.#readyState === LOADING) continue;
        told = performance.now();
        this.#change(LOADING);
        if (mine()) this.tell("progress", exchange.body.size, total);
        if (!mine()) return;
      }
      this.#loaded(exchange, total);
    } catch (error) {
      if (mine()) this.#broken("error", error);
    }
  }

  /**
   * @param {Exchange} exchange
   * @param {number} total
   */
  #loaded(exchange, total) {
    clearTimeout(exchange.timer);
    const { size } = exchange.body;
    this.tell("progress", size, total);
    if (this.#exchange !== exchange || !this.#sending) return;
    this.#sending = false;
    this.#change(DONE);
    this.tell("load", size, total);
    this.tell("loadend", size, total);
  }
}

/** @param {Headers} headers @returns {number} bytes that the page will see, 0 where that is not known */
function lengthOf(headers) {
  const length = headers.get("content-length") ?? "";
  return /^\d+$/.test(length) && !headers.has("content-encoding") ? Number(length) : 0;
}

/**
 * A document is written out; a text is sent as UTF-8, and a type of the caller's own that says otherwise is put right.
 * @param {Document | XMLHttpRequestBodyInit | null | undefined} body
 * @param {Headers} headers
 * @returns {XMLHttpRequestBodyInit | null}
 */
function bodyOf(body, headers) {
  if (body === null || body === undefined) return null;
  const document = typeof Document !== "undefined" && body instanceof Document ? body : null;
  const text = document ? written(document).replace(/[\uD800-\uDFFF]/gu, "\uFFFD") : body;
  if (typeof text !== "string") return /** @type {XMLHttpRequestBodyInit} */ (text);
  const own = headers.get("content-type");
  const type = own === null ? null : MIMEType.parse(own);
  if (own === null && document) {
    headers.set("content-type", `${document.contentType === "text/html" ? "text/html" : "application/xml"};charset=UTF-8`);
  } else if (type?.parameters.has("charset") && type.parameters.get("charset")?.toLowerCase() !== "utf-8") {
    type.parameters.set("charset", "UTF-8");
    headers.set("content-type", String(type));
  }
  return text;
}

/** @param {Document} document @returns {string} */
function written(document) {
  const xml = new XMLSerializer();
  if (document.contentType !== "text/html") return xml.serializeToString(document);
  return Array.from(document.childNodes, (node) => (node instanceof Element ? node.outerHTML : xml.serializeToString(node))).join("");
}

/** @param {XMLHttpRequestBodyInit | null} body @returns {number} bytes, 0 where only the sending shows it */
function sizeOf(body) {
  if (body instanceof Blob) return body.size;
  if (typeof body === "string" || body instanceof URLSearchParams) return new TextEncoder().encode(String(body)).length;
  return body && "byteLength" in body ? body.byteLength : 0;
}

const HANDLERS = EVENTS.map((type) => `on${type}`);
asInterface(XhrTarget, "XMLHttpRequestEventTarget", {}, HANDLERS);
asInterface(MixXMLHttpRequestUpload, "MixXMLHttpRequestUpload", {}, []);
asInterface(MixXMLHttpRequest, "MixXMLHttpRequest", STATES, ["onreadystatechange", "readyState", "timeout", "withCredentials", "upload",
  "responseURL", "status", "statusText", "responseType", "response", "responseText", "responseXML", "open", "setRequestHeader",
  "send", "abort", "getResponseHeader", "getAllResponseHeaders", "overrideMimeType"]);
for (const hidden of ["tell"]) Object.defineProperty(XhrTarget.prototype, hidden, { enumerable: false });
Object.defineProperty(MixXMLHttpRequest, "transport", { enumerable: false });
