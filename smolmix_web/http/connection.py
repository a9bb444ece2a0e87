"""One HTTP/1.1 connection, client side: h11 for the protocol (RFC 9112), one watchdog for all waits.

A connection carries one exchange at a time: `request`, then `read_body` until it returns `b""`; then `reusable` says
whether it may carry another.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import h11

from ..deadline import Clock, Watchdog
from ..errors import HttpError, NetworkError, SmolmixError, StateError
from ..sockets import ByteStream
from .connector import Connected
from .exchange import MAX_INFORMATIONAL, PIECE, Outgoing, ResponseHead, lost, over_on_failure, pieces, too_many_headers
from .headers import MAX_HEADERS
from .timeouts import Timeouts

MAX_RESPONSE_HEAD = 65_536
_START = b"HTTP/1."
_INLINE_BODY = 16_384  # a body up to this size travels with the header, before anything is read


class HttpConnection:
    """An `Exchange` at a time."""

    protocol = "http/1.1"

    def __init__(self, clock: Clock, origin: tuple[str, str, int], connected: Connected) -> None:
        self.origin = origin
        self.connected = connected
        self.stream: ByteStream = connected.stream
        self.received_any = False  # of the present exchange
        self.idle_since = clock.now()
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_RESPONSE_HEAD)
        self._watchdog = Watchdog(clock, self.stream.abort)
        self._clock = clock
        self._timeouts = Timeouts()
        self._upload: asyncio.Task[None] | None = None
        self._upload_error: BaseException | None = None
        self._start = b""  # of the response, as far as it decides whether this is HTTP
        self._exchanges = 0
        self._last = False  # what came leaves doubt about where the next response begins
        self._dead = False

    @property
    def reusable(self) -> bool:
        """The exchange is over and the connection can carry another."""
        return (
            not self._dead
            and not self._last
            and self._upload is None
            and self._h11.our_state is h11.DONE
            and self._h11.their_state is h11.DONE
            and not self._h11.trailing_data[0]
            and self.stream.is_quiet()
        )

    @property
    def truncated(self) -> bool:
        return bool(getattr(self.stream, "truncated", False))

    async def request(self, request: Outgoing) -> ResponseHead:
        """Send the request and return the final response's header; a long body is still sent meanwhile.

        On any error the connection is dead.
        """
        if self._exchanges:
            self._h11.start_next_cycle()
        self._exchanges += 1
        self.received_any = False
        self._start = b""
        self._timeouts = request.timeouts
        with over_on_failure(self):
            return await self._exchange(request)

    async def _exchange(self, request: Outgoing) -> ResponseHead:
        body = request.body
        fields = [("Host", request.url.authority), *request.headers]
        if request.content_length is not None:
            fields.append(("Content-Length", str(request.content_length)))
        elif body is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        try:
            head = h11.Request(
                method=request.method.encode("ascii"),
                target=request.url.target.encode("ascii"),
                headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in fields],
            )
            out = self._h11.send(head) or b""
        except h11.LocalProtocolError as error:
            raise HttpError(f"the request is not valid HTTP: {error}", code="bad_request", phase="request") from None
        inline = body is None or (isinstance(body, bytes) and len(body) <= _INLINE_BODY)
        if inline:
            if isinstance(body, bytes) and body:
                out += self._h11.send(h11.Data(data=body)) or b""
            out += self._h11.send(h11.EndOfMessage()) or b""
        self._watchdog.start(self._timeouts.request, "request")
        await self.stream.write(out)
        if inline:
            if isinstance(body, bytes):
                request.uploaded(len(body))
            request.sent(self._clock)
            self._watchdog.start(self._timeouts.response, "response")
        else:
            self._upload = asyncio.create_task(self._send_body(request))
        response = await self._read_head()
        if self._upload is None:
            self._watchdog.pause()
        return response

    async def _send_body(self, request: Outgoing) -> None:
        """Runs beside the reading: a server may answer, or refuse, before it has everything."""
        try:
            size = 0
            async with aclosing(pieces(request, self._watchdog)) as body:
                async for piece in body:
                    self._watchdog.start(self._timeouts.request, "request")
                    await self.stream.write(self._h11.send(h11.Data(data=piece)) or b"")
                    size += len(piece)
                    request.uploaded(size)
            await self.stream.write(self._h11.send(h11.EndOfMessage()) or b"")
            request.sent(self._clock)
            self._watchdog.start(self._timeouts.response, "response")
        except NetworkError:
            pass  # the reader sees it too, after what the server said before it closed
        except asyncio.CancelledError:
            raise
        except h11.LocalProtocolError as error:
            self._upload_failed(HttpError(f"the request body: {error}", code="bad_request", phase="request"))
        except Exception as error:
            self._upload_failed(error)
        finally:
            self._upload = None

    def _upload_failed(self, error: Exception) -> None:
        self._upload_error = error
        self.stream.abort(error if isinstance(error, SmolmixError) else None)

    async def _read_head(self) -> ResponseHead:
        informational = 0
        while True:
            event = await self._next_event("response")
            if isinstance(event, h11.InformationalResponse):
                informational += 1
                if event.status_code == 101 or informational > MAX_INFORMATIONAL:
                    raise HttpError(
                        f"unexpected response {event.status_code} ({informational} informational responses)",
                        code="http_protocol",
                        phase="response",
                    )
                self._watchdog.touch()
                continue
            if isinstance(event, h11.Response):
                if len(event.headers) > MAX_HEADERS:
                    raise too_many_headers()
                names = {name for name, _ in event.headers}
                self._last = {b"content-length", b"transfer-encoding"} <= names  # RFC 9112 6.3
                return ResponseHead(
                    event.status_code,
                    bytes(event.reason).decode("latin-1"),
                    [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers],
                    bytes(event.http_version).decode("ascii"),
                )
            raise HttpError("the response has no header", code="http_protocol", phase="response")

    async def read_body(self) -> bytes:
        """The next piece of the body as it was transferred; `b""` at its end. On any error the connection is dead."""
        if self._dead:
            raise StateError("the response was aborted")
        if self._h11.their_state is not h11.SEND_BODY:
            return b""
        try:
            if self._upload is None:
                self._watchdog.start(self._timeouts.idle, "idle")
            event = await self._next_event("body")
            self._watchdog.pause()
        except SmolmixError as error:
            error.phase = error.phase or "body"
            self.abort(error)
            raise
        except BaseException:
            self.abort()
            raise
        if isinstance(event, h11.Data):
            return bytes(event.data)
        await self._end_of_body()
        return b""

    def may_repeat(self, error: BaseException, request: Outgoing) -> bool:
        """The server had closed a connection that lay idle, which it may do at any time (RFC 9112 9.3.1)."""
        return self._exchanges > 1 and request.idempotent and not self.received_any and lost(error)

    async def _end_of_body(self) -> None:
        if self._upload is not None:
            # Answered in full while we were sending: the rest of the request is of no use.
            upload, self._upload = self._upload, None
            upload.cancel()
            self._dead = True

    async def _next_event(self, phase: str) -> object:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise self._malformed(error, phase) from None
            if event is not h11.NEED_DATA:
                if event is h11.PAUSED:
                    raise HttpError("the server sent more than its answer", code="http_protocol", phase=phase)
                return event
            try:
                data = await self.stream.read(PIECE)
            except SmolmixError:
                if self._upload_error is not None:
                    raise self._upload_error from None
                raise
            if data:
                self.received_any = True
                if phase == "body":
                    self._watchdog.touch()
                self._check_start(data, phase)
            elif self._h11.their_state is h11.SEND_RESPONSE:
                code, where = ("truncated_body", "within") if self.received_any else ("empty_response", "without")
                raise HttpError(f"the server closed the connection {where} an answer", code=code, phase=phase)
            try:
                self._h11.receive_data(data)
            except h11.RemoteProtocolError as error:
                raise self._malformed(error, phase) from None

    def _check_start(self, data: bytes, phase: str) -> None:
        """What is no response is told at its first bytes: h11 waits for the end of a line, which may never come."""
        missing = len(_START) - len(self._start)
        if missing > 0:
            self._start += data[:missing]
            if not _START.startswith(self._start):
                raise HttpError(
                    f"the answer begins with {self._start!r}, which is not HTTP/1", code="http_protocol", phase=phase
                )

    def _malformed(self, error: h11.RemoteProtocolError, phase: str) -> HttpError:
        text = str(error)
        if "closed connection" in text:
            return HttpError(f"the response ends too early: {text}", code="truncated_body", phase=phase)
        if error.error_status_hint == 431:
            return HttpError(
                f"the response's header is longer than {MAX_RESPONSE_HEAD} bytes",
                code="response_too_large",
                phase=phase,
            )
        return HttpError(f"the response is not valid HTTP: {text}", code="http_protocol", phase=phase)

    def abort(self, error: SmolmixError | None = None) -> None:
        """Free the flow at once; idempotent."""
        self._dead = True
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
