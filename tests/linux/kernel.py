"""Applications on sockets of the kernel, each in a thread of its own: they move bytes and say how it ended."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable

PIECE = 1 << 18


class KernelPeer(threading.Thread):
    """Opens a socket by `open_socket`, writes `data`, shuts that half down, and reads until the end.

    `received` and `eof`, or `error`, tell what happened; `first_at` and `last_at` when data came (monotonic seconds).
    """

    def __init__(
        self,
        open_socket: Callable[[], socket.socket],
        data: bytes = b"",
        *,
        shutdown: bool = True,
        reading: bool = True,
        writing: bool = True,
        patience: float = 60.0,
    ) -> None:
        super().__init__(daemon=True)
        self._open = open_socket
        self._pending = memoryview(data)
        self._shutdown = shutdown
        self._patience = patience
        self.reading = threading.Event()
        if reading:
            self.reading.set()
        self.writing = threading.Event()
        if writing:
            self.writing.set()
        self.socket: socket.socket | None = None
        self.opened_at = self.first_at = self.last_at = 0.0
        self.received = bytearray()
        self.sent = 0
        self.eof = False
        self.error: OSError | None = None
        self.stopped = threading.Event()  # set it to leave without closing
        self.start()

    @property
    def done(self) -> bool:
        return not self.is_alive()

    @property
    def opened(self) -> bool:
        return self.opened_at > 0

    def run(self) -> None:
        try:
            self.socket = self._open()
            self.opened_at = time.monotonic()
            self._transfer(self.socket)
        except OSError as error:
            self.error = error

    def _transfer(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        end = time.monotonic() + self._patience
        open_ = True
        while not self.stopped.is_set() and (open_ or not self.eof):
            if time.monotonic() > end:
                raise TimeoutError("the application's own patience is over")
            may_write = open_ and self.writing.is_set()
            if may_write and not self._pending:
                open_ = False
                if not self._shutdown:
                    self._shutdown = True  # read on, leave the half open
                else:
                    sock.shutdown(socket.SHUT_WR)
                continue
            reading = [sock] if self.reading.is_set() and not self.eof else []
            readable, writable, _ = select.select(reading, [sock] if may_write else [], [], 0.05)
            if readable:
                piece = sock.recv(PIECE)
                now = time.monotonic()
                self.first_at = self.first_at or now
                self.last_at = now
                self.received += piece
                self.eof = not piece
            if writable:
                taken = sock.send(self._pending[:PIECE])
                self.sent += taken
                self._pending = self._pending[taken:]

    def finish(self) -> None:
        """Wait for the thread; what ended it badly is raised."""
        self.join(timeout=10)
        assert not self.is_alive(), "the kernel's application did not end"
        if self.error is not None:
            raise self.error
