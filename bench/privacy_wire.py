"""Raw bytes to what can be read from them by anybody on the way: IP and TCP headers, a ClientHello, DNS queries, HTTP.

Pure functions on captured bytes, and on purpose no parser of the product: what is wrong in both would not be seen.
Each raises `ValueError` or `IndexError` for what it cannot read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TCP, UDP = 6, 17
SYN, ACK, FIN, RST = 2, 16, 1, 4
_OPTIONS = {2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "ts"}
_EXTENSIONS = {
    0: "server_name",
    5: "status_request",
    10: "supported_groups",
    11: "ec_point_formats",
    13: "signature_algorithms",
    16: "alpn",
    18: "sct",
    23: "extended_master_secret",
    27: "compress_certificate",
    35: "session_ticket",
    41: "pre_shared_key",
    43: "supported_versions",
    45: "psk_modes",
    51: "key_share",
    65281: "renegotiation_info",
}
_FRAMES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True)
class Packet:
    """An IPv4 or IPv6 packet with its TCP or UDP header; `options`: kind and body in the order of the header."""

    version: int
    identification: int
    dont_fragment: bool
    ttl: int
    tos: int
    protocol: int
    source: bytes
    target: bytes
    sport: int
    dport: int
    sequence: int
    flags: int
    window: int
    options: tuple[tuple[int, bytes], ...]
    payload: bytes

    @property
    def flow(self) -> tuple[bytes, int, int]:
        return self.target, self.dport, self.sport

    def option(self, kind: int) -> bytes | None:
        return next((body for known, body in self.options if known == kind), None)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def packet(data: bytes) -> Packet:
    version = data[0] >> 4
    if version == 4:
        start, end = (data[0] & 15) * 4, _number(data[2:4])
        tos, ident, dont, ttl, protocol = data[1], _number(data[4:6]), bool(data[6] & 0x40), data[8], data[9]
        source, target = data[12:16], data[16:20]
    elif version == 6:
        start, end = 40, 40 + _number(data[4:6])
        tos, ident, dont, ttl, protocol = (
            _number(data[:2]) >> 4 & 255,
            _number(data[:4]) & 0xFFFFF,
            True,
            data[7],
            data[6],
        )
        source, target = data[8:24], data[24:40]
    else:
        raise ValueError(f"IP version {version}")
    body = data[start:end]
    sport, dport = (_number(body[:2]), _number(body[2:4])) if protocol in (TCP, UDP) else (0, 0)
    sequence = flags = window = 0
    options: tuple[tuple[int, bytes], ...] = ()
    payload = body[8:]
    if protocol == TCP:
        sequence, flags, window = _number(body[4:8]), body[13], _number(body[14:16])
        offset = (body[12] >> 4) * 4
        options, payload = tuple(_options(body[20:offset])), body[offset:]
    return Packet(
        version,
        ident,
        dont,
        ttl,
        tos,
        protocol,
        source,
        target,
        sport,
        dport,
        sequence,
        flags,
        window,
        options,
        payload,
    )


def _options(data: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind = data[at]
        if kind <= 1:
            yield kind, b""
            at += 1
            continue
        size = data[at + 1]
        if size < 2:
            raise ValueError(f"TCP option {kind} of {size} bytes")
        yield kind, data[at + 2 : at + size]
        at += size


def option_names(found: Packet) -> str:
    """In their order: `mss,sackOK,ts,nop,wscale`."""
    names = {0: "end", 1: "nop", **_OPTIONS}
    return ",".join(names.get(kind, str(kind)) for kind, _ in found.options) or "none"


def stream(packets: Sequence[Packet]) -> bytes:
    """What one side of a TCP connection has sent, without holes; its packets may come late, twice or overlapping."""
    base = next((one.sequence + 1 for one in packets if one.flags & SYN), None)
    if base is None:
        return b""
    pieces = sorted(((one.sequence - base) & 0xFFFFFFFF, one.payload) for one in packets if one.payload)
    whole = bytearray()
    for at, data in pieces:
        if at > len(whole):
            break
        whole[at : at + len(data)] = data
    return bytes(whole)


# -- TLS ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClientHello:
    size: int  # of the record's body
    record_version: int
    random: bytes
    session_id: bytes
    ciphers: tuple[int, ...]
    extensions: tuple[tuple[int, bytes], ...]

    def extension(self, kind: int) -> bytes | None:
        return next((body for known, body in self.extensions if known == kind), None)

    @property
    def extension_names(self) -> tuple[str, ...]:
        return tuple(
            _EXTENSIONS.get(kind, "grease" if kind & 0x0F0F == 0x0A0A else str(kind)) for kind, _ in self.extensions
        )

    @property
    def resumes(self) -> bool:
        """It shows what an earlier connection was given."""
        return self.extension(41) is not None or bool(self.extension(35))

    @property
    def server_name(self) -> str:
        body = self.extension(0)
        return body[5:].decode() if body else ""

    @property
    def alpn(self) -> str:
        body, names, at = self.extension(16) or b"", [], 2
        while at < len(body):
            names.append(body[at + 1 : at + 1 + body[at]].decode())
            at += 1 + body[at]
        return ",".join(names) or "none"

    def numbers(self, kind: int, prefix: int = 2) -> str:
        """The 16 bit numbers of an extension that is a list of them."""
        body = (self.extension(kind) or b"")[prefix:]
        return _hex_list(body) or "none"

    @property
    def key_shares(self) -> tuple[tuple[int, bytes], ...]:
        body, shares, at = self.extension(51) or b"", [], 2
        while at < len(body):
            size = _number(body[at + 2 : at + 4])
            shares.append((_number(body[at : at + 2]), body[at + 4 : at + 4 + size]))
            at += 4 + size
        return tuple(shares)


def _hex_list(body: bytes) -> str:
    return ",".join(f"{_number(body[at : at + 2]):04x}" for at in range(0, len(body), 2))


def client_hello(data: bytes) -> ClientHello:
    """The first record of a TLS connection."""
    if data[0] != 22 or data[5] != 1:
        raise ValueError("no ClientHello")
    size = _number(data[3:5])
    body = data[9 : 5 + size]
    if len(data) < 5 + size:
        raise ValueError("half a ClientHello")
    random, at = body[2:34], 34
    session, at = body[at + 1 : at + 1 + body[at]], at + 1 + body[at]
    length = _number(body[at : at + 2])
    ciphers = tuple(_number(body[i : i + 2]) for i in range(at + 2, at + 2 + length, 2))
    at += 2 + length
    at += 1 + body[at] + 2
    extensions = []
    while at < len(body):
        length = _number(body[at + 2 : at + 4])
        extensions.append((_number(body[at : at + 2]), body[at + 4 : at + 4 + length]))
        at += 4 + length
    return ClientHello(size, _number(data[1:3]), random, session, ciphers, tuple(extensions))


def cipher_names(hello: ClientHello) -> str:
    return ",".join(f"{cipher:04x}" for cipher in hello.ciphers)


# -- DNS ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    ident: int
    flags: int
    name: str
    kind: int
    edns: str  # of the additional record, "none" without one

    @property
    def mixed_case(self) -> bool:
        return self.name != self.name.lower()


def dns_query(data: bytes) -> Query:
    ident, flags, additional, at, labels = _number(data[:2]), _number(data[2:4]), _number(data[10:12]), 12, []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    kind, at, edns = _number(data[at + 1 : at + 3]), at + 5, "none"
    if additional and data[at] == 0 and _number(data[at + 1 : at + 3]) == 41:
        size, options = _number(data[at + 3 : at + 5]), _number(data[at + 9 : at + 11])
        edns = f"{size} bytes, flags {data[at + 5 : at + 9].hex()}, {options} bytes of options"
    return Query(ident, flags, ".".join(labels), kind, edns)


# -- HTTP -----------------------------------------------------------------------------------------------------------


def http1_heads(data: bytes) -> list[list[str]]:
    """The lines of each request in a plain connection; bodies with a length are stepped over."""
    heads = []
    while b"\r\n\r\n" in data and not data.startswith(PREFACE[:14]):
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        heads.append(lines)
        length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
        data = data[length:]
    return heads


def header_names(lines: Sequence[str]) -> str:
    return " ".join(line.partition(":")[0] for line in lines[1:])


def http2_frames(data: bytes) -> list[tuple[str, int, int, bytes]]:
    """Name, flags, stream and body of each whole frame of a client's connection."""
    if not data.startswith(PREFACE):
        raise ValueError("no HTTP/2")
    at, frames = len(PREFACE), []
    while at + 9 <= len(data):
        size, kind = _number(data[at : at + 3]), data[at + 3]
        if at + 9 + size > len(data):
            break
        name = _FRAMES[kind] if kind < len(_FRAMES) else str(kind)
        frames.append((name, data[at + 4], _number(data[at + 5 : at + 9]) & 0x7FFFFFFF, data[at + 9 : at + 9 + size]))
        at += 9 + size
    return frames


def http2_settings(body: bytes) -> str:
    return ",".join(f"{_number(body[i : i + 2])}={_number(body[i + 2 : i + 6])}" for i in range(0, len(body), 6))


# -- the gateway's texts --------------------------------------------------------------------------------------------


def shape(text: str) -> str:
    """A JSON text with what is drawn anew each time replaced by its size; the order of its fields and spaces stay."""
    value = json.loads(text)
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False) == text
    return _shape(value) + ("" if compact else " (with spaces)")


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        shown = [f"{name}: {'drawn' if name == 'nonce' else _shape(inner)}" for name, inner in value.items()]
        return "{" + ", ".join(shown) + "}"
    if isinstance(value, list):
        return f"[{len(value)}]"
    if isinstance(value, str) and len(value) > 30:
        # Base58 drops leading zeros and its lengths vary by one or two.
        return "long text"
    if isinstance(value, int) and not isinstance(value, bool) and value > 1_000_000:
        return "time"
    return json.dumps(value)
