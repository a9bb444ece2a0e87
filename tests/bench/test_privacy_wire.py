"""Hand-made bytes and what is read from them: each parser of the privacy bench, and the habits that facts name."""

from __future__ import annotations

import struct

import pytest

from bench import privacy_wire as wire
from bench.privacy import asked
from bench.privacy_facts import DRAWN, EXACT, NOTHING, RATES, alike, habit, recurring
from bench.privacy_records import Recording
from localnet.observed import Seen

pytestmark = pytest.mark.cpython

OPTIONS = bytes.fromhex("020405b4 0402 080a0000000100000000 01 030307")
CLIENT, SERVER = bytes((10, 0, 0, 9)), bytes((203, 0, 114, 10))


def tcp4(
    flags: int, sequence: int, payload: bytes = b"", *, options: bytes = b"", sport: int = 50000, ident: int = 7
) -> bytes:
    head = struct.pack("!HHIIBBHHH", sport, 80, sequence, 0, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0)
    body = head + options + payload
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, 0x4000, 64, wire.TCP, 0)
    return start + CLIENT + SERVER + body


def query(ident: int, name: bytes, *, edns: bool = True) -> bytes:
    labels = b"".join(bytes([len(part)]) + part for part in name.split(b".")) + b"\0"
    additional = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if edns else b""
    return struct.pack("!HHHHHH", ident, 0x0120, 1, 0, 0, int(edns)) + labels + b"\0\x01\0\x01" + additional


def hello(name: bytes, *, order: tuple[int, ...] = (0, 16, 43, 51), random: bytes = bytes(32)) -> bytes:
    server = struct.pack("!HBH", len(name) + 3, 0, len(name)) + name
    bodies = {
        0: server,
        16: b"\0\x0c\x02h2\x08http/1.1",
        43: b"\x04\x03\x04\x03\x03",
        51: struct.pack("!HHH", 36, 29, 32) + bytes(32),
    }
    extensions = b"".join(struct.pack("!HH", kind, len(bodies[kind])) + bodies[kind] for kind in order)
    body = b"\x03\x03" + random + b"\0" + b"\0\x04\x13\x01\x13\x02" + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def test_a_syn_has_its_options_in_order() -> None:
    found = wire.packet(tcp4(wire.SYN, 5, options=OPTIONS))
    assert wire.option_names(found) == "mss,sackOK,ts,nop,wscale"
    assert (found.version, found.ttl, found.identification, found.dont_fragment) == (4, 64, 7, True)
    assert (found.sport, found.dport, found.window, found.sequence) == (50000, 80, 65535, 5)
    assert found.option(2) == b"\x05\xb4" and found.option(3) == b"\x07" and found.option(5) is None
    with pytest.raises(ValueError, match="option 2"):
        wire.packet(tcp4(wire.SYN, 5, options=b"\x02\0\0\0"))
    with pytest.raises(ValueError, match="version"):
        wire.packet(bytes(40))


def test_ipv6_is_read_too() -> None:
    body = tcp4(wire.SYN, 9)[20:]
    found = wire.packet(struct.pack("!IHBB", 6 << 28, len(body), wire.TCP, 63) + bytes(15) + b"\1" + bytes(16) + body)
    assert (found.version, found.ttl, found.sport, found.sequence) == (6, 63, 50000, 9)


def test_a_stream_is_put_together_whatever_the_order() -> None:
    base = 0xFFFFFFFE  # wraps
    parts = [(wire.SYN, base, b""), (16, base + 4, b"def"), (16, base + 1, b"abc"), (16, base + 1, b"abc")]
    packets = [wire.packet(tcp4(flags, at & 0xFFFFFFFF, data)) for flags, at, data in parts]
    assert wire.stream(packets) == b"abcdef"
    assert wire.stream([packets[0], packets[1]]) == b""  # a hole
    assert wire.stream(packets[1:]) == b""


def test_a_client_hello() -> None:
    found = wire.client_hello(hello(b"origin.test"))
    assert found.server_name == "origin.test" and found.alpn == "h2,http/1.1"
    assert found.extension_names == ("server_name", "alpn", "supported_versions", "key_share")
    assert found.key_shares == ((29, bytes(32)),) and wire.cipher_names(found) == "1301,1302"
    assert found.numbers(43, 1) == "0304,0303" and found.numbers(10) == "none"
    for bad in (b"\x17" + hello(b"a")[1:], hello(b"a")[:-1]):
        with pytest.raises(ValueError, match="ClientHello"):
            wire.client_hello(bad)


