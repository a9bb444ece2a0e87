"""One TCP flow at the exit: a connection of our stack on one side, an ordinary socket on the other.

Both directions are bounded: what the stack does not take stops the socket's reading, what the socket does not take
stays in the stack, whose window closes. A FIN passes as a half close, a RST as a RST, each way. The stack calls in the
middle of a packet, and a socket that has just been cut may fail at anything: no error of a flow leaves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from smolmix_web.errors import SmolmixError
from smolmix_web.netstack.tcp.config import TcpConfig
from smolmix_web.netstack.tcp.connection import TcpConnection
from smolmix_web.netstack.tcp.listener import SynRequest

_CHUNK = 65_536
_SOCKET_BUFFER = 131_072  # bytes of asyncio's own write buffer before it says stop


class TcpRelay(asyncio.Protocol):
    """The dialled side. `clock` is the stack's; `wake` says that the stack may have output; `done` ends the flow."""

    def __init__(
        self,
        request: SynRequest,
        config: TcpConfig,
        clock: Callable[[], float],
        wake: Callable[[], None],
        done: Callable[[TcpRelay], None],
    ) -> None:
        self._request = request
        self._config = config
        self._clock = clock
        self._wake = wake
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._connection: TcpConnection | None = None
        self._from_server = memoryview(b"")  # what the stack did not take; reading is paused meanwhile
        self._server_eof = False
        self._client_eof = False
        self._write_paused = False
        self._over = False

    # -- the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._over:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_SOCKET_BUFFER)
        try:
            # The kernel's own buffer would grow to megabytes, and the client would learn of a slow server too late.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            self._connection = self._request.accept(self._clock(), self._config)
        except (SmolmixError, OSError):  # the client gave up meanwhile, there is no room, or the server is gone
            self._end(reset=True)
            self._request.refuse(self._clock())
        else:
            self._connection.on_event = self._on_event
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._from_server = memoryview(data)
        self._move()
        self._wake()

    def eof_received(self) -> bool:
        self._server_eof = True
        self._move()
        self._wake()
        return True  # the client may still be sending

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._move()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """By us when both halves have ended, else by the server: a RST."""
        if not self._over:
            self._finish()
            if self._connection is not None:
                self._connection.abort(self._clock())
        self._wake()

    # -- the stack's side

    def _on_event(self) -> None:
        assert self._connection is not None
        if self._connection.error is not None:
            self._end(reset=True)
        else:
            self._move()

    def _move(self) -> None:
        """All that can be moved, both ways. An end of either side while it is used ends the flow."""
        connection, transport = self._connection, self._transport
        if connection is None or transport is None:
            return
        try:
            self._push(connection, transport)
            self._pull(connection, transport)
        except (SmolmixError, OSError, RuntimeError):  # RuntimeError: of a transport that is closing
            self._end(reset=True)

    def _push(self, connection: TcpConnection, transport: asyncio.Transport) -> None:
        """Server to client."""
        if self._over:
            return
        taken = connection.send(self._from_server, self._clock()) if self._from_server else 0
        self._from_server = self._from_server[taken:]
        if self._from_server:
            transport.pause_reading()
        elif self._server_eof:
            connection.close(self._clock())
            self._end_if_both()
        elif not transport.is_reading():
            transport.resume_reading()

    def _pull(self, connection: TcpConnection, transport: asyncio.Transport) -> None:
        """Client to server."""
        if self._over:
            return
        while not self._write_paused and connection.receive_available:
            transport.write(connection.receive(_CHUNK, self._clock()))
        if connection.receive_eof and not self._client_eof:
            self._client_eof = True
            transport.write_eof()
            self._end_if_both()

    # -- the end

    def _end_if_both(self) -> None:
        if self._server_eof and self._client_eof and not self._from_server:
            self._end(reset=False)

    def _end(self, *, reset: bool) -> None:
        if self._over:
            return
        self._finish()
        transport, connection = self._transport, self._connection
        if connection is not None:
            connection.on_event = None
            if reset:
                connection.abort(self._clock())
            else:
                connection.release(self._clock())
        if transport is None:
            return
        if reset:
            sock = transport.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):  # it may be gone already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()

    def _finish(self) -> None:
        self._over = True
        self._from_server = memoryview(b"")
        self._done(self)

    def abort(self) -> None:
        """The client is gone."""
        self._end(reset=True)
