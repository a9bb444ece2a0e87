/**
 * smolmix-web: network access for pages through the Nym mixnet.
 *
 * Names follow `@nymproject/mix-tunnel`, `mix-fetch`, `mix-dns` and `mix-websocket`. The functions share one tunnel;
 * `new MixTunnel(options)` gives an independent one.
 *
 * @module
 */

import { MixTcpSocket as TunnelTcpSocket } from "./tcp-socket.js";
import { MixTunnel } from "./tunnel.js";
import { MixUdpSocket as TunnelUdpSocket } from "./udp-socket.js";
import { connectSharedBy } from "./websocket.js";
import { mixError } from "./errors.js";

export { MixCookies } from "./cookies.js";
export { MixError } from "./errors.js";
export { MixResponse } from "./response.js";
export { MixErrorEvent, MixWebSocket } from "./websocket.js";
export { MixTunnelPool } from "./pool.js";
export { MixTunnel };

/** @typedef {import("./tunnel.js").SetupMixTunnelOpts} SetupMixTunnelOpts */
/** @typedef {import("./own-storage.js").MixStorage} MixStorage */
/** @typedef {import("./log.js").MixLogger} MixLogger */
/** @typedef {import("./log.js").MixLoggerObject} MixLoggerObject */
/** @typedef {import("./log.js").MixLogEntry} MixLogEntry */
/** @typedef {import("./log.js").MixLogLevel} MixLogLevel */
/** @typedef {import("./pool.js").MixTunnelPoolOpts} MixTunnelPoolOpts */
/** @typedef {import("./pool.js").MixRotation} MixRotation */
/** @typedef {import("../shared/messages.js").TunnelSnapshot} TunnelSnapshot */
/** @typedef {import("../shared/messages.js").Loading} Loading */
/** @typedef {import("../shared/messages.js").MixCookie} MixCookie */
/** @typedef {import("./websocket.js").MixWebSocketOptions} MixWebSocketOptions */
/** @typedef {import("./fetch.js").MixFetchInit} MixFetchInit */
/** @typedef {import("./fetch.js").MixProgress} MixProgress */
/** @typedef {import("./fetch.js").MixTimeouts} MixTimeouts */
/** @typedef {import("../shared/messages.js").FetchTimings} FetchTimings */
/** @typedef {import("./timing.js").MixFetchEntry} MixFetchEntry */
/** @typedef {import("./dns.js").MixRecordType} MixRecordType */
/** @typedef {import("./dns.js").MixRecord} MixRecord */
/**
 * @template {MixRecordType} [T=MixRecordType]
 * @typedef {import("./dns.js").MixDnsAnswer<T>} MixDnsAnswer
 */
/**
 * @template {MixRecordType} [T=MixRecordType]
 * @typedef {import("./dns.js").MixResolveOptions<T>} MixResolveOptions
 */
/** @typedef {import("./tunnel.js").PingOptions} PingOptions */
/** @typedef {import("./tunnel.js").PingReply} PingReply */
/** @typedef {import("./tcp-socket.js").MixTcpSocket} MixTcpSocket what `tunnel.tcpSocket` gives */
/** @typedef {import("./udp-socket.js").MixUdpSocket} MixUdpSocket what `tunnel.udpSocket` gives */
/** @typedef {import("./tcp-socket.js").TCPSocketOptions} TCPSocketOptions */
/** @typedef {import("./tcp-socket.js").TlsFacts} TlsFacts */
/** @typedef {import("./tcp-socket.js").TCPSocketOpenInfo} TCPSocketOpenInfo */
/** @typedef {import("./udp-socket.js").UDPSocketOptions} UDPSocketOptions */
/** @typedef {import("./udp-socket.js").UDPSocketOpenInfo} UDPSocketOpenInfo */
/** @typedef {import("./udp-socket.js").UDPMessage} UDPMessage */
/** @typedef {import("./udp-socket.js").UDPReceived} UDPReceived */
/** @typedef {import("./peer-messages.js").MixMessages} MixMessages what `tunnel.messages` is */
/** @typedef {import("./peer-messages.js").MixMessage} MixMessage */
/** @typedef {import("./peer-messages.js").MixMessageOptions} MixMessageOptions */
/** @typedef {import("./peer-messages.js").MixReplyOptions} MixReplyOptions */
/** @typedef {import("./peer-messages.js").MixSent} MixSent */
/** @typedef {import("./peer-stream.js").MixPeerStream} MixPeerStream what `tunnel.openStream` and a listener give */
/** @typedef {import("./peer-stream.js").MixPeerStreamOptions} MixPeerStreamOptions */
/** @typedef {import("./peer-stream.js").MixPeerStreamOpenInfo} MixPeerStreamOpenInfo */
/** @typedef {import("./peer-stream.js").MixListener} MixListener what `tunnel.listen` gives */
/** @typedef {import("./peer-stream.js").MixListenerOpenInfo} MixListenerOpenInfo */
/** @typedef {import("./socket-options.js").SocketDnsQueryType} SocketDnsQueryType */
/** @typedef {import("./socket-options.js").SocketTimeouts} SocketTimeouts */
/** @typedef {import("./socket-options.js").TlsOptions} TlsOptions */

