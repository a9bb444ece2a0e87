/** What `@nymproject/mix-websocket` 0.2 exports. */

import { disconnectMixTunnel, getTunnelState, setupMixTunnel, type SetupMixTunnelOpts } from "./mix-tunnel.js";

export { disconnectMixTunnel, getTunnelState, setupMixTunnel };
export type { SetupMixTunnelOpts };
export type MixWebSocketReadyState = 0 | 1 | 2 | 3;
/** A WebSocket over the mixnet; needs `setupMixTunnel`. `opened` resolves also when it failed. */
export declare class MixWebSocket extends EventTarget {
  readonly url: string;
  readonly protocols: string[];
  constructor(url: string, protocols?: string | string[]);
  get readyState(): MixWebSocketReadyState;
  opened(): Promise<void>;
  send(data: string | ArrayBuffer | Uint8Array): Promise<void>;
  close(code?: number, reason?: string): Promise<void>;
}
