"""The runner itself: it must see what is wrong. Scripts that should fail do, with a message that says why."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.packetscript import packets
from tests.packetscript.language import Case, ScriptError, parse
from tests.packetscript.packets import IcmpPacket, Malformed, TcpPacket, UdpPacket
from tests.packetscript.runner import CaseFailed, run_case

HEAD = "=== case: intent\nrfc RFC 9293\n"


def only(text: str) -> Case:
    (case,) = parse(HEAD + text)
    return case


@pytest.mark.parametrize(
    "text",
    [
        "connect\n> S 0 win 64860 [mss 1380, *]",
        "connect\n> S 0\n@3 > S 0",
        "open\nclose\n> FA 1 ack 1",
        "open\n< A 1..101\n+0..0.2 > A 1 ack 101",
        "open\nsend 100\nsend 50\n> PA 1..151",
        "open\nsend 1380\nwithin 5 > PA 1..1381",
        "connect\n> S $seq\ncheck $seq == 0",
        "open\n+0.25~0.1 quiet\nstate ESTABLISHED",
    ],
)
def test_what_holds_passes(text: str) -> None:
    run_case(only(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("connect", "nothing more was expected at the end"),
        ("connect\n+1 quiet", "nothing more was expected before this step"),
        ("connect\n> SA 0", "flags S, not SA"),
        ("connect\n> S 1", "seq 0..0, not 1..1"),
        ("connect\n> S 0..10", "seq 0..0, not 0..10"),
        ("connect\n> S 0 win 100", "win 64860, not 100"),
        ("connect\n> S 0 win<100", "win 64860, not <100"),
        ("connect\n> S 0 []", "options nobody expected: mss"),
        ("connect\n> S 0 [mss 1381, *]", "option mss is (1380,), not 1381"),
        ("connect\n> S 0 [!mss]", "option mss is there"),
        ("connect\n> S 0 [raw fd02, *]", "option raw is missing"),
        ("connect\n> S 0\n@2.9 > S 0", "nothing until 2.901; next timer at 3.000"),
        ("connect\n> S 0\n@3.1 > S 0", "at the wrong time"),
        ("connect\n> S 0\n@2..2.9 > S 0", "nothing until 2.901"),
        ("connect\n> S 0\n+1 > S 0", "the packet between 0.999 and 1.001"),
        ("connect\n> icmp 8/0", "not an ICMP message"),
        ("ping 1\n> S 0", "not a TCP segment"),
        ("ping 1\n> icmp 0/0", "type 8/0"),
        ("open\n< A 1..101\nreceive 200", "200 bytes to read"),
        ("open\n< A 1..101\nreceive nothing", "0 bytes to read"),
        ("open\nsend 100\n> A 1..101 ack 2", "ack 1, not 2"),
        ("open\nsend 100\n> pA 1..101", "flags"),
        ("open\nsend 100\n> A 1..100", "seq 1..101, not 1..100"),
        ("open\nsend 100 takes 99", "send(100) to take 99"),
        ("open\nsend 100 fails closed", "the error closed"),
        ("open\nstate CLOSED", "state ESTABLISHED"),
        ("open\nerror connection_reset", "none"),
        ("open\nreceive eof", "not reached"),
        ("open\ncheck mss == 1", "mss = 1380"),
        ('open\ncheck dropped("tcp_checksum") == 1', "dropped {}"),
        ("listen\naccept", "none waits"),
        ("open\nsend 1 \nconnect port=0", "bad_port"),
        ("connect\n> S 0 to 40001", "to 40000, not 40001"),
        ("open\n< A 1..3\nwithin 1 > A 1 ack 4", "nothing until"),
        ("open\nsend 3000\nignore 2", "3"),
    ],
)
def test_what_does_not_hold_fails_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(CaseFailed) as caught:
        run_case(only(text))
    message = str(caught.value)
    assert reason in message
    assert "<script>:" in message and "intent" in message and "RFC 9293" in message


def test_wrong_text_is_seen() -> None:
    """The stack's stream is compared byte by byte with what the application wrote."""
    case = only("open\nsend 10\n> PA 1..11")
    original = packets.pattern

    def other(offset: int, count: int) -> bytes:
        return bytes(byte ^ 1 for byte in original(offset, count))

    from tests.packetscript import matching

    matching.pattern = other  # type: ignore[attr-defined]
    try:
        with pytest.raises(CaseFailed, match="not what was sent at this place"):
            run_case(case)
    finally:
        matching.pattern = original  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "connect\n> S 0\ncheck $never == 0",
        "fly",
        "connect x\n> S 0",
        "< S 0 damage everything",
    ],
)
def test_a_broken_script_is_an_error_not_a_failure(text: str) -> None:
    with pytest.raises(ScriptError):
        run_case(only(text))


