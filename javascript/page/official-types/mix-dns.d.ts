/** What `@nymproject/mix-dns` 0.2 exports. */

import { disconnectMixTunnel, getTunnelState, setupMixTunnel, type SetupMixTunnelOpts } from "./mix-tunnel.js";

export { disconnectMixTunnel, getTunnelState, setupMixTunnel };
export type { SetupMixTunnelOpts };
/** The first address of a name, asked through the mixnet; needs `setupMixTunnel`. */
export declare const mixDNS: (hostname: string) => Promise<string>;
