"""TCP and UDP sockets of the tunnel for asyncio code: futures on top of the synchronous stack.

A stream adds no task and no queue of its own: bytes wait in the TCP connection's buffers, and a coroutine that waits is
one future, completed from the connection's `on_event`. Backpressure is TCP's window, both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

from ..errors import AddressError, Cancelled, MessageTooLong, SmolmixError, StateError, TimeoutExpired
from ..netstack import Endpoint, Stack, TcpConnection
from ..netstack import UdpSocket as StackUdpSocket
from ..netstack.tcp.states import OPENING, State
from .deadline import Clock, Deadline, expired

Address = IPv4Address | IPv6Address
READ_SIZE = 65536
MIN_BUFFER, MAX_BUFFER = 4096, 16 << 20  # bytes
PING_TIMEOUT = 20.0  # s; a round trip through the mixnet takes 1 to 5
_ECHO_HEADERS = {4: 28, 6: 48}  # bytes of IP and ICMP


class Net(Clock, Protocol):
    """What the edge needs of a running tunnel."""

    @property
    def stack(self) -> Stack: ...

    def wake(self) -> None:
        """Something was written, read or closed: poll the engine soon."""
        ...


def lag_of(net: Net) -> float:
    """Seconds by which we are behind in listening (engine/hearing.py); 0 where there is nobody to listen to."""
    try:
        return net.stack.lag
    except SmolmixError:
        return 0.0


class ByteStream(Protocol):
    """An ordered byte stream: `TcpStream`, `TlsStream`, or what a test puts in their place."""

    async def read(self, limit: int = READ_SIZE) -> bytes:
        """Up to `limit` bytes, at least one; `b""` at the end of the stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when all of `data` stands in the send buffer."""
        ...

    async def send_eof(self) -> None:
        """End the sending half; what was written still arrives, reading goes on. Idempotent."""
        ...

    async def close(self) -> None:
        """Orderly: what was written still arrives."""
        ...

    def abort(self, error: SmolmixError | None = None) -> None:
        """At once; whoever waits gets `error`, by default `Cancelled`."""
        ...

    def is_quiet(self) -> bool:
        """Open in both directions with nothing unread: a connection that may be used again."""
        ...

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` at the next events of the flow, for a stream that lies idle in a pool."""
        ...


@dataclass(frozen=True)
class TcpOptions:
    """Of one connection. None: as the tunnel has it. Sizes in bytes are held within 4 KiB to 16 MiB."""

    nodelay: bool = True  # False: Nagle, which costs a round trip now and then
    keepalive: float | None = None  # s idle before the first probe, and between probes
    send_buffer: int | None = None  # given, it no longer grows with the path
    receive_buffer: int | None = None  # also the largest window; given, it no longer grows with the path
    name: str | None = None  # of the peer, for people to read

    def settings(self) -> dict[str, Any]:
        """As fields of `TcpConfig`."""
        changes: dict[str, Any] = {"nodelay": self.nodelay, "keepalive": self.keepalive, "name": self.name}
        if self.send_buffer is not None:
            changes["send_buffer"] = changes["send_buffer_initial"] = _bounded(self.send_buffer)
        if self.receive_buffer is not None:
            changes["receive_buffer"] = changes["receive_buffer_max"] = _bounded(self.receive_buffer)
        return changes


def _bounded(size: int) -> int:
    return min(max(size, MIN_BUFFER), MAX_BUFFER)


