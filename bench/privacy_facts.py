"""From recordings to named facts: pure functions, one table for each kind of fact.

EXACT   one text for each user. It has to be the same for all users of a client, and is compared with the other one's.
DRAWN   values that nobody may see twice, neither of one user nor of two.
RATES   numbers that are measured, and the same where they differ by less than `TOLERANCE`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Generic, TypeVar

from hpack import Decoder

from bench import privacy_wire as wire
from bench.privacy_records import Recording

Value = TypeVar("Value")

TOLERANCE = 1.3
NOTHING = "nothing seen"
FIRST_PAYLOAD = 80  # bytes of a handshake's first payload
TICKS = 1000  # of a timestamp clock in a second
SPREAD = 10  # s that a SYN is at most on its way


@dataclass(frozen=True)
class Fact(Generic[Value]):
    """`seen_by`: the nearest who sees it; those behind the exit are seen by it too, as far as TLS does not hide it."""

    seen_by: str
    what: str
    read: Callable[[Recording], Value]


def _set(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in sorted(set(values), key=str)) or NOTHING


def habit(values: Sequence[int]) -> str:
    """How somebody chooses numbers."""
    if len(values) < 3:
        return NOTHING
    steps = {after - before for before, after in pairwise(values)}
    if steps == {0}:
        return f"always {values[0]}"
    if max(map(abs, steps)) <= 16:
        return "counts"
    return "drawn"


# -- the directory --------------------------------------------------------------------------------------------------


def _directory(recording: Recording, phase: str) -> list[list[str]]:
    found = [head for data in recording.by_connection("directory", "bytes", phase) for head in wire.http1_heads(data)]
    return sorted((head for head in found if head[0].startswith("GET")), key=lambda head: head[0])


def _asked(phase: str) -> Callable[[Recording], str]:
    def read(recording: Recording) -> str:
        if phase not in recording.phases:
            return NOTHING
        lines = Counter(head[0].split(" ")[1] for head in _directory(recording, phase))
        return ", ".join(line + (f" ({count} times)" if count > 1 else "") for line, count in lines.items()) or "none"

    return read


def _asked_first(recording: Recording) -> str:
    """Later ones are asked for together, and come in any order."""
    heads = [head for data in recording.by_connection("directory", "bytes", "ready") for head in wire.http1_heads(data)]
    return heads[0][0].split(" ")[1] if heads else NOTHING


def _directory_headers(recording: Recording) -> str:
    return _set(wire.header_names(head) for head in _directory(recording, "ready"))


# -- the gateway ----------------------------------------------------------------------------------------------------


def _texts(phase: str, nothing: str = NOTHING) -> Callable[[Recording], str]:
    """`nothing`: what it is to be called when the phase has none."""

    def read(recording: Recording) -> str:
        if phase not in recording.phases:
            return NOTHING
        return "; ".join(wire.shape(one.data.decode()) for one in recording.of("gateway", "text", phase)) or nothing

    return read


def _later_texts(recording: Recording) -> str:
    if "ready" not in recording.phases:
        return NOTHING
    ready = recording.phases["ready"][1]
    until = min((recording.phases[name][0] for name in ("loss", "again") if name in recording.phases), default=0.0)
    texts = [one for one in recording.of("gateway", "text") if ready <= one.at < (until or float("inf"))]
    return _set(wire.shape(one.data.decode()) for one in texts).replace(NOTHING, "none")


def _packet_kinds(phase: str) -> Callable[[Recording], str]:
    return lambda recording: _set(f"{one.data[0]}/{one.data[1]}" for one in recording.of("gateway", "packet", phase))


def _upgrade(recording: Recording) -> str:
    heads = [wire.http1_heads(data) for data in recording.by_connection("gateway", "upgrade")]
    return _set(wire.header_names(head[0]) for head in heads if head)


def _tabs(recording: Recording) -> str:
    """Of one profile at the same time, by what they tell the gateway in their first texts."""
    keys = [_client_keys(recording, phase) for phase in ("third", "tabs")]
    if not all(keys):
        return NOTHING
    return "one for both" if set(keys[0]) & set(keys[1]) else "one for each"


def _exit_addresses(recording: Recording) -> str:
    """Of two tabs, each of which has fetched something."""
    low, high = recording.phases.get("tabs", (0.0, 0.0))
    sources = {packet.source for at, packet in recording.timed_packets if low <= at < high and packet.version == 4}
    return {0: NOTHING, 1: "one for both"}.get(len(sources), "one for each")


def _close(phase: str) -> Callable[[Recording], str]:
    def read(recording: Recording) -> str:
        if phase not in recording.phases:
            return NOTHING
        low, high = recording.phases[phase]
        codes = [one for one in recording.of("gateway", "close") if low <= one.at < high + 1]
        return _set(int.from_bytes(one.data[:2], "big") if one.data else "no code" for one in codes).replace(
            NOTHING, "no close frame"
        )

    return read


def _client_keys(recording: Recording, phase: str | None = None) -> list[bytes]:
    """As it tells them to the gateway: 32 bytes at the start of a handshake, or in an authentication."""
    found = []
    for one in recording.of("gateway", "text", phase):
        value = json.loads(one.data)
        if value.get("type") == "authenticateV2":
            found.append(bytes(value["clientIdentity"]))
        elif value.get("type") == "handshakePayload" and len(value["data"]) == FIRST_PAYLOAD:
            found.append(bytes(value["data"][:32]))
    return found


def _keys(recording: Recording) -> str:
    found = _client_keys(recording)
    if len(found) < 2:
        return NOTHING
    return "one for all visits" if len(set(found)) == 1 else "others on another visit"


def _connections(recording: Recording) -> str:
    count = len(recording.of("gateway", "upgrade", "ready"))
    return str(count) if count else NOTHING


# -- a mix node -----------------------------------------------------------------------------------------------------


def _at_first_mix(recording: Recording) -> list[tuple[int, int, int]]:
    """Size, version and delay (ns) of the client's packets; others come from the exit and its gateway."""
    own = {packet[:32] for packet in recording.sphinx}
    return [
        (len(one.data), int(one.more["version"]), int(one.more.get("delay_ns", 0)))
        for one in recording.of("mix", "packet")
        if one.data[:32] in own
    ]


