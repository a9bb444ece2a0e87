"""What HTTP/1.1 and HTTP/2 have in common: a request ready to be sent, a response's head, one exchange of the two."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ..dial import Connected
from ..edge.deadline import Clock, Watchdog
from ..errors import HttpError, SmolmixError
from .headers import Headers
from .reader import MAX_FIELDS
from .replay import IDEMPOTENT, KEPT, Again, KeptBody, Rewindable
from .timeouts import Timeouts
from .timings import Timings
from .url import Url

Body = bytes | AsyncIterator[bytes] | None
Progress = Callable[[int, int | None], None]

PIECE = 65_536
SMALL = 2048  # bytes: shorter pieces are put together
AHEAD = 65_536  # bytes of a body that are taken before anybody reads it; one piece more may be


class Pieces:
    """Bytes that have come, as they came, until they are taken."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def put(self, data: bytes) -> None:
        if self._pieces and len(self._pieces[-1]) < SMALL and len(data) <= PIECE - SMALL:
            self._pieces[-1] += data  # two bytes by themselves take fifty in memory
        else:
            self._pieces.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """Of what is there at most `PIECE` bytes, or the first piece where that is longer."""
        parts = [self._pieces.popleft()]
        size = len(parts[0])
        while self._pieces and size + len(self._pieces[0]) <= PIECE:
            parts.append(self._pieces.popleft())
            size += len(parts[-1])
        self.size -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def clear(self) -> int:
        """How many bytes that were."""
        self._pieces.clear()
        size, self.size = self.size, 0
        return size


@dataclass(frozen=True)
class Outgoing:
    """One request of one hop. `content_length` None with a body: its length is not known. `lower`: names of fields are
    written so over HTTP/1.1 too."""

    method: str
    url: Url
    headers: Headers
    body: Body
    content_length: int | None
    timeouts: Timeouts
    timings: Timings
    on_upload: Progress | None = None
    lower: bool = False

    @property
    def idempotent(self) -> bool:
        return self.method in IDEMPOTENT

    @property
    def replayable(self) -> bool:
        """The body can be sent a second time."""
        if isinstance(self.body, KeptBody):
            return self.body.whole
        return self.body is None or isinstance(self.body, (bytes, Rewindable))

    @property
    def careful(self) -> bool:
        """The body may grow too long to be sent a second time: it takes no connection that may be ending."""
        return isinstance(self.body, KeptBody) and (self.content_length is None or self.content_length > KEPT)

    def again(self) -> Outgoing:
        """The same with the body from its beginning."""
        return replace(self, body=self.body.rewind()) if isinstance(self.body, Rewindable) else self

    def sent(self, clock: Clock) -> None:
        """All of the request is on its way."""
        self.timings.request_sent = self.timings.since(clock.now())

    def uploaded(self, count: int) -> None:
        """So many bytes of the body are on their way."""
        if self.on_upload is not None:
            self.on_upload(count, self.content_length)


@dataclass(frozen=True)
class ResponseHead:
    """`length`: bytes of the body to be transferred, 0 where the rules of HTTP have none; None: not known."""

    status: int
    reason: str
    headers: Headers
    http_version: str
    length: int | None = None


class Exchange(Protocol):
    """One request and its response: an HTTP/1.1 connection while it carries them, or a stream of HTTP/2."""

    protocol: str
    connected: Connected
    received_any: bool  # of the answer
    wanted: bool  # somebody waits for the body; else it is read ahead, and no more is asked for than there is room

    @property
    def uploading(self) -> bool:
        """The request's body is still being sent."""
        ...

    @property
    def truncated(self) -> bool:
        """The body ended with the connection, and TLS did not say that this was its end."""
        ...

    async def request(self, request: Outgoing) -> ResponseHead:
        """Send the request and return the final response's header; a long body is still sent meanwhile.

        After an error only `why_again` and `abort` make sense.
        """
        ...

    async def read_body(self) -> bytes:
        """The next piece of the body as it was transferred; `b""` at its end."""
        ...

    def why_again(self, outcome: BaseException | ResponseHead, request: Outgoing) -> Again | None:
        """Whether a request that came to this should be sent again, given that its body can be had again."""
        ...

    def abort(self, error: SmolmixError | None = None) -> None:
        """Free at once what the exchange holds; whoever waits gets `error`. Idempotent."""
        ...


@contextmanager
def over_on_failure(exchange: Exchange) -> Iterator[None]:
    """Around a request: whatever fails it frees what the exchange holds, and an error without a phase gets one."""
    try:
        yield
    except SmolmixError as error:
        if error.phase is None:
            error.phase = "response" if exchange.received_any else "request"
        exchange.abort(error)
        raise
    except BaseException:
        exchange.abort()
        raise


def too_many_headers() -> HttpError:
    return HttpError(f"the response has more than {MAX_FIELDS} headers", code="response_too_large", phase="response")


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