class Signal:
    """At most one waiter of one condition."""

    __slots__ = ("_future", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._future: asyncio.Future[None] | None = None

    def fire(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        if self._future is not None:
            raise StateError(f"another task is already waiting to {self._what}")
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None


class SerialWriter:
    """Lets several tasks write through one sans-I/O protocol: whoever comes first sends for all, in order.

    `take()` returns the bytes the protocol wants sent now, `b""` for none.
    """

    def __init__(self, stream: ByteStream, take: Callable[[], bytes]) -> None:
        self._stream = stream
        self._take = take
        self._lock = asyncio.Lock()

    async def flush(self, *, wait: bool = True) -> None:
        """Send what the protocol has. `wait` False: return at once when another task is sending, it will take ours too.

        Cancelling in the middle would tear a record or frame apart, so it aborts the stream.
        """
        if not wait and self._lock.locked():
            return
        async with self._lock:
            try:
                while out := self._take():
                    await self._stream.write(out)
            except asyncio.CancelledError:
                self._stream.abort()
                raise


class Waiters:
    """What byte streams on a synchronous core have in common: who waits to read or write, who watches the stream while
    it lies idle, whether it was finished (`_closing`), and what it is over with (`_failure`)."""

    def __init__(self) -> None:
        self._readable = Signal("read")
        self._writable = Signal("write")
        self._failure: SmolmixError | None = None
        self._closing = False
        self._watcher: Callable[[], None] | None = None

    def _end(self, failure: SmolmixError) -> None:
        """It is over for its user; whoever waits looks again."""
        self._failure = self._failure or failure
        self._watcher = None
        self._readable.fire()
        self._writable.fire()

    def watch(self, callback: Callable[[], None] | None) -> None:
        self._watcher = callback


class TcpStream(Waiters):
    """One TCP connection. One task may read while another writes."""

    def __init__(self, net: Net, connection: TcpConnection) -> None:
        """Wrap a connection of the stack, connecting or accepted."""
        super().__init__()
        self._net = net
        self._connection = connection
        connection.on_event = self._on_event

    @classmethod
    async def connect(
        cls, net: Net, address: Address, port: int, *, timeout: float = 60.0, options: TcpOptions | None = None
    ) -> TcpStream:
        """Open a connection. Cancelling frees the flow.

        Errors: `NetworkError` kinds (refused, unreachable, reset), `TimeoutExpired`; all with phase `connect`.
        """
        stream: TcpStream | None = None
        try:
            connection = net.stack.tcp_connect(
                Endpoint(address, port), net.now(), connect_timeout=timeout, **(options or TcpOptions()).settings()
            )
            stream = cls(net, connection)
            net.wake()
            while connection.state in OPENING:
                await stream._writable.wait()
            stream._check()
        except TimeoutExpired:
            raise expired("connect", timeout) from None
        except SmolmixError as error:
            error.phase = "connect"
            raise
        except BaseException:
            if stream is not None:
                stream.abort()
            raise
        return stream

    @property
    def local(self) -> Endpoint:
        return self._connection.local

    @property
    def remote(self) -> Endpoint:
        return self._connection.remote

    def _on_event(self) -> None:
        # Waking too often costs a task switch; waking too rarely hangs. The conditions are re-checked by the waiter.
        connection = self._connection
        over = connection.state is State.CLOSED
        if over or connection.receive_available or connection.receive_eof:
            self._readable.fire()
        if over or connection.send_space:
            self._writable.fire()
        if self._watcher is not None:
            self._watcher()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._connection.error is not None:
            raise self._connection.error

    async def read(self, limit: int = READ_SIZE) -> bytes:
        while True:
            data = self.read_nowait(limit)
            if data is not None:
                return data
            await self._readable.wait()

    def read_nowait(self, limit: int = READ_SIZE) -> bytes | None:
        """What is there now: bytes, `b""` at the end, None when one would have to wait. Raises as `read`."""
        if self._failure is not None:
            raise self._failure
        connection = self._connection
        # Data that came before a reset is still the application's.
        data = connection.receive(limit, self._net.now()) if connection.receive_available else b""
        if data:
            self._net.wake()  # the window may have opened
            return data
        if connection.receive_eof:
            return b""
        self._check()
        return b"" if connection.state is State.CLOSED else None

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while True:
            self._check()
            if self._closing:
                raise StateError("write after close")
            taken = self._connection.send(view, self._net.now()) if view else 0
            if taken:
                self._net.wake()
                view = view[taken:]
            if not view:
                return
            await self._writable.wait()

    async def send_eof(self) -> None:
        """End the sending half: FIN after what is buffered. Reading goes on. Idempotent."""
        if self._closing or self._failure is not None:
            return
        self._closing = True
        self._connection.close(self._net.now())
        self._net.wake()

    async def close(self) -> None:
        """The end for this side: what is buffered is sent, then FIN; nothing more is read. Nothing is awaited."""
        if self._failure is not None:
            return
        self._closing = True
        self._connection.release(self._net.now())
        self._net.wake()
        self._end(StateError("the connection is closed", phase="transfer"))

    def abort(self, error: SmolmixError | None = None) -> None:
        """Send RST, drop all buffers. Later calls raise `error`."""
        failure = error or self._connection.error or Cancelled("the connection was aborted")
        self._connection.on_event = None
        self._connection.abort(self._net.now())
        self._net.wake()
        self._end(failure)

    def is_quiet(self) -> bool:
        connection = self._connection
        return (
            self._failure is None
            and not self._closing
            and connection.error is None
            and connection.state is State.ESTABLISHED
            and not connection.receive_available
            and not connection.receive_eof
        )


class UdpSocket:
    """A UDP socket of the tunnel. Arrived datagrams wait in the stack's bounded queue; the oldest are kept."""

    def __init__(self, net: Net, socket: StackUdpSocket, family: int | None = None) -> None:
        self._net = net
        self._socket = socket
        self.family = family
        self._readable = Signal("receive")
        self._closed: SmolmixError | None = None
        socket.on_event = self._readable.fire

    @classmethod
    def bind(
        cls, net: Net, port: int = 0, *, family: int | None = None, receive_buffer: int | None = None
    ) -> UdpSocket:
        """Open a socket; port 0 takes a random free port (RFC 6056). `family` 4 or 6: speaks no other.

        `receive_buffer` bytes may wait to be received; None: 256 KiB.
        """
        size = None if receive_buffer is None else _bounded(receive_buffer)
        return cls(net, net.stack.udp_socket(port, receive_bytes=size), family)

    @property
    def port(self) -> int:
        """The local port."""
        return self._socket.port

    @property
    def local(self) -> Endpoint | None:
        """The local endpoint once connected; before that only the port is fixed."""
        return self._socket.local

    @property
    def remote(self) -> Endpoint | None:
        """The peer, once connected."""
        return self._socket.remote

    def connect(self, address: Address, port: int) -> None:
        """Accept datagrams and ICMP errors of this peer only."""
        self._check_family(address)
        self._socket.connect(Endpoint(address, port))

    def send(self, data: bytes) -> bool:
        """As `send_to`, to the peer of a connected socket."""
        return self._send(data, None)

    def send_to(self, data: bytes, address: Address, port: int) -> bool:
        """Queue one datagram; False when the output queue was full and it was dropped, as networks do.

        Raises `MessageTooLong` when it does not fit one packet, `AddressError` for a family the tunnel has no address
        of, `StateError` after `close`.
        """
        self._check_family(address)
        return self._send(data, Endpoint(address, port))

    def _send(self, data: bytes, remote: Endpoint | None) -> bool:
        self._check()
        sent = self._socket.send_to(data, remote, self._net.now())
        self._net.wake()
        return sent

    def _check_family(self, address: Address) -> None:
        if self.family not in (None, address.version):
            raise AddressError(f"{address}: the socket is for IPv{self.family} only", phase="transfer")

    async def receive(self, timeout: float | None = None) -> tuple[bytes, Endpoint]:
        """The next datagram and its sender. Raises `TimeoutExpired(phase="receive")` or an ICMP error."""
        if timeout is None:
            return await self._receive()
        async with Deadline(self._net, timeout, "receive"):
            return await self._receive()

    async def _receive(self) -> tuple[bytes, Endpoint]:
        while True:
            arrived = self._socket.receive()
            if arrived is not None:
                if self.family in (None, arrived[1].address.version):
                    return arrived
                continue
            self._check()
            failed = self._socket.take_error()
            if failed is not None:
                raise failed[0]
            await self._readable.wait()

    def __enter__(self) -> UdpSocket:
        """Closed at the end of a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[tuple[bytes, Endpoint]]:
        """Datagrams until `close`; an ICMP error is raised."""
        while True:
            try:
                yield await self.receive()
            except StateError:
                if self._socket.closed:
                    return
                raise

    @property
    def closed(self) -> bool:
        """By `close`, or because the tunnel lost its addresses: nothing works any more."""
        return self._socket.closed

    def _check(self) -> None:
        if self._closed is None and self._socket.closed:
            failed = self._socket.take_error()
            self._closed = failed[0] if failed is not None else StateError("the UDP socket is closed")
        if self._closed is not None:
            raise self._closed

    def close(self, error: SmolmixError | None = None) -> None:
        """Free the port; a waiting `receive` gets `error`, by default `StateError`."""
        if self._closed is None:
            self._closed = error or StateError("the UDP socket is closed")
            self._socket.close()
            self._readable.fire()


async def ping(net: Net, address: Address, payload: bytes, timeout: float = PING_TIMEOUT) -> float:
    """Seconds until the echo of `payload` came back (ICMP or ICMPv6). Cancelling it leaves nothing behind.

    Errors, all with phase `ping`: `TimeoutExpired`, `HostUnreachable` and the other kinds of ICMP error,
    `ConnectionRefused` (`policy_denied`), `MessageTooLong`, `AddressError`, `NetworkError` (`too_many_pings`).
    """
    if len(payload) > net.stack.mtu - _ECHO_HEADERS[address.version]:
        raise MessageTooLong(f"an echo of {len(payload)} bytes does not fit one packet", phase="ping")
    answered = Signal("answer")
    try:
        request = net.stack.ping(address, net.now(), payload, timeout)
        request.on_event = answered.fire
        net.wake()
        try:
            while not request.done:
                await answered.wait()
        finally:
            request.cancel()
    except SmolmixError as error:
        error.phase = "ping"
        raise
    if request.error is not None:
        raise request.error
    assert request.rtt is not None
    return request.rtt


__all__ = ["READ_SIZE", "Address", "ByteStream", "Net", "SerialWriter", "TcpOptions", "TcpStream", "UdpSocket", "ping"]
