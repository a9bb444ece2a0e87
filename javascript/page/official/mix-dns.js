/**
 * What `@nymproject/mix-dns` exports, over our tunnel.
 *
 * @module
 */

import * as own from "../index.js";

export { disconnectMixTunnel, getTunnelState, setupMixTunnel } from "./mix-tunnel.js";

/** @type {typeof import("../official-types/mix-dns.js").mixDNS} */
export const mixDNS = (hostname) => own.mixDNS(hostname);
