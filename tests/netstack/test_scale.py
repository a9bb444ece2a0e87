"""Many connections at once: they all finish, and an idle one costs little memory."""

from __future__ import annotations

import gc
import sys

import pytest

from smolmix_web.netstack import State, TcpConnection
from tests.netsim.simulator import Peer, Simulator, Wire, endpoint

CONNECTIONS = 1000
SIZE = 10_000
IDLE_LIMIT = 12 * 1024  # bytes of one end


def test_a_thousand_connections_of_ten_kilobytes() -> None:
    """All open at the same time, over a wire with loss and reordering; each gets its own bytes."""
    wire = Wire(delay=0.15, jitter=0.02, loss=0.01, reorder=0.05, rate=1_000_000)
    sim = Simulator(seed="scale", there=wire, back=wire)
    answers: list[Peer] = []

    def serve(connection: TcpConnection) -> None:
        data = connection.remote.port.to_bytes(2, "big") * (SIZE // 2)
        answers.append(Peer(sim, connection, data))

    sim.server.stack.tcp_listen(80, backlog=CONNECTIONS, on_connection=serve)
    clients = [
        Peer(sim, sim.client.stack.tcp_connect(endpoint(80), sim.now), at.to_bytes(2, "big") * (SIZE // 2))
        for at in range(CONNECTIONS)
    ]
    assert sim.run(600, until=lambda: all(peer.done for peer in clients) and len(answers) == CONNECTIONS)
    sim.run(60, until=lambda: all(peer.done for peer in answers))
    for peer in clients:
        assert peer.failed is None
        assert peer.received == peer.connection.local.port.to_bytes(2, "big") * (SIZE // 2)
    assert all(peer.failed is None for peer in answers)
    sent = {at.to_bytes(2, "big") * (SIZE // 2) for at in range(CONNECTIONS)}
    assert {bytes(peer.received) for peer in answers} == sent
    # Nothing is left behind once TIME-WAIT is over.
    assert sim.run(300) and not sim.client.stack.connections and not sim.server.stack.connections


@pytest.mark.cpython
@pytest.mark.parametrize(("count", "used"), [(CONNECTIONS, False), (200, True)], ids=["fresh", "used"])
def test_memory_of_an_idle_connection(count: int, used: bool) -> None:
    """Both ends of established connections, before and after 10 KB went each way."""
    tracemalloc = pytest.importorskip("tracemalloc")
    if hasattr(sys, "gettrace") and sys.gettrace() is not None:
        pytest.skip("a debugger or a coverage tool counts as memory")
    sim = Simulator(seed="memory")
    accepted: list[TcpConnection] = []
    sim.server.stack.tcp_listen(80, backlog=count, on_connection=accepted.append)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        clients = [sim.client.stack.tcp_connect(endpoint(80), sim.now) for _ in range(count)]
        assert sim.run(60, until=lambda: len(accepted) == count)
        if used:
            peers = [Peer(sim, connection, bytes(SIZE), close=False) for connection in clients + accepted]
            assert sim.run(60, until=lambda: all(len(peer.received) == SIZE for peer in peers))
            for connection in clients + accepted:
                connection.on_event = None
            del peers
        sim.run(60)
        gc.collect()
        ends = len(clients) + len(accepted)
        each = (tracemalloc.get_traced_memory()[0] - before) / ends
    finally:
        tracemalloc.stop()
    assert all(connection.state is State.ESTABLISHED for connection in clients + accepted)
    assert each <= IDLE_LIMIT, f"{each:.0f} bytes"
