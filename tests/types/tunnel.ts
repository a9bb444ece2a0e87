/** Set-up, state, options, errors, DNS, cookies. */

import {
  MixCookies, MixError, MixTunnel, createMixFetch, disconnectMixTunnel, getMixTunnel, getTunnelState, mixDNS, mixFetch, setupMixTunnel,
} from "smolmix";
import type {
  Loading, MixCookie, MixLogEntry, MixLogger, MixLoggerObject, MixLogLevel, MixStorage, MixTimeouts, SetupMixTunnelOpts, TunnelSnapshot,
} from "smolmix";
import { exactly } from "./exactly.js";

const limits: MixTimeouts = { queue: 1, dns: 1, connect: 1, tls: 1, request: 1, response: 1, idle: 1, total: 1 };

export const everything: Required<SetupMixTunnelOpts> = {
  preferredIpr: "address", preferredGateway: "identity", clientId: "me", forceTls: true, disablePoissonTraffic: false,
  disableCoverTraffic: false, openReplySurbs: 10, dataReplySurbs: 2, primaryDns: "8.8.8.8:53", fallbackDns: "1.1.1.1:53",
  storagePassphrase: "sesame", connectTimeoutMs: 60_000, dnsTimeoutMs: 30_000, tcpKeepaliveMs: 10_000, tcpBufferSize: 65_535, tcpSegments: "paired", fingerprint: "official",
  maxRedirects: 5, timeouts: limits, maxDecodedBytes: 1, debug: false, directoryUrls: ["https://d/"],
  caCertificates: ["PEM"], defaultRoots: false, crypto: "auto", snapshot: "auto", trafficPreset: "default", trafficRate: "1/2",
  exit: "auto", topology: {}, assetsUrl: "/smolmix/", integrity: "require", shared: true, isolation: "alice",
  storage: new Map<string, string>(), logger: console, logLevel: "silent",
};

export async function life(): Promise<void> {
  exactly<Promise<void>>()(setupMixTunnel(everything));
  exactly<Promise<void>>()(setupMixTunnel());
  exactly<Promise<void>>()(disconnectMixTunnel());
  exactly<Promise<TunnelSnapshot>>()(getTunnelState());
  exactly<Promise<MixTunnel>>()(getMixTunnel());
  exactly<typeof mixFetch>()(await createMixFetch({ debug: true }));
  exactly<Promise<string>>()(mixDNS("name", { signal: AbortSignal.timeout(1) }));
  const tunnel = new MixTunnel({ caCertificates: "PEM" });
  exactly<Promise<void>>()(tunnel.setup());
  exactly<Promise<void>>()(tunnel.disconnect());
  exactly<Promise<void>>()(tunnel.suspend());
  exactly<Promise<void>>()(tunnel.resume());
  exactly<boolean>()(tunnel.active);
  tunnel.addEventListener("loading", ({ detail }) => {
    exactly<Loading>()(detail);
    exactly<number>()(detail.bytes);
  });
  exactly<TunnelSnapshot>()(tunnel.state);
  exactly<Promise<string[]>>()(tunnel.resolve("name", { family: 4, signal: null }));
  exactly<Promise<Record<string, unknown>>>()(tunnel.statistics());
  const { state, step, error, warnings, gateway, exit, addresses, traffic } = tunnel.state;
  exactly<"1" | "1/2" | "1/4" | "1/8" | "1/16" | undefined>()(traffic?.rate);
  exactly<"connecting" | "ready" | "reconnecting" | "suspended" | "shutting_down" | "shutdown" | "failed">()(state);
  exactly<string | null>()(step);
  exactly<string | undefined>()(error?.code);
  exactly<string[]>()(warnings.map(({ code }) => code));
  exactly<string | null>()(gateway);
  exactly<string | null>()(exit);
  exactly<string[]>()(addresses);
  const onState = (event: CustomEvent<TunnelSnapshot>): void => exactly<TunnelSnapshot>()(event.detail);
  tunnel.addEventListener("state", onState, { once: true });
  tunnel.removeEventListener("state", onState);
  tunnel.addEventListener("other", (event) => exactly<Event>()(event));
  const target: EventTarget = tunnel;
  void target;
}

export function errors(error: unknown): void {
  if (!(error instanceof MixError)) return;
  const typed: TypeError = error;
  void typed;
  exactly<string>()(error.code);
  exactly<string | null>()(error.phase);
  exactly<string>()(error.kind);
  exactly<string | null>()(error.reason);
  exactly<boolean>()(error.retryable);
  exactly<string | undefined>()(error.option);
}

export async function cookies(tunnel: MixTunnel): Promise<void> {
  exactly<MixCookies>()(tunnel.cookies);
  const jar = await tunnel.cookies.export();
  exactly<Required<MixCookie>[]>()(jar);
  exactly<Promise<number>>()(tunnel.cookies.import(jar));
  exactly<Promise<void>>()(tunnel.cookies.clear());
}

export function misuse(): void {
  // @ts-expect-error no such option
  void setupMixTunnel({ fallbackToClearNet: true });
  // @ts-expect-error a flag
  void setupMixTunnel({ forceTls: "yes" });
  // @ts-expect-error no such provider
  void setupMixTunnel({ crypto: "own" });
  // @ts-expect-error no such family
  void new MixTunnel().resolve("name", { family: 5 });
  // @ts-expect-error one name
  void mixDNS();
}

export const place: MixStorage = {
  get: async (key) => localStorage.getItem(key), set: (key, value) => localStorage.setItem(key, value), delete() {},
};
// @ts-expect-error a place that forgets nothing is none
export const noPlace: MixStorage = { get() {}, set() {} };

const lines: MixLoggerObject = { debug() {}, info(line) { exactly<string>()(line); }, warn() {}, error() {} };
export const loggers: MixLogger[] = [lines, console, (entry) => {
  exactly<MixLogEntry>()(entry);
  exactly<MixLogLevel>()(entry.level);
  exactly<string | null>()(entry.code);
}];

export async function disposed(): Promise<void> {
  await using tunnel = new MixTunnel();
  using again = new MixTunnel();
  await using socket = tunnel.webSocket("wss://host/");
  await using tcp = again.tcpSocket("host", 1);
  using udp = tunnel.udpSocket();
  await using stream = tunnel.openStream("address");
  exactly<[unknown, unknown, unknown, unknown]>()([socket, tcp, udp, stream] as [unknown, unknown, unknown, unknown]);
}
