/**
 * The `Response` of the tunnel: a real one, with what a constructed `Response` cannot hold.
 *
 * Servers send statuses up to 999 and reasons with any octet; the constructor takes 200 to 599 and printable reasons.
 * The properties tell what came. What looks past them into the `Response` itself (`Cache.put`, `FetchEvent.respondWith`)
 * finds the nearest that it can hold: never a success where there was none.
 *
 * @module
 */

/** @typedef {import("./channel.js").Failure} Failure */
/** @typedef {import("../shared/messages.js").FetchTimings} FetchTimings */
/** @typedef {Omit<import("../shared/messages.js").ResponseHead, "timings">} ResponseHead */

/** @param {number} status @returns {number} */
export const representable = (status) => (status >= 200 && status <= 599 ? status : 599);
/** @param {string} reason one character for each octet @returns {string} */
export const printable = (reason) => reason.replace(/[^\t\x20-\x7e\x80-\xff]/g, "");

/** Headers that were received: as those of every fetched response, they cannot be changed. */
class ReceivedHeaders extends Headers {
  /** @returns {never} */
  #refuse() {
    throw new TypeError("the headers of a response that was fetched cannot be changed");
  }

  append() { this.#refuse(); }
  delete() { this.#refuse(); }
  set() { this.#refuse(); }
}

/**
 * A `Response` with its URL and with all headers (a constructed `Response` drops Set-Cookie). `mix` and `timings` are
 * not part of the standard: facts about the connection inside the tunnel.
 */
export class MixResponse extends Response {
  /** @type {ResponseHead} */ #head;
  /** @type {Headers} */ #headers;
  /** @type {FetchTimings} */ #timings;
  /** @type {() => Failure | null} */ #failure;

  /**
   * @param {ReadableStream<Uint8Array> | null} body
   * @param {ResponseHead} head
   * @param {FetchTimings} timings shared with whoever fills it in
   * @param {() => Failure | null} failure what broke the body, null when nothing did
   */
  constructor(body, head, timings, failure) {
    // The inherited headers give `blob()` its type and `formData()` its boundary.
    super(body, { status: representable(head.status), statusText: printable(head.statusText), headers: head.headers });
    this.#head = head;
    this.#timings = timings;
    this.#failure = failure;
    this.#headers = new ReceivedHeaders(head.headers);
  }

  // Node.js looks at it while the object is made.
  get status() { return #head in this ? this.#head.status : super.status; }
  get ok() { return this.#head.status >= 200 && this.#head.status <= 299; }
  get statusText() { return this.#head.statusText; }
  get headers() { return this.#headers; }
  get url() { return this.#head.url; }
  get redirected() { return this.#head.redirected; }
  /** @returns {ResponseType} */
  get type() { return "basic"; }

  /**
   * TLS version of the connection ("TLSv1.3", null for plain http) and HTTP version; `truncated`, once the body has
   * ended: the end of the connection ended it, without TLS's closing message.
   */
  get mix() {
    const { tls, httpVersion, truncated = false } = this.#head;
    return { tls, httpVersion, truncated };
  }

  /** How long each phase took, in milliseconds; `end` is filled in when the body has ended. @returns {FetchTimings} */
  get timings() { return this.#timings; }

  clone() {
    return new MixResponse(super.clone().body, this.#head, this.#timings, this.#failure);
  }

  arrayBuffer() { return this.#whole(super.arrayBuffer); }
  blob() { return this.#whole(super.blob); }
  bytes() { return this.#whole(super.bytes); }
  formData() { return this.#whole(super.formData); }
  json() { return this.#whole(super.json); }
  text() { return this.#whole(super.text); }

  /**
   * Engines turn the error of a body's stream into a bare TypeError; the caller wants the error itself, and at once where
   * the body is broken already.
   * @template T
   * @param {() => Promise<T>} read
   * @returns {Promise<T>}
   */
  #whole(read) {
    const usable = this.body !== null && !this.body.locked && !this.bodyUsed;
    if (!usable) return read.call(this);
    const broken = this.#failure();
    if (broken) return Promise.reject(broken.error);
    return read.call(this).catch((error) => { throw (this.#failure() ?? { error }).error; });
  }
}
