/** What `@nymproject/mix-tunnel` 0.2 exports; options may also be those that smolmix-web has besides. */

import type { SetupMixTunnelOpts } from "../index.js";

export type { SetupMixTunnelOpts };
export type TaskName = "bridge" | "reactor";
export type FailureReason = { kind: "task_exited"; task: TaskName } | { kind: "task_panicked" };
export type TunnelStateName = "connecting" | "ready" | "shutting_down" | "shutdown" | "failed";
export interface TunnelConnecting { state: "connecting" }
export interface TunnelReady { state: "ready" }
export interface TunnelShuttingDown { state: "shutting_down" }
export interface TunnelShutdown { state: "shutdown" }
export interface TunnelFailed { state: "failed"; reason: FailureReason }
export type TunnelState = TunnelConnecting | TunnelReady | TunnelShuttingDown | TunnelShutdown | TunnelFailed;

export interface MixFetchResponseInit {
  body: Uint8Array;
  status: number;
  statusText: string;
  headers: Array<[string, string]>;
}
export type WsEventType = "open" | "text" | "binary" | "close" | "error";
export type WsEventCallback = (handleId: number, type: WsEventType, data: unknown) => void;

export interface IMixTunnelWorker {
  setupMixTunnel(opts?: SetupMixTunnelOpts): Promise<void>;
  disconnectMixTunnel(): Promise<void>;
  getTunnelState(): Promise<TunnelState>;
  mixFetch(url: string, init: unknown): Promise<MixFetchResponseInit>;
  mixDNS(hostname: string): Promise<string>;
  mixWebSocket(url: string, protocols: string[] | undefined, onEvent: WsEventCallback): Promise<number>;
  wsSend(handleId: number, data: string | Uint8Array | ArrayBuffer): Promise<void>;
  wsClose(handleId: number, code: number, reason: string): Promise<void>;
}

export declare enum EventKinds { Loaded = "Loaded" }
export interface LoadedEvent {
  kind: EventKinds.Loaded;
  args: { loaded: true };
}

/** The calls of the tunnel behind the functions. */
export declare const getMixTunnel: () => Promise<IMixTunnelWorker>;
/** Set the tunnel up; calls while it is connecting or up share its outcome. */
export declare const setupMixTunnel: (opts?: SetupMixTunnelOpts) => Promise<void>;
/** Close the tunnel; it may be set up again. */
export declare const disconnectMixTunnel: () => Promise<void>;
/** `connecting` before the first set-up, and while it is reconnecting. */
export declare const getTunnelState: () => Promise<TunnelState>;
/** The same object: nothing crosses to a worker here. */
export declare const proxy: <T extends {}>(obj: T) => T;
