/**
 * What `@nymproject/mix-websocket` exports, over our tunnel.
 *
 * Its class differs from ours where the official one does: `opened` never rejects, `send` and `close` are asynchronous in
 * all that they do, `url` and `protocols` are what was given, and a URL that is none is an `error` event.
 *
 * @module
 */

import * as own from "../index.js";

export { disconnectMixTunnel, getTunnelState, setupMixTunnel } from "./mix-tunnel.js";

const OPEN = 1, CLOSING = 2, CLOSED = 3;

export class MixWebSocket extends EventTarget {
  /** @type {own.MixWebSocket | null} */ #socket = null;
  /** @type {Promise<void>} */ #opened;

  /** @param {string} url @param {string | string[]} [protocols] */
  constructor(url, protocols) {
    super();
    /** @type {string} @readonly */
    this.url = url;
    /** @type {string[]} @readonly */
    this.protocols = Array.isArray(protocols) ? protocols : protocols ? [protocols] : [];
    try {
      const socket = new own.MixWebSocket(url, this.protocols);
      this.#socket = socket;
      this.#opened = socket.opened().catch(() => {});
      socket.addEventListener("open", () => this.dispatchEvent(new Event("open")));
      socket.addEventListener("message", ({ data }) => this.dispatchEvent(new MessageEvent("message", { data })));
      socket.addEventListener("error", ({ message }) => this.#failed(message));
      socket.addEventListener("close", ({ code, reason, wasClean }) => {
        if (wasClean || code !== 1006) this.dispatchEvent(new CloseEvent("close", { code, reason }));
      });
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      this.#opened = new Promise((resolve) => setTimeout(() => {
        this.#failed(message);
        resolve();
      }));
    }
  }

  /** @param {string} message */
  #failed(message) {
    this.dispatchEvent(Object.assign(new Event("error"), { message }));
  }

  get readyState() {
    return this.#socket?.readyState ?? CLOSED;
  }

  /** @returns {Promise<void>} */
  opened() {
    return this.#opened;
  }

  /** @param {string | ArrayBuffer | Uint8Array} data @returns {Promise<void>} */
  async send(data) {
    if (this.readyState !== OPEN) throw new Error(`MixWebSocket.send: state is ${this.readyState}, expected OPEN`);
    await this.#socket?.send(data);
  }

  /** @param {number} [code] @param {string} [reason] @returns {Promise<void>} */
  async close(code = 1000, reason = "") {
    if (this.readyState >= CLOSING) return;
    void this.#socket?.close(code, reason);
  }
}
