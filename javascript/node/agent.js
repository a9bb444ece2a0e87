/**
 * What HTTP libraries of Node.js take in the place of their own connections: an agent for `node:http` and `node:https`, a
 * connector for undici. TLS is Node's own, inside the tunnel: certificates are checked as the program's other ones.
 *
 * @module
 */

import { once } from "node:events";
import { isIP } from "node:net";
import tls from "node:tls";
import { Agent } from "agent-base";
import { closable } from "../page/dispose.js";
import { MixSocket } from "./socket.js";

/** @typedef {import("../page/tunnel.js").MixTunnel} MixTunnel */

/**
 * @param {MixTunnel | undefined} tunnel
 * @param {string} host @param {number | string} port @param {AbortSignal} [signal]
 * @returns {Promise<MixSocket>} connected
 */
async function open(tunnel, host, port, signal) {
  const socket = new MixSocket({ host, port, signal, tunnel });
  await once(socket, "connect");
  return socket;
}

/**
 * @param {tls.ConnectionOptions} options
 * @param {MixSocket} socket
 * @param {string} host
 * @returns {tls.TLSSocket}
 */
function secure({ host: _host, port: _port, path: _path, lookup: _lookup, ...options }, socket, host) {
  const servername = options.servername || (isIP(host) ? "" : host);
  return tls.connect({ ...options, servername, socket });
}

/** Whose class it is, is nothing that types need to tell. */
const Base = /** @type {new (options?: import("node:http").AgentOptions) => import("node:http").Agent & AsyncDisposable & Disposable} */ (
  /** @type {unknown} */ (Agent));

/** For `http.request` and `https.request`, and every library that takes an agent of theirs. */
export class MixAgent extends Base {
  /** @type {MixTunnel | undefined} */ #tunnel;

  /** @param {import("node:http").AgentOptions & {tunnel?: MixTunnel}} [options] `tunnel`: default the shared one */
  constructor({ tunnel, ...options } = {}) {
    super(options);
    this.#tunnel = tunnel;
  }

  /**
   * @internal
   * @param {import("node:http").ClientRequest} _request
   * @param {import("agent-base").AgentConnectOpts} options
   * @returns {Promise<import("node:stream").Duplex>}
   */
  async connect(_request, options) {
    const host = options.host ?? "localhost";
    const socket = await open(this.#tunnel, host, options.port);
    return options.secureEndpoint ? secure(options, socket, host) : socket;
  }
}

closable(MixAgent, (agent) => agent.destroy());

/**
 * For undici: `new Agent({ connect: mixConnector() })`.
 * @param {tls.ConnectionOptions & {tunnel?: MixTunnel}} [settings] of TLS; `tunnel`: default the shared one
 * @returns {(options: {hostname: string, host?: string, protocol: string, port: string, servername?: string | null},
 *   callback: (...result: [null, any] | [Error, null]) => void) => void}
 */
export function mixConnector({ tunnel, ...settings } = {}) {
  return ({ hostname, protocol, port, servername }, callback) => {
    const isSecure = protocol === "https:";
    open(tunnel, hostname, port || (isSecure ? 443 : 80)).then(async (socket) => {
      if (!isSecure) return socket;
      const own = { ALPNProtocols: ["http/1.1"], ...settings, servername: servername ?? undefined };
      const secured = secure(own, socket, hostname.replace(/^\[(.*)\]$/, "$1"));
      await once(secured, "secureConnect");
      return secured;
    }).then((socket) => callback(null, socket), (error) => callback(error, null));
  };
}
