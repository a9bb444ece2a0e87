"""Whatever the wire does: every byte arrives once and in order, or both sides get an error. And a fuzzer: random and
mutated packets never raise, never grow memory, never make a stack busy."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.netstack import Endpoint, StackConfig, State, TcpConfig, icmp, ip, ipv4, udp
from smolmix_web.netstack.icmp import Echo, ErrorKind
from smolmix_web.netstack.tcp.segment import SegmentBuilder, sack_option, syn_options
from smolmix_web.rand import SeededRandom
from tests.netsim.raw import Raw
from tests.netsim.simulator import CLIENT, SERVER, Peer, Session, Simulator, Wire, void

FUZZ_PACKETS = 6000

wires = st.builds(
    Wire,
    delay=st.sampled_from([0.0, 0.05, 0.5, 1.5]),
    jitter=st.sampled_from([0.0, 0.02, 0.3]),
    rate=st.sampled_from([0.0, 20_000.0, 250_000.0]),
    queue=st.sampled_from([5_000, 100_000]),
    loss=st.sampled_from([0.0, 0.02, 0.2, 0.5]),
    reorder=st.sampled_from([0.0, 0.3]),
    duplicate=st.sampled_from([0.0, 0.2]),
    corrupt=st.sampled_from([0.0, 0.1]),
)


@settings(max_examples=60)
@given(
    there=wires,
    back=wires,
    up=st.integers(0, 40_000),
    down=st.integers(0, 40_000),
    sack=st.booleans(),
    nodelay=st.booleans(),
    buffer=st.sampled_from([2_000, 65_536]),
    limit=st.sampled_from([None, 1, 4]),
    seed=st.integers(0, 1 << 30),
)
def test_every_byte_once_and_in_order_or_an_error_on_both_sides(
    there: Wire,
    back: Wire,
    up: int,
    down: int,
    sack: bool,
    nodelay: bool,
    buffer: int,
    limit: int | None,
    seed: int,
) -> None:
    config = StackConfig(
        tcp=TcpConfig(
            sack=sack,
            nodelay=nodelay,
            receive_buffer=buffer,
            receive_buffer_max=2 * buffer,
            send_buffer=buffer,
            keepalive=60.0,  # or an end that only waits would never hear that the other is gone
        )
    )
    sim = Simulator(seed=seed, there=there, back=back, config=config)
    sim.client.limit = sim.server.limit = limit
    source = SeededRandom(seed)
    upward, downward = source.bytes(up), source.bytes(down)
    session = Session(sim, upward, downward)
    sim.run(20_000, until=lambda: session.done)
    sim.run(2_000)
    client = session.client
    assert client.done
    # Never a wrong byte, even before an error.
    assert downward.startswith(bytes(client.received))
    if session.accepted:
        assert upward.startswith(bytes(session.server.received))
    if client.failed is None:
        assert bytes(client.received) == downward
        server = session.server
        assert server.failed is not None or bytes(server.received) == upward
    # Nothing stays behind.
    for host in (sim.client, sim.server):
        assert host.stack.next_deadline() is None
        assert not host.stack.connections


def random_packet(rng: SeededRandom, raw: Raw, port: int) -> bytes:
    """Something plausible: right addresses and checksums, numbers near the truth, any flags and options."""
    choice = rng.below(12)
    if choice == 0:
        return rng.bytes(rng.below(100))
    if choice == 1:
        body = udp.build(SERVER.packed, CLIENT.packed, rng.below(65_536), 53, rng.bytes(rng.below(50)))
        return ipv4.build(SERVER.packed, CLIENT.packed, ip.UDP, body, 1)
    if choice == 2:
        echo = Echo(bool(rng.below(2)), rng.below(65_536), rng.below(65_536), rng.bytes(rng.below(40)))
        return ipv4.build(SERVER.packed, CLIENT.packed, ip.ICMP, icmp.build_echo(SERVER.packed, CLIENT.packed, echo), 1)
    if choice == 3:
        size = rng.below(64) * 8
        flags = rng.below(0x4000)
        return ipv4.header(SERVER.packed, CLIENT.packed, ip.UDP, 20 + size, rng.below(40), flags) + rng.bytes(size)
    local, remote = Endpoint(CLIENT, port), raw.remote
    near = (0, 1, 2, 10, 1380, 60_000, 65_536, 1 << 31)
    seq = (1_000_000 + rng.choice(near) + rng.below(3) - 1) & 0xFFFFFFFF
    ack = (raw.base + rng.choice(near) + rng.below(3) - 1) & 0xFFFFFFFF
    if choice == 4:
        mine = SegmentBuilder(local, remote, iter([1])).build(ack, seq, 16, 0)
        return icmp.build_error(rng.choice(list(ErrorKind)), mine, SERVER.packed, 1, mtu=rng.below(2000))
    options = (
        b"",
        b"",
        sack_option([((ack + rng.below(5000)) & 0xFFFFFFFF, (ack + rng.below(9000)) & 0xFFFFFFFF) for _ in range(3)]),
        syn_options(rng.below(65_536), rng.below(16), True),
        rng.bytes(4 * rng.below(6)),
    )
    return SegmentBuilder(remote, local, iter([1])).build(
        seq, ack, rng.below(64), rng.choice((0, 1, 500, 65_535)), rng.choice(options), rng.bytes(rng.below(30))
    )


def test_fuzz() -> None:
    rng = SeededRandom("fuzz")
    raw = Raw(config=StackConfig(max_connections=50, echo_rate=5.0))
    stack = raw.stack
    listener = stack.tcp_listen(80, backlog=8, on_connection=lambda connection: void(connection.send(b"hi", raw.now)))
    stack.udp_socket(53)
    connection = raw.stack.tcp_connect(raw.remote, raw.now, keepalive=30.0)
    raw.take()
    opened = 0
    for _ in range(FUZZ_PACKETS):
        if connection.state is State.CLOSED or rng.below(400) == 0:
            connection = stack.tcp_connect(raw.remote, raw.now, keepalive=30.0)
            for packet in stack.poll(raw.now):
                if packet[9] == ip.TCP and packet[33] == 2:
                    raw.read(packet)
            opened += 1
        if rng.below(3) == 0 and connection.send_space:
            connection.send(rng.bytes(rng.below(4000)), raw.now)
        if rng.below(50) == 0:
            connection.close(raw.now)
        port = 80 if rng.below(4) == 0 else connection.local.port
        packet = random_packet(rng, raw, port)
        if packet and rng.below(4) == 0:
            at = rng.below(len(packet))
            packet = packet[:at] + bytes((rng.below(256),)) + packet[at + 1 :]
        stack.receive(packet, raw.now)
        raw.now += rng.exponential(0.05)
        for _ in range(10):
            stack.poll(raw.now)
            deadline = stack.next_deadline()
            if deadline is None or deadline > raw.now:
                break
        else:
            raise AssertionError("the stack is busy without end")
        connection.receive_available and connection.receiver.read(10_000, raw.now, 1.0)
        if rng.below(500) == 0:
            raw.now += 100.0
        assert len(stack.connections) <= 50
        assert stack._reassembler.size <= 256 * 1024
        assert all(c.receiver.buffered <= 1 << 20 for c in stack.connections)
    assert opened > 20
    assert len(stack.statistics.dropped) > 15  # the fuzzer reached many corners
    listener.close(raw.now)
    for connection in stack.connections:
        connection.abort(raw.now)
    stack.poll(raw.now + 100.0)
    assert stack.next_deadline() is None


def test_mutated_conversation() -> None:
    """A real conversation in which every tenth packet is broken with a checksum that is right again."""
    for seed in range(6):
        rng = SeededRandom(f"mutate {seed}")
        sim = Simulator(seed=seed)

        def mutate(host: str, packet: bytes, rng: SeededRandom = rng) -> bytes:
            if rng.below(10) or packet[9] != ip.TCP:
                return packet
            body = bytearray(packet)
            at = 24 + rng.below(len(body) - 24)
            body[at] = rng.below(256)
            body[36:38] = b"\0\0"
            total = (
                int.from_bytes(body[12:20], "big")
                + 6
                + len(body)
                - 20
                + int.from_bytes(body[20:], "big") * (256 if len(body) & 1 else 1)
            )
            body[36:38] = (-total % 0xFFFF).to_bytes(2, "big")
            return bytes(body)

        sim.filter = mutate
        session = Session(sim, bytes(30_000), bytes(30_000))
        sim.run(1000, until=lambda session=session: session.done)
        for peer in (session.client, *session.accepted):
            if not peer.done:
                peer.connection.abort(sim.now)
        sim.filter = None
        sim.run(1000)
        assert sim.client.stack.next_deadline() is None and sim.server.stack.next_deadline() is None


def test_hundreds_of_connections() -> None:
    sim = Simulator()
    sim.server.stack.tcp_listen(80, backlog=2000, on_connection=lambda c: void(Peer(sim, c, bytes(10_000))))
    clients = [Peer(sim, sim.client.stack.tcp_connect(Endpoint(SERVER, 80), sim.now), b"GET") for _ in range(300)]
    assert sim.run(60, until=lambda: all(client.done for client in clients))
    assert all(len(client.received) == 10_000 for client in clients)
