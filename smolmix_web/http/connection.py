"""One HTTP/1.1 connection, client side (RFC 9112): what is written and read when, one watchdog for all waits.

A connection carries one exchange at a time: `request`, then `read_body` until it returns `b""`; then `reusable` says
whether it may carry another.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

from ..edge.deadline import Clock, Watchdog
from ..edge.sockets import ByteStream
from ..errors import HttpError, NetworkError, SmolmixError, StateError
from .connector import Connected
from .exchange import PIECE, Outgoing, ResponseHead, over_on_failure, pieces
from .framing import Body, open_body
from .headers import Headers
from .keepalive import announced
from .reader import HeadReader
from .replay import LATE_SECONDS, Again, lost, moved
from .timeouts import Timeouts

_UNSAFE = re.compile(r"[\x00\r\n]")
_UNSAFE_TARGET = re.compile(r"[^\x21-\x7e]")
_INLINE_BODY = 16_384  # a body up to this size travels with the header, before anything is read


class HttpConnection:
    """An `Exchange` at a time."""

    protocol = "http/1.1"

    def __init__(self, clock: Clock, origin: tuple[str, str, int], connected: Connected) -> None:
        self.origin = origin
        self.connected = connected
        self.stream: ByteStream = connected.stream
        self.received_any = False  # of the present exchange
        self.wanted = False
        self.idle_since = clock.now()
        self.round_trip = connected.connect_seconds or 0.0  # the shortest that was seen
        self.keep_alive: float | None = None  # s idle, as the server last said
        self._watchdog = Watchdog(clock, self.stream.abort)
        self._clock = clock
        self._timeouts = Timeouts()
        self._upload: asyncio.Task[None] | None = None
        self._upload_error: BaseException | None = None
        self._exchanges = 0
        self._began = clock.now()  # the present exchange
        self._sent = False  # the whole request
        self._body: Body | None = None  # of the response, once its header is there
        self._held = b""  # what came with the header
        self._dead = False
        self._aborted: SmolmixError | None = None

    @property
    def reusable(self) -> bool:
        """The exchange is over and the connection can carry another."""
        return (
            not self._dead
            and self._sent
            and self._body is not None
            and self._body.over
            and not self._body.last
            and not self._body.rest
            and self.stream.is_quiet()
        )

    @property
    def truncated(self) -> bool:
        return bool(getattr(self.stream, "truncated", False))

    async def request(self, request: Outgoing) -> ResponseHead:
        """Send the request and return the final response's header; a long body is still sent meanwhile.

        On any error the connection is dead.
        """
        self._exchanges += 1
        self._began = self._clock.now()
        self.received_any = self._sent = False
        self._body = None
        self._timeouts = request.timeouts
        with over_on_failure(self):
            return await self._exchange(request)

    async def _exchange(self, request: Outgoing) -> ResponseHead:
        body = request.body
        # In the order of Chromium, whose name we bear, and of the official client.
        fields = [("Host", request.url.authority), ("Connection", "keep-alive")]
        if request.content_length is not None:
            fields.append(("Content-Length", str(request.content_length)))
        elif body is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        fields += request.headers
        if request.lower:
            fields = [(name.lower(), value) for name, value in fields]
        out = request_head(request.method, request.url.target, fields)
        inline = body is None or (isinstance(body, bytes) and len(body) <= _INLINE_BODY)
        if inline:
            out += body if isinstance(body, bytes) else b""
        self._watchdog.start(self._timeouts.request, "request")
        await self.stream.write(out)
        if inline:
            if isinstance(body, bytes):
                request.uploaded(len(body))
            self._all_sent(request)
        else:
            self._upload = asyncio.create_task(self._send_body(request))
        sent = self._clock.now()
        response = await self._read_head(request)
        if inline:
            waited = self._clock.now() - sent
            self.round_trip = min(self.round_trip, waited) if self.round_trip else waited
        self.keep_alive = announced(response.headers)
        if self._upload is None:
            self._watchdog.pause()
        return response

    async def _send_body(self, request: Outgoing) -> None:
        """Runs beside the reading: a server may answer, or refuse, before it has everything."""
        chunked = request.content_length is None
        size = 0
        try:
            async with aclosing(pieces(request, self._watchdog)) as body:
                async for piece in body:
                    self._watchdog.start(self._timeouts.request, "request")
                    # An empty chunk would be the last one; `pieces` gives none.
                    await self.stream.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    size += len(piece)
                    request.uploaded(size)
            if chunked:
                await self.stream.write(b"0\r\n\r\n")
            self._all_sent(request)
        except NetworkError:
            pass  # the reader sees it too, after what the server said before it closed
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._upload_failed(error)
        finally:
            self._upload = None

    def _upload_failed(self, error: Exception) -> None:
        self._upload_error = error
        self.stream.abort(error if isinstance(error, SmolmixError) else None)

    def _all_sent(self, request: Outgoing) -> None:
        self._sent = True
        request.sent(self._clock)
        self._watchdog.start(self._timeouts.response, "response")

    async def _read_head(self, request: Outgoing) -> ResponseHead:
        reader = HeadReader(secure=request.url.secure)
        head = None
        while head is None:
            data = await self._receive()
            if not data and not self.received_any:
                raise HttpError("the server closed the connection without an answer", code="empty_response")
            informational = reader.informational
            head = reader.feed(data) if data else reader.end()
            if reader.informational > informational:
                self._watchdog.touch()
        self._body = open_body(request.method, head)
        self._held = reader.rest
        if self._body.over:
            self._body.rest, self._held = self._held, b""
        return ResponseHead(head.status, head.reason, head.headers, head.version, self._body.length)

    async def read_body(self) -> bytes:
        """The next piece of the body as it was transferred; `b""` at its end. On any error the connection is dead."""
        if self._dead:
            raise self._aborted or StateError("the response was aborted")
        if self._body is None:
            return b""
        try:
            if self._upload is None:
                self._watchdog.start(self._timeouts.idle, "idle")
            data = await self._next_piece(self._body)
            self._watchdog.pause()
        except SmolmixError as error:
            error.phase = error.phase or "body"
            self.abort(error)
            raise
        except BaseException:
            self.abort()
            raise
        if not data:
            await self._end_of_body()
        return data

    @property
    def uploading(self) -> bool:
        return self._upload is not None

    def why_again(self, outcome: BaseException | ResponseHead, request: Outgoing) -> Again | None:
        """A server may end a connection that lies idle at any time (RFC 9112 9.3.1), with a 408 or without a word."""
        used = self._exchanges > 1
        if isinstance(outcome, ResponseHead):
            if outcome.status == 421:
                return Again.MISDIRECTED
            return Again.TIMED_OUT if outcome.status == 408 and used else None
        if moved(outcome) and request.idempotent and not self.received_any:
            return Again.MOVED
        early = request.idempotent or self._clock.now() - self._began <= LATE_SECONDS
        return Again.LOST if used and early and not self.received_any and lost(outcome) else None

    async def _end_of_body(self) -> None:
        if self._upload is not None:
            # Answered in full while we were sending: the rest of the request is of no use.
            upload, self._upload = self._upload, None
            upload.cancel()
            self._dead = True

    async def _next_piece(self, body: Body) -> bytes:
        while not body.over:
            data, self._held = self._held, b""
            if not data and body.error is None:
                data = await self._receive()
                if not data:
                    body.end()
            if piece := body.feed(data):
                self._watchdog.touch()  # by nothing else: neither chunk sizes nor trailers are progress
                return piece
        return b""

    async def _receive(self) -> bytes:
        try:
            data = await self.stream.read(PIECE)
        except SmolmixError:
            if self._upload_error is not None:
                raise self._upload_error from None
            raise
        self.received_any = self.received_any or bool(data)
        return data

    def abort(self, error: SmolmixError | None = None) -> None:
        """Free the flow at once; idempotent."""
        self._dead = True
        self._aborted = self._aborted or error
        self._watchdog.stop()
        if self._upload is not None:
            self._upload.cancel()
            self._upload = None
        self.stream.watch(None)
        self.stream.abort(error)

    async def close(self) -> None:
        """Orderly end of an idle connection."""
        self._dead = True
        self._watchdog.stop()
        self.stream.watch(None)
        try:
            await self.stream.close()
        except SmolmixError as error:
            self.stream.abort(error)


def request_head(method: str, target: str, fields: Headers) -> bytes:
    """Names as the caller wrote them. Everything was checked before; a line break that got here stops here."""
    if _UNSAFE_TARGET.search(target) or any(_UNSAFE.search(name + value) for name, value in fields):
        raise HttpError("the request is not valid HTTP", code="bad_request", phase="request")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")
