/** `MixWebSocket`: in place of `WebSocket`, and what is more. */

import { MixErrorEvent, MixTunnel, MixWebSocket } from "smolmix";
import type { MixWebSocketOptions } from "smolmix";
import { exactly } from "./exactly.js";

export async function sockets(tunnel: MixTunnel): Promise<void> {
  const options: MixWebSocketOptions = { signal: null };
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
  socket.send("text");
  socket.send(new Blob(["x"]));
  socket.send(new Uint8Array(1));
  socket.close(1000, "reason");
  socket.onopen = (event) => exactly<Event>()(event);
  socket.onmessage = (event) => exactly<MessageEvent>()(event);
  socket.onclose = (event) => exactly<CloseEvent>()(event);
  socket.onerror = (event) => {
    exactly<MixErrorEvent>()(event);
    exactly<unknown>()(event.error);
    exactly<string>()(event.message);
  };
  socket.onopen = null;
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
  // @ts-expect-error read only
  socket.readyState = 1;
  // @ts-expect-error no object
  socket.send({});
}
