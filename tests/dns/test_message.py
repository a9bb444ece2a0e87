"""DNS messages: queries as bytes, answers whole, truncated at every length, with other ids, questions and records."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.dns.message import TYPE_A, TYPE_AAAA, Reply, decode_reply, encode_query
from smolmix_web.errors import DnsError

SOA = ("test.", 300, "SOA", "ns.test. admin.test. 1 2 3 4 60")


def answer(
    name: str,
    rdtype: int,
    records: list[tuple[str, int, str, str]] = [],  # noqa: B006
    *,
    authority: list[tuple[str, int, str, str]] = [],  # noqa: B006
    rcode: int = 0,
    identifier: int = 7,
    flags: int = 0,
) -> bytes:
    query = dns.message.from_wire(encode_query(name, rdtype, identifier))
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.Rcode(rcode))
    response.flags |= flags
    for section, items in ((response.answer, records), (response.authority, authority)):
        for owner, ttl, kind, text in items:
            section.append(dns.rrset.from_text(owner, ttl, "IN", kind, text))
    return response.to_wire()


def test_query_bytes() -> None:
    data = encode_query("origin.test", TYPE_A, 0x1234)
    assert data[:12] == struct.pack(">6H", 0x1234, 0x0100, 1, 0, 0, 1)
    assert data[12:29] == b"\x06origin\x04test\x00\x00\x01\x00\x01"
    assert data[29:] == b"\x00\x00\x29" + struct.pack(">HIH", 1232, 0, 0)


def test_addresses() -> None:
    data = answer("a.test", TYPE_A, [("a.test.", 60, "A", "192.0.2.1"), ("a.test.", 60, "A", "192.0.2.2")])
    reply = decode_reply(data, "a.test", TYPE_A, {7})
    assert reply is not None
    assert set(reply.addresses) == {IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")} and reply.ttl == 60
    data = answer("a.test", TYPE_AAAA, [("a.test.", 5, "AAAA", "2001:db8::1")])
    assert decode_reply(data, "a.test", TYPE_AAAA, {7}) == Reply((IPv6Address("2001:db8::1"),), 5)


def test_cname_chain_takes_the_smallest_ttl() -> None:
    records = [
        ("a.test.", 300, "CNAME", "b.test."),
        ("b.test.", 20, "CNAME", "c.test."),
        ("c.test.", 100, "A", "192.0.2.3"),
    ]
    for order in (records, records[::-1]):
        assert decode_reply(answer("a.test", TYPE_A, order), "a.test", TYPE_A, {7}) == Reply(
            (IPv4Address("192.0.2.3"),), 20
        )


def test_cname_without_address_is_followed() -> None:
    data = answer("a.test", TYPE_A, [("a.test.", 300, "CNAME", "B.Elsewhere.test.")])
    assert decode_reply(data, "a.test", TYPE_A, {7}) == Reply(follow="b.elsewhere.test", ttl=300)


def test_negative_answers() -> None:
    for rcode, code in ((0, "dns_no_data"), (3, "dns_not_found")):
        reply = decode_reply(answer("a.test", TYPE_A, authority=[SOA], rcode=rcode), "a.test", TYPE_A, {7})
        assert reply == Reply(code=code, ttl=60)  # the SOA's minimum
        reply = decode_reply(answer("a.test", TYPE_A, rcode=rcode), "a.test", TYPE_A, {7})
        assert reply == Reply(code=code, ttl=0)


def test_records_of_other_names_and_types_are_no_answer() -> None:
    data = answer("a.test", TYPE_A, [("evil.test.", 60, "A", "192.0.2.66"), ("a.test.", 60, "AAAA", "2001:db8::1")])
    assert decode_reply(data, "a.test", TYPE_A, {7}) == Reply(code="dns_no_data")


def test_what_does_not_belong_to_the_query_is_ignored() -> None:
    good = answer("a.test", TYPE_A, [("a.test.", 60, "A", "192.0.2.1")])
    assert decode_reply(good, "a.test", TYPE_A, {8}) is None
    assert decode_reply(good, "b.test", TYPE_A, {7}) is None
    assert decode_reply(good, "a.test", TYPE_AAAA, {7}) is None
    assert decode_reply(encode_query("a.test", TYPE_A, 7), "a.test", TYPE_A, {7}) is None
    for size in range(12):
        assert decode_reply(good[:size], "a.test", TYPE_A, {7}) is None


def test_names_compare_without_case() -> None:
    good = answer("a.test", TYPE_A, [("A.TEST.", 60, "A", "192.0.2.1")])
    reply = decode_reply(good.replace(b"\x01a\x04test", b"\x01A\x04tEsT", 1), "a.test", TYPE_A, {7})
    assert reply is not None and reply.addresses


def test_cut_at_every_length() -> None:
    data = answer("a.test", TYPE_A, [("a.test.", 60, "A", "192.0.2.1")], authority=[SOA])
    for size in range(12, len(data)):
        with pytest.raises(DnsError) as caught:
            decode_reply(data[:size], "a.test", TYPE_A, {7})
        assert caught.value.code == "dns_malformed"
    with pytest.raises(DnsError):
        decode_reply(data + b"\0", "a.test", TYPE_A, {7})


def test_truncated_flag_at_every_length() -> None:
    data = answer("a.test", TYPE_A, [("a.test.", 60, "A", "192.0.2.1")], flags=int(dns.flags.TC))
    for size in range(24, len(data) + 1):
        assert decode_reply(data[:size], "a.test", TYPE_A, {7}) == Reply(truncated=True)


@pytest.mark.parametrize(
    ("rcode", "code"), [(1, "dns_servfail"), (2, "dns_servfail"), (4, "dns_servfail"), (5, "dns_refused")]
)
def test_errors_of_the_server(rcode: int, code: str) -> None:
    with pytest.raises(DnsError) as caught:
        decode_reply(answer("a.test", TYPE_A, rcode=rcode), "a.test", TYPE_A, {7})
    assert caught.value.code == code


def test_loops_end() -> None:
    records = [("a.test.", 60, "CNAME", "b.test."), ("b.test.", 60, "CNAME", "a.test.")]
    with pytest.raises(DnsError) as caught:
        decode_reply(answer("a.test", TYPE_A, records), "a.test", TYPE_A, {7})
    assert caught.value.code == "dns_malformed"
    pointer = bytearray(answer("a.test", TYPE_A))
    pointer[12:14] = b"\xc0\x0c"  # a name that points at itself
    with pytest.raises(DnsError):
        decode_reply(bytes(pointer), "a.test", TYPE_A, {7})


@given(st.binary(max_size=80), st.integers(0, 200), st.integers(0, 255))
def test_damage_never_raises_anything_else(junk: bytes, position: int, value: int) -> None:
    data = bytearray(answer("a.test", TYPE_A, [("a.test.", 60, "A", "192.0.2.1")], authority=[SOA]))
    data[position % len(data)] = value
    for candidate in (bytes(data), b"\x00\x07\x81\x80" + junk):
        try:
            decode_reply(candidate, "a.test", TYPE_A, {7})
        except DnsError as error:
            assert error.phase == "dns"
