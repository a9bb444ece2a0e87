/**
 * TCP connections of the tunnel, with TLS on request. Closing `writable` sends FIN, aborting it resets the connection,
 * and backpressure reaches TCP's window.
 *
 * @module
 */

import { ByteSocket } from "./byte-socket.js";
import { Channel } from "./channel.js";
import { checkIsolation } from "./isolation.js";
import { unlessAborted } from "./signals.js";
import {
  checkFamily, checkHost, checkKeepAlive, checkPort, checkSignal, checkSize, checkTimeouts, checkTls,
} from "./socket-options.js";

/** @typedef {import("./connection.js").WorkerConnection} WorkerConnection */
/** @typedef {import("../shared/messages.js").TcpRequest} TcpRequest */
/** @typedef {import("./socket-options.js").SocketDnsQueryType} SocketDnsQueryType */
/** @typedef {import("./socket-options.js").SocketTimeouts} SocketTimeouts */
/** @typedef {import("./socket-options.js").TlsOptions} TlsOptions */

/**
 * @typedef {object} TCPSocketOptions
 * @property {boolean} [noDelay] default true here: waiting for an acknowledgement costs a round trip of the mixnet
 * @property {number} [keepAliveDelay] milliseconds, at least 1000; default: the tunnel's `tcpKeepaliveMs`
 * @property {number} [sendBufferSize] bytes, held within 4 KiB to 16 MiB; default: grows with the path
 * @property {number} [receiveBufferSize] bytes, held within 4 KiB to 16 MiB; default: grows with the path
 * @property {SocketDnsQueryType} [dnsQueryType] default: what the name and the tunnel have
 * @property {boolean | TlsOptions} [tls] default false
 * @property {AbortSignal | null} [signal] resets the connection, at any time
 * @property {SocketTimeouts} [timeouts] of opening
 * @property {string | null} [isolation] as of `mixFetch`
 */

/**
 * What TLS negotiated.
 * @typedef {object} TlsFacts
 * @property {string} version "TLSv1.2" or "TLSv1.3"
 * @property {string} cipher
 * @property {string | null} alpn the protocol that the server chose
 */

/**
 * @typedef {object} TCPSocketOpenInfo
 * @property {ReadableStream<Uint8Array<ArrayBuffer>>} readable bytes; "byob" readers may be used
 * @property {WritableStream<ArrayBuffer | ArrayBufferView>} writable
 * @property {string} remoteAddress IP address
 * @property {number} remotePort
 * @property {string} localAddress the tunnel's IP address
 * @property {number} localPort
 * @property {TlsFacts | null} tls null without TLS
 */

const ignore = () => {};

/**
 * @param {string} remoteAddress
 * @param {number} remotePort
 * @param {TCPSocketOptions} options
 * @returns {TcpRequest}
 */
function describe(remoteAddress, remotePort, options) {
  if (typeof options !== "object" || options === null) throw new TypeError("the options of a socket are an object");
  return {
    host: checkHost(remoteAddress),
    port: checkPort(remotePort, "remotePort"),
    family: checkFamily(options.dnsQueryType),
    tls: checkTls(options.tls),
    noDelay: options.noDelay === undefined || Boolean(options.noDelay),
    keepAliveDelay: checkKeepAlive(options.keepAliveDelay),
    sendBufferSize: checkSize(options.sendBufferSize, "sendBufferSize"),
    receiveBufferSize: checkSize(options.receiveBufferSize, "receiveBufferSize"),
    timeouts: checkTimeouts(options.timeouts),
    isolation: checkIsolation(options.isolation),
  };
}

/**
 * A TCP connection; made by `tunnel.tcpSocket`, or over the shared tunnel by `new TCPSocket`.
 * @extends {ByteSocket<TCPSocketOpenInfo>}
 */
export class MixTcpSocket extends ByteSocket {
  /** @type {{truncated: boolean}} */ #facts;

  /**
   * @param {Promise<WorkerConnection>} connected
   * @param {string} remoteAddress name or IP address
   * @param {number} remotePort
   * @param {TCPSocketOptions} [options]
   */
  constructor(connected, remoteAddress, remotePort, options = {}) {
    connected.catch(ignore); // bad arguments are reported before a tunnel that is down
    const request = describe(remoteAddress, remotePort, options);
    const facts = { truncated: false };
    /** @param {import("../shared/messages.js").WorkerMessage} message */
    const notice = (message) => { if (message.type === "eof") facts.truncated = message.truncated; };
    super(
      async (signal) => new Channel(await unlessAborted(connected, signal), { type: "tcp", request }, { signal, notice }),
      checkSignal(options.signal),
      ({ remoteAddress, remotePort, localAddress, localPort, tls }) => ({ remoteAddress, remotePort, localAddress, localPort, tls }),
    );
    this.#facts = facts;
  }

  /** Once `readable` has ended: TLS was cut off without its closing message, so what came may not be all. */
  get truncated() { return this.#facts.truncated; }
}
