/** TCP, UDP, ping. */

import { MixTunnel, TCPSocket, UDPSocket, mixPing } from "smolmix";
import type {
  MixTcpSocket, MixUdpSocket, PingOptions, PingReply, SocketDnsQueryType, SocketTimeouts, TCPSocketOpenInfo, TCPSocketOptions,
  TlsFacts, TlsOptions, UDPMessage, UDPReceived, UDPSocketOpenInfo, UDPSocketOptions,
} from "smolmix";
import { exactly } from "./exactly.js";

const query: SocketDnsQueryType = "ipv6";
const timeouts: SocketTimeouts = { dns: 1, connect: 2, tls: 3, total: Infinity };
const tls: TlsOptions = { serverName: "n", alpn: ["h2"], caCertificates: "PEM", defaultRoots: false };
const options: TCPSocketOptions = {
  noDelay: false, keepAliveDelay: 1000, sendBufferSize: 1, receiveBufferSize: 1, dnsQueryType: query, tls,
  signal: AbortSignal.timeout(1), timeouts,
};

export async function tcp(tunnel: MixTunnel): Promise<void> {
  const socket = new TCPSocket("example.com", 443, options);
  new TCPSocket("example.com", 443);
  new TCPSocket("example.com", 443, { tls: true, signal: null });
  exactly<Promise<TCPSocketOpenInfo>>()(socket.opened);
  exactly<Promise<void>>()(socket.closed);
  exactly<Promise<void>>()(socket.close());
  exactly<void>()(socket.abort("reason"));
  exactly<boolean>()(socket.truncated);
  const info = await socket.opened;
  exactly<ReadableStream<Uint8Array<ArrayBuffer>>>()(info.readable);
  exactly<WritableStream<ArrayBuffer | ArrayBufferView>>()(info.writable);
  exactly<string>()(info.remoteAddress);
  exactly<number>()(info.remotePort);
  exactly<string>()(info.localAddress);
  exactly<number>()(info.localPort);
  exactly<TlsFacts | null>()(info.tls);
  exactly<string | null | undefined>()(info.tls?.alpn);
  exactly<string | undefined>()(info.tls?.version);
  exactly<string | undefined>()(info.tls?.cipher);
  await info.writable.getWriter().write(new Uint8Array(1));
  const read = await info.readable.getReader({ mode: "byob" }).read(new Uint8Array(8));
  exactly<boolean>()(read.done);
  exactly<MixTcpSocket>()(tunnel.tcpSocket("h", 1, options));
  const open = await tunnel.connectTcp("h", 1, { tls: true });
  exactly<MixTcpSocket>()(open);
  exactly<ReadableStream<Uint8Array<ArrayBuffer>>>()(open.readable);
  exactly<WritableStream<ArrayBuffer | ArrayBufferView>>()(open.writable);
  const same: MixTcpSocket = socket;
  void same;
}

export async function udp(tunnel: MixTunnel): Promise<void> {
  const wanted: UDPSocketOptions = { localAddress: "::", localPort: 1, ipv6Only: true, sendBufferSize: 1, receiveBufferSize: 1, signal: null };
  const socket = new UDPSocket(wanted);
  new UDPSocket();
  new UDPSocket({ remoteAddress: "h", remotePort: 1, dnsQueryType: "ipv4" });
  exactly<Promise<UDPSocketOpenInfo>>()(socket.opened);
  exactly<Promise<void>>()(socket.closed);
  exactly<Promise<void>>()(socket.close());
  exactly<number>()(socket.localPort);
  const info = await socket.opened;
  exactly<ReadableStream<UDPReceived>>()(info.readable);
  exactly<WritableStream<UDPMessage>>()(info.writable);
  exactly<string | undefined>()(info.remoteAddress);
  exactly<number | undefined>()(info.remotePort);
  exactly<string>()(info.localAddress);
  exactly<number>()(info.localPort);
  const message: UDPMessage = { data: new ArrayBuffer(1), remoteAddress: "h", remotePort: 1, dnsQueryType: "ipv6" };
  await info.writable.getWriter().write(message);
  await socket.send(new Uint8Array(1), "h", 1);
  const { data, remoteAddress, remotePort } = await socket.receive();
  exactly<Uint8Array<ArrayBuffer>>()(data);
  exactly<string>()(remoteAddress);
  exactly<number>()(remotePort);
  for await (const one of socket) exactly<UDPReceived>()(one);
  exactly<MixUdpSocket>()(tunnel.udpSocket(wanted));
  exactly<MixUdpSocket>()(await tunnel.bindUdp({ port: 5353 }));
  await tunnel.bindUdp();
}

export async function ping(tunnel: MixTunnel): Promise<void> {
  const wanted: PingOptions = { timeout: 1, size: 1, dnsQueryType: "ipv4", signal: null };
  exactly<Promise<PingReply>>()(mixPing("h"));
  const { address, rtt } = await tunnel.ping("h", wanted);
  exactly<string>()(address);
  exactly<number>()(rtt);
}

export function misuse(tunnel: MixTunnel): void {
  // @ts-expect-error a port is needed
  new TCPSocket("h");
  // @ts-expect-error the order is address, port
  new TCPSocket(80, "h");
  // @ts-expect-error no such family
  new TCPSocket("h", 80, { dnsQueryType: "both" });
  // @ts-expect-error certificate checking cannot be switched off
  new TCPSocket("h", 80, { tls: { rejectUnauthorized: false } });
  // @ts-expect-error a list
  new TCPSocket("h", 80, { tls: { alpn: "h2" } });
  // @ts-expect-error no such phase
  new TCPSocket("h", 80, { timeouts: { response: 5 } });
  // @ts-expect-error text is no bytes
  void tunnel.tcpSocket("h", 80).writable.getWriter().write("text");
  // @ts-expect-error a datagram is an object
  void tunnel.udpSocket().opened.then(({ writable }) => writable.getWriter().write(new Uint8Array(1)));
  // @ts-expect-error no such option
  new UDPSocket({ multicast: true });
  // @ts-expect-error the worker is not the page's business
  void tunnel.connected();
  // @ts-expect-error milliseconds are a number
  void tunnel.ping("h", { timeout: "1s" });
}
