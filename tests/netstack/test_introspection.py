"""What can be watched: snapshots of a connection, packets, states and retransmissions, and the capture file."""

from __future__ import annotations

import io
import itertools
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from smolmix_web.netstack import Observer, Observers, PcapWriter, Stack, State, TcpConnection
from smolmix_web.rand import SeededRandom
from tests.netsim.raw import ACK, Raw
from tests.netsim.simulator import CLIENT, CLIENT6, SERVER, SERVER6, Peer, Session, Simulator, Wire, endpoint


class Recorder(Observer):
    def __init__(self) -> None:
        self.into: list[tuple[bytes, float]] = []
        self.out: list[tuple[bytes, float]] = []
        self.states: list[tuple[TcpConnection, State, State]] = []
        self.again: list[tuple[int, int, float]] = []

    def packet_in(self, packet: bytes, now: float) -> None:
        self.into.append((packet, now))

    def packet_out(self, packet: bytes, now: float) -> None:
        self.out.append((packet, now))

    def state_changed(self, connection: TcpConnection, old: State) -> None:
        self.states.append((connection, old, connection.state))

    def retransmitted(self, connection: TcpConnection, seq: int, size: int, now: float) -> None:
        self.again.append((seq, size, now))

    def path_of(self, connection: TcpConnection) -> list[State]:
        steps = [(old, new) for who, old, new in self.states if who is connection]
        for (_, new), (old, _) in itertools.pairwise(steps):
            assert new is old, "a change was not told"
        return [steps[0][0]] + [new for _, new in steps]


# -- the hook


def test_every_packet_is_seen_once_at_the_time_of_the_call() -> None:
    sim = Simulator(seed="observer")
    client, server = Recorder(), Recorder()
    sim.client.stack.observer = client
    sim.server.stack.observer = server
    session = Session(sim, bytes(50_000), bytes(30_000))
    assert sim.run(until=lambda: session.done)
    sim.run(1)
    assert [packet for packet, _ in client.out] == [packet for packet, _ in server.into]
    assert [packet for packet, _ in server.out] == [packet for packet, _ in client.into]
    assert all(
        after - before == pytest.approx(0.05) for (_, before), (_, after) in zip(client.out, server.into, strict=True)
    )
    for stack, recorder in ((sim.client.stack, client), (sim.server.stack, server)):
        assert stack.statistics.packets_in == len(recorder.into) and stack.statistics.packets_out == len(recorder.out)
        assert stack.statistics.bytes_in == sum(len(packet) for packet, _ in recorder.into)


def test_bad_packets_are_seen_too() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom("bad"), observer=(recorder := Recorder()))
    for packet in (b"", b"\x00" * 40, b"\x45" + bytes(30)):
        stack.receive(packet, 5.0)
    assert recorder.into == [(b"", 5.0), (b"\x00" * 40, 5.0), (b"\x45" + bytes(30), 5.0)]


def test_an_observer_can_come_and_go() -> None:
    raw = Raw()
    connection = raw.connect()
    recorder = Recorder()
    raw.stack.observer = recorder
    connection.send(b"seen", raw.now)
    raw.take()
    raw.stack.observer = None
    raw.inject(ACK, 1, 5)
    connection.send(b"not seen", raw.now)
    raw.take()
    assert len(recorder.out) == 1 and recorder.into == []


def test_several_observers_see_the_same() -> None:
    sim = Simulator(seed="several", there=Wire(loss=0.05), back=Wire(loss=0.05))
    one, two = Recorder(), Recorder()
    sim.client.stack.observer = Observers(one, two)
    session = Session(sim, bytes(100_000))
    assert sim.run(until=lambda: session.done)
    assert one.into == two.into and one.out == two.out and one.states == two.states and one.again == two.again
    assert one.into and one.out and one.states and one.again


def test_states_of_an_orderly_life() -> None:
    sim = Simulator(seed="states")
    client, server = Recorder(), Recorder()
    sim.client.stack.observer = client
    sim.server.stack.observer = server
    session = Session(sim, b"there", b"back", close=False)
    assert sim.run(until=lambda: session.client.received == b"back" and session.server.received == b"there")
    session.connection.close(sim.now)
    sim.poke()
    assert sim.run(until=lambda: session.server.eof)
    session.server.connection.close(sim.now)
    sim.poke()
    sim.run(300)
    s = State
    assert client.path_of(session.connection) == [
        s.CLOSED, s.SYN_SENT, s.ESTABLISHED, s.FIN_WAIT_1, s.FIN_WAIT_2, s.TIME_WAIT, s.CLOSED,
    ]  # fmt: skip
    assert server.path_of(session.server.connection) == [
        s.CLOSED, s.SYN_RECEIVED, s.ESTABLISHED, s.CLOSE_WAIT, s.LAST_ACK, s.CLOSED,
    ]  # fmt: skip


