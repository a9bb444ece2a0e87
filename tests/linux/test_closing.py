"""Half close, resets and closed windows, from either side of a connection between our stack and the kernel."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import pytest

from smolmix_web.errors import ConnectionAborted, ConnectionRefused, ConnectionReset
from smolmix_web.netstack import Endpoint, StackConfig, State, TcpConfig
from tests.linux.network import FAMILY, KERNEL, OURS, Network
from tests.netsim.simulator import Peer, Wire

MAKE = Callable[..., Network]
WIRE = Wire(delay=0.01)
DATA = bytes(range(256)) * 400  # 102,400 bytes


@pytest.mark.parametrize("version", [4, 6])
def test_we_close_first_and_go_on_receiving(network: MAKE, version: int) -> None:
    net = network(WIRE)
    kernel, remote = net.kernel_accepts(DATA, version=version, writing=False)
    client = net.connect(remote, b"request")
    net.run(lambda: kernel.eof and client.connection.state is State.FIN_WAIT_2)
    assert not client.eof
    # Only now the kernel answers, on its half.
    assert kernel.received == b"request"
    kernel.writing.set()
    net.run(lambda: client.done)
    kernel.finish()
    assert client.failed is None and client.received == DATA
    assert client.connection.state is State.TIME_WAIT


@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_closes_first_and_goes_on_receiving(network: MAKE, version: int) -> None:
    net = network(WIRE)
    kernel, remote = net.kernel_accepts(b"all I have", version=version)
    client = net.connect(remote, close=False)
    net.run(lambda: client.eof)
    assert client.received == b"all I have" and client.connection.state is State.CLOSE_WAIT
    client.pending = memoryview(DATA)
    client.close_when_sent = True
    client.step()
    net.run(lambda: kernel.done and client.connection.state is State.CLOSED)
    kernel.finish()
    assert kernel.received == DATA and client.failed is None


def test_both_close_at_once(network: MAKE) -> None:
    net = network(Wire(delay=0.1))
    kernel, remote = net.kernel_accepts()
    client = net.connect(remote, close=False)
    net.run(lambda: kernel.opened)
    net.run(lambda: client.connection.state is State.ESTABLISHED)
    client.connection.close(net.now)
    net.run(lambda: client.done and kernel.done)
    assert client.failed is None and kernel.error is None
    net.run(lambda: client.connection.state in (State.TIME_WAIT, State.CLOSED))


@pytest.mark.parametrize("version", [4, 6])
def test_our_abort_is_a_reset_to_the_kernel(network: MAKE, version: int) -> None:
    net = network(WIRE)
    kernel, remote = net.kernel_accepts(version=version, shutdown=False)
    client = net.connect(remote, b"hello", close=False)
    net.run(lambda: kernel.received == b"hello")
    client.connection.abort(net.now)
    assert isinstance(client.connection.error, ConnectionAborted)
    net.run(lambda: kernel.done)
    assert isinstance(kernel.error, ConnectionResetError)


@pytest.mark.parametrize("version", [4, 6])
def test_the_kernels_abort_is_a_reset_to_us(network: MAKE, version: int) -> None:
    net = network(WIRE)
    listener, remote = net.kernel_listener(version)
    client = net.connect(remote, close=False)
    net.run(lambda: client.connection.state is State.ESTABLISHED)
    net.run(timeout=0.05)
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    net.run(lambda: client.done)
    assert isinstance(client.failed, ConnectionReset) and client.failed.phase == "transfer"
    assert client.connection.state is State.CLOSED and not net.stack.connections


def test_a_kernel_that_died_answers_data_with_a_reset(network: MAKE) -> None:
    """Close with unread data: the kernel resets (RFC 2525 2.17), and what we send afterwards finds nobody."""
    net = network(WIRE)
    listener, remote = net.kernel_listener()
    client = net.connect(remote, b"never read", close=False)
    net.run(lambda: client.connection.state is State.ESTABLISHED and not client.connection.sender.queued)
    accepted, _ = listener.accept()
    accepted.close()
    net.run(lambda: client.done)
    assert isinstance(client.failed, ConnectionReset)


@pytest.mark.parametrize("version", [4, 6])
def test_a_port_nobody_listens_on_refuses_in_one_round_trip(network: MAKE, version: int) -> None:
    """Both ways: RST to a SYN."""
    net = network(Wire(delay=0.1))
    listener, remote = net.kernel_listener(version)
    listener.close()
    began = net.now
    client = net.connect(remote)
    net.run(lambda: client.connection.error is not None)
    assert net.now - began < 1.0
    error = client.connection.error
    assert isinstance(error, ConnectionRefused) and error.phase == "connect" and error.code == "connect_refused"
    began = net.now
    kernel = net.kernel_connects(81, version=version)
    net.run(lambda: kernel.done)
    assert time.monotonic() - began < 1.0
    assert isinstance(kernel.error, ConnectionRefusedError)


def test_a_kernel_reader_that_stops_closes_the_window_and_opens_it_again(network: MAKE) -> None:
    net = network(WIRE)
    kernel, remote = net.kernel_accepts(reading=False, shutdown=False, receive_buffer=32_768)
    data = DATA * 20  # 2 MB: more than fits in both buffers
    client = net.connect(remote, data)
    connection = client.connection
    net.run(lambda: connection.state is State.ESTABLISHED)
    net.run(lambda: connection.sender.snd_wnd == 0)
    net.run(timeout=2.5)  # probes go and are answered; nobody gives up
    assert connection.state is State.ESTABLISHED and connection.sender.snd_wnd == 0 and connection.error is None
    began = net.now
    kernel.reading.set()
    net.run(lambda: kernel.eof)
    assert kernel.received == data
    assert net.now - began < 5


def test_our_reader_that_stops_holds_the_kernel_back(network: MAKE) -> None:
    net = network(WIRE)
    data = DATA * 80  # 8 MB
    kernel, remote = net.kernel_accepts(data)
    client = net.connect(remote)
    client.reading = False
    net.run(timeout=1.5)
    connection = client.connection
    held = connection.receive_available
    # Not more than was promised, and no more than the buffer we began with: nobody reads, so it does not grow.
    assert 0 < held <= connection.receiver.capacity <= 2 * connection.config.receive_buffer
    assert kernel.sent < len(data)
    client.reading = True
    client.step()
    net.pump.run(lambda: client.done)
    assert client.failed is None and client.received == data
    kernel.finish()


def test_the_kernel_connects_to_a_listener_whose_backlog_is_full(network: MAKE) -> None:
    """Its SYN is dropped, repeated, and taken once there is room."""
    net = network()
    listener = net.stack.tcp_listen(90, backlog=1)
    first = net.kernel_connects(90)
    net.run(lambda: listener.full and first.opened)
    second = net.kernel_connects(90)
    net.run(timeout=0.3)
    assert not second.opened and listener.dropped_backlog
    taken = listener.accept()
    assert taken is not None
    net.run(lambda: second.opened)
    for connection in (taken, listener.accept()):
        if connection is not None:
            connection.close(net.now)
    net.run(lambda: first.done)
    first.finish()


def test_keep_alive_of_either_side_is_answered_by_the_other(network: MAKE) -> None:
    net = network(config=StackConfig(tcp=TcpConfig(keepalive=0.4, keepalive_probes=2)))
    accepted = net.listen(close=False)

    sock = net.kernel_socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 1)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setblocking(False)
    sock.connect_ex((str(OURS[4]), 80))
    net.run(lambda: bool(accepted))
    net.run(timeout=3.5)
    assert accepted[0].connection.state is State.ESTABLISHED
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert sock.send(b"still here") == 10
    net.run(lambda: accepted[0].received == b"still here")


@pytest.mark.parametrize("version", [4, 6])
def test_simultaneous_open(network: MAKE, version: int) -> None:
    """Both send a SYN to the other's port before either arrives (RFC 9293 3.5, figure 7)."""
    net = network(Wire(delay=0.1))
    sock = net.kernel_socket(version)
    sock.bind(("0.0.0.0" if version == 4 else "::", 7001))
    sock.setblocking(False)
    sock.connect_ex((str(OURS[version]), 7002))
    connection = net.stack.tcp_connect(Endpoint(KERNEL[version].ip, 7001), net.now, local=Endpoint(OURS[version], 7002))
    client = Peer(net, connection, b"both called", close=False)  # type: ignore[arg-type]
    net.run(lambda: connection.state is State.ESTABLISHED)
    net.run(timeout=0.4)
    assert sock.family == FAMILY[version] and sock.recv(100) == b"both called"
    assert sock.send(b"and both answered") == 17
    net.run(lambda: client.received == b"and both answered")