/** @type {MixTunnel | null} */
let shared = null;
/** @type {Set<(tunnel: MixTunnel) => void>} */
const followers = new Set();

/** @returns {MixTunnel} */
function tunnel() {
  if (!shared) throw mixError("tunnel_down", "the tunnel is not set up: call setupMixTunnel first", "setup");
  return shared;
}

/**
 * Connect the shared tunnel. While it is connecting or up, further calls share its outcome and their options are not
 * looked at; after a failure or `disconnectMixTunnel` it starts anew with these options.
 * @param {SetupMixTunnelOpts} [opts]
 * @returns {Promise<void>}
 */
export async function setupMixTunnel(opts = {}) {
  if (!shared?.active) {
    shared = new MixTunnel(opts);
    for (const follower of followers) follower(shared);
  }
  await shared.setup();
}

/**
 * Be told of the shared tunnel, now and whenever there is another one.
 * @internal
 * @param {(tunnel: MixTunnel) => void} follower
 * @returns {() => void} ends it
 */
export const followSharedTunnel = (follower) => {
  followers.add(follower);
  if (shared) follower(shared);
  return () => void followers.delete(follower);
};

/** Close the shared tunnel; `setupMixTunnel` may be called again afterwards. @returns {Promise<void>} */
export async function disconnectMixTunnel() {
  await shared?.disconnect();
}

/** State of the shared tunnel; `{state: "shutdown"}` before the first set-up. @returns {Promise<TunnelSnapshot>} */
export async function getTunnelState() {
  return (shared ?? new MixTunnel()).state;
}

/** The shared tunnel itself, once `setupMixTunnel` was called. @returns {Promise<MixTunnel>} */
export async function getMixTunnel() {
  return tunnel();
}

/**
 * `fetch` over the mixnet; needs `setupMixTunnel`.
 * @param {RequestInfo | URL} input
 * @param {MixFetchInit} [init]
 * @returns {Promise<import("./response.js").MixResponse>}
 */
export function mixFetch(input, init = undefined) {
  return (shared ?? new MixTunnel()).fetch(.../** @type {[RequestInfo | URL]} */ (/** @type {unknown} */ (arguments)));
}

/**
 * Set up the shared tunnel and return the fetch function.
 * @param {SetupMixTunnelOpts} [opts]
 * @returns {Promise<typeof mixFetch>}
 */
export async function createMixFetch(opts = {}) {
  await setupMixTunnel(opts);
  return mixFetch;
}

/**
 * First address of a name, asked through the mixnet.
 * @param {string} hostname
 * @param {{signal?: AbortSignal | null, isolation?: string | null}} [options]
 * @returns {Promise<string>}
 */
export async function mixDNS(hostname, { signal = null, isolation } = {}) {
  const [address] = await tunnel().resolve(hostname, { signal, isolation });
  if (address === undefined) throw mixError("dns_no_data", `${hostname} has no address`, "dns");
  return address;
}

/**
 * Records of a name, asked through the mixnet; needs `setupMixTunnel`.
 * @template {import("./dns.js").MixRecordType} [T="A"]
 * @param {string} name for PTR also an address
 * @param {import("./dns.js").MixResolveOptions<T>} [options]
 * @returns {Promise<import("./dns.js").MixDnsAnswer<T>>}
 */
export async function mixResolve(name, options) {
  return tunnel().lookup(name, options);
}

/** The worker of the shared tunnel, or why there is none. */
const connected = () => (shared ?? new MixTunnel()).connected();
connectSharedBy(async () => tunnel().connected());

/**
 * Round trip to a host by an ICMP echo; needs `setupMixTunnel`.
 * @param {string} host
 * @param {PingOptions} [options]
 * @returns {Promise<PingReply>}
 */
export async function mixPing(host, options) {
  return tunnel().ping(host, options);
}

/** A TCP connection over the shared tunnel in the shape of Direct Sockets; needs `setupMixTunnel`. */
export class TCPSocket extends TunnelTcpSocket {
  /**
   * @param {string} remoteAddress name or IP address
   * @param {number} remotePort
   * @param {TCPSocketOptions} [options]
   */
  constructor(remoteAddress, remotePort, options = {}) {
    super(connected(), remoteAddress, remotePort, options);
  }
}

/** A UDP socket over the shared tunnel in the shape of Direct Sockets; needs `setupMixTunnel`. */
export class UDPSocket extends TunnelUdpSocket {
  /** @param {UDPSocketOptions} [options] */
  constructor(options = {}) {
    super(connected(), options);
  }
}
