/** An app as it is written for the four official packages; not a word of it is about ours. */

import { createMixFetch, mixFetch, type SetupMixTunnelOpts } from "@nymproject/mix-fetch";
import { mixDNS } from "@nymproject/mix-dns";
import { EventKinds, getMixTunnel, proxy, type TunnelState, type WsEventCallback } from "@nymproject/mix-tunnel";
import { MixWebSocket, type MixWebSocketReadyState, disconnectMixTunnel, getTunnelState, setupMixTunnel } from "@nymproject/mix-websocket";

function describe(state: TunnelState): string {
  switch (state.state) {
    case "failed":
      return state.reason.kind === "task_exited" ? `failed: ${state.reason.task}` : "panicked";
    case "connecting":
    case "ready":
    case "shutting_down":
    case "shutdown":
      return state.state;
  }
}

async function echo(url: string, word: string): Promise<unknown[]> {
  const socket: MixWebSocket = new MixWebSocket(url, ["chat"]);
  const received: unknown[] = [socket.url === url, socket.protocols.length];
  const closed = new Promise<number>((resolve) => {
    socket.addEventListener("close", (event) => resolve((event as CloseEvent).code));
  });
  const answers = new Promise<void>((resolve) => {
    socket.addEventListener("message", (event: Event) => {
      const { data } = event as MessageEvent<string | ArrayBuffer>;
      received.push(typeof data === "string" ? data : data.byteLength);
      if (typeof data !== "string") resolve();
    });
  });
  await socket.opened();
  const open: MixWebSocketReadyState = socket.readyState;
  received.push(open);
  await socket.send(word);
  await socket.send(new Uint8Array([1, 2, 3]));
  await answers;
  await socket.close(1000, "done");
  received.push(await closed);
  return received;
}

async function byHandle(url: string, socketUrl: string): Promise<unknown[]> {
  const tunnel = await getMixTunnel();
  const { status, headers, body } = await tunnel.mixFetch(url, { method: "GET" });
  const events: string[] = [];
  const opened = new Promise<void>((resolve) => {
    const listener: WsEventCallback = (_handle, type) => {
      events.push(type);
      if (type === "open") resolve();
    };
    void tunnel.mixWebSocket(socketUrl, undefined, proxy(listener)).then(async (handle) => {
      await opened;
      await tunnel.wsClose(handle, 1000, "");
    });
  });
  await opened;
  return [status, body.byteLength, headers.some(([name]) => name === "content-length"), events[0]];
}

export async function run(options: SetupMixTunnelOpts, name: string, url: string, socketUrl: string): Promise<unknown> {
  const before = describe(await getTunnelState());
  const fetchOver: typeof mixFetch = await createMixFetch(options);
  await setupMixTunnel();
  const response: Response = await fetchOver(url, { headers: { accept: "*/*" } });
  const found = {
    before,
    ready: describe(await getTunnelState()),
    fetched: [response.status, (await response.arrayBuffer()).byteLength],
    address: await mixDNS(name),
    echoed: await echo(socketUrl, "hello"),
    handle: await byHandle(url, socketUrl),
    kinds: EventKinds.Loaded,
  };
  await disconnectMixTunnel();
  return { ...found, after: describe(await getTunnelState()) };
}

Object.assign(globalThis, { run });