def test_a_question() -> None:
    found = wire.dns_query(query(7, b"oRigin.test"))
    assert (found.ident, found.name, found.kind, found.mixed_case) == (7, "oRigin.test", 1, True)
    assert found.edns.startswith("1232 bytes") and wire.dns_query(query(7, b"a.b", edns=False)).edns == "none"


def test_http() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET"
    first, second = wire.http1_heads(data)
    assert wire.header_names(first) == "Host Content-Length" and second[0] == "GET /b HTTP/1.1"
    settings = struct.pack("!HIHI", 2, 0, 4, 65535)
    frame = len(settings).to_bytes(3, "big") + b"\4\0" + bytes(4) + settings
    assert wire.http2_frames(wire.PREFACE + frame + b"\0\0\4\6") == [("SETTINGS", 0, 0, settings)]
    assert wire.http2_settings(settings) == "2=0,4=65535"


def test_the_shape_of_a_text_keeps_its_order_and_spaces() -> None:
    assert wire.shape('{"b":1,"a":[1,2]}') == "{b: 1, a: [2]}"
    assert wire.shape('{"b": 1}') == "{b: 1} (with spaces)"
    assert wire.shape('{"t":1800000000,"k":"' + "x" * 40 + '"}') == "{t: time, k: long text}"


def test_habits() -> None:
    assert habit([0, 0, 0]) == "always 0" and habit([7, 8, 9, 10]) == "counts" and habit([9, 5, 60000, 7]) == "drawn"
    assert habit([1, 2]) == NOTHING
    assert recurring([[1, 2], [3]]) == "never twice" and recurring([[1, 2], [2]]) == "1 of 2 seen twice"
    assert recurring([[], []]) == NOTHING
    assert alike(1.0, 1.2) and not alike(1.0, 2.0) and not alike(None, 1.0) and alike(None, None)


def test_each_fact_can_be_read_of_nothing() -> None:
    """A step that failed leaves no records: that is shown, must not look like a result, and ends nothing."""
    nothing = Recording()
    assert {fact.read(nothing) for fact in EXACT.values()} == {NOTHING}
    assert not any(fact.read(nothing) for fact in (*DRAWN.values(), *RATES.values()))
    assert len({*EXACT, *DRAWN, *RATES}) == len(EXACT) + len(DRAWN) + len(RATES)


def test_facts_of_one_connection() -> None:
    syn = tcp4(wire.SYN, 1, options=OPTIONS)
    get = b"GET /text HTTP/1.1\r\nHost: origin.test\r\n\r\n"
    seen = [Seen("exit", "up", "tag", at, data) for at, data in ((1.0, syn), (1.1, syn), (2.0, tcp4(16, 2, get)))]
    recording = Recording(seen)
    assert len(recording.syns) == 1
    assert EXACT["tcp.syn.options"].read(recording) == "mss,sackOK,ts,nop,wscale"
    assert EXACT["tcp.syn.mss"].read(recording) == "1460" and EXACT["tcp.syn.scale"].read(recording) == "7"
    assert EXACT["http1.request"].read(recording) == "GET /text HTTP/1.1 / Host: origin.test"
    assert EXACT["exit.ip"].read(recording) == "64 DF 0"


def test_the_browsers_own_log_names_whom_it_asked() -> None:
    lines = [
        '{"constants":{},"events":[',
        '{"params":{"method":"GET","url":"https://a.test/x?y"},"type":1},',
        '{"params":{"method":"GET","url":"ws://127.0.0.1:5/"},"type":1},',
        '{"params":{"url":"https://only-named.test/"},"type":1},',
        '{"params":{"method":"GET","url":"data:text/plain,x"},"type":1},',
        '{"params":{"method":"GET","url":"https://a.test/z"},"ty',
    ]
    assert asked("\n".join(lines)) == {"https://a.test": 1, "ws://127.0.0.1:5": 1}
