"""The paths that TCP is measured on, in virtual time (tests/netsim). Every run repeats exactly from its seed.

Applications are as greedy as can be: one writes whatever there is room for, the other reads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from smolmix_web.netstack import StackConfig, TcpConfig, TcpConnection
from tests.netsim.simulator import Simulator, Wire, endpoint

BLOCK = bytes(65_536)
LINK = 250_000  # bytes per second
MTU = 1420
QUEUE = 1_000_000  # bytes before the link


class Source:
    """Writes `size` bytes (None: without end) as there is room."""

    def __init__(self, sim: Simulator, connection: TcpConnection, size: int | None = None) -> None:
        self._sim, self._connection, self._left = sim, connection, size
        connection.on_event = self.step
        self.step()

    def step(self) -> None:
        connection, now = self._connection, self._sim.now
        if connection.error is not None:
            raise connection.error
        while connection.send_space and self._left != 0:
            block = BLOCK if self._left is None else BLOCK[: self._left]
            taken = connection.send(block, now)
            if self._left is not None:
                self._left -= taken
            if taken < len(block):
                break


class Sink:
    """Reads everything at once."""

    def __init__(self, sim: Simulator, connection: TcpConnection) -> None:
        self._sim, self._connection = sim, connection
        self.total = 0
        connection.on_event = self.step
        self.step()

    def step(self) -> None:
        while piece := self._connection.receive(1 << 20, self._sim.now):
            self.total += len(piece)

    @property
    def arrived(self) -> int:
        return self.total + self._connection.receiver.buffered


@dataclass
class Upload:
    """One connection of the client, which sends, and the server, which reads."""

    sim: Simulator
    size: int | None = None
    port: int = 80
    sinks: list[Sink] = field(default_factory=list)

    def start(self) -> Upload:
        self.started = self.sim.now
        sim = self.sim
        sim.server.stack.tcp_listen(self.port, on_connection=lambda c: self.sinks.append(Sink(sim, c)))
        self.connection = sim.client.stack.tcp_connect(endpoint(self.port), sim.now)
        Source(sim, self.connection, self.size)
        return self

    @property
    def received(self) -> int:
        """Bytes that the application has."""
        return self.sinks[0].total if self.sinks else 0

    @property
    def arrived(self) -> int:
        """With what waits behind a hole."""
        return self.sinks[0].arrived if self.sinks else 0


def config_for(**tcp: Any) -> StackConfig:
    return StackConfig(tcp=TcpConfig(**tcp))


def smoltcp_setting(loss: float, *, runs: int = 3, size: int = 10_000_000, **tcp: Any) -> float:
    """The median of so many runs: with a loss of 30 % one run may lose a minute to a timer that has backed off."""
    return median(_smoltcp_run(loss, run, size, **tcp) for run in range(runs))


def _smoltcp_run(loss: float, run_number: int, size: int, **tcp: Any) -> float:
    """Goodput in bytes per second, handshake included: `size` bytes over a round trip of 100 ms with buffers of 32 KB,
    packets of 1500 bytes, and this loss in each direction."""
    wire = Wire(delay=0.05, loss=loss)
    config = config_for(send_buffer=32_768, receive_buffer=32_768, receive_buffer_max=32_768, **tcp)
    sim = Simulator(seed=f"smoltcp {loss} {run_number}", there=wire, back=wire, mtu=1500, config=config)
    run = Upload(sim, size).start()
    if not sim.run(4 * 3600, until=lambda: run.received >= size):
        raise AssertionError(f"loss {loss}: {run.received} of {size} bytes, {run.connection!r}")
    return size / (sim.now - run.started)


def mixnet(rtt: float, loss: float, *, flows: int = 1, seed: object = 0, **tcp: Any) -> tuple[Simulator, list[Upload]]:
    """A link of 250 kB/s one way; each packet has its own delay, and one in five comes much later than it should."""

    def wire(rate: int) -> Wire:
        # Jitter counts in the round trip.
        return Wire(
            delay=rtt * 0.45, jitter=rtt * 0.05, rate=rate, queue=QUEUE, loss=loss, reorder=0.2, reorder_delay=rtt * 0.1
        )

    sim = Simulator(
        seed=f"mixnet {rtt} {loss} {seed}", there=wire(LINK), back=wire(LINK), mtu=MTU, config=config_for(**tcp)
    )
    return sim, [Upload(sim, port=80 + n) for n in range(flows)]


def steady_fraction(rtt: float, loss: float, *, warm_up: float = 30.0, window: float = 60.0, **tcp: Any) -> float:
    """What part of the link's rate arrives as data, over `window` seconds."""
    sim, (run,) = mixnet(rtt, loss, **tcp)
    run.start()
    sim.run(warm_up)
    before = run.arrived
    sim.run(window)
    return (run.arrived - before) / window / LINK


