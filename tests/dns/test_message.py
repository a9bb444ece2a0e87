"""DNS messages: queries as bytes, answers whole, truncated at every length, with other ids, questions and records."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.dns.message import EdnsRefused, Question, Reply, decode_reply, encode_query, mixed_case
from smolmix_web.dns.records import AAAARecord, ARecord
from smolmix_web.errors import DnsError
from smolmix_web.rand import SeededRandom

A, AAAA = 1, 28
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
    recursive: bool = True,
) -> bytes:
    query = dns.message.from_wire(encode_query(name, rdtype, identifier))
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.Rcode(rcode))
    response.flags |= flags | (dns.flags.RA if recursive else 0)
    for section, items in ((response.answer, records), (response.authority, authority)):
        for owner, ttl, kind, text in items:
            section.append(dns.rrset.from_text(owner, ttl, "IN", kind, text))
    return response.to_wire()


def decode(data: bytes, name: str = "a.test", rdtype: int = A, identifier: int = 7) -> Reply | None:
    reply = decode_reply(data, Question(name, rdtype), {identifier: name})
    return reply and replace(reply, size=0)


@pytest.mark.feature("DNS", "EDNS(0) over UDP, 1232 bytes")
def test_query_bytes() -> None:
    data = encode_query("origin.test", A, 0x1234)
    assert data[:12] == struct.pack(">6H", 0x1234, 0x0120, 1, 0, 0, 1)
    assert data[12:29] == b"\x06origin\x04test\x00\x00\x01\x00\x01"
    assert data[29:] == b"\x00\x00\x29" + struct.pack(">HIH", 1232, 0, 0)
    assert encode_query("OriGin.tesT", A, 0x1234)[12:25] == b"\x06OriGin\x04tesT\x00"
    assert encode_query(".", 2, 0)[12:17] == b"\x00\x00\x02\x00\x01"


@pytest.mark.feature("DNS", "Encrypted queries are padded to blocks of 128 bytes (RFC 8467)")
def test_padding() -> None:
    label = "a" * 60
    for name in ("a.test", f"{label}.test", f"{label}.{label}.test", f"{label}.{label}.{label}.test"):
        data = encode_query(name, A, 7, padded=True)
        plain = encode_query(name, A, 7)
        assert len(data) % 128 == 0 and len(plain) <= len(data) < len(plain) + 4 + 128
        option = dns.message.from_wire(data).options[0]
        assert (option.otype, data[-1]) == (12, 0)
    assert len(encode_query("a.test", A, 7, padded=True)) == len(encode_query(f"{label}.test", 257, 9, padded=True))


@pytest.mark.feature("DNS", "Names are asked in random case, and the answer must repeat it (0x20)")
def test_random_case() -> None:
    rng = SeededRandom(1)
    name = "some-long.name_with.1234.letters.test"
    spelled = [mixed_case(name, rng) for _ in range(200)]
    assert {text.lower() for text in spelled} == {name} and len(set(spelled)) == 200
    for position, character in enumerate(name):
        upper = sum(text[position] != character for text in spelled)
        assert 60 < upper < 140 if character.isalpha() else upper == 0
    question = Question("origin.test", A)
    right = answer("oRigIn.tEst", A, [("oRigIn.tEst.", 60, "A", "192.0.2.1")])
    for exact in (True, False):
        reply = decode_reply(right, question, {7: "oRigIn.tEst"}, exact_case=exact)
        assert reply is not None and reply.records == (ARecord("origin.test", 60, IPv4Address("192.0.2.1")),)
    folded = answer("origin.test", A, rcode=2)
    assert decode_reply(folded, question, {7: "oRigIn.tEst"}, exact_case=True) == Reply(folded=True)
    with pytest.raises(DnsError):
        decode_reply(folded, question, {7: "oRigIn.tEst"})


def test_addresses() -> None:
    data = answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1"), ("a.test.", 60, "A", "192.0.2.2")])
    reply = decode(data)
    assert reply is not None
    assert set(reply.records) == {ARecord("a.test", 60, IPv4Address(f"192.0.2.{n}")) for n in (1, 2)}
    assert (reply.ttl, reply.canonical) == (60, "a.test")
    data = answer("a.test", AAAA, [("a.test.", 5, "AAAA", "2001:db8::1")])
    assert decode(data, rdtype=AAAA) == Reply((AAAARecord("a.test", 5, IPv6Address("2001:db8::1")),), 5, "a.test")


def test_the_servers_word_on_signatures() -> None:
    for flags, said in ((0, False), (int(dns.flags.AD), True)):
        reply = decode(answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")], flags=flags))
        assert reply is not None and reply.authenticated is said


def test_cname_chain_takes_the_smallest_ttl() -> None:
    records = [
        ("a.test.", 300, "CNAME", "b.test."),
        ("b.test.", 20, "CNAME", "C.test."),
        ("c.test.", 100, "A", "192.0.2.3"),
    ]
    for order in (records, records[::-1]):
        expected = Reply((ARecord("c.test", 100, IPv4Address("192.0.2.3")),), 20, "c.test")
        assert decode(answer("a.test", A, order)) == expected


def test_cname_without_address_is_followed() -> None:
    data = answer("a.test", A, [("a.test.", 300, "CNAME", "B.Elsewhere.test.")])
    assert decode(data) == Reply(follow="b.elsewhere.test", canonical="b.elsewhere.test", ttl=300)


def test_negative_answers() -> None:
    for rcode, code in ((0, "dns_no_data"), (3, "dns_not_found")):
        reply = decode(answer("a.test", A, authority=[SOA], rcode=rcode))
        assert reply == Reply(code=code, ttl=60, canonical="a.test")  # the SOA's minimum
        assert decode(answer("a.test", A, rcode=rcode)) == Reply(code=code, ttl=0, canonical="a.test")


def test_no_such_name_with_records() -> None:
    """What leads from the question counts; the code is for the case that nothing does."""
    good = [("a.test.", 60, "CNAME", "b.test."), ("b.test.", 50, "A", "192.0.2.1")]
    assert decode(answer("a.test", A, good, rcode=3)) == decode(answer("a.test", A, good))
    expected = Reply(code="dns_not_found", ttl=60, canonical="b.test")
    assert decode(answer("a.test", A, good[:1], authority=[SOA], rcode=3)) == expected
    elsewhere = [("c.test.", 60, "A", "192.0.2.66")]
    assert decode(answer("a.test", A, elsewhere, rcode=3)) == Reply(code="dns_not_found", canonical="a.test")


def test_the_soa_of_another_zone_says_nothing() -> None:
    away = ("elsewhere.", 300, "SOA", "ns.test. admin.test. 1 2 3 4 60")
    assert decode(answer("a.test", A, authority=[away])) == Reply(code="dns_no_data", canonical="a.test")
    alias = [("a.test.", 300, "CNAME", "b.elsewhere.")]
    assert decode(answer("a.test", A, alias, authority=[SOA])) == Reply(
        follow="b.elsewhere", canonical="b.elsewhere", ttl=300
    )
    no_data = decode(answer("a.test", A, alias, authority=[away]))
    assert no_data == Reply(code="dns_no_data", ttl=60, canonical="b.elsewhere")


def test_a_server_that_does_not_resolve() -> None:
    """Nothing, neither authoritative nor recursive: a referral, or an empty answer to anything."""
    ns = ("test.", 300, "NS", "ns.test.")
    for authority in ([], [ns]):
        with pytest.raises(DnsError) as caught:
            decode(answer("a.test", A, authority=authority, recursive=False))
        assert caught.value.code == "dns_servfail" and not isinstance(caught.value, EdnsRefused)
        flags = int(dns.flags.AA)
        known = decode(answer("a.test", A, authority=authority, recursive=False, flags=flags))
        assert known == Reply(code="dns_no_data", canonical="a.test")
    good = [("a.test.", 60, "A", "192.0.2.1")]
    assert decode(answer("a.test", A, good, recursive=False)) == decode(answer("a.test", A, good))


def test_an_error_without_the_question() -> None:
    """Of a server that did not read so far; any other answer must repeat the question."""
    for rcode in range(6):
        data = bytes([0, 7, 0x81, 0x80 | rcode]) + bytes(8)
        with pytest.raises(DnsError) as caught:
            decode(data)
        assert caught.value.code == ("dns_servfail" if rcode in (1, 4) else "dns_malformed")
        assert decode(data, identifier=8) is None


def test_another_operation_is_no_answer() -> None:
    good = bytearray(answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")]))
    for opcode in (1, 2, 4, 5, 6):
        good[2] = 0x81 | opcode << 3
        assert decode(bytes(good)) is None


def test_records_of_other_names_and_types_are_no_answer() -> None:
    data = answer("a.test", A, [("evil.test.", 60, "A", "192.0.2.66"), ("a.test.", 60, "AAAA", "2001:db8::1")])
    assert decode(data) == Reply(code="dns_no_data", canonical="a.test")


def test_what_does_not_belong_to_the_query_is_ignored() -> None:
    good = answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")])
    assert decode(good, identifier=8) is None
    assert decode(good, "b.test") is None
    assert decode(good, rdtype=AAAA) is None
    assert decode(encode_query("a.test", A, 7)) is None
    for size in range(12):
        assert decode(good[:size]) is None


def test_names_compare_without_case() -> None:
    good = answer("a.test", A, [("A.TEST.", 60, "A", "192.0.2.1")])
    reply = decode(good.replace(b"\x01a\x04test", b"\x01A\x04tEsT", 1))
    assert reply is not None and reply.records


def test_cut_at_every_length() -> None:
    data = answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")], authority=[SOA])
    for size in range(12, len(data)):
        with pytest.raises(DnsError) as caught:
            decode(data[:size])
        assert caught.value.code == "dns_malformed"
    assert decode(data + b"\0") == decode(data), "what follows is of no importance"


def test_truncated_flag_at_every_length() -> None:
    data = answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")], flags=int(dns.flags.TC))
    for size in range(24, len(data) + 1):
        assert decode(data[:size]) == Reply(truncated=True)


@pytest.mark.parametrize(
    ("rcode", "code"), [(1, "dns_servfail"), (2, "dns_servfail"), (4, "dns_servfail"), (5, "dns_refused")]
)
def test_errors_of_the_server(rcode: int, code: str) -> None:
    with pytest.raises(DnsError) as caught:
        decode(answer("a.test", A, rcode=rcode))
    assert caught.value.code == code
    assert isinstance(caught.value, EdnsRefused) == (rcode in (1, 4))


def test_loops_end() -> None:
    records = [("a.test.", 60, "CNAME", "b.test."), ("b.test.", 60, "CNAME", "a.test.")]
    with pytest.raises(DnsError) as caught:
        decode(answer("a.test", A, records))
    assert caught.value.code == "dns_malformed"
    pointer = bytearray(answer("a.test", A))
    pointer[12:14] = b"\xc0\x0c"  # a name that points at itself
    with pytest.raises(DnsError):
        decode(bytes(pointer))


def test_an_answer_from_a_cache_that_does_not_count_down() -> None:
    reply = decode(answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")]))
    assert reply is not None
    assert (reply.aged(20).ttl, reply.aged(20).records[0].ttl) == (40, 40)
    assert (reply.aged(100).ttl, reply.aged(100).records[0].ttl) == (0, 0)


@given(st.binary(max_size=80), st.integers(0, 200), st.integers(0, 255))
def test_damage_never_raises_anything_else(junk: bytes, position: int, value: int) -> None:
    data = bytearray(answer("a.test", A, [("a.test.", 60, "A", "192.0.2.1")], authority=[SOA]))
    data[position % len(data)] = value
    for candidate in (bytes(data), b"\x00\x07\x81\x80" + junk):
        try:
            decode(candidate)
        except DnsError as error:
            assert error.phase == "dns"
