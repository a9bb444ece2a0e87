/** `MixWebSocket`: in place of `WebSocket`, and what is more. */

import { MixErrorEvent, MixTunnel, MixWebSocket } from "smolmix";
import type { MixWebSocketOptions } from "smolmix";
import { exactly } from "./exactly.js";

export async function sockets(tunnel: MixTunnel): Promise<void> {
  const options: MixWebSocketOptions = {
    headers: { Authorization: "x" },
    signal: new AbortController().signal,
    timeouts: { queue: 1, dns: 1, connect: 1, tls: 1, response: 1, total: 1, idle: Infinity, close: 1 },
  };
  const socket = new MixWebSocket(new URL("wss://example.com/"), ["chat"], options);
  new MixWebSocket("wss://example.com/");
  new MixWebSocket("wss://example.com/", "chat");
  exactly<0 | 1 | 2 | 3>()(socket.readyState);
  exactly<1>()(MixWebSocket.OPEN);
  exactly<string>()(socket.url);
  exactly<string>()(socket.protocol);
  exactly<string>()(socket.extensions);
  exactly<number>()(socket.bufferedAmount);
  exactly<BinaryType>()(socket.binaryType);
  exactly<Promise<void>>()(socket.opened());
  socket.binaryType = "blob";
  exactly<Promise<void>>()(socket.send("text"));
  socket.send(new Blob(["x"]));
  socket.send(new Uint8Array(1));
  socket.send(new ArrayBuffer(1));
  exactly<Promise<CloseEvent>>()(socket.close(1000, "reason"));
  socket.close();
  new MixWebSocket("wss://example.com/", new Set(["a"]), {});
  socket.onopen = (event) => exactly<Event>()(event);
  socket.onmessage = (event) => exactly<MessageEvent>()(event);
  socket.onclose = (event) => exactly<CloseEvent>()(event);
  socket.onerror = (event) => {
    exactly<MixErrorEvent>()(event);
    exactly<unknown>()(event.error);
    exactly<string>()(event.message);
  };
  socket.onopen = null;
  socket.addEventListener("message", (event) => exactly<MessageEvent>()(event), { once: true });
  socket.addEventListener("close", (event) => exactly<CloseEvent>()(event));
  socket.addEventListener("error", (event) => exactly<MixErrorEvent>()(event));
  socket.addEventListener("open", { handleEvent: (event) => exactly<Event>()(event) });
  socket.removeEventListener("message", (event: MessageEvent) => event.data);
  const listener: EventTarget = socket;
  void listener;
  const own = tunnel.webSocket("wss://example.com/", [], options);
  exactly<Promise<void>>()(own.opened());
}

export function misuse(socket: MixWebSocket): void {
  // @ts-expect-error a URL is needed
  new MixWebSocket();
  // @ts-expect-error one of two
  socket.binaryType = "nodebuffer";
  // @ts-expect-error no such phase
  new MixWebSocket("wss://example.com/", [], { timeouts: { body: 1 } });
  // @ts-expect-error a number
  socket.close("1000");
  // @ts-expect-error read only
  socket.readyState = 1;
  // @ts-expect-error no object
  socket.send({});
}