# -- the exit -------------------------------------------------------------------------------------------------------


def _ip_ids(recording: Recording) -> str:
    """Per connection, and how connections begin."""
    flows: dict[object, list[int]] = {}
    for packet in _tcp(recording):
        if packet.version == 4 and not packet.flags & wire.RST:
            flows.setdefault(packet.flow, []).append(packet.identification)
    flows = {flow: numbers for flow, numbers in flows.items() if len(numbers) >= 3}
    if not flows:
        return NOTHING
    if all(max(numbers) == min(numbers) for numbers in flows.values()):
        return _set(f"always {numbers[0]}" for numbers in flows.values())
    # Packets overtake each other on their way to the exit.
    if all(max(numbers) - min(numbers) < 4 * len(numbers) for numbers in flows.values()):
        return f"counts in each connection, from where is {habit([min(numbers) for numbers in flows.values()])}"
    return "drawn"


def _tcp(recording: Recording) -> list[wire.Packet]:
    return [packet for packet in recording.packets if packet.protocol == wire.TCP]


def _connect(recording: Recording) -> str:
    messages = recording.of("exit", "message", "ready")
    return f"version {messages[0].data[0]}, {len(messages[0].data)} bytes" if messages else NOTHING


def stamp_offsets(recording: Recording) -> list[int]:
    """Of the timestamp clock of each connection, in ticks, by the time its SYN was seen."""
    found, known = [], set()
    for at, packet in recording.timed_packets:
        body = packet.option(8)
        if packet.flags & wire.SYN and packet.protocol == wire.TCP and body and packet.flow not in known:
            known.add(packet.flow)
            found.append((int.from_bytes(body[:4], "big") - round(at * TICKS)) & 0xFFFFFFFF)
    return found


def _stamps(recording: Recording) -> str:
    offsets = stamp_offsets(recording)
    if not recording.syns:
        return NOTHING
    if not offsets:
        return "none"
    spread = max(offsets) - min(offsets)
    return "one clock for all connections" if spread < SPREAD * TICKS else "an offset of its own for each connection"


