"""A mix node on its own: frames in over TCP, and a listener in place of the next node (sphinx 4.1, 4.4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from localnet import NetworkConfig
from localnet.keys import KeyRing
from localnet.links import LinkTable
from localnet.node import MixNode
from localnet.rotation import RotationClock
from localnet.scheduler import Scheduler
from localnet.wire import Neighbour
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.addresses import pack_node_address, pad_node_address
from smolmix_web.mixnet.node_frame import FrameDecoder, NodeFrame
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import REGULAR
from smolmix_web.sphinx.node import ForwardHop, process_packet
from smolmix_web.sphinx.packet import Hop, build_packet


class Catcher(asyncio.Protocol):
    """The next node's place: remembers the frames it gets and when."""

    def __init__(self, frames: list[tuple[float, NodeFrame]], news: asyncio.Event) -> None:
        self._frames = frames
        self._news = news
        self._decoder = FrameDecoder()

    def data_received(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._frames.append((time.perf_counter(), frame))
        self._news.set()


class Bench:
    """One node, the catcher behind it, and a connection into it."""

    def __init__(self, node: MixNode, clock: RotationClock, rng: SeededRandom) -> None:
        self.node = node
        self.clock = clock
        self.rng = rng
        self.frames: list[tuple[float, NodeFrame]] = []
        self.news = asyncio.Event()
        self.port = 0
        self.secrets = [rng.bytes(32) for _ in range(3)]
        self._server: asyncio.Server | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.reader: asyncio.StreamReader | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Catcher(self.frames, self.news), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        await self.node.start()
        self.node.set_neighbours([Neighbour("next", "127.0.0.1", self.port)])
        await self.connect()

    async def connect(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.node.port)

    async def close(self) -> None:
        await self.node.stop()
        if self.writer is not None:
            self.writer.close()
        if self._server is not None:
            self._server.close()

    def packet(self, *, delay: float = 0.0, rotation: int = 41, port: int | None = None, version: int = 259) -> bytes:
        """A packet for the node and then, unless another port is given, for the catcher."""
        crypto = PycaCrypto()
        address = pad_node_address(pack_node_address("127.0.0.1", self.port if port is None else port))
        route = [Hop(address, self.node.keys.public_key(rotation))]
        route += [Hop(address, crypto.x25519_base(secret)) for secret in self.secrets]
        delays = [round(delay * 1e9)] * 4
        message = self.rng.bytes(REGULAR.plaintext)
        return build_packet(
            crypto, self.rng, route, delays, bytes(32), message, payload_size=REGULAR.payload, version=version
        )

    def send(self, packet: bytes, rotation: int = 1, version: int = 8) -> None:
        self.raw(NodeFrame(packet, rotation, version).to_bytes())

    def raw(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    async def caught(self, count: int) -> list[NodeFrame]:
        async with asyncio.timeout(5):
            while len(self.frames) < count:
                self.news.clear()
                await self.news.wait()
        return [frame for _, frame in self.frames]

    async def counted(self, name: str, value: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.node.counters[name] < value:
                await asyncio.sleep(0.005)
        assert self.node.counters[name] == value

    async def cut_off(self) -> None:
        """The node must end the connection."""
        assert self.reader is not None
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionError):
                if await self.reader.read() == b"":
                    raise ConnectionResetError


@pytest.fixture
async def bench(request: pytest.FixtureRequest, rng: SeededRandom) -> AsyncIterator[Bench]:
    config = NetworkConfig(**getattr(request, "param", {}))
    clock = RotationClock(rotation=41, validity_epochs=24, epoch_seconds=3600, unix_time=time.time() - 1)
    clock.advance(1, time.time())  # past the epoch in which the previous key is valid still
    keys = KeyRing(PycaCrypto(), "seed", 1, "mix1a", clock)
    links = LinkTable(Scheduler(asyncio.get_running_loop()), "seed")
    bench = Bench(MixNode(keys, config, PycaCrypto(), links), clock, rng)
    await bench.open()
    yield bench
    await bench.close()


async def test_a_packet_loses_a_layer_and_goes_on(bench: Bench) -> None:
    packet = bench.packet()
    bench.send(packet)
    (frame,) = await bench.caught(1)
    assert (frame.version, frame.rotation, len(frame.packet)) == (8, 1, REGULAR.wire)
    hop = process_packet(PycaCrypto(), bench.secrets[0], frame.packet)
    assert isinstance(hop, ForwardHop) and frame.packet != packet


@pytest.mark.parametrize("version", [258, 259])
async def test_both_sphinx_versions_pass(bench: Bench, version: int) -> None:
    bench.send(bench.packet(version=version))
    (frame,) = await bench.caught(1)
    assert process_packet(PycaCrypto(), bench.secrets[0], frame.packet).version == version


@pytest.mark.parametrize("bench", [{"frame_version": 7}], indirect=True)
async def test_old_frames_are_written_on_request(bench: Bench) -> None:
    bench.send(bench.packet())
    (frame,) = await bench.caught(1)
    assert (frame.version, frame.rotation) == (7, 0)


async def test_old_frames_are_read(bench: Bench) -> None:
    bench.send(bench.packet(), version=7)
    (frame,) = await bench.caught(1)
    assert (frame.version, frame.rotation) == (8, 0)


async def test_frames_may_arrive_in_any_pieces(bench: Bench) -> None:
    data = b"".join(NodeFrame(bench.packet(), 1).to_bytes() for _ in range(3))
    assert bench.writer is not None
    for start in range(0, len(data), 700):
        bench.raw(data[start : start + 700])
        await bench.writer.drain()
        await asyncio.sleep(0.001)
    assert len(await bench.caught(3)) == 3
    assert bench.node.counters.violations() == 0


# -- delays -----------------------------------------------------------------------------------------------


async def test_delays_are_honoured_and_do_not_hold_others_up(bench: Bench) -> None:
    begin = time.perf_counter()
    packets = [bench.packet(delay=delay) for delay in (0.4, 0.0, 0.2)]
    for packet in packets:
        bench.send(packet)
    await bench.caught(3)
    passed = [moment - begin for moment, _ in bench.frames]
    assert passed[1] >= 0.2 and passed[2] >= 0.4 > passed[0]


@pytest.mark.parametrize("bench", [{"max_delay": 0.2}], indirect=True)
async def test_longer_delays_are_cut(bench: Bench) -> None:
    begin = time.perf_counter()
    bench.send(bench.packet(delay=3600.0))
    await bench.caught(1)
    assert 0.2 <= time.perf_counter() - begin < 5.0
    assert bench.node.counters["clamped.delay"] == 1


@pytest.mark.parametrize("bench", [{"delayed_packets": 2}], indirect=True)
async def test_packets_beyond_the_bound_are_dropped(bench: Bench) -> None:
    for _ in range(4):
        bench.send(bench.packet(delay=0.3))
    await bench.counted("overflow.delay", 2)
    assert len(await bench.caught(2)) == 2


async def test_a_stopped_node_forgets_what_it_held(bench: Bench) -> None:
    bench.send(bench.packet(delay=0.1))
    await bench.counted("received")
    await bench.node.stop()
    await bench.node.start()
    await asyncio.sleep(0.2)
    assert bench.frames == []
    await bench.connect()
    bench.send(bench.packet())
    assert len(await bench.caught(1)) == 1


# -- rules --------------------------------------------------------------------------------------------------


async def test_a_packet_passes_once(bench: Bench) -> None:
    packet = bench.packet()
    for _ in range(3):
        bench.send(packet)
    await bench.counted("bad.packet.replay", 2)
    assert len(await bench.caught(1)) == 1


async def test_a_replay_is_caught_under_another_rotation_byte_too(bench: Bench) -> None:
    packet = bench.packet()
    bench.send(packet, rotation=1)
    bench.send(packet, rotation=0)
    bench.send(packet, version=7)
    await bench.counted("bad.packet.replay", 2)


async def test_altered_packets_are_dropped(bench: Bench) -> None:
    packet = bench.packet()
    for offset in (0, 40, 100):  # alpha, MAC, routing information
        spoiled = bytearray(packet)
        spoiled[offset] ^= 1
        bench.send(bytes(spoiled))
    await bench.counted("bad.packet.bad_mac", 3)
    bench.send(bytes(32) + packet[32:])  # a point of low order
    await bench.counted("bad.packet.bad_alpha")
    bench.send(packet)
    assert len(await bench.caught(1)) == 1


async def test_only_nodes_of_the_network_are_sent_to(bench: Bench) -> None:
    strangers: list[Any] = []
    other = await asyncio.start_server(lambda reader, writer: strangers.append(writer), "127.0.0.1", 0)
    bench.send(bench.packet(port=other.sockets[0].getsockname()[1]))
    await bench.counted("bad.unknown_hop")
    assert strangers == [] and bench.node.counters["forwarded"] == 0
    other.close()


async def test_a_mix_node_is_no_end_of_a_route(bench: Bench) -> None:
    crypto = PycaCrypto()
    hop = Hop(bytes(32), bench.node.keys.public_key(41))
    message = bytes(REGULAR.plaintext)
    bench.send(build_packet(crypto, bench.rng, [hop], [0], bytes(32), message, payload_size=REGULAR.payload))
    await bench.counted("bad.final_hop")


@pytest.mark.parametrize(
    ("noise", "code"),
    [
        (b"\x06", "bad_frame_version"),
        (b"\x09", "bad_frame_version"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad_frame_version"),
        (b"\x08\x00", "bad_packet_size"),
        (b"\x08\x06", "bad_packet_size"),
        (b"\x08\x01\x02", "unsupported_packet_type"),
        (b"\x08\x01\x00\x03", "bad_rotation"),
    ],
)
async def test_garbage_ends_the_connection_and_is_counted(bench: Bench, noise: bytes, code: str) -> None:
    bench.send(bench.packet())
    bench.raw(noise)
    await bench.cut_off()
    await bench.counted(f"bad.frame.{code}")
    assert len(await bench.caught(1)) == 1  # what came before the garbage counts
    await bench.connect()
    bench.send(bench.packet())
    assert len(await bench.caught(2)) == 2


async def test_random_bytes_never_break_a_node(bench: Bench, rng: SeededRandom) -> None:
    for _ in range(50):
        assert bench.writer is not None
        bench.raw(rng.bytes(1 + rng.below(3000)))
        bench.writer.close()
        await bench.connect()
    for _ in range(20):
        bench.send(rng.bytes(REGULAR.wire), rotation=rng.below(3))
    bench.send(bench.packet())
    assert len(await bench.caught(1)) == 1
    assert bench.node.counters.violations() > 40


# -- rotation ------------------------------------------------------------------------------------------------


async def test_the_key_follows_the_rotation_byte(bench: Bench) -> None:
    bench.clock.advance(bench.clock.epochs_to_next_rotation(time.time()), time.time())
    bench.send(bench.packet(rotation=41), rotation=1)  # the old key, one epoch longer
    bench.send(bench.packet(rotation=42), rotation=2)
    assert [frame.rotation for frame in await bench.caught(2)] == [1, 2]
    bench.send(bench.packet(rotation=41), rotation=2)  # old key, new byte
    await bench.counted("bad.packet.bad_mac")
    bench.send(bench.packet(rotation=41), version=7)  # unknown: the second key is tried
    assert len(await bench.caught(3)) == 3


async def test_an_old_key_is_gone_after_an_epoch(bench: Bench) -> None:
    bench.clock.advance(bench.clock.epochs_to_next_rotation(time.time()) + 1, time.time())
    bench.send(bench.packet(rotation=41), rotation=1)
    await bench.counted("dropped.no_key")
    bench.send(bench.packet(rotation=41), rotation=0)
    await bench.counted("bad.packet.bad_mac")
    bench.send(bench.packet(rotation=42), rotation=2)
    assert len(await bench.caught(1)) == 1


async def test_the_next_key_is_valid_once_announced(bench: Bench) -> None:
    bench.send(bench.packet(rotation=42), rotation=2)
    await bench.counted("dropped.no_key")
    bench.clock.advance(bench.clock.epochs_to_next_rotation(time.time()) - 1, time.time())
    assert bench.node.keys.announced(time.time()) == 42
    bench.send(bench.packet(rotation=42), rotation=2)
    assert len(await bench.caught(1)) == 1


# -- neighbours ------------------------------------------------------------------------------------------------


async def test_frames_wait_for_a_neighbour_that_is_away(bench: Bench) -> None:
    assert bench._server is not None
    bench._server.close()
    bench.send(bench.packet())
    bench.send(bench.packet())
    await bench.counted("forwarded", 2)
    loop = asyncio.get_running_loop()
    again = await loop.create_server(lambda: Catcher(bench.frames, bench.news), "127.0.0.1", bench.port)
    assert len(await bench.caught(2)) == 2
    again.close()


@pytest.mark.parametrize("bench", [{"queue_frames": 3}], indirect=True)
async def test_the_queue_for_a_neighbour_is_bounded(bench: Bench) -> None:
    assert bench._server is not None
    bench._server.close()
    for _ in range(5):
        bench.send(bench.packet())
    await bench.counted("overflow.queue", 2)


async def test_two_nodes_cannot_share_a_port(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clone: Callable[..., MixNode] = MixNode
    other = clone(bench.node.keys, NetworkConfig(), PycaCrypto(), bench.node._links)
    other.port = bench.node.port
    with pytest.raises(Exception, match="cannot listen") as caught:
        await other.start()
    assert caught.value.code == "cannot_listen"  # type: ignore[attr-defined]
