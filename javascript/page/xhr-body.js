/**
 * What `XMLHttpRequest` makes of the bytes it received (XMLHttpRequest 3.6.9 to 3.6.12): text that grows, JSON, a document.
 *
 * @module
 */

import { MIMEType } from "whatwg-mimetype";

const BOMS = [["utf-8", 0xef, 0xbb, 0xbf], ["utf-16be", 0xfe, 0xff], ["utf-16le", 0xff, 0xfe]];
const PRESCAN_BYTES = 1024;

/**
 * The type of a response: what its headers say, or XML, as the standard has it for those that say nothing.
 * @param {Headers} headers
 * @returns {MIMEType}
 */
export function responseType(headers) {
  const value = headers.get("content-type") ?? "";
  // Several fields were joined; the last that can be read counts.
  const read = [value, ...value.split(",").reverse()].map((text) => MIMEType.parse(text)).find((type) => type !== null);
  return read ?? new MIMEType("text/xml");
}

/** @param {string | undefined} label @returns {string | null} the encoding of that name */
export function encodingOf(label) {
  try {
    return label === undefined ? null : new TextDecoder(label).encoding;
  } catch {
    return null;
  }
}

/** The bytes of a body as they come, and the text of them that was decoded so far. */
export class ReceivedBody {
  /** @type {Uint8Array[]} */ #chunks = [];
  #decoded = 0;
  #text = "";
  /** @type {TextDecoder | null} */ #decoder = null;
  #flushed = false;
  size = 0;

  /** @param {Uint8Array} chunk */
  push(chunk) {
    this.#chunks.push(chunk);
    this.size += chunk.length;
  }

  /** @returns {Uint8Array<ArrayBuffer>} all of them, in memory of their own */
  bytes() {
    const whole = new Uint8Array(this.size);
    let at = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }

  /** @returns {Blob} with its own type */
  blob(/** @type {string} */ type) {
    return new Blob(/** @type {BlobPart[]} */ (this.#chunks), { type });
  }

  /** @param {number} most @returns {Uint8Array} of the beginning, not more than `most` bytes */
  #head(most) {
    const head = new Uint8Array(Math.min(most, this.size));
    let at = 0;
    for (const chunk of this.#chunks) {
      if (at === head.length) break;
      const part = chunk.subarray(0, head.length - at);
      head.set(part, at);
      at += part.length;
    }
    return head;
  }

  /**
   * @param {string} encoding where no byte order mark says another
   * @param {boolean} ended no more bytes will come
   * @returns {string} what can be decoded of the bytes that are there
   */
  text(encoding, ended) {
    if (!this.#decoder) {
      const head = this.#head(3);
      const open = BOMS.some(([, ...mark]) => head.length < mark.length && head.every((byte, at) => byte === mark[at]));
      if (open && !ended) return "";
      const marked = BOMS.find(([, ...mark]) => head.length >= mark.length && mark.every((byte, at) => byte === head[at]));
      this.#decoder = new TextDecoder(marked ? /** @type {string} */ (marked[0]) : encoding);
    }
    for (; this.#decoded < this.#chunks.length; this.#decoded += 1) {
      this.#text += this.#decoder.decode(this.#chunks[this.#decoded], { stream: true });
    }
    if (ended && !this.#flushed) {
      this.#flushed = true;
      this.#text += this.#decoder.decode();
    }
    return this.#text;
  }

  /** @returns {string | null} the encoding that an XML declaration at the beginning names */
  xmlEncoding() {
    const declared = /^<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']/.exec(ascii(this.#head(PRESCAN_BYTES)));
    return declared && encodingOf(declared[1]);
  }

  /** @returns {string | null} the encoding that a `meta` element near the beginning names */
  htmlEncoding() {
    const declared = /<meta\s[^>]*?charset\s*=\s*["']?\s*([A-Za-z0-9._:-]+)/i.exec(ascii(this.#head(PRESCAN_BYTES)));
    const encoding = declared && encodingOf(declared[1]);
    return encoding?.startsWith("utf-16") ? "utf-8" : encoding; // it was read as ASCII, so it is not UTF-16
  }

  /** @returns {any} null where it is no JSON */
  json() {
    try {
      return JSON.parse(new TextDecoder().decode(this.bytes()));
    } catch {
      return null;
    }
  }

  /**
   * @param {MIMEType} type HTML or XML
   * @param {string | null} encoding what the headers say
   * @returns {Document | null} null where it is not well formed, and where there are no documents
   */
  document(type, encoding) {
    if (typeof DOMParser === "undefined") return null;
    const parser = new DOMParser();
    if (type.isHTML()) return parser.parseFromString(this.text(encoding ?? this.htmlEncoding() ?? "utf-8", true), "text/html");
    if (!type.isXML()) return null;
    const text = this.text(encoding ?? this.xmlEncoding() ?? "utf-8", true);
    const document = parser.parseFromString(text, "application/xml");
    return document.querySelector("parsererror") ? null : document;
  }
}

/** @param {Uint8Array} bytes @returns {string} */
const ascii = (bytes) => String.fromCharCode(...bytes);
