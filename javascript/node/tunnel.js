/**
 * The tunnel that something was asked to use.
 *
 * @module
 */

import { getMixTunnel } from "../page/index.js";

/** @typedef {import("../page/tunnel.js").MixTunnel} MixTunnel */

/** @param {MixTunnel} [tunnel] @returns {Promise<MixTunnel>} this one, or the shared one once `setupMixTunnel` was called */
export const tunnelOf = async (tunnel) => tunnel ?? getMixTunnel();
