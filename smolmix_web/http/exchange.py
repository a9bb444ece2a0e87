"""What HTTP/1.1 and HTTP/2 have in common: a request ready to be sent, a response's head, the upload of a body."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from ..deadline import Clock, Watchdog
from ..errors import HttpError
from .headers import Headers
from .timeouts import Timeouts
from .timings import Timings
from .url import Url

Body = bytes | AsyncIterator[bytes] | None
Progress = Callable[[int, int | None], None]

PIECE = 65_536


@dataclass(frozen=True)
class Outgoing:
    """One request of one hop. `content_length` None with a body: its length is not known."""

    method: str
    url: Url
    headers: Headers
    body: Body
    content_length: int | None
    timeouts: Timeouts
    timings: Timings
    on_upload: Progress | None = None

    def sent(self, clock: Clock) -> None:
        """All of the request is on its way."""
        self.timings.request_sent = self.timings.since(clock.now())

    def uploaded(self, count: int) -> None:
        """So many bytes of the body are on their way."""
        if self.on_upload is not None:
            self.on_upload(count, self.content_length)


@dataclass(frozen=True)
class ResponseHead:
    status: int
    reason: str
    headers: Headers
    http_version: str


async def pieces(request: Outgoing, watchdog: Watchdog) -> AsyncGenerator[bytes, None]:
    """The body in pieces of at most `PIECE` bytes, and no other length than was promised."""
    body = request.body
    assert body is not None
    if isinstance(body, bytes):
        for start in range(0, len(body), PIECE):
            yield body[start : start + PIECE]
        return
    size = 0
    while True:
        watchdog.pause()  # the application's time, not the network's
        try:
            piece = await anext(body)
        except StopAsyncIteration:
            break
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            raise _bad_body(f"a piece of the request body is {type(piece).__name__}, not bytes")
        data = bytes(piece)
        size += len(data)
        if request.content_length is not None and size > request.content_length:
            raise _bad_body(f"the request body is longer than the {request.content_length} bytes promised")
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]
    if request.content_length is not None and size < request.content_length:
        raise _bad_body(f"the request body ends after {size} of {request.content_length} bytes")


def _bad_body(message: str) -> HttpError:
    return HttpError(message, code="bad_body", phase="request")
