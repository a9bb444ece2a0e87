"""The normal run of the fuzzer (fuzz.py): 20,000 packets in four seeds."""

from __future__ import annotations

import pytest

from tests.netstack import fuzz

PACKETS = 5000


@pytest.mark.parametrize("seed", range(4))
def test_fuzz(seed: int) -> None:
    fuzzer = fuzz.run(PACKETS, seed)
    assert fuzzer.packets == PACKETS
    # It went where it should: many kinds, many states, many reasons to drop.
    assert set(fuzzer.kinds) >= {"real", "real, mutated", "segment", "icmp error", "fragment", "replay", "mutation"}
    assert {"SYN_SENT", "SYN_RECEIVED", "ESTABLISHED", "FIN_WAIT_1", "CLOSE_WAIT"} <= set(fuzzer.states)
    assert all(len(side.stack.statistics.dropped) >= 25 for side in fuzzer.sides)


def test_fuzz_is_repeatable() -> None:
    first, second = fuzz.run(1500, "again"), fuzz.run(1500, "again")
    assert first.kinds == second.kinds and first.errors == second.errors
    for one, other in zip(first.sides, second.sides, strict=True):
        assert one.stack.statistics == other.stack.statistics


def test_footprint_sees_growth() -> None:
    fuzzer = fuzz.Fuzzer(0)
    before = fuzz.footprint(fuzzer.sides[0].stack)
    connection = fuzzer.sides[0].stack.tcp_connect(fuzz.Endpoint(fuzz.SERVER, 80), fuzzer.now)
    connection.send(bytes(10_000), fuzzer.now)
    assert fuzz.footprint(fuzzer.sides[0].stack) >= before + 10_000


def test_repair_makes_checksums_right() -> None:
    """Or mutated packets would all be dropped at the first door."""
    fuzzer = fuzz.run(2000, "repair")
    dropped = fuzzer.sides[0].stack.statistics.dropped + fuzzer.sides[1].stack.statistics.dropped
    broken = dropped["ipv4_checksum"] + dropped["tcp_checksum"] + dropped["udp_checksum"] + dropped["icmp_checksum"]
    assert broken < 0.1 * fuzzer.packets
    for version in (4, 6):
        ours, theirs = (fuzz.CLIENT, fuzz.SERVER) if version == 4 else (fuzz.CLIENT6, fuzz.SERVER6)
        for packet in (
            fuzz.TcpPacket(theirs, ours, 1, 2, 3, 4, "A", 5, payload=b"text"),
            fuzz.UdpPacket(theirs, ours, 1, 2, b"text"),
            fuzz.IcmpPacket(theirs, ours, 8, 0, 1, b"text"),
        ):
            data = fuzz.wire.build(packet)
            changed = bytearray(data)
            changed[-1] ^= 1
            assert fuzz.wire.parse(fuzz.repaired(bytes(changed))) != packet
