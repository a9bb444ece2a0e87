/**
 * `MixTunnelPool`: several tunnels with different exits behind the API of one. They live in one worker, which decides who
 * goes where (smolmix_web/tunnel/pool.py); here are only its options, and `rotate`.
 *
 * @module
 */

import { optionError } from "./errors.js";
import { checkIsolation } from "./isolation.js";
import { copyOptions, MixTunnel } from "./tunnel.js";

/** @typedef {import("./tunnel.js").SetupMixTunnelOpts} SetupMixTunnelOpts */

/**
 * When a tunnel is replaced by one with another exit; for none of these reasons by default.
 * @typedef {object} MixRotation
 * @property {number} [everyMs] after about so many milliseconds: a quarter more or less
 * @property {number} [requests] after so many requests, connections counted as one
 * @property {number[]} [statuses] when a server answers with one of these, as 403 and 429
 */

/** @typedef {{size?: number, rotate?: MixRotation}} MixPoolOptions `size`: tunnels, 1 to 8, default 2 */
/** @typedef {Omit<SetupMixTunnelOpts, "clientId" | "storagePassphrase" | "preferredIpr" | "exit" | "shared" | "storage" | "topology"> & MixPoolOptions} MixTunnelPoolOpts */

/**
 * An isolation key is at home in one tunnel, so the first `size` keys have an exit each. Messages and streams of other
 * clients are a tunnel's alone (`no_peers`).
 */
export class MixTunnelPool extends MixTunnel {
  /** @param {MixTunnelPoolOpts} [options] */
  constructor({ size, rotate, ...options } = {}) {
    super(options);
    if (/** @type {SetupMixTunnelOpts} */ (options).shared) throw optionError("shared", "a pool is that of one page");
    this.poolOptions = copyOptions({ size, rotate });
  }

  /**
   * Another exit for a key, and for those that share its tunnel; resolves when it is in use.
   * @param {{isolation?: string | null, signal?: AbortSignal | null}} [options]
   * @returns {Promise<void>}
   */
  async rotate({ isolation, signal = null } = {}) {
    const key = checkIsolation(isolation);
    await (await this.connected()).call({ type: "rotate", isolation: key }, signal);
  }
}
