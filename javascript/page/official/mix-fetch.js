/**
 * What `@nymproject/mix-fetch` exports, over our tunnel.
 *
 * @module
 */

import * as own from "../index.js";
import { disconnectMixTunnel, getTunnelState, setupMixTunnel } from "./mix-tunnel.js";

export { disconnectMixTunnel, getTunnelState, setupMixTunnel };

/** @typedef {typeof import("../official-types/mix-fetch.js")} Official */

/** @type {Official["mixFetch"]} */
export const mixFetch = (url, init) => own.mixFetch(url, init);

/** @type {Official["createMixFetch"]} */
export const createMixFetch = async (opts) => {
  await setupMixTunnel(opts);
  return mixFetch;
};
