"""A hand-driven TCP peer: injects single segments into a stack and reads back what it sends, segment by segment."""

from __future__ import annotations

from itertools import repeat

from smolmix_web.netstack import Endpoint, Stack, StackConfig, TcpConfig, TcpConnection
from smolmix_web.netstack.checksum import pseudo_sum
from smolmix_web.netstack.ip import TCP
from smolmix_web.netstack.tcp.segment import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Segment,
    SegmentBuilder,
    parse,
    sack_option,
    syn_options,
)
from smolmix_web.rand import SeededRandom
from tests.netsim.simulator import CLIENT, SERVER

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "Raw"]

OUR_PORT = 40_000  # the peer's port
ISS = 1_000_000  # the peer's initial sequence number
WINDOW = 65_535


class Raw:
    """`stack` is under test at address CLIENT; the peer is SERVER. Sequence numbers of the peer are relative to ISS,
    those of the stack to its own first SYN."""

    def __init__(self, *, config: StackConfig | None = None, mtu: int = 1420, seed: object = 0, **tcp: object) -> None:
        if config is None:
            config = StackConfig(tcp=TcpConfig(**tcp))  # type: ignore[arg-type]
        self.stack = Stack([CLIENT], mtu, SeededRandom(f"raw {seed}"), config=config)
        self.now = 1000.0
        self.base = 0  # the stack's initial sequence number
        self.local = Endpoint(CLIENT, 0)
        self.remote = Endpoint(SERVER, OUR_PORT)

    # -- in

    def packet(
        self,
        flags: int,
        seq: int = 0,
        ack: int = 0,
        *,
        window: int = WINDOW,
        payload: bytes = b"",
        options: bytes = b"",
    ) -> bytes:
        builder = SegmentBuilder(self.remote, self.local, repeat(7))
        ack_field = (self.base + ack) & 0xFFFFFFFF if flags & ACK else 0
        return builder.build((ISS + seq) & 0xFFFFFFFF, ack_field, flags, window, options, payload)

    def inject(self, flags: int, seq: int = 0, ack: int = 0, **more: object) -> list[Segment]:
        """One segment in; what the stack says at once out."""
        self.stack.receive(self.packet(flags, seq, ack, **more), self.now)  # type: ignore[arg-type]
        return self.take()

    def sack(self, ack: int, *blocks: tuple[int, int], seq: int = 1) -> list[Segment]:
        edges = [((self.base + left) & 0xFFFFFFFF, (self.base + right) & 0xFFFFFFFF) for left, right in blocks]
        return self.inject(ACK, seq, ack, options=sack_option(edges))

    # -- out

    def take(self, limit: int | None = None) -> list[Segment]:
        return [self.read(packet) for packet in self.stack.poll(self.now, limit)]

    def read(self, packet: bytes) -> Segment:
        assert packet[9] == TCP, "not a TCP packet"
        segment = parse(packet, 20, len(packet), pseudo_sum(packet[12:16], packet[16:20], TCP))
        if segment.flags & SYN:
            self.base = segment.seq
            self.local = Endpoint(CLIENT, segment.source_port)
        segment.seq = (segment.seq - self.base) & 0xFFFFFFFF
        if segment.flags & ACK:
            segment.ack = (segment.ack - ISS) & 0xFFFFFFFF
        segment.sack = tuple(((a - ISS) & 0xFFFFFFFF, (b - ISS) & 0xFFFFFFFF) for a, b in segment.sack)
        return segment

    def advance(self, seconds: float) -> list[Segment]:
        """Let time pass, timer by timer; everything sent meanwhile."""
        end = self.now + seconds
        out: list[Segment] = []
        for _ in range(10_000):
            deadline = self.stack.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return out + self.take()
            self.now = max(self.now, deadline)
            out += self.take()
        raise AssertionError("timers never end")

    # -- whole steps

    def connect(
        self, *, mss: int = 1380, scale: int | None = None, sack: bool = True, window: int = WINDOW, **options: object
    ) -> TcpConnection:
        """Active open by the stack, answered after 100 ms."""
        connection = self.stack.tcp_connect(self.remote, self.now, **options)  # type: ignore[arg-type]
        (syn,) = self.take()
        assert syn.flags == SYN and syn.seq == 0
        self.now += 0.1
        (ack,) = self.inject(SYN | ACK, 0, 1, window=window, options=syn_options(mss, scale, sack))
        assert ack.flags == ACK and (ack.seq, ack.ack) == (1, 1)
        return connection

    def accept(self, port: int = 80, **more: object) -> TcpConnection:
        """Passive open: the peer connects to a listener."""
        listener = self.stack.tcp_listen(port)
        self.local = Endpoint(CLIENT, port)
        (answer,) = self.inject(SYN, 0, options=syn_options(1380, None, True))
        assert answer.flags == SYN | ACK and answer.ack == 1
        self.inject(ACK, 1, 1, **more)
        connection = listener.accept()
        assert connection is not None
        listener.close(self.now)
        return connection
