"""Records of every type from the bytes of an answer: whole, cut at every length, with trailing bytes, damaged."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.dns.message import Question, Reply, decode_reply
from smolmix_web.dns.records import (
    TYPES,
    AAAARecord,
    ARecord,
    CAARecord,
    CNAMERecord,
    HTTPSRecord,
    MXRecord,
    NSRecord,
    PTRRecord,
    Record,
    SOARecord,
    SRVRecord,
    TXTRecord,
    type_number,
)
from smolmix_web.errors import DnsError

OWNER = "svc.example"


def labels(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


FOO_COM, FOO_ORG = labels("foo.example.com"), labels("foo.example.org")
ECH = b"\0\x08\xfe\x0d\0\4abcd"  # one ECHConfig
V6 = "2001:db8::1", "2001:db8::53:1"


def made(kind: type[Record], *values: Any, **named: Any) -> Record:
    return kind(OWNER, 300, *values, **named)


# Type, bytes of the record data, what they mean. Those of HTTPS are the test vectors of RFC 9460, appendix D.
VECTORS: dict[str, tuple[str, bytes, Record]] = {
    "A": ("A", bytes([192, 0, 2, 1]), made(ARecord, IPv4Address("192.0.2.1"))),
    "AAAA": ("AAAA", IPv6Address(V6[0]).packed, made(AAAARecord, IPv6Address(V6[0]))),
    "CNAME": ("CNAME", labels("Other.Example"), made(CNAMERecord, "other.example")),
    "NS": ("NS", labels("ns1.example"), made(NSRecord, "ns1.example")),
    "NS compressed": ("NS", b"\x03ns1\xc0\x0c", made(NSRecord, f"ns1.{OWNER}")),
    "PTR": ("PTR", labels("host.example"), made(PTRRecord, "host.example")),
    "MX": ("MX", b"\x00\x0a" + labels("mail.example"), made(MXRecord, 10, "mail.example")),
    "MX null": ("MX", b"\x00\x00\x00", made(MXRecord, 0, ".")),
    "TXT": ("TXT", b"\x05v=one\x00\x03two", made(TXTRecord, (b"v=one", b"", b"two"))),
    "TXT binary": ("TXT", b"\x04\x00\xff\xc3\xa9", made(TXTRecord, (b"\x00\xff\xc3\xa9",))),
    "SOA": (
        "SOA",
        labels("ns.example") + labels("admin.example") + struct.pack(">5I", 2026112201, 7200, 900, 1209600, 300),
        made(SOARecord, "ns.example", "admin.example", 2026112201, 7200, 900, 1209600, 300),
    ),
    "SRV": ("SRV", struct.pack(">3H", 5, 0, 5060) + labels("sip.example"), made(SRVRecord, 5, 0, 5060, "sip.example")),
    "CAA": ("CAA", b"\x00\x05issueca1.example.net", made(CAARecord, 0, "issue", "ca1.example.net")),
    "CAA critical": ("CAA", b"\x80\x03TBSUnknown", made(CAARecord, 128, "tbs", "Unknown")),
    "HTTPS alias": ("HTTPS", b"\0\0" + FOO_COM, made(HTTPSRecord, 0, "foo.example.com")),
    "HTTPS owner": ("HTTPS", b"\0\1\0", made(HTTPSRecord, 1, ".")),
    "HTTPS port": ("HTTPS", b"\0\x10" + FOO_COM + b"\0\3\0\2\0\x35", made(HTTPSRecord, 16, "foo.example.com", port=53)),
    "HTTPS generic": (
        "HTTPS",
        b"\0\1" + FOO_COM + b"\x02\x9b\0\5hello",
        made(HTTPSRecord, 1, "foo.example.com", other={"key667": b"hello"}),
    ),
    "HTTPS generic binary": (
        "HTTPS",
        b"\0\1" + FOO_COM + b"\x02\x9b\0\x09hello\xd2qoo",
        made(HTTPSRecord, 1, "foo.example.com", other={"key667": b"hello\xd2qoo"}),
    ),
    "HTTPS ipv6hint": (
        "HTTPS",
        b"\0\1" + FOO_COM + b"\0\6\0\x20" + b"".join(IPv6Address(text).packed for text in V6),
        made(HTTPSRecord, 1, "foo.example.com", ipv6hint=tuple(map(IPv6Address, V6))),
    ),
    "HTTPS mandatory": (
        "HTTPS",
        b"\0\x10" + FOO_ORG + b"\0\0\0\4\0\1\0\4" + b"\0\1\0\x09\x02h2\x05h3-19" + b"\0\4\0\4\xc0\0\2\1",
        made(
            HTTPSRecord,
            16,
            "foo.example.org",
            alpn=("h2", "h3-19"),
            ipv4hint=(IPv4Address("192.0.2.1"),),
            mandatory=("alpn", "ipv4hint"),
        ),
    ),
    "HTTPS escapes": (
        "HTTPS",
        b"\0\x10" + FOO_ORG + b"\0\1\0\x0c\x08f\\oo,bar\x02h2",
        made(HTTPSRecord, 16, "foo.example.org", alpn=("f\\oo,bar", "h2")),
    ),
    "HTTPS ech": (
        "HTTPS",
        b"\0\1\0" + b"\0\1\0\3\x02h2" + b"\0\2\0\0" + b"\0\5\0\x0a" + ECH + b"\0\7\0\x10/dns-query{?dns}",
        made(
            HTTPSRecord,
            1,
            ".",
            alpn=("h2",),
            no_default_alpn=True,
            ech=ECH,
            other={"dohpath": b"/dns-query{?dns}"},
        ),
    ),
}


def message(kind: str, *datas: bytes) -> bytes:
    """An answer by hand: one question, one record for each data."""
    number = TYPES[kind]
    head = struct.pack(">6H", 7, 0x8180, 1, len(datas), 0, 0) + labels(OWNER) + struct.pack(">2H", number, 1)
    return head + b"".join(b"\xc0\x0c" + struct.pack(">2HIH", number, 1, 300, len(data)) + data for data in datas)


def decode(wire: bytes, kind: str) -> Reply | None:
    return decode_reply(wire, Question(OWNER, TYPES[kind]), {7: OWNER})


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    kind, data, expected = VECTORS[name]
    reply = decode(message(kind, data), kind)
    assert reply is not None and reply.records == (expected,) and expected.type == kind
    assert (reply.ttl, reply.canonical, reply.size) == (300, OWNER, len(message(kind, data)))
    assert expected.aged(100).ttl == 200 and expected.aged(1000).ttl == 0
    assert hash(expected) == hash(reply.records[0])
    assert expected.to_dict()["type"] == kind and expected.to_dict()["ttl"] == 300


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_cut_at_every_length(name: str) -> None:
    kind, data, _ = VECTORS[name]
    whole = message(kind, data)
    for wire in [whole[:size] for size in range(12, len(whole))]:
        with pytest.raises(DnsError) as caught:
            decode(wire, kind)
        assert (caught.value.code, caught.value.phase) == ("dns_malformed", "dns")
    for more in (b"\0", whole):  # as browsers and stub resolvers
        assert decode(whole + more, kind) == replace(decode(whole, kind) or Reply(), size=len(whole + more))


@pytest.mark.parametrize("name", VECTORS)
def test_record_data_of_another_length_than_it_says(name: str) -> None:
    """Cut within the data with the length adjusted: a typed error, or another record where that is one."""
    kind, data, expected = VECTORS[name]
    for size in range(len(data)):
        try:
            reply = decode(message(kind, data[:size]), kind)
        except DnsError as error:
            assert error.code == "dns_malformed"
        else:
            assert reply is not None and reply.records != (expected,)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\0" + b"\0\3\0\2\0\x35" + b"\0\1\0\3\x02h2",  # keys out of order
        b"\0\1\0" + b"\0\3\0\2\0\x35" * 2,  # a key twice
        b"\0\1\0" + b"\0\3\0\3\0\x35\0",  # a port of three bytes
        b"\0\1\0" + b"\0\1\0\0",  # no protocol
        b"\0\1\0" + b"\0\1\0\2\x05h",  # a protocol longer than the parameter
        b"\0\1\0" + b"\0\4\0\5\xc0\0\2\1\0",  # an address and a quarter
        b"\0\1\0" + b"\0\0\0\2\0\4",  # mandatory, and missing
    ],
)
def test_malformed_service_parameters(data: bytes) -> None:
    with pytest.raises(DnsError) as caught:
        decode(message("HTTPS", data), "HTTPS")
    assert caught.value.code == "dns_malformed"


def test_records_come_by_preference() -> None:
    reply = decode(message("MX", *(bytes([0, n]) + labels(f"m{n}") for n in (20, 5, 10))), "MX")
    assert reply is not None and [getattr(record, "exchange") for record in reply.records] == ["m5", "m10", "m20"]  # noqa: B009


def test_dictionaries_for_pages() -> None:
    ech = VECTORS["HTTPS ech"][2].to_dict()
    assert ech == {
        "type": "HTTPS", "name": OWNER, "ttl": 300, "priority": 1, "target": ".", "alpn": ["h2"], "noDefaultAlpn": True,
        "port": None, "ipv4hint": [], "ipv6hint": [], "ech": base64.b64encode(ECH).decode(),
        "mandatory": [], "other": {"dohpath": base64.b64encode(b"/dns-query{?dns}").decode()},
    }  # fmt: skip
    hints = VECTORS["HTTPS ipv6hint"][2].to_dict()
    assert hints["ipv6hint"] == list(V6)
    text = VECTORS["TXT binary"][2].to_dict()
    assert text["strings"] == ["\0\ufffdé"] and text["text"] == "\0\ufffdé" and text["base64"] == ["AP/DqQ=="]
    assert VECTORS["CAA critical"][2].to_dict()["critical"] and not VECTORS["CAA"][2].to_dict()["critical"]
    assert VECTORS["AAAA"][2].to_dict()["address"] == V6[0]


def test_types_by_name() -> None:
    assert type_number("mx") == 15 and type_number("CAA") == 257
    for wrong in ("", "ANY", "15", "AXFR", "É"):
        with pytest.raises(DnsError) as caught:
            type_number(wrong)
        assert (caught.value.code, caught.value.phase) == ("bad_type", "dns")


@pytest.mark.feature("DNS", "No answer, however damaged, gives an untyped error")
@settings(max_examples=400)
@given(
    st.sampled_from(sorted(VECTORS)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
    st.binary(max_size=60),
)
def test_damage_gives_typed_errors_only(name: str, changes: list[tuple[int, int]], cut: int, tail: bytes) -> None:
    kind, data, _ = VECTORS[name]
    wire = bytearray(message(kind, data, data[: len(data) // 2], tail))
    for position, value in changes:
        wire[position % len(wire)] = value
    for candidate in (bytes(wire), bytes(wire[:cut]) + tail, message(kind, tail)):
        try:
            reply = decode(candidate, kind)
        except DnsError as error:
            assert error.phase == "dns" and error.code in ("dns_malformed", "dns_servfail", "dns_refused")
        else:
            assert reply is None or all(record.to_dict() for record in reply.records) or reply.code or reply.truncated


@pytest.mark.cpython
@pytest.mark.feature("DNS", "Code for a record type is loaded when the type is asked for")
def test_record_types_are_loaded_when_asked_for() -> None:
    script = """
import sys
sys.path.insert(0, "")
from tests.dns.test_records import VECTORS, decode, message
loaded = lambda: {name.rpartition(".")[2] for name in sys.modules if name.startswith("dns.rdtypes.")}
assert not any(name.startswith("dns.") for name in sys.modules), "nothing before the first question"
decode(message("A", VECTORS["A"][1]), "A")
heavy = {"svcbbase", "HTTPS", "CAA", "SRV", "MX", "TXT", "PTR", "NS"}
assert not loaded() & heavy, loaded()
decode(message("HTTPS", VECTORS["HTTPS mandatory"][1]), "HTTPS")
assert loaded() & heavy == {"svcbbase", "HTTPS"}, loaded()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