@pytest.mark.parametrize(
    "text",
    [
        "=== no intent",
        "=== a: b\nconnect\n> S 0",
        "=== a: b\nrfc RFC 1",
        HEAD + "> XYZ 0",
        HEAD + "> A 1 hello 2",
        HEAD + "+3",
        HEAD + "config x",
        HEAD + "each a b: 1 | 2 3\nconnect",
        HEAD + "connect\n" + HEAD + "connect",
        "connect\n" + HEAD + "connect",
    ],
)
def test_unreadable_scripts_are_refused(text: str) -> None:
    with pytest.raises(ScriptError):
        parse(text)


def test_rows_multiply() -> None:
    cases = parse(HEAD + "each state: A | B\neach n m: 1 2 | 3 4 | 5 6\nsend {n} takes {m}\nstate {state}")
    assert [case.name for case in cases] == ["case_a_1", "case_a_3", "case_a_5", "case_b_1", "case_b_3", "case_b_5"]
    assert [step.text for step in cases[4].steps] == ["send 3 takes 4", "state B"]


def test_settings_of_a_file_hold_for_each_case_and_can_be_overridden() -> None:
    first, second = parse(
        "config a=1 b=none\nfamily 6\n=== x: y\nrfc R\nquiet\n=== z: y\nrfc R\nfamily 4\nconfig a=2\nquiet"
    )
    assert (first.config, first.family) == ({"a": 1, "b": None}, 6)
    assert (second.config, second.family) == ({"a": 2, "b": None}, 4)


def test_chosen_sequence_number() -> None:
    case = only("start iss=0xFFFFFF00\nconnect\n> S =$s\n< SA 0 ack 1\n> A 1 ack 1")
    runner = run_case(case)
    assert abs(runner.scope.variables["s"] - 0xFFFFFF00) <= 2


@pytest.mark.parametrize("version", [4, 6])
def test_codec_there_and_back(version: int) -> None:
    a, b = (
        (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")) if version == 4 else (IPv6Address(1), IPv6Address(2 << 64))
    )
    options = [("mss", (1380,)), ("wscale", (7,)), ("ts", (1, 2)), ("sack", (5, 9)), ("raw", (253, 1, 2))]
    wire = [*options[:-1], ("raw", (253, 4, 1, 2))]
    for packet in (
        TcpPacket(a, b, 1, 2, 0xFFFFFFFF, 7, "FSRPAUEC", 9, 11, options, b"odd"),
        UdpPacket(a, b, 1, 2, b"text"),
        IcmpPacket(a, b, 8, 0, 0x10002, b"text!"),
    ):
        data = packets.build(replace(packet, options=wire) if isinstance(packet, TcpPacket) else packet)
        assert packets.parse(data) == packet
        for at in range(len(data)):
            # IPv6 has no checksum over its class, flow label and hop limit.
            if (version == 4 and at == 8) or (version == 6 and at in (0, 1, 2, 3, 7)):
                continue
            with pytest.raises(Malformed):
                packets.parse(data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :])
