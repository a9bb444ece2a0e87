/** Messages and streams between clients. */

import { MixTunnel } from "smolmix";
import type {
  MixListener, MixListenerOpenInfo, MixMessage, MixMessageOptions, MixMessages, MixPeerStream, MixPeerStreamOpenInfo,
  MixPeerStreamOptions, MixReplyOptions, MixSent,
} from "smolmix";
import { exactly } from "./exactly.js";

export async function messages(tunnel: MixTunnel): Promise<void> {
  exactly<string | null>()(tunnel.address);
  exactly<string | null>()(tunnel.state.address);
  exactly<MixMessages>()(tunnel.messages);
  const options: Required<MixMessageOptions> = { surbs: null, timeout: 1 };
  const replying: Required<MixReplyOptions> = { timeout: 1 };
  const sent = await tunnel.messages.send("address", "text", options);
  exactly<MixSent>()(sent);
  exactly<Promise<void>>()(sent.delivered);
  exactly<"sending" | "delivered" | "failed">()(sent.state);
  exactly<MixSent>()(await tunnel.messages.send("address", new Uint8Array(1)));
  exactly<MixSent>()(await tunnel.messages.reply("tag", new ArrayBuffer(1), replying));
  exactly<Promise<MixMessage>>()(tunnel.messages.receive());
  const { data, senderTag, source } = await tunnel.messages.receive({ signal: AbortSignal.timeout(1) });
  exactly<Uint8Array<ArrayBuffer>>()(data);
  exactly<string | null>()(senderTag);
  exactly<string | null>()(source);
  exactly<ReadableStream<MixMessage>>()(tunnel.messages.readable);
  for await (const one of tunnel.messages) exactly<MixMessage>()(one);
  tunnel.messages.onmessage = (event) => exactly<MixMessage>()(event.data);
  tunnel.messages.onmessage = null;
  tunnel.messages.addEventListener("message", (event) => exactly<MixMessage>()(event.data), { once: true });
  exactly<void>()(tunnel.messages.start());
}

export async function streams(tunnel: MixTunnel): Promise<void> {
  const options: Required<MixPeerStreamOptions> = { surbs: 10, signal: null };
  const stream = tunnel.openStream("address", options);
  exactly<MixPeerStream>()(stream);
  exactly<MixPeerStream>()(tunnel.openStream("address"));
  exactly<Promise<MixPeerStreamOpenInfo>>()(stream.opened);
  exactly<Promise<void>>()(stream.closed);
  exactly<Promise<void>>()(stream.close());
  exactly<void>()(stream.abort("reason", { code: 256, text: "why" }));
  exactly<void>()(stream.abort());
  exactly<boolean | null>()(stream.reliable);
  exactly<ReadableStream<Uint8Array<ArrayBuffer>>>()(stream.readable);
  exactly<WritableStream<ArrayBuffer | ArrayBufferView>>()(stream.writable);
  const { readable, writable, remoteAddress, localAddress } = await stream.opened;
  exactly<ReadableStream<Uint8Array<ArrayBuffer>>>()(readable);
  exactly<WritableStream<ArrayBuffer | ArrayBufferView>>()(writable);
  exactly<string | null>()(remoteAddress);
  exactly<string>()(localAddress);
  const listener = tunnel.listen();
  exactly<MixListener>()(listener);
  exactly<Promise<MixListenerOpenInfo>>()(listener.opened);
  exactly<Promise<void>>()(listener.closed);
  exactly<Promise<void>>()(listener.close());
  const listening = await listener.opened;
  exactly<ReadableStream<MixPeerStream>>()(listening.readable);
  exactly<string>()(listening.localAddress);
  for await (const incoming of listener) exactly<MixPeerStream>()(incoming);
}

export function misuse(tunnel: MixTunnel): void {
  // @ts-expect-error a message has content
  void tunnel.messages.send("address");
  // @ts-expect-error text or bytes
  void tunnel.messages.send("address", 5);
  // @ts-expect-error a tag is text
  void tunnel.messages.reply(new Uint8Array(16), "x");
  // @ts-expect-error no such option
  void tunnel.messages.reply("tag", "x", { surbs: 5 });
  // @ts-expect-error the address is given by the tunnel
  tunnel.address = "mine";
  // @ts-expect-error an address is needed
  tunnel.openStream();
  // @ts-expect-error no such option
  tunnel.openStream("address", { port: 80 });
  // @ts-expect-error bytes
  void tunnel.openStream("address").writable.getWriter().write("text");
}
