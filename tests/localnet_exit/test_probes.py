"""Questions to the resolvers: what they look like, whose answers are taken, and who is asked next."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import dns.message
import dns.rcode
import pytest

from localnet.exit import packets as exit_packets
from smolmix_web.exit.probes import Prober, Server
from smolmix_web.netstack import Echo, ErrorKind, Stack, StackConfig, icmp, ip, ipv4, ipv6, udp
from smolmix_web.rand import SeededRandom

OURS = IPv4Address("10.0.171.205"), IPv6Address("fc00::abcd")
GOOGLE, CLOUDFLARE = IPv4Address("8.8.8.8"), IPv4Address("1.1.1.1")
QUAD9 = IPv6Address("2620:fe::fe")
BOTH: list[Server] = [(GOOGLE, 53), (CLOUDFLARE, 53)]


def prober(servers: list[Server] = BOTH, seed: object = "prober") -> Prober:
    return Prober(SeededRandom(str(seed)), servers, OURS)


def outline(packet: bytes) -> tuple[str, str, int]:
    """Server, `echo` or `question`, hop limit. Checks everything by the stack's own parsers."""
    if packet[0] >> 4 == 4:
        head4 = ipv4.parse(packet)
        assert head4.source == OURS[0].packed and head4.fragment == ipv4.FLAG_DF
        source, destination, protocol, start, end = head4[:5]
        hops = head4.ttl
    else:
        head6 = ipv6.parse(packet)
        assert head6.source == OURS[1].packed
        source, destination, protocol, start, end, hops = head6[:6]
    if protocol == ip.UDP:
        port, server_port, data = udp.parse(source, destination, packet, start, end)
        assert server_port == 53 and port >= 49_152
        query = dns.message.from_wire(data)
        assert query.question[0].to_text() == ". IN NS" and query.flags == 0x0100
        kind = "question"
    else:
        echo = icmp.parse(source, destination, packet[start:end])
        assert isinstance(echo, Echo) and not echo.reply and len(echo.payload) == 56
        kind = "echo"
    return str(ip_address(destination)), kind, hops


def answer(packet: bytes) -> bytes:
    """By a server that has never heard of us: the stack for echoes, a resolver for questions."""
    target = ip_address(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])

    def resolve(source: object, destination: object, data: bytes, now: float) -> None:
        reply = dns.message.make_response(dns.message.from_wire(data))
        server.send_udp(destination, source, reply.to_wire(), now)  # type: ignore[arg-type]

    server = Stack([target], 1420, SeededRandom("server"), config=StackConfig(), accept_any=True)
    server.on_udp = resolve
    server.on_echo = lambda *_: True
    server.receive(packet, 1.0)
    out = server.poll(1.0, 10)
    assert len(out) == 1
    return out[0]


def exceeded(packet: bytes) -> bytes:
    error = exit_packets.icmp_error(ErrorKind.TTL_EXCEEDED, packet, 1420)
    assert error is not None
    return error


def test_the_first_question_is_an_echo_request_like_any_other() -> None:
    asked = prober()
    (packet,) = asked.packets(1, 100.0)
    assert outline(packet) == ("8.8.8.8", "echo", 64) and len(packet) == 84
    assert asked.answered(answer(packet))


def test_nothing_in_it_says_who_asks() -> None:
    """Not two of many questions share identification, echo identifier or payload."""
    seen: set[bytes] = set()
    asked = prober()
    for turn in range(200):
        (packet,) = asked.packets(1, 100.0 + 25 * turn)
        assert asked.answered(answer(packet))
        seen |= {packet[4:6] + packet[24:26], packet[28:]}
    assert len(seen) == 400
    other = prober(seed="another client").packets(1, 0.0)[0]
    assert other[28:] not in seen


def test_a_doubt_asks_others_and_the_exit_itself() -> None:
    asked = prober()
    rows = [[outline(packet) for packet in asked.packets(attempt, 100.0 + attempt)] for attempt in (1, 2, 3)]
    assert rows == [
        [("8.8.8.8", "echo", 64)],
        [("1.1.1.1", "echo", 64), ("1.1.1.1", "echo", 1)],
        [("8.8.8.8", "question", 64), ("8.8.8.8", "question", 1)],
    ]


def test_a_silent_resolver_is_not_asked_first_again() -> None:
    asked = prober()
    asked.packets(1, 100.0)
    echo, first_hop = asked.packets(2, 104.0)
    assert asked.answered(exceeded(first_hop)), "the exit is there"
    assert asked.answered(answer(echo)), "and so is the second resolver"
    assert [outline(packet)[0] for packet in asked.packets(1, 130.0)] == ["1.1.1.1"]