def test_the_end_by_an_error_is_told_with_the_error() -> None:
    sim = Simulator(seed="refused")
    told: list[tuple[State, State, str | None]] = []

    class Ends(Observer):
        def state_changed(self, connection: TcpConnection, old: State) -> None:
            told.append((old, connection.state, connection.error and connection.error.code))

    sim.client.stack.observer = Ends()
    sim.client.stack.tcp_connect(endpoint(81), sim.now)
    sim.run(10)
    assert told == [
        (State.CLOSED, State.SYN_SENT, None),
        (State.SYN_SENT, State.CLOSED, "connect_refused"),
    ]


def test_retransmissions_are_told_with_their_place() -> None:
    raw = Raw()
    connection = raw.connect()
    raw.stack.observer = recorder = Recorder()
    connection.send(bytes(1000), raw.now)
    raw.take()
    assert recorder.again == []
    raw.advance(30)
    assert recorder.again and len(recorder.again) == connection.sender.retransmits
    assert recorder.again[0][:2] == ((raw.base + 1) & 0xFFFFFFFF, 1000)
    for seq, size, _ in recorder.again:  # later ones may be smaller, in case the path takes less
        assert 1 <= (seq - raw.base) & 0xFFFFFFFF <= 1001 - size < 1001
    times = [when for _, _, when in recorder.again]
    assert times == sorted(times)


def test_repeated_syns_are_retransmissions_of_no_bytes() -> None:
    raw = Raw()
    raw.stack.observer = recorder = Recorder()
    connection = raw.stack.tcp_connect(raw.remote, raw.now, connect_timeout=60)
    syns = raw.advance(59)
    assert len(syns) > 2
    assert [(seq, size) for seq, size, _ in recorder.again] == [(connection.iss & 0xFFFFFFFF, 0)] * (len(syns) - 1)


def test_as_many_retransmissions_are_told_as_are_counted() -> None:
    bad = Wire(loss=0.05, jitter=0.01, duplicate=0.02)
    sim = Simulator(seed="count", there=bad, back=bad)
    sim.client.stack.observer = recorder = Recorder()
    session = Session(sim, bytes(300_000))
    assert sim.run(until=lambda: session.done)
    data = [size for _, size, _ in recorder.again if size]
    assert 0 < len(data) <= session.connection.sender.retransmits


# -- snapshots


def test_a_snapshot_of_a_new_connection_and_of_one_that_waits_for_an_answer() -> None:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    raw.take()
    info = connection.info(raw.now)
    assert (info.state, info.phase, info.error) == ("SYN_SENT", "OPEN", None)
    assert info.srtt is info.rttvar is info.min_rtt is info.delivery_rate is info.last_heard is None
    assert info.remote == f"{SERVER}:40000" and info.local == str(connection.local)
    assert info.rto == connection.config.initial_rto and info.timer == pytest.approx(info.rto)
    for name in ("bytes_written", "bytes_sent", "bytes_acked", "bytes_received", "bytes_read", "in_flight", "unsent"):
        assert getattr(info, name) == 0, name
    assert connection.send(b"early", raw.now) == 5
    info = connection.info(raw.now)
    assert info.bytes_written == info.unsent == info.send_queue == 5 and info.bytes_sent == 0


