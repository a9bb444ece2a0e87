/**
 * The format of `text/event-stream` (HTML 9.2.6): lines to events.
 *
 * @module
 */

/**
 * @typedef {object} StreamEvent
 * @property {string} type "message" where none is named
 * @property {string} data
 * @property {string} lastEventId
 */

/** A reader of one stream; `lastEventId` goes on from an earlier one's. */
export class EventStreamReader {
  #decoder = new TextDecoder();
  #rest = "";
  #afterReturn = false;
  /** @type {string[]} */ #data = [];
  #type = "";
  #id;
  /** Of the last event that ended, whether it was dispatched or not. */
  lastEventId;
  /** Milliseconds, once the server named them. @type {number | null} */
  retry = null;

  /** @param {string} lastEventId */
  constructor(lastEventId) {
    this.lastEventId = this.#id = lastEventId;
  }

  /**
   * @param {Uint8Array} chunk
   * @returns {StreamEvent[]} those that are complete
   */
  read(chunk) {
    let text = this.#decoder.decode(chunk, { stream: true });
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    if (text) this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = /** @type {string} */ (lines.pop());
    const events = [];
    for (const line of lines) {
      const event = line === "" ? this.#end() : this.#field(line);
      if (event) events.push(event);
    }
    return events;
  }

  /** @param {string} line @returns {undefined} */
  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  /** @returns {StreamEvent | undefined} */
  #end() {
    const [type, data] = [this.#type, this.#data];
    this.#type = "";
    this.#data = [];
    this.lastEventId = this.#id;
    return data.length ? { type: type || "message", data: data.join("\n"), lastEventId: this.lastEventId } : undefined;
  }
}
