/** What `@nymproject/mix-fetch` 2.1 exports. */

import { disconnectMixTunnel, getTunnelState, setupMixTunnel, type SetupMixTunnelOpts } from "./mix-tunnel.js";

export { disconnectMixTunnel, getTunnelState, setupMixTunnel };
export type { SetupMixTunnelOpts };
/** `fetch` over the mixnet; needs `setupMixTunnel`. */
export declare const mixFetch: (url: string, init?: RequestInit) => Promise<Response>;
/** Set the tunnel up and return the fetch function. */
export declare const createMixFetch: (opts?: SetupMixTunnelOpts) => Promise<typeof mixFetch>;
