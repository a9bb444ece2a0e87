/**
 * The `Response` of the tunnel: a real one, with what a constructed `Response` cannot hold.
 *
 * @module
 */

/** @typedef {import("./messages.js").ResponseHead} ResponseHead */

/**
 * A `Response` with its URL and with all headers (a constructed `Response` drops Set-Cookie). `mix` is not part of
 * the standard: facts about the connection inside the tunnel.
 */
export class MixResponse extends Response {
  /** @type {ResponseHead} */ #head;
  /** @type {Headers} */ #headers;
  /** @type {() => unknown} */ #failure;

  /**
   * @param {ReadableStream<Uint8Array> | null} body
   * @param {ResponseHead} head
   * @param {() => unknown} failure what broke the body, null when nothing did
   */
  constructor(body, head, failure) {
    // The inherited headers give `blob()` its type and `formData()` its boundary.
    super(body, { status: head.status, statusText: head.statusText, headers: head.headers });
    this.#head = head;
    this.#failure = failure;
    this.#headers = new Headers();
    for (const [name, value] of head.headers) this.#headers.append(name, value);
  }

  get headers() { return this.#headers; }
  get url() { return this.#head.url; }
  get redirected() { return this.#head.redirected; }
  /** @returns {ResponseType} */
  get type() { return "basic"; }

  /** TLS version of the connection ("TLSv1.3", null for plain http) and HTTP version. */
  get mix() { return { tls: this.#head.tls, httpVersion: this.#head.httpVersion }; }

  clone() {
    return new MixResponse(super.clone().body, this.#head, this.#failure);
  }

  arrayBuffer() { return this.#whole(super.arrayBuffer()); }
  blob() { return this.#whole(super.blob()); }
  bytes() { return this.#whole(super.bytes()); }
  formData() { return this.#whole(super.formData()); }
  json() { return this.#whole(super.json()); }
  text() { return this.#whole(super.text()); }

  /**
   * Engines turn the error of a body's stream into a bare TypeError; the caller wants the error itself.
   * @template T
   * @param {Promise<T>} reading
   * @returns {Promise<T>}
   */
  async #whole(reading) {
    try {
      return await reading;
    } catch (error) {
      throw this.#failure() ?? error;
    }
  }
}
