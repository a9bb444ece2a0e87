"""One stream of an HTTP/2 connection: a request, its response, and what of its body has not been read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

from ..edge.deadline import Watchdog
from ..errors import Cancelled, ConnectionReset, HttpError, SmolmixError
from .exchange import AHEAD, Outgoing, Pieces, ResponseHead, over_on_failure, pieces, too_many_headers
from .framing import body_length
from .headers import Headers, content_codings, get_all
from .reader import MAX_FIELDS, MAX_INFORMATIONAL
from .replay import LATE_SECONDS, Again, lost, moved
from .timeouts import Timeouts

if TYPE_CHECKING:
    from .http2 import Http2Connection

STREAM_WINDOW = 256 * 1024  # bytes, to begin with
STREAM_WINDOW_MAX = 2 * 1024 * 1024
WRITE_AHEAD = 32_768  # bytes of all streams waiting to be written, beyond which an upload waits
QUIET_SECONDS = 15.0  # without a byte from the peer: a ping goes along with the next request
# A request that cannot be sent twice goes only where the server has been heard of this shortly before.
FRESH_SECONDS = 4.0


class Http2Stream:
    """An `Exchange`. `reused`: it is not the first stream of its connection."""

    protocol = "h2"
    truncated = False  # END_STREAM ends a body, nothing else

    def __init__(self, session: Http2Connection, *, reused: bool) -> None:
        self.session = session
        self.connected = session.connected
        self.reused = reused
        self.id: int | None = None
        self.received_any = False
        self.wanted = False
        self.idle_before: float | None = None  # since when its connection lay idle, where it did
        self._began = session.clock.now()
        self._unprocessed = False  # the server has not acted on it, as it says or because nothing was sent
        self._closed_silently = False  # the connection ended, and the server had said nothing about this stream
        self._watchdog = Watchdog(session.clock, self.abort)
        self._timeouts = Timeouts()
        self._method = ""
        self._head: ResponseHead | None = None
        self._informational = 0
        self._unread = Pieces()
        self._to_return = 0  # bytes that were read and not yet given back to the stream's window
        self._window = STREAM_WINDOW  # what it is opened up to
        self._ended = False  # by the server
        self._sent = False  # the whole request
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._may_send = asyncio.Event()
        self._upload: asyncio.Task[None] | None = None

    # -- the exchange -------------------------------------------------------------------------------

    async def request(self, request: Outgoing) -> ResponseHead:
        self._timeouts = request.timeouts
        self._method = request.method
        with over_on_failure(self):
            return await self._exchange(request)

    async def _exchange(self, request: Outgoing) -> ResponseHead:
        self._watchdog.start(self._timeouts.request, "request")
        # What is sent to a server that is gone without a word is not sent again, unless it may be done twice.
        silence = FRESH_SECONDS if request.careful else QUIET_SECONDS
        if (request.careful or not request.idempotent) and not self.session.heard_within(silence):
            self.session.ping()
            while not self.session.heard_within(FRESH_SECONDS):
                await self._wait()
        bodiless = request.body is None or request.body == b""
        self._raise()
        try:
            self.id = self.session.send_request(self, _fields(request), end=bodiless)
        except HttpError as error:
            self._unprocessed = error.code == "stream_refused"
            raise
        if bodiless:
            self._sent = True
            while self.session.waiting:
                self.session.wake_when_drained(self)
                await self._wait()
            request.sent(self.session.clock)
            self._watchdog.start(self._timeouts.response, "response")
        else:
            self._upload = asyncio.create_task(self._send_body(request))
        while self._head is None:
            await self._wait()
        if self._upload is None:
            self._watchdog.pause()
        return self._head

    async def _send_body(self, request: Outgoing) -> None:
        """Runs beside the reading: a server may answer, or refuse, before it has everything."""
        size = 0
        try:
            async with aclosing(pieces(request, self._watchdog)) as body:
                async for piece in body:
                    self._watchdog.start(self._timeouts.request, "request")
                    size += len(piece)
                    await self._send(piece, end=size == request.content_length)
                    request.uploaded(size)
            if size != request.content_length:
                await self._send(b"", end=True)
            self._sent = True
            request.sent(self.session.clock)
            self._watchdog.start(self._timeouts.response, "response")
        except SmolmixError as error:
            self.abort(error)
        except Exception as error:  # the application's own, from its iterator: `request` raises it
            self._error = self._error or error
            self.abort()
        finally:
            self._upload = None

    async def _send(self, data: bytes, *, end: bool) -> None:
        assert self.id is not None
        view = memoryview(data)
        while True:
            self._raise()
            self._may_send.clear()
            room = self.session.window(self.id) if view else 1
            if self.session.waiting > WRITE_AHEAD:
                self.session.wake_when_drained(self)
                await self._may_send.wait()
            elif room <= 0:
                await self._may_send.wait()
            else:
                part, view = view[:room], view[room:]
                self.session.send_data(self.id, bytes(part), end=end and not view)
                self._watchdog.touch()
                if not view:
                    return

    async def read_body(self) -> bytes:
        """The next piece of the body as it was transferred; `b""` at its end. On any error the stream is reset."""
        try:
            waiting = False
            while not self._unread:
                self._raise()
                if self._ended:
                    return b""
                if self._upload is None and not waiting:  # once: a wake-up is no progress
                    self._watchdog.start(self._timeouts.idle, "idle")
                    waiting = True
                self._changed.clear()
                await self._changed.wait()
            self._watchdog.pause()
        except SmolmixError as error:
            error.phase = error.phase or "body"
            raise
        return self._take()

    def _take(self) -> bytes:
        """What has arrived, up to `PIECE` bytes, and room in the windows for as much."""
        data = self._unread.take()
        self.session.credit(len(data))
        self._to_return += len(data)
        # What is read ahead for nobody opens no window.
        kept_back = self._window // 4 if self.wanted else self._window // 4 + AHEAD + 1
        if self._to_return >= kept_back and not self._ended:
            assert self.id is not None
            # Only a reader that has taken all there is gets a wider window: it waits for the network.
            grow = min(self._window, STREAM_WINDOW_MAX - self._window) if self.wanted and not self._unread else 0
            grow = self.session.lend(grow)
            self.session.widen(self.id, self._to_return + grow)
            self._window += grow
            self._to_return = 0
        if self._ended and not self._unread:
            self.session.drained(self)
        return data

    @property
    def has_unread(self) -> bool:
        return bool(self._unread)

    @property
    def lent(self) -> int:
        """By how much its window is wider than those of all."""
        return self._window - STREAM_WINDOW

    async def _wait(self) -> None:
        """Until something has changed; raises what has ended the stream."""
        self._raise()
        self._changed.clear()
        await self._changed.wait()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    @property
    def uploading(self) -> bool:
        return self._upload is not None

    def why_again(self, outcome: BaseException | ResponseHead, request: Outgoing) -> Again | None:
        if isinstance(outcome, ResponseHead):  # 408 says nothing about a connection here
            return Again.MISDIRECTED if outcome.status == 421 else None
        if self._unprocessed:
            return Again.UNTOUCHED
        if moved(outcome) and request.idempotent and not self.received_any:
            return Again.MOVED
        if not self.reused or self.received_any or not lost(outcome):
            return None
        early = self._closed_silently and self.session.clock.now() - self._began <= LATE_SECONDS
        return Again.LOST if request.idempotent or early else None

    def abort(self, error: SmolmixError | None = None) -> None:
        """Reset the stream; the connection lives on. Idempotent."""
        if self._error is None:
            self._error = error or Cancelled("the response was aborted", phase="body")
        unread = self._unread.clear()
        self._close()
        self.session.drained(self)
        if unread:
            self.session.credit(unread)

    def _close(self) -> None:
        """The stream has ended, or is ended here."""
        self._watchdog.stop()
        upload, self._upload = self._upload, None
        if upload is not None and upload is not asyncio.current_task():
            upload.cancel()
        if self.id is not None and not (self._ended and self._sent):
            self.session.reset(self.id)
        self._ended = self._sent = True
        self.session.forget(self)
        self.wake()

    # -- called by the connection -------------------------------------------------------------------

    def wake(self) -> None:
        self._changed.set()
        self._may_send.set()

    def wake_upload(self) -> None:
        self._may_send.set()

    def received_informational(self) -> None:
        self.received_any = True
        self._watchdog.touch()
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            self.abort(HttpError("too many informational responses", code="http_protocol", phase="response"))

    def received_head(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self.received_any = True
        headers: Headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        status = next((value for name, value in headers if name == ":status"), "")
        headers = [(name, value) for name, value in headers if not name.startswith(":")]
        if not (len(status) == 3 and status.isascii() and status.isdigit() and status >= "200"):
            self.abort(HttpError(f"the response has the status {status!r}", code="http_protocol", phase="response"))
        elif len(headers) > MAX_FIELDS:
            self.abort(too_many_headers())
        else:
            try:
                content_codings(get_all(headers, "content-encoding"))
                length = body_length(self._method, int(status), headers)
            except HttpError as error:
                self.abort(error)
                return
            self._head = ResponseHead(int(status), "", headers, "2", length)
            self._changed.set()

    def received_data(self, data: bytes, padding: int) -> None:
        if data:
            self._unread.put(data)
            self._watchdog.touch()  # frames without data are no progress
            self._changed.set()
        if padding:  # read as soon as it is there
            self._to_return += padding
            self.session.credit(padding)

    def received_end(self) -> None:
        """Answered in full; of a request that is still being sent the rest is of no use."""
        self._ended = True
        if self._head is None:
            self._error = HttpError("the response has no header", code="http_protocol", phase="response")
        self._close()

    def was_reset(self, name: str, *, unprocessed: bool) -> None:
        """By RST_STREAM or GOAWAY of the server. What came before can still be read."""
        self._unprocessed = unprocessed
        self._fail(ConnectionReset(f"the server reset the stream: {name}", reason=name.lower()))

    def connection_ended(self, error: SmolmixError | None) -> None:
        """No error: the byte stream ended, in order."""
        self._unprocessed = self.id is None
        broke = error is None or (isinstance(error, ConnectionReset) and error.reason is None)
        self._closed_silently = broke and self.session.usable_until_the_end
        if error is None and self._head is None:
            error = HttpError("the server closed the connection without an answer", code="empty_response")
        elif error is None:
            error = HttpError("the connection ended inside the body", code="truncated_body")
        self._fail(error)

    def _fail(self, error: SmolmixError) -> None:
        self._error = self._error or error
        self._ended = self._sent = True  # nothing is left to reset
        self._close()


def _fields(request: Outgoing) -> Headers:
    """Pseudo-headers first, in one order for everyone (RFC 9113 8.3.1)."""
    fields = [
        (":method", request.method),
        (":authority", request.url.authority),
        (":scheme", request.url.scheme),
        (":path", request.url.target),
        *((name.lower(), value) for name, value in request.headers),
    ]
    if request.content_length is not None:
        fields.append(("content-length", str(request.content_length)))
    return fields