def test_where_nobody_answers_the_exit_s_own_word_comes_with_the_first_attempt() -> None:
    asked = prober([(GOOGLE, None)])
    asked.packets(1, 100.0)
    _, first_hop = asked.packets(2, 104.0)
    assert asked.answered(exceeded(first_hop))
    for turn in range(5):
        _, first_hop = packets = asked.packets(1, 130.0 + turn * 25)
        assert [outline(packet)[2] for packet in packets] == [64, 1]
        assert asked.answered(exceeded(first_hop))
    (echo, _) = asked.packets(1, 300.0)
    assert asked.answered(answer(echo)), "it is back"
    assert [outline(packet)[2] for packet in asked.packets(1, 325.0)] == [64]


def test_silent_echoes_lead_to_questions() -> None:
    """Every way is tried in turn until one answers, and that one stays."""
    asked, now, used = prober(), 100.0, []
    for _ in range(8):
        for attempt in (1, 2, 3):
            now += 4.0
            packets = asked.packets(attempt, now)
            used.append(outline(packets[0])[1])
            if used[-1] == "question":
                assert asked.answered(answer(packets[0]))
                break
            if len(packets) > 1:
                assert asked.answered(exceeded(packets[1]))
                break
    assert used[-1] == used[-2] == used[-3] == "question"


def test_a_policy_without_icmp_is_learnt() -> None:
    asked, refusals = prober(), []
    for turn in range(10):
        (packet,) = asked.packets(1, 100.0 + 25 * turn)
        server, kind, _ = outline(packet)
        if kind == "echo":
            refusals.append(server)
            assert asked.refused(ip_address(server), 0)
        else:
            assert asked.answered(answer(packet))
    assert refusals == ["8.8.8.8", "1.1.1.1"], "one line each in the operator's log, then none"


def test_refusals_of_others_are_not_ours() -> None:
    asked = prober()
    assert not asked.refused(GOOGLE, 0)
    asked.packets(1, 100.0)
    assert not asked.refused(GOOGLE, 53) and not asked.refused(CLOUDFLARE, 0)
    assert asked.refused(GOOGLE, 0) and not asked.refused(GOOGLE, 0), "a packet is refused once"
    (packet,) = asked.packets(1, 130.0)
    assert outline(packet)[0] == "1.1.1.1"
    asked.packets(2, 1000.0)
    assert not asked.refused(CLOUDFLARE, 0), "old ones are forgotten"


def test_what_is_somebody_else_s_goes_to_the_stack() -> None:
    asked = prober()
    (echo,) = asked.packets(1, 100.0)
    _, _ = asked.packets(2, 104.0)
    question, _ = asked.packets(3, 108.0)
    other = prober(seed="other")
    strange = [answer(other.packets(1, 1.0)[0]), exceeded(other.packets(2, 5.0)[1]), answer(other.packets(3, 9.0)[0])]
    strange += [echo, question, b"", b"\x45", b"\x60", bytes(40), b"x" * 60, answer(echo)[:30], b"\x45" * 100]
    assert [packet for packet in strange if asked.answered(packet)] == []
    assert asked.answered(answer(question)) and asked.answered(answer(echo)), "late ones are ours"


def test_answers_are_known_even_if_they_come_twice() -> None:
    asked = prober()
    asked.packets(1, 100.0)
    asked.packets(2, 104.0)
    question, _ = asked.packets(3, 108.0)
    assert asked.answered(answer(question)) and asked.answered(answer(question)), "no port unreachable for the copy"


def test_only_ipv6() -> None:
    asked = prober([(QUAD9, 53)])
    (packet,) = asked.packets(1, 100.0)
    assert outline(packet) == (str(QUAD9), "echo", 64) and len(packet) == 104
    rows = [outline(packet) for packet in asked.packets(2, 104.0)]
    assert rows == [(str(QUAD9), "question", 64), (str(QUAD9), "question", 1)]
    assert asked.answered(answer(packet))
    error = icmp.build_error(ErrorKind.NETWORK_UNREACHABLE, packet, IPv6Address("fc00::1").packed, 0)
    assert prober([(QUAD9, None)]).answered(error) is False
    assert asked.answered(error), "an exit without IPv6 says so: it is alive"


@pytest.mark.parametrize(
    ("servers", "asked_first"),
    [
        ([(IPv4Address("10.1.2.3"), 53), (CLOUDFLARE, 53)], "1.1.1.1"),
        ([(IPv4Address("10.1.2.3"), 53)], "10.1.2.3"),
        ([], "8.8.8.8"),
    ],
)
def test_resolvers_that_are_not_global(servers: list[Server], asked_first: str) -> None:
    """They would be refused, unless the tunnel knows no other: then its look-ups go there as well."""
    assert outline(prober(servers).packets(1, 1.0)[0])[0] == asked_first


def test_encrypted_resolvers_get_no_question_in_the_clear() -> None:
    asked = prober([(GOOGLE, None), (CLOUDFLARE, None)])
    kinds = {outline(packet)[1] for attempt in range(1, 9) for packet in asked.packets(attempt, float(attempt))}
    assert kinds == {"echo"}


def test_the_memory_is_bounded() -> None:
    asked = prober()
    for attempt in range(1000):
        asked.packets(attempt + 1, 100.0)
    assert len(asked._out) <= 18