def test_a_snapshot_in_the_middle() -> None:
    raw = Raw(timestamps=False)
    connection = raw.connect(window=20_000)
    connection.send(bytes(30_000), raw.now)
    sent = sum(len(segment.payload) for segment in raw.take())
    raw.now += 0.1
    raw.sack(1381, (2761, 4141))
    raw.inject(ACK, 1, 1381, payload=b"hello")
    raw.inject(ACK, 106, 1381, payload=bytes(50))
    connection.receive(2, raw.now)
    info = connection.info(raw.now + 0.5)
    assert info.state == "ESTABLISHED" and info.mss == 1380 and info.pmtu == 1420
    assert info.bytes_written == 30_000 and info.bytes_acked == 1380 and info.bytes_sent >= sent
    assert info.send_queue == 30_000 - 1380 and info.unsent == 30_000 - info.bytes_sent
    assert info.sacked == 1380 and info.delivered == 2 * 1380
    assert info.bytes_received == 5 and info.bytes_read == 2 and info.receive_queue == 3 and info.receive_held == 50
    assert info.out_of_order == 1 and info.duplicates == 0
    assert info.srtt is not None and 0.09 < info.srtt < 0.11 and info.min_rtt == pytest.approx(0.1)
    assert info.last_heard == pytest.approx(0.5)
    assert info.in_flight == info.bytes_sent - info.bytes_acked - info.sacked - info.lost
    assert info.rcv_wnd == connection.receiver.rcv_adv - connection.receiver.rcv_nxt > 0
    assert info.cwnd > 0 and info.congestion == type(connection.sender.congestion).__name__
    assert info.to_dict()["srtt"] == info.srtt


def test_a_snapshot_counts_neither_syn_nor_fin_as_bytes() -> None:
    sim = Simulator(seed="ends")
    session = Session(sim, bytes(5000), bytes(7000))
    assert sim.run(until=lambda: session.done and session.connection.state is State.TIME_WAIT)
    sim.run(1)
    for connection, up, down in ((session.connection, 5000, 7000), (session.server.connection, 7000, 5000)):
        info = connection.info(sim.now)
        assert (info.bytes_written, info.bytes_sent, info.bytes_acked, info.unsent) == (up, up, up, 0)
        assert (info.bytes_received, info.bytes_read, info.receive_queue) == (down, down, 0)


def test_a_snapshot_of_a_failed_connection_names_the_error() -> None:
    raw = Raw()
    connection = raw.connect()
    connection.send(b"x", raw.now)
    raw.take()
    raw.advance(1000)
    info = connection.info(raw.now)
    assert (info.state, info.error, info.timer) == ("CLOSED", "transfer_timeout", None)
    assert info.retransmits > 3 and info.timeouts > 3


def test_the_delivery_rate_is_that_of_the_link() -> None:
    rate = 200_000
    sim = Simulator(seed="rate", there=Wire(delay=0.1, rate=rate), back=Wire(delay=0.1))
    session = Session(sim, bytes(3_000_000))
    rates = []
    for _ in range(40):
        sim.run(0.2)
        info = session.connection.info(sim.now)
        rates.append(info.delivery_rate or 0.0)
    full = rate * info.mss / info.pmtu  # headers cross the link too
    assert max(rates) == pytest.approx(full, rel=0.02) and sum(at > full * 0.95 for at in rates) > 20
    assert info.bytes_acked <= info.delivered <= info.bytes_sent


def test_snapshots_hold_together_at_any_moment() -> None:
    """Sums that must agree, in every state of a transfer over a bad wire."""
    bad = Wire(loss=0.03, jitter=0.02, duplicate=0.02, reorder=0.1)
    sim = Simulator(seed="invariants", there=bad, back=bad)
    session = Session(sim, bytes(200_000), bytes(200_000))

    def check() -> None:
        for connection in (*sim.client.stack.connections, *sim.server.stack.connections):
            info = connection.info(sim.now)
            assert info.bytes_acked <= info.bytes_sent <= info.bytes_written
            assert info.send_queue == info.bytes_written - info.bytes_acked
            assert 0 <= info.sacked + info.lost <= info.bytes_sent - info.bytes_acked + 1
            assert info.bytes_read + info.receive_queue == info.bytes_received
            assert info.rto > 0 and (info.timer is None or info.timer >= 0)
        if not session.done:
            sim.after(0.01, check)

    sim.after(0.0, check)
    assert sim.run(until=lambda: session.done)
    assert session.client.failed is None and len(session.server.received) == 200_000


# -- capture files


