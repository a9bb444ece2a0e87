"""Streams with a client that knows only the reference's protocol: both roles, any order, no end, and no silent loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from smolmix_web.errors import StreamError, TimeoutExpired
from smolmix_web.mixnet.lp_frame import CONTROL
from smolmix_web.streams.orphans import MAX_FRAMES, MAX_STREAMS, PATIENCE
from smolmix_web.tunnel import Tunnel
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, open_tunnel, simulate
from tests.simnet.world import pattern
from tests.streams.reference_peer import DATA, OPEN, OPEN_ACK, PING, PONG, ReferencePeer, ReferenceStream, pack

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "exit": "none"}

Test = Callable[[SimNetwork, Tunnel, ReferencePeer], Awaitable[None]]


def beside_reference(seed: str, test: Test, *, coming: bool = False, impair: dict[str, float] | None = None) -> None:
    network = SimNetwork(seed, exits=0)
    host = SimHost(network)

    async def main() -> None:
        peer = ReferencePeer(network, coming=coming)
        async with open_tunnel(network, host, **QUIET) as tunnel:
            network.impair(**(impair or {}))
            await test(network, tunnel, peer)
        peer.vanish()
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())


async def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    for _ in range(round(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not in time")


BAD = {"loss": 0.025, "duplicate": 0.1, "reorder": 0.2, "jitter": 0.02}


@pytest.mark.parametrize("impair", [{}, BAD], ids=["fine", "bad"])
@pytest.mark.feature("Streams", "wire-compatible with the reference's, as dialer and as acceptor")
def test_we_dial(impair: dict[str, float]) -> None:
    """More in both directions than fits any window; whatever is lost on the way the mixnet repeats."""

    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        stream = await tunnel.open_stream(str(peer.address))
        data = pattern(500_000)
        await stream.write(data[:3000])
        await until(lambda: peer.accepted and len(peer.accepted[0].received) == 3000)
        (other,) = peer.accepted
        for at in range(0, 200_000, 2500):
            other.write(data[at : at + 2500])
        assert await stream.read_exactly(200_000) == data[:200_000]
        await stream.write(data[3000:])
        await stream.drain(120)
        await until(lambda: len(other.received) == len(data))
        assert other.received == data and other.skipped == 0 and all(other.writes)
        assert stream.reliable is False
        # What it cannot know was sent to it at most once, to ask.
        assert sum(kind not in (OPEN, DATA) for kind, _ in peer.seen) == 0
        await stream.close()
        await until(lambda: tunnel.statistics()["streams_open"] == 0)

    beside_reference(f"we dial {bool(impair)}", test, impair=impair)


@pytest.mark.parametrize("impair", [{}, BAD], ids=["fine", "bad"])
def test_we_accept(impair: dict[str, float]) -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        listener = tunnel.listen()
        engine = tunnel._engine
        assert engine is not None
        dialed = peer.open(engine.mixnet.address)
        data = pattern(200_000)
        for at in range(0, 100_000, 1000):
            dialed.write(data[at : at + 1000])
        stream = await listener.accept(60)
        assert stream.remote is None and stream.reliable is False
        assert await stream.read_exactly(100_000) == data[:100_000]
        await stream.write(data)
        await stream.drain(300)
        await until(lambda: len(dialed.received) == len(data), 300)
        assert dialed.received == data and dialed.skipped == 0
        assert {kind for kind, _ in peer.seen} == {OPEN_ACK, DATA}
        await stream.close()
        listener.close()

    beside_reference(f"we accept {bool(impair)}", test, impair=impair)


def test_frames_before_their_open() -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        listener, engine = tunnel.listen(), tunnel._engine
        assert engine is not None
        to = engine.mixnet.address
        for sequence in (2, 0, 1):
            peer.send(to, pack(77, DATA, sequence, b"%d" % sequence), 10)
        await asyncio.sleep(3)
        peer.send(to, pack(77, OPEN, 0, b"open "), 10)
        stream = await listener.accept(10)
        assert await stream.read_exactly(8) == b"open 012"
        # Beyond the bound they are gone: the hole never closes, and that is an error.
        for sequence in range(MAX_FRAMES + 8):
            peer.send(to, pack(78, DATA, sequence, b"x"), 0)
        await asyncio.sleep(8)
        assert engine.peers._orphans.dropped == 8
        peer.send(to, pack(78, OPEN, 0), 10)
        peer.send(to, pack(78, DATA, MAX_FRAMES + 8, b"y"), 2)
        stream = await listener.accept(10)
        with pytest.raises(StreamError) as caught:
            await stream.read_exactly(MAX_FRAMES + 1)
        assert caught.value.code == "stream_gap" and "missing for 120 s" in caught.value.message
        before = engine.peers._orphans.dropped
        for number in range(100, 100 + MAX_STREAMS + 6):
            peer.send(to, pack(number, DATA, 0, b"x"), 0)
        await asyncio.sleep(5)
        assert len(engine.peers._orphans) == MAX_STREAMS
        await asyncio.sleep(PATIENCE)
        assert len(engine.peers._orphans) == 0 and engine.peers._orphans.dropped == before + 6 + MAX_STREAMS

    beside_reference("orphans", test)


def test_a_second_open_and_an_open_without_a_tag_are_ignored() -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        listener, engine = tunnel.listen(), tunnel._engine
        assert engine is not None
        to = engine.mixnet.address
        peer.send(to, pack(5, OPEN, 0), 13)
        stream = await listener.accept(10)
        peer.send(to, pack(5, OPEN, 0, b"again"), 10)
        peer.send(to, pack(5, DATA, 0, b"once"), 10)
        assert await stream.read() == b"once"
        peer.client.send(to, pack(6, OPEN, 0), surbs=None, now=network.queue.now)
        peer._turn()
        with pytest.raises(TimeoutExpired):
            await listener.accept(20)
        await stream.close()
        await asyncio.sleep(5)
        peer.send(to, pack(5, OPEN, 0), 10)  # a copy that comes late opens nothing
        with pytest.raises(TimeoutExpired):
            await listener.accept(5)
        assert tunnel.statistics()["streams_accepted"] == 1

    beside_reference("second open", test)


@pytest.mark.feature("Streams", "no silent loss: a hole, a flood or silence end a stream with a typed error")
def test_a_hole_is_an_error_where_the_reference_would_skip() -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        stream = await tunnel.open_stream(str(peer.address))
        await stream.write(b"hello")
        await until(lambda: peer.accepted)
        (other,) = peer.accepted
        other.write(b"first")
        other.next += 1
        for number in range(300):
            other.write(b"%d" % number)
        assert await stream.read() == b"first"
        with pytest.raises(StreamError) as caught:
            await stream.read()
        assert caught.value.code == "stream_gap" and "300 frames wait" in caught.value.message
        with pytest.raises(StreamError):
            await stream.write(b"x")

    beside_reference("hole", test)


def test_data_that_nobody_reads_ends_the_stream_and_what_came_before_is_kept() -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        listener, engine = tunnel.listen(), tunnel._engine
        assert engine is not None
        dialed = peer.open(engine.mixnet.address)
        stream = await listener.accept(10)
        data = pattern(1_400_000)
        for at in range(0, len(data), 20_000):
            dialed.write(data[at : at + 20_000])
            await asyncio.sleep(0.3)
        await until(lambda: engine.peers.streams == 0)
        got = bytearray()
        with pytest.raises(StreamError) as caught:
            while True:
                got += await stream.read()
        assert caught.value.code == "stream_overflow" and 1_000_000 < len(got) <= 1 << 20 and data.startswith(got)

    beside_reference("overflow", test)


def test_a_reference_client_that_is_silent_is_left_alone_for_half_an_hour() -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        stream = await tunnel.open_stream(str(peer.address))
        await stream.write(b"x")
        await stream.drain(60)
        await asyncio.sleep(1700)
        peer.accepted[0].write(b"still here")
        assert await stream.read() == b"still here"
        begun = network.queue.now
        with pytest.raises(TimeoutExpired) as caught:
            await stream.read()
        assert caught.value.code == "stream_idle" and 1795 < network.queue.now - begun < 1805
        assert all(kind in (OPEN, DATA) for kind, _ in peer.seen), "it was never asked"

    beside_reference("silent", test)


def test_a_client_of_the_coming_release_is_asked_and_answered() -> None:
    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        stream = await tunnel.open_stream(str(peer.address))
        await until(lambda: peer.accepted)
        (other,) = peer.accepted
        peer.send(other.to, pack(other.stream, PING, 0xDEADBEEF))
        await until(lambda: (PONG, 0xDEADBEEF) in peer.seen)
        await asyncio.sleep(400)
        assert sum(kind == PING for kind, _ in peer.seen) >= 6 and CONTROL not in {kind for kind, _ in peer.seen}
        other.write(b"alive")
        assert await stream.read() == b"alive"
        begun = network.queue.now
        peer.vanish()
        with pytest.raises(TimeoutExpired) as caught:
            await stream.read()
        assert caught.value.code == "peer_timeout" and network.queue.now - begun < 185

    beside_reference("coming", test, coming=True)


def test_messages_and_streams_at_once() -> None:
    """What is no frame is a message, also the short and the odd."""

    async def test(network: SimNetwork, tunnel: Tunnel, peer: ReferencePeer) -> None:
        engine = tunnel._engine
        assert engine is not None
        messages, listener = tunnel.messages, tunnel.listen()
        to = engine.mixnet.address
        odd = [b"", b"\x03", pack(1, OPEN, 0)[:15], b"\x02\x00" + bytes(30), bytes(40_000)]
        for data in odd:
            peer.client.send(to, data, surbs=12, now=network.queue.now)
        peer.open(to)
        peer._turn()
        assert sorted([(await messages.receive(60)).data for _ in odd], key=len) == odd[:1] + sorted(odd[1:], key=len)
        await listener.accept(60)
        for kind in (5, 0xC0, 0xFF):  # frames that nobody knows
            peer.send(to, pack(1, kind, 0), 0)
        await asyncio.sleep(5)
        statistics = tunnel.statistics()
        assert statistics["streams_malformed"] == 3 and statistics["messages_received"] == len(odd)

    beside_reference("both", test)


def test_the_reference_peer_itself() -> None:
    """It does what stream.md says: order, duplicates, and the skip that we do not have."""
    stream = ReferenceStream(None, 1, b"")  # type: ignore[arg-type]
    for sequence, payload in ((1, b"b"), (0, b"a"), (0, b"x"), (1, b"x")):
        stream.arrive(sequence, payload)
    assert stream.received == b"ab"
    for sequence in range(3, 3 + 257):
        stream.arrive(sequence, b".")
    assert (stream.skipped, stream.expected) == (1, 260)