def standing_queue(rtt: float, rate: int, *, hops: float = 0.0, **tcp: Any) -> tuple[float, float]:
    """A greedy flow over a link of `rate` bytes per second: its smoothed round trip as a multiple of that of the path,
    and the part of the link that arrives as data, over 30 s after a warm-up of as much. `hops`: mean of an exponential
    delay of each packet and direction, in seconds, which counts in the round trip of the path."""
    there, back = Wire(delay=rtt / 2, jitter=hops, rate=rate, queue=QUEUE), Wire(delay=rtt / 2, jitter=hops)
    sim = Simulator(seed=f"queue {rtt} {rate}", there=there, back=back, mtu=MTU, config=config_for(**tcp))
    run = Upload(sim).start()
    sim.run(30.0)
    before, smoothed = run.arrived, []
    for _ in range(30):
        sim.run(1.0)
        smoothed.append(run.connection.rtt.srtt or 0.0)
    return fmean(smoothed) / (rtt + 2 * hops), (run.arrived - before) / 30 / rate


def first_bytes(rtt: float, *, size: int = 200_000, **tcp: Any) -> tuple[float, float]:
    """Round trips until `size` bytes of a fresh connection have arrived: since `tcp_connect`, since ESTABLISHED."""
    wire = Wire(delay=rtt / 2, rate=LINK, queue=QUEUE)
    sim = Simulator(seed=f"first {rtt}", there=wire, back=wire, mtu=MTU, config=config_for(**tcp))
    run = Upload(sim, size).start()
    sim.run(60, until=lambda: bool(run.connection.rtt.samples))
    established = sim.now
    if not sim.run(60, until=lambda: run.received >= size):
        raise AssertionError(f"only {run.received} bytes came")
    return (sim.now - run.started) / rtt, (sim.now - established) / rtt


def fairness(*, flows: int = 8, rtt: float = 0.3, seconds: float = 60.0, **tcp: Any) -> tuple[float, Sequence[float]]:
    """Jain's index of flows that start two seconds apart, over the minute after the last has started, and the rates."""
    sim, runs = mixnet(rtt, 0.0, flows=flows, **tcp)
    for run in runs:
        run.start()
        sim.run(2.0)
    sim.run(30.0)
    before = [run.arrived for run in runs]
    sim.run(seconds)
    rates = [(run.arrived - start) / seconds for run, start in zip(runs, before, strict=True)]
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates)), rates


def ack_economy(*, size: int = 1_000_000, rtt: float = 0.6, reorder: float = 0.2, **tcp: Any) -> dict[str, float]:
    """A download through a tunnel: 250 kB/s down, one packet each 20 ms up. Packets up for each packet down."""
    down = Wire(delay=rtt * 0.45, jitter=rtt * 0.05, rate=LINK, queue=QUEUE, reorder=reorder, reorder_delay=rtt * 0.1)
    up = Wire(delay=rtt * 0.45, jitter=rtt * 0.05)
    sim = Simulator(seed="acks", there=up, back=down, mtu=MTU, config=config_for(**tcp))
    sim.client.limit = 1
    sim.client.interval = 0.02
    sinks: list[Sink] = []

    def serve(connection: TcpConnection) -> None:
        Source(sim, connection, size)

    sim.server.stack.tcp_listen(80, on_connection=serve)
    start = sim.now
    sinks.append(Sink(sim, sim.client.stack.tcp_connect(endpoint(80), sim.now)))
    if not sim.run(600, until=lambda: sinks[0].total >= size):
        raise AssertionError(f"only {sinks[0].total} bytes came")
    seconds = sim.now - start
    sim.run(5.0)
    sent, got = sim.client.stack.statistics.packets_out, sim.server.stack.statistics.packets_out
    return {"up": sent, "down": got, "ratio": sent / got, "seconds": seconds}