def records(data: bytes) -> list[tuple[float, int, bytes]]:
    """`(unix time, original size, packet)` of a capture file, read by its specification."""
    magic, major, minor, zone, accuracy, snaplen, link = struct.unpack_from(">IHHiIII", data)
    assert (magic, major, minor, zone, accuracy, snaplen, link) == (0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    at, out = 24, []
    while at < len(data):
        seconds, micros, kept, size = struct.unpack_from(">IIII", data, at)
        assert micros < 1_000_000
        at += 16
        out.append((seconds + micros / 1e6, size, data[at : at + kept]))
        at += kept
    assert at == len(data)
    return out


def captured(seed: str, **options: object) -> tuple[bytes, Recorder]:
    sim = Simulator(seed=seed, there=Wire(loss=0.02), back=Wire(loss=0.02))
    file = io.BytesIO()
    recorder = Recorder()
    sim.client.stack.observer = Observers(PcapWriter(file, unix_offset=1_700_000_000.0, **options), recorder)  # type: ignore[arg-type]
    sim.server.stack.tcp_listen(80, on_connection=lambda c: void(Peer(sim, c, bytes(20_000))))
    peers = [
        Peer(sim, sim.client.stack.tcp_connect(endpoint(80, address), sim.now), bytes(20_000))
        for address in (SERVER, SERVER6)
    ]
    sim.client.stack.ping(SERVER, sim.now, b"ping")
    sim.client.stack.ping(SERVER6, sim.now, b"ping")
    sim.client.stack.udp_socket(5000).send_to(b"datagram", endpoint(53), sim.now)
    assert sim.run(until=lambda: all(peer.done for peer in peers))
    return file.getvalue(), recorder


def void(_: object) -> None: ...


def test_a_capture_holds_every_packet_with_its_time() -> None:
    data, recorder = captured("capture")
    rows = records(data)
    assert len(rows) == len(recorder.into) + len(recorder.out)
    assert all(size == len(packet) for _, size, packet in rows)
    ours = {CLIENT.packed, CLIENT6.packed}
    outgoing = [(when, packet) for when, _, packet in rows if (packet[12:16] in ours or packet[8:24] in ours)]
    assert [packet for _, packet in outgoing] == [packet for packet, _ in recorder.out]
    assert [when for when, _ in outgoing] == pytest.approx([now + 1_700_000_000.0 for _, now in recorder.out], abs=1e-5)
    times = [when for when, _, _ in rows]
    assert times == sorted(times)
    assert {packet[0] >> 4 for _, _, packet in rows} == {4, 6}


def test_a_capture_ends_at_its_limit_with_a_whole_record() -> None:
    data, recorder = captured("capture", limit=5000)
    rows = records(data)
    assert 0 < len(rows) < len(recorder.into) + len(recorder.out) and len(data) <= 5000
    whole, _ = captured("capture")
    assert whole.startswith(data)


def test_a_capture_that_cannot_be_written_does_not_disturb_the_traffic() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            if self.tell() > 2000:
                raise OSError(28, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    sim = Simulator(seed="full")
    writer = PcapWriter(Full())
    sim.client.stack.observer = writer
    session = Session(sim, bytes(50_000))
    assert sim.run(until=lambda: session.done) and session.client.failed is None
    assert isinstance(writer.error, OSError) and writer.packets and writer.skipped
    file = io.BytesIO()
    writer = PcapWriter(file)
    file.close()
    writer.packet_in(b"E", 0.0)
    assert isinstance(writer.error, ValueError) and writer.skipped == 1


def test_microseconds_never_reach_a_second() -> None:
    file = io.BytesIO()
    writer = PcapWriter(file)
    for now in (1.9999999, 2.0, 0.0000004, 123456789.9999996):
        writer.packet_in(b"E", now)
    assert [when for when, _, _ in records(file.getvalue())] == [2.0, 2.0, 0.0, 123456790.0]


@pytest.mark.cpython
def test_tcpdump_reads_a_capture(tmp_path: Path) -> None:
    """Where it is installed: every packet, and nothing to complain of."""
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        pytest.skip("tcpdump is not installed")
    data, _ = captured("capture")
    path = tmp_path / "capture.pcap"
    path.write_bytes(data)
    done = subprocess.run([tcpdump, "-nn", "-tt", "-vv", "-r", path], capture_output=True, text=True, check=True)
    rows = records(data)
    heads = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert len(heads) == len(rows)
    assert "incorrect" not in done.stdout and "bad cksum" not in done.stdout and "truncated" not in done.stdout
    for word in ("Flags [S]", "Flags [F", "mss 1380", "echo request", "UDP", "sack"):
        assert word in done.stdout, word
