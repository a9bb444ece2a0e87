"""Listening sockets that stay calm where no file is left to open.

The event loop would try again at once, for every connection of the backlog, with a report each time. Here a
connection for which there is no file is accepted with one that was kept for that, and closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

BACKLOG = 256


class Listener(socket.socket):
    """A TCP socket on which `accept` never fails for want of files; `refused` counts what it closed instead."""

    _spare: int | None = None  # one for the whole process: the listeners of a process share its limit
    refused = 0

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._refuse()
            raise BlockingIOError(errno.EAGAIN, "no file is left for this connection") from None
        self._keep_spare()
        return accepted

    def _refuse(self) -> None:
        spare, Listener._spare = Listener._spare, None
        if spare is not None:
            os.close(spare)
            with contextlib.suppress(OSError):  # it went away by itself
                super().accept()[0].close()
                Listener.refused += 1
        self._keep_spare()

    @staticmethod
    def _keep_spare() -> None:
        if Listener._spare is None:
            with contextlib.suppress(OSError):  # none is left; the next one that ends makes room
                Listener._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def listen(host: str, port: int = 0) -> Listener:
    """A listener on this address. Raises `OSError` where there cannot be one."""
    made = Listener(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    Listener._keep_spare()
    return made
