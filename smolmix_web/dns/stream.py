"""Questions to one server over a connection: DNS over TCP (RFC 7766) and over TLS (RFC 7858, padded as in RFC 8467).

A connection is opened when it is needed, carries many questions at once whose answers come in any order, and is closed
when it has been idle for a while: opening one costs three slow round trips. The server may close it too, at any moment;
a question that was under way then is asked once more on a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..edge.deadline import TimerHandle
from ..edge.sockets import ByteStream, Net, TcpStream
from ..edge.tls import TlsStream
from ..errors import ConnectionAborted, NetworkError, SmolmixError, StateError
from ..rand import RandomSource
from .message import Question, Reply, decode_reply, encode_query
from .servers import ServerAddress
from .statistics import DnsStatistics

IDLE = 30.0  # seconds
MAX_IN_FLIGHT = 128  # questions on one connection; more wait
DEAF = 8.0  # s without an answer to a question that was given up: others had better try another connection


class StreamExchange:
    """The way to one server; at most one connection at a time."""

    def __init__(
        self,
        net: Net,
        server: ServerAddress,
        rng: RandomSource,
        statistics: DnsStatistics,
        *,
        timeout: float,
        extra_roots: Sequence[str] = (),
        default_roots: bool = True,
        idle: float = IDLE,
    ) -> None:
        """`timeout` in seconds is for opening a connection, each step; the roots are those TLS trusts."""
        self._net = net
        self._server = server
        self._rng = rng
        self._statistics = statistics
        self._timeout = timeout
        self._extra_roots = tuple(extra_roots)
        self._default_roots = default_roots
        self._idle = idle
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[_Connection] | None = None
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._closed: SmolmixError | None = None

    @property
    def busy(self) -> bool:
        """Closing it now would fail somebody."""
        connection = self._connection
        return self._opening is not None or (connection is not None and connection.waiting > 0)

    async def ask(self, question: Question, *, edns: bool = True) -> Reply:
        """Errors: those of the answer, the connection's, `TlsError`, `TimeoutExpired`."""
        async with self._slots:
            while True:
                connection = self._connection
                if connection is None or not connection.usable:
                    connection = await self._open()
                try:
                    return await connection.ask(question, edns)
                except NetworkError:
                    # One that has answered nothing yet is not worth a second try.
                    if not connection.has_answered or self._closed is not None:
                        raise

    async def _open(self) -> _Connection:
        """One attempt for all who wait; it goes on when some of them leave."""
        if self._closed is not None:
            raise self._closed
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if self._closed is not None and opening.cancelled():
                raise self._closed from None
            raise

    def _opened(self, task: asyncio.Task[_Connection]) -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None:
            self._connection = task.result()

    async def _connect(self) -> _Connection:
        server = self._server
        self._statistics.connections += 1
        tcp = await TcpStream.connect(self._net, server.address, server.port, timeout=self._timeout)
        stream: ByteStream = tcp
        if server.scheme == "tls":
            stream = await TlsStream.wrap(
                tcp,
                server.name or server.address,
                clock=self._net,
                extra_roots=self._extra_roots,
                default_roots=self._default_roots,
                timeout=self._timeout,
            )
        return _Connection(self._net, stream, server.encrypted, self._rng, self._statistics, self._idle)

    def close(self, error: SmolmixError | None = None) -> None:
        """Whoever waits gets `error`."""
        self._closed = error or StateError("the resolver is closed", code="closed", phase="dns")
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.end(self._closed)


class _Connection:
    def __init__(
        self,
        net: Net,
        stream: ByteStream,
        padded: bool,
        rng: RandomSource,
        statistics: DnsStatistics,
        idle: float,
    ) -> None:
        self._net = net
        self._stream = stream
        self._padded = padded
        self._rng = rng
        self._statistics = statistics
        self._idle = idle
        self._waiting: dict[int, tuple[Question, asyncio.Future[Reply]]] = {}
        self._outgoing = bytearray()
        self._over: SmolmixError | None = None
        self.has_answered = False
        self._answered_at = net.now()
        self._deaf = False
        self._timer: TimerHandle | None = None
        self._reader = asyncio.create_task(self._read())
        self._writer: asyncio.Task[None] | None = None
        self._rest()

    @property
    def usable(self) -> bool:
        return self._over is None and not self._deaf

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def ask(self, question: Question, edns: bool) -> Reply:
        if self._over is not None:
            raise self._over
        identifier = self._rng.below(65536)
        while identifier in self._waiting:
            identifier = self._rng.below(65536)
        asked_at = self._net.now()
        query = encode_query(question.name, question.rdtype, identifier, edns=edns, padded=self._padded)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = (question, answer)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._statistics.queries += 1
        # Written by a task of its own: an asker that is cancelled must not leave half a message behind.
        self._outgoing += len(query).to_bytes(2, "big") + query
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        try:
            return await answer
        except asyncio.CancelledError:
            # The server may be alive, and bytes may come, but not an answer.
            if self._net.now() - max(asked_at, self._answered_at) >= DEAF:
                self._deaf = True
            raise
        finally:
            del self._waiting[identifier]
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, also when the asker was cancelled in the same moment
            if self._deaf and not self._waiting:
                self.end(ConnectionAborted("the resolver does not answer on this connection", phase="dns"))
            self._rest()

    def _rest(self) -> None:
        if not self._waiting and self._over is None and self._timer is None:
            self._timer = self._net.call_later(self._idle, self._idled)

    def _idled(self) -> None:
        self._timer = None
        self.end(ConnectionAborted("the connection to the resolver was idle", phase="dns"))

    async def _write(self) -> None:
        try:
            while self._outgoing and self._over is None:
                out = bytes(self._outgoing)
                self._outgoing.clear()
                await self._stream.write(out)
        except SmolmixError as error:
            self.end(error)
        finally:
            self._writer = None

    async def _read(self) -> None:
        received = bytearray()
        try:
            while data := await self._stream.read():
                received += data
                while len(received) >= 2 and len(received) >= (end := 2 + int.from_bytes(received[:2], "big")):
                    self._arrived(bytes(received[2:end]))
                    del received[:end]
            self.end(ConnectionAborted("the resolver closed the connection", phase="dns"))
        except SmolmixError as error:
            self.end(error)

    def _arrived(self, data: bytes) -> None:
        identifier = int.from_bytes(data[:2], "big")
        question, answer = self._waiting.get(identifier, (None, None))
        if question is None or answer is None or answer.done():
            self._statistics.ignored += 1
            return
        self.has_answered = True
        self._answered_at = self._net.now()
        try:
            reply = decode_reply(data, question, {identifier: question.name})
        except SmolmixError as error:
            answer.set_exception(error)
            return
        if reply is None:
            self._statistics.ignored += 1
        else:
            answer.set_result(reply)

    def end(self, error: SmolmixError) -> None:
        """Close the stream; whoever waits gets `error`. Idempotent."""
        if self._over is not None:
            return
        self._over = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        self._stream.abort(error)  # ends the reader and the writer, whichever is not the caller
