/**
 * A TCP connection of the tunnel in the shape of `net.Socket`: a Duplex stream for libraries that were written for that.
 *
 * @module
 */

import { isIP } from "node:net";
import { Duplex } from "node:stream";
import { errnoOf } from "./errno.js";
import { tunnelOf } from "./tunnel.js";

/** @typedef {import("../page/tunnel.js").MixTunnel} MixTunnel */
/** @typedef {import("../page/tcp-socket.js").MixTcpSocket} MixTcpSocket */

/**
 * @typedef {object} MixConnectOptions
 * @property {number | string} port
 * @property {string} [host] name or IP address
 * @property {4 | 6 | 0} [family]
 * @property {boolean} [allowHalfOpen] default false: the end of what comes ends what goes
 * @property {boolean} [noDelay] default true
 * @property {number} [timeout] milliseconds without data until the event "timeout"
 * @property {AbortSignal} [signal] destroys the socket
 * @property {MixTunnel} [tunnel] default: the shared one
 */

/** Events, beside those of streams: "connect", "ready", "timeout". Names are resolved through the tunnel. */
export class MixSocket extends Duplex {
  /** @type {MixConnectOptions} */ #options;
  /** @type {MixTcpSocket | null} */ #socket = null;
  /** @type {ReadableStreamDefaultReader<Uint8Array> | null} */ #reader = null;
  /** @type {WritableStreamDefaultWriter<ArrayBuffer | ArrayBufferView> | null} */ #writer = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #idle = 0;
  connecting = true;
  bytesRead = 0;
  bytesWritten = 0;
  /** @type {string | undefined} */ remoteAddress;
  /** @type {number | undefined} */ remotePort;
  /** @type {"IPv4" | "IPv6" | undefined} */ remoteFamily;
  /** @type {string | undefined} */ localAddress;
  /** @type {number | undefined} */ localPort;

  /** @param {MixConnectOptions} options */
  constructor(options) {
    super({ allowHalfOpen: options.allowHalfOpen ?? false, signal: options.signal, emitClose: true });
    this.#options = options;
    if (options.timeout) this.setTimeout(options.timeout);
  }

  /** @param {(error?: Error | null) => void} done */
  _construct(done) {
    this.#open().then(() => done(), (error) => done(errnoOf(error, "connect")));
  }

  async #open() {
    const { host = "localhost", port, family, noDelay, tunnel } = this.#options;
    const dnsQueryType = family === 4 ? "ipv4" : family === 6 ? "ipv6" : undefined;
    const socket = (await tunnelOf(tunnel)).tcpSocket(host.replace(/^\[(.*)\]$/, "$1"), Number(port), { noDelay, dnsQueryType });
    socket.closed.catch(() => {}); // told by reading and writing
    this.#socket = socket;
    const { readable, writable, remoteAddress, remotePort, localAddress, localPort } = await socket.opened;
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.connecting = false;
    Object.assign(this, { remoteAddress, remotePort, localAddress, localPort });
    this.remoteFamily = isIP(remoteAddress) === 6 ? "IPv6" : "IPv4";
    this.#active();
    // After the stream knows that it may read and write.
    process.nextTick(() => {
      if (this.destroyed) return;
      this.emit("connect");
      this.emit("ready");
    });
  }

  _read() {
    this.#reader?.read().then(({ done, value }) => {
      this.#active();
      if (done) return void this.push(null);
      this.bytesRead += value.length;
      this.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    }, (error) => this.destroy(errnoOf(error, "read")));
  }

  /** @param {Buffer} chunk @param {BufferEncoding} _coding @param {(error?: Error | null) => void} done */
  _write(chunk, _coding, done) {
    const writer = /** @type {WritableStreamDefaultWriter<ArrayBufferView>} */ (this.#writer);
    writer.write(chunk).then(() => {
      this.#active();
      this.bytesWritten += chunk.length;
      done();
    }, (error) => done(errnoOf(error, "write")));
  }

  /** @param {(error?: Error | null) => void} done */
  _final(done) {
    const writer = /** @type {WritableStreamDefaultWriter<ArrayBufferView>} */ (this.#writer);
    writer.close().then(() => done(), (error) => done(errnoOf(error, "shutdown")));
  }

  /** @param {Error | null} error @param {(error?: Error | null) => void} done */
  _destroy(error, done) {
    clearTimeout(this.#timer);
    this.connecting = false;
    // What was ended in order by both sides has nothing to be reset.
    if (!this.readableEnded || !this.writableFinished) this.#socket?.abort();
    done(error);
  }

  #active() {
    clearTimeout(this.#timer);
    if (this.#idle && !this.destroyed) this.#timer = setTimeout(() => this.emit("timeout"), this.#idle).unref();
  }

  /** The event "timeout" after so long without data; 0: never. @param {number} milliseconds @param {() => void} [listener] */
  setTimeout(milliseconds, listener) {
    this.#idle = milliseconds;
    if (listener) milliseconds ? this.once("timeout", listener) : this.off("timeout", listener);
    this.#active();
    return this;
  }

  get timeout() { return this.#idle || undefined; }
  get pending() { return this.connecting; }
  get readyState() {
    if (this.connecting) return "opening";
    if (this.readable) return this.writable ? "open" : "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  address() {
    return this.localAddress === undefined ? {} : { address: this.localAddress, port: this.localPort, family: this.remoteFamily };
  }

  /** End in order, once everything was written. */
  destroySoon() {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  resetAndDestroy() { return this.destroy(); }
  // Of the connection itself, chosen when it is opened; the tunnel keeps it alive, and an open socket the program.
  setNoDelay() { return this; }
  setKeepAlive() { return this; }
  ref() { return this; }
  unref() { return this; }
}

if (Symbol.dispose) {
  // `await using` is the stream's own.
  Object.defineProperty(MixSocket.prototype, Symbol.dispose, { value() { this.destroy(); }, writable: true, configurable: true });
}

/**
 * As `net.connect`: `connect({host, port})` or `connect(port, host)`, and a listener for "connect".
 * @param {MixConnectOptions | number} place
 * @param {...(string | (() => void))} rest
 * @returns {MixSocket}
 */
export function connect(place, ...rest) {
  const host = typeof rest[0] === "string" ? rest[0] : undefined;
  const listener = rest.find((given) => typeof given === "function");
  const socket = new MixSocket(typeof place === "object" ? place : { port: place, host });
  if (typeof listener === "function") socket.once("connect", listener);
  return socket;
}
