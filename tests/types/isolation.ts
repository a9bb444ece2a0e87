/** Isolation keys wherever they may be given, and pools. */

import { MixTunnel, MixTunnelPool, MixWebSocket, mixDNS, mixFetch, mixResolve } from "smolmix";
import type { MixRotation, MixTunnelPoolOpts, TunnelSnapshot } from "smolmix";
import { exactly } from "./exactly.js";

export async function keys(tunnel: MixTunnel): Promise<void> {
  const isolation = "alice";
  await mixFetch("https://example.com/", { isolation, cookies: "jar" });
  await mixFetch("https://example.com/", { isolation: null });
  exactly<Promise<string>>()(mixDNS("example.com", { isolation }));
  await mixResolve("example.com", { type: "MX", isolation });
  await tunnel.resolve("example.com", { isolation });
  await tunnel.ping("example.com", { isolation });
  tunnel.tcpSocket("example.com", 80, { isolation });
  tunnel.udpSocket({ remoteAddress: "example.com", remotePort: 53, isolation });
  tunnel.webSocket("wss://example.com/", [], { isolation });
  new MixWebSocket("wss://example.com/", [], { isolation });
  exactly<number>()(await tunnel.cookies.import(await tunnel.cookies.export({ isolation }), { isolation }));
  await tunnel.cookies.clear({ isolation });
}

export async function pools(): Promise<void> {
  const rotate: MixRotation = { everyMs: 600_000, requests: 100, statuses: [403, 429] };
  const options: MixTunnelPoolOpts = { size: 3, rotate, debug: true, forceTls: true };
  const pool = new MixTunnelPool(options);
  const tunnel: MixTunnel = pool;
  await keys(tunnel);
  exactly<Promise<void>>()(pool.rotate({ isolation: "alice", signal: AbortSignal.timeout(1) }));
  exactly<Promise<void>>()(pool.rotate());
  exactly<TunnelSnapshot[] | undefined>()(pool.state.tunnels);
  new MixTunnelPool();
  // @ts-expect-error -- the tunnels of a pool have different exits
  new MixTunnelPool({ preferredIpr: "address" });
  // @ts-expect-error -- a key is a text
  await mixFetch("https://example.com/", { isolation: 7 });
}
