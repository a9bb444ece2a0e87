"""A client that streams as the reference does: it knows docs/protocol/stream.md, sections 1 to 4, and nothing of ours.

Frames are packed and parsed here, by themselves. It repeats nothing, acknowledges nothing, ends nothing; it puts frames
in order, skips to the lowest one when more than 256 wait, keeps frames of unknown ids (64, of 32 frames, for 5 s), and
answers by the tag of the Open. `coming`: it knows the three types of the coming release as well.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.rand import SeededRandom
from tests.simnet.events import Event
from tests.simnet.network import SimNetwork

HEADER = struct.Struct(">QBIB")
SPHINX_STREAM = b"\x03\x00"
OPEN, DATA, OPEN_ACK, PING, PONG = 0, 1, 2, 3, 4
REORDER, ORPHAN_STREAMS, ORPHAN_FRAMES, ORPHAN_SECONDS = 256, 64, 32, 5.0


def pack(stream: int, kind: int, sequence: int, payload: bytes = b"") -> bytes:
    return SPHINX_STREAM + HEADER.pack(stream, kind, sequence, 0) + payload


def parse(message: bytes) -> tuple[int, int, int, bytes] | None:
    """Stream, type, sequence, payload; the reserved byte is not looked at."""
    if len(message) < 16 or message[:2] != SPHINX_STREAM:
        return None
    stream, kind, sequence, _ = HEADER.unpack_from(message, 2)
    return stream, kind, sequence, message[16:]


@dataclass
class ReferenceStream:
    """`writes`: one entry for each message that was delivered in order; `skipped`: numbers it went over."""

    peer: ReferencePeer
    stream: int
    to: Recipient | bytes
    surbs: int = 10
    writes: list[bytes] = field(default_factory=list)
    waiting: dict[int, bytes] = field(default_factory=dict)
    expected: int = 0
    next: int = 0
    skipped: int = 0

    @property
    def received(self) -> bytes:
        return b"".join(self.writes)

    def arrive(self, sequence: int, payload: bytes) -> None:
        if sequence < self.expected:
            return
        self.waiting[sequence] = payload
        if len(self.waiting) > REORDER:
            self.skipped += min(self.waiting) - self.expected
            self.expected = min(self.waiting)
        while self.expected in self.waiting:
            self.writes.append(self.waiting.pop(self.expected))
            self.expected += 1

    def write(self, data: bytes) -> None:
        """One message, as large as the caller likes."""
        frame = pack(self.stream, DATA, self.next, data)
        self.next += 1
        self.peer.send(self.to, frame, self.surbs)


class ReferencePeer:
    """At a gateway of a simulated network. `seen`: every stream frame that arrived, as (type, sequence)."""

    def __init__(
        self, network: SimNetwork, gateway: str = "entry2", *, listens: bool = True, coming: bool = False
    ) -> None:
        self.network = network
        self.coming = coming
        self.listens = listens
        self.accepted: list[ReferenceStream] = []
        self.streams: dict[int, ReferenceStream] = {}
        self.seen: list[tuple[int, int]] = []
        self.messages: list[tuple[bytes, bytes | None]] = []
        self._rng = rng = SeededRandom(f"{network.seed}/reference {gateway}")
        self._orphans: dict[int, tuple[float, list[tuple[int, bytes]]]] = {}
        node = network.gateway(gateway)
        keys = ClientKeys.generate(rng)
        config = TrafficConfig(main_stream=False, cover_stream=False)
        identity = node.identity.public
        self.client = MixnetClient(network.crypto, rng, keys, identity, network.topology(), config, network.queue.now)
        self._gateway = node
        self._timer: Event | None = None
        node.embed(self.address.identity, self._body)

    @property
    def address(self) -> Recipient:
        return self.client.address

    def open(self, to: Recipient, surbs: int = 10) -> ReferenceStream:
        stream = ReferenceStream(self, int.from_bytes(self._rng.bytes(8), "big"), to, surbs)
        self.streams[stream.stream] = stream
        self.send(to, pack(stream.stream, OPEN, 0), surbs)
        return stream

    def send(self, to: Recipient | bytes, frame: bytes, surbs: int = 0) -> None:
        now = self.network.queue.now
        if isinstance(to, Recipient):
            self.client.send(to, frame, surbs=surbs, now=now)
        else:
            self.client.send_reply(to, frame, now=now)
        self._turn()

    def vanish(self) -> None:
        self._gateway.embed(self.address.identity, None)
        if self._timer is not None:
            self._timer.cancel()

    # -- inside

    def _body(self, body: bytes) -> None:
        self.client.receive(body, self.network.queue.now)
        for message in self.client.take_messages():
            frame = parse(message.data)
            if frame is None:
                self.messages.append((message.data, message.sender_tag))
            else:
                self._frame(*frame, message.sender_tag)
        self._turn()

    def _frame(self, stream: int, kind: int, sequence: int, payload: bytes, tag: bytes | None) -> None:
        now = self.network.queue.now
        self.seen.append((kind, sequence))
        known = self.streams.get(stream)
        if kind == OPEN:
            if known is None and self.listens and tag is not None:
                self._accept(stream, payload, tag)
        elif kind == DATA:
            if known is not None:
                known.arrive(sequence, payload)
            else:
                self._orphan(stream, sequence, payload, now)
        elif kind == PING and self.coming and known is not None:
            self.send(known.to, pack(stream, PONG, sequence))

    def _accept(self, stream: int, payload: bytes, tag: bytes) -> None:
        accepted = self.streams[stream] = ReferenceStream(self, stream, tag)
        self.accepted.append(accepted)
        if payload:
            accepted.writes.append(payload)
        since, frames = self._orphans.pop(stream, (0.0, []))
        if self.network.queue.now - since <= ORPHAN_SECONDS:
            for sequence, data in frames:
                accepted.arrive(sequence, data)
        if self.coming:
            self.send(tag, pack(stream, OPEN_ACK, 0))

    def _orphan(self, stream: int, sequence: int, payload: bytes, now: float) -> None:
        self._orphans = {key: one for key, one in self._orphans.items() if now - one[0] <= ORPHAN_SECONDS}
        if stream not in self._orphans and len(self._orphans) >= ORPHAN_STREAMS:
            return
        _, frames = self._orphans.setdefault(stream, (now, []))
        if len(frames) < ORPHAN_FRAMES:
            frames.append((sequence, payload))

    def _turn(self) -> None:
        now = self.network.queue.now
        for packet in self.client.poll(now, 1000):
            self._gateway.forward(packet)
        if self._timer is not None:
            self._timer.cancel()
        due = self.client.next_deadline()
        self._timer = None if due is None else self.network.queue.at(max(now, due), self._turn)