def _stamp_rate(recording: Recording) -> float | None:
    """Ticks per second over the longest connection."""
    flows: dict[object, list[tuple[float, int]]] = {}
    for at, packet in recording.timed_packets:
        if packet.protocol == wire.TCP and (body := packet.option(8)):
            flows.setdefault(packet.flow, []).append((at, int.from_bytes(body[:4], "big")))
    longest = max(flows.values(), key=lambda points: points[-1][0] - points[0][0], default=[])
    if len(longest) < 2 or longest[-1][0] - longest[0][0] < 1.0:
        return None
    return ((longest[-1][1] - longest[0][1]) & 0xFFFFFFFF) / (longest[-1][0] - longest[0][0])


def _rough_offsets(recording: Recording) -> list[Hashable]:
    """Packets take more or less long to the exit: one clock is seen as offsets that are nearly the same."""
    return [offset // (SPREAD * TICKS) for offset in stamp_offsets(recording)]


def _of_syn(read: Callable[[wire.Packet], object]) -> Callable[[Recording], str]:
    return lambda recording: _set(read(packet) for packet in recording.syns if packet.version == 4)


def _of_hello(read: Callable[[wire.ClientHello], object]) -> Callable[[Recording], str]:
    return lambda recording: _set(read(hello) for hello in recording.fresh_hellos)


def _number(body: bytes | None) -> str:
    return "none" if body is None else str(int.from_bytes(body, "big"))


def _extension_order(recording: Recording) -> str:
    orders = {hello.extension_names for hello in recording.fresh_hellos}
    if len(recording.fresh_hellos) < 2:
        return NOTHING
    return "fixed" if len(orders) == 1 else "drawn for each connection"


def _again(recording: Recording) -> str:
    """A second connection to a server."""
    names = [hello.server_name for hello in recording.hellos]
    if len(set(names)) == len(names):
        return NOTHING
    return "goes on with the session" if any(hello.resumes for hello in recording.hellos) else "as the first"


def _hello_size(hello: wire.ClientHello) -> str:
    return f"{hello.size - len(hello.server_name)} bytes and the name"


def _plain(recording: Recording) -> list[list[str]]:
    """Heads of the requests on port 80."""
    return [head for port, data in recording.connections if port == 80 for head in wire.http1_heads(data)]


def _http1(recording: Recording) -> str:
    return " / ".join(next((head for head in _plain(recording) if "GET /text" in head[0]), [NOTHING]))


def _upload(recording: Recording) -> str:
    return _set(wire.header_names(head) for head in _plain(recording) if head[0].startswith("POST"))


def _websocket(recording: Recording) -> str:
    heads = [head for head in _plain(recording) if any(line.lower() == "upgrade: websocket" for line in head)]
    return _set(wire.header_names(head) for head in heads)


def _kept(recording: Recording) -> str:
    """Two requests, one after the other, to one server."""
    counts = [
        sum("GET /text" in head[0] for head in wire.http1_heads(data))
        for port, data in recording.connections
        if port == 80
    ]
    if not any(counts):
        return NOTHING
    return "both on one connection" if max(counts) > 1 else "a connection for each"


def _http2(recording: Recording) -> list[list[tuple[str, int, int, bytes]]]:
    found = []
    for data in recording.by_connection("origin", "bytes"):
        if data.startswith(wire.PREFACE):
            found.append(wire.http2_frames(data))
    return found


def _http2_start(recording: Recording) -> str:
    begun = []
    for frames in _http2(recording):
        settings = next((body for name, _, _, body in frames if name == "SETTINGS"), b"")
        opened = next((body for name, _, number, body in frames if name == "WINDOW_UPDATE" and not number), b"")
        begun.append(f"settings {wire.http2_settings(settings)}; window {int.from_bytes(opened, 'big')}")
    return _set(begun)


def _http2_headers(recording: Recording) -> str:
    heads = []
    for frames in _http2(recording):
        body = next((body for name, flags, _, body in frames if name == "HEADERS" and not flags & 0x28), None)
        if body is not None:
            heads.append(" ".join(str(field[0]) for field in Decoder().decode(body)))
    return _set(heads)


# -- DNS ------------------------------------------------------------------------------------------------------------


def _query_kinds(recording: Recording) -> str:
    """In which order the first name's records are asked for."""
    queries = [query for _, _, query in recording.queries]
    name = queries[0].name.lower() if queries else ""
    names = {1: "A", 28: "AAAA"}
    kinds = dict.fromkeys(names.get(query.kind, str(query.kind)) for query in queries if query.name.lower() == name)
    return ", ".join(kinds) or NOTHING


def _query_form(recording: Recording) -> str:
    return _set(f"flags {query.flags:04x}, EDNS {query.edns}" for _, _, query in recording.queries)


def _query_case(recording: Recording) -> str:
    if not recording.queries:
        return NOTHING
    return "drawn" if any(query.mixed_case for _, _, query in recording.queries) else "as asked"


def _query_server(recording: Recording) -> str:
    """Another one is asked where the first is slow."""
    return next((".".join(map(str, packet.target)) for _, packet, _ in recording.queries), NOTHING)


def _query_ports(recording: Recording) -> str:
    return habit([packet.sport for _, packet, _ in recording.queries])


def _asked_again(recording: Recording) -> str:
    """Three fetches from one server by its name, one after the other, and no more of them."""
    until = recording.phases.get("tls again", (float("inf"),))[0]
    asked = [query for at, _, query in recording.queries if at < until and query.name.lower() == "origin.test"]
    found = Counter(query.kind for query in asked if query.kind == 1)
    return {0: NOTHING, 1: "once"}.get(found[1], "again and again")


EXACT: dict[str, Fact[str]] = {
    "page.asked": Fact("the page's network", "whom the browser asked", lambda r: _set(r.asked)),
    "directory.requests": Fact("directory", "documents of a first visit", _asked("ready")),
    "directory.first": Fact("directory", "the first document", _asked_first),
    "directory.requests.later": Fact("directory", "documents of a later visit", _asked("again")),
    "directory.requests.rotation": Fact("directory", "documents when keys have rotated", _asked("rotation")),
    "directory.headers": Fact("directory", "headers in their order", _directory_headers),
    "gateway.upgrade": Fact("gateway", "headers of the WebSocket's handshake in their order", _upgrade),
    "gateway.connections": Fact("gateway", "connections until a first tunnel is ready", _connections),
    "gateway.keys": Fact("gateway", "key of the client", _keys),
    "gateway.texts": Fact("gateway", "texts of a first visit in their order", _texts("ready")),
    "gateway.texts.later": Fact("gateway", "texts of a later visit", _texts("again")),
    "gateway.texts.during": Fact("gateway", "texts while it is used", _later_texts),
    "gateway.frames": Fact(
        "gateway", "sizes of frames", lambda r: _set(len(one.data) for one in r.of("gateway", "binary"))
    ),
    "gateway.packets": Fact(
        "gateway",
        "packet type and key rotation",
        _packet_kinds("ready"),
    ),
    "gateway.texts.loss": Fact("gateway", "texts after it has dropped the connection", _texts("loss")),
    "gateway.texts.offline": Fact("gateway", "texts when the browser is offline and back", _texts("offline", "none")),
    "gateway.packets.rotation": Fact("gateway", "the same, after keys have rotated", _packet_kinds("rotation")),
    "gateway.tabs": Fact("gateway", "keys of two tabs", _tabs),
    "gateway.close": Fact("gateway", "code of the close frame", _close("end")),
    "gateway.close.left": Fact("gateway", "the same when the page is left", _close("unload")),
    "gateway.close.crash": Fact("gateway", "the same when its process dies", _close("crash")),
    "mix.packets": Fact(
        "mix node",
        "size and version of packets",
        lambda r: _set(f"{size} bytes version {version}" for size, version, _ in _at_first_mix(r)),
    ),
    "exit.connect": Fact("exit", "first message", _connect),
    "exit.ip": Fact(
        "exit",
        "hop limit, DF, type of service",
        lambda r: _set(f"{p.ttl} {'DF' if p.dont_fragment else '-'} {p.tos}" for p in _tcp(r)),
    ),
    "exit.tabs": Fact("exit", "addresses of two tabs", _exit_addresses),
    "exit.ip.id": Fact("exit", "identification", _ip_ids),
    "tcp.syn.options": Fact("server", "options of a SYN in their order", _of_syn(wire.option_names)),
    "tcp.syn.window": Fact("server", "window of a SYN", _of_syn(lambda p: p.window)),
    "tcp.syn.mss": Fact("server", "MSS", _of_syn(lambda p: _number(p.option(2)))),
    "tcp.syn.scale": Fact("server", "window scale", _of_syn(lambda p: _number(p.option(3)))),
    "tcp.ports": Fact("server", "source ports", lambda r: habit([p.sport for p in r.syns])),
    "tcp.isn": Fact("server", "initial sequence numbers", lambda r: habit([p.sequence for p in r.syns])),
    "tcp.timestamps": Fact("server", "clock of timestamps", _stamps),
    "tls.ciphers": Fact("server", "cipher suites", _of_hello(wire.cipher_names)),
    "tls.extensions": Fact("server", "extensions", _of_hello(lambda h: " ".join(sorted(h.extension_names)))),
    "tls.order": Fact("server", "order of extensions", _extension_order),
    "tls.groups": Fact("server", "groups", _of_hello(lambda h: h.numbers(10))),
    "tls.signatures": Fact("server", "signature algorithms", _of_hello(lambda h: h.numbers(13))),
    "tls.versions": Fact("server", "versions", _of_hello(lambda h: h.numbers(43, 1))),
    "tls.alpn": Fact("server", "protocols offered", _of_hello(lambda h: h.alpn)),
    "tls.shares": Fact(
        "server", "key shares", _of_hello(lambda h: " ".join(f"{g:04x}:{len(key)}" for g, key in h.key_shares))
    ),
    "tls.again": Fact("server", "a second connection to a server", _again),
    "tls.size": Fact("server", "size of the ClientHello", _of_hello(_hello_size)),
    "http1.request": Fact("server", "a request, whole", _http1),
    "http1.upload": Fact("server", "headers of an upload in their order", _upload),
    "http1.kept": Fact("server", "connections of two requests", _kept),
    "http2.start": Fact("server", "SETTINGS and the connection's window", _http2_start),
    "http2.headers": Fact("server", "header names in their order", _http2_headers),
    "websocket.headers": Fact("server", "headers of the handshake in their order", _websocket),
    "dns.kinds": Fact("resolver", "records asked for, in order", _query_kinds),
    "dns.form": Fact("resolver", "flags and EDNS", _query_form),
    "dns.case": Fact("resolver", "case of names", _query_case),
    "dns.servers": Fact("exit", "the resolver that is asked first", _query_server),
    "dns.ports": Fact("resolver", "source ports", _query_ports),
    "dns.repeated": Fact("resolver", "questions for one name, used three times", _asked_again),
}


# -- what may be seen once only -------------------------------------------------------------------------------------


def _key_shares(recording: Recording) -> list[Hashable]:
    return [key for hello in recording.hellos for _, key in hello.key_shares]


def _websocket_keys(recording: Recording) -> list[Hashable]:
    lines = [line for head in _plain(recording) for line in head]
    return [line for line in lines if line.lower().startswith("sec-websocket-key:")]


DRAWN: dict[str, Fact[Sequence[Hashable]]] = {
    "once.nonces": Fact("gateway", "nonces of frames", lambda r: [s.data[2:14] for s in r.of("gateway", "binary")]),
    "once.sphinx.keys": Fact("mix node", "keys in headers", lambda r: [packet[:32] for packet in r.sphinx]),
    "once.sphinx.macs": Fact("mix node", "MACs of headers", lambda r: [packet[32:48] for packet in r.sphinx]),
    "once.isn": Fact("server", "initial sequence numbers", lambda r: [p.sequence for p in r.syns]),
    "once.timestamps": Fact("server", "offsets of timestamps, to ten seconds", _rough_offsets),
    "once.tls.randoms": Fact("server", "randoms of TLS", lambda r: [hello.random for hello in r.hellos]),
    "once.tls.sessions": Fact(
        "server", "session ids of TLS", lambda r: [hello.session_id for hello in r.hellos if hello.session_id]
    ),
    "once.tls.shares": Fact("server", "key shares of TLS", _key_shares),
    "once.websocket": Fact("server", "keys of WebSockets", _websocket_keys),
    "once.dns": Fact("resolver", "id and port of a question", lambda r: [(q.ident, p.sport) for _, p, q in r.queries]),
}


def recurring(values: Iterable[Sequence[Hashable]]) -> str:
    """Over all users of one client. What nobody has shown once was not looked at, which must not look like success."""
    counter = Counter(value for user in values for value in user)
    if not counter:
        return NOTHING
    twice = sum(count > 1 for count in counter.values())
    return f"{twice} of {len(counter)} seen twice" if twice else "never twice"


# -- what is measured -----------------------------------------------------------------------------------------------


def _times(recording: Recording, phase: str) -> list[float]:
    return [one.at for one in recording.of("gateway", "binary", phase)]


def _rate(phase: str) -> Callable[[Recording], float | None]:
    def read(recording: Recording) -> float | None:
        low, high = recording.phases.get(phase, (0.0, 0.0))
        return len(_times(recording, phase)) / (high - low) if high - low > 0.5 else None

    return read


def _behind(recording: Recording) -> float | None:
    """Of the connections that were there before another tab was opened in front of theirs."""
    low, high = recording.phases.get("behind", (0.0, 0.0))
    before = {one.who for one in recording.of("gateway", "binary", "third")}
    count = sum(one.who in before for one in recording.of("gateway", "binary", "behind"))
    return count / (high - low) if before and high - low > 0.5 else None


def _syn_repeated(recording: Recording) -> float | None:
    """From the first SYN to its first repetition, where nobody answers."""
    low, high = recording.phases.get("nobody", (0.0, 0.0))
    times: dict[object, list[float]] = {}
    for at, packet in recording.timed_packets:
        if low <= at < high and packet.protocol == wire.TCP and packet.flags & wire.SYN:
            times.setdefault(packet.flow, []).append(at)
    return middle((found[1] - found[0]) * 1000 for found in times.values() if len(found) > 1)


def _unevenness(recording: Recording) -> float | None:
    """Deviation of the gaps by their mean: 1 where they are exponential."""
    gaps = [after - before for before, after in pairwise(_times(recording, "idle"))]
    return pstdev(gaps) / fmean(gaps) if len(gaps) > 20 else None


def _delay(recording: Recording) -> float | None:
    delays = [delay for _, _, delay in _at_first_mix(recording) if delay]
    return fmean(delays) / 1e6 if delays else None


def _to_gateway(recording: Recording) -> float | None:
    """From the first question to the directory to the first connection to a gateway."""
    asked, upgrade = recording.of("directory", "bytes", "ready"), recording.of("gateway", "upgrade", "ready")
    return (upgrade[0].at - asked[0].at) * 1000 if asked and upgrade else None


def _to_reconnect(recording: Recording) -> float | None:
    upgrades = recording.of("gateway", "upgrade", "loss")
    return (upgrades[0].at - recording.phases["loss"][0]) * 1000 if upgrades else None


RATES: dict[str, Fact[float | None]] = {
    "rate.idle": Fact("gateway", "packets a second, idle", _rate("idle")),
    "rate.download": Fact("gateway", "packets a second, downloading", _rate("download")),
    "rate.upload": Fact("gateway", "packets a second, uploading", _rate("upload")),
    "rate.behind": Fact("gateway", "packets a second, of a tab behind another", _behind),
    "rate.gaps": Fact("gateway", "deviation of gaps by their mean, idle", _unevenness),
    "rate.directory": Fact("gateway", "from the directory's first request to the connection, ms", _to_gateway),
    "rate.reconnect": Fact("gateway", "from a lost connection to the next one, ms", _to_reconnect),
    "rate.delay": Fact("mix node", "mean delay, ms", _delay),
    "rate.syn": Fact("server", "until a SYN is sent again, ms", _syn_repeated),
    "rate.timestamps": Fact("server", "ticks of timestamps a second", _stamp_rate),
}


def middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def alike(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return max(one, other) <= TOLERANCE * min(one, other)
