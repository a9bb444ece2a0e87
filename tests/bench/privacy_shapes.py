"""What facts of the privacy bench have to be, wherever ours runs: held by a client of this process, and by the page."""

from __future__ import annotations

from smolmix_web.http.headers import DEFAULTS

SHAPE = {
    "exit.ip": "64 DF 0",
    "exit.ip.id": "counts in each connection, from where is drawn",
    "tcp.syn.options": "mss,sackOK,ts,nop,wscale",
    "tcp.syn.window": "64860",
    "tcp.syn.mss": "1380",
    "tcp.syn.scale": "7",
    "tcp.ports": "drawn",
    "tcp.isn": "drawn",
    "tcp.timestamps": "an offset of its own for each connection",
    "tls.alpn": "h2,http/1.1",
    "tls.order": "drawn for each connection",
    "websocket.headers": "Host Connection Pragma Cache-Control User-Agent Upgrade Sec-WebSocket-Version "
    "Accept-Encoding Accept-Language Sec-WebSocket-Key Sec-WebSocket-Extensions",
    "dns.kinds": "A, AAAA",
    "dns.case": "drawn",
    "dns.ports": "drawn",
    "dns.repeated": "once",
    "gateway.frames": "2452",
    "gateway.texts.during": "none",
}

# What the bench saw of the official client (docs/privacy.md), but for what `fingerprint` leaves as it is.
OFFICIAL = {
    "gateway.connections": "2",
    "gateway.texts": '{type: "supportedProtocol"}; {type: "handshakePayload", protocol_version: 6, data: [80]}; '
    '{type: "handshakePayload", protocol_version: 6, data: [92]}; {type: "supportedProtocol"}; '
    '{type: "authenticateV2", protocolVersion: 6, clientIdentity: [32], addressCiphertext: long text, nonce: drawn, '
    "requestUnixTimestamp: time, requestSignature: [64]}; "
    '{type: "claimFreeTestnetBandwidth"}',
    "exit.ip.id": "always 0",
    "tcp.syn.options": "mss,wscale,sackOK,end,end,end",
    "tcp.syn.window": "65535",
    "tcp.syn.mss": "1380",
    "tcp.syn.scale": "0",
    "tcp.timestamps": "none",
    "tls.alpn": "http/1.1",
    "websocket.headers": "Host Connection Upgrade Sec-WebSocket-Version Sec-WebSocket-Key",
    "dns.kinds": "A",
    "dns.form": "flags 0100, EDNS none",
    "dns.case": "as asked",
    "dns.repeated": "once",
    "http1.request": "GET /text HTTP/1.1 / host: origin.test / connection: keep-alive / "
    + " / ".join(f"{name.lower()}: {value}" for name, value in DEFAULTS)
    + " / accept-encoding: identity",
}
