"""One HTTP/2 connection, client side (RFC 9113): h2 for the protocol, many streams over one byte stream.

Two tasks at most: one reads as long as the connection lives, one writes while there is something to write. What a
stream does (`http2_stream.py`) goes through the methods here, which never wait, so that whoever gives a request up can
be cancelled at any point without tearing a frame apart.

Flow control follows the readers. A stream begins with a window of `STREAM_WINDOW` bytes, which is opened again as its
body is read, and wider each time the reader has taken all there is. The connection's window has room for those of all
streams, so readers that stand still stop their own streams and never the others; it bounds what is kept for all of
them together. A stream that has ended and was not read holds its place until it is.

Imported only when a server has negotiated HTTP/2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from copy import copy

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError, StreamClosedError, TooManyStreamsError
from h2.settings import SettingCodes, Settings

from ..dial import Connected
from ..edge.deadline import Clock, Watchdog
from ..errors import ConnectionReset, HttpError, SmolmixError, TimeoutExpired
from .headers import Headers
from .http2_frames import DATA, GOAWAY, RESET_LENGTH, RST_STREAM, FrameSplitter, goaway_of, malformed, stream_of
from .http2_stream import QUIET_SECONDS, STREAM_WINDOW, Http2Stream
from .reader import MAX_HEAD

MAX_STREAMS = 128  # at once, also where the server allows more
LENT = 8 * 1024 * 1024  # bytes by which the windows of streams may be wider, all together
CREDIT = 1024 * 1024  # bytes that were read, and are given back to the connection's window at once
CONNECTION_WINDOW = MAX_STREAMS * STREAM_WINDOW + LENT + 4 * CREDIT  # padding and what was reset is in it too
STREAMS_BEFORE_SETTINGS = 100  # until the server has said how many (RFC 9113 6.5.2: it should allow no less)
LAST_STREAM_ID = (1 << 30) - 1

WRITE_AHEAD = 65_536  # bytes waiting to be written, beyond which a peer is not read that only makes us answer
PING_SECONDS = 20.0  # for anything to come back
CLOSE_SECONDS = 5.0  # for the goodbye to be written


class Http2Connection:
    """`on_change` is called when streams have ended, more are allowed, or the connection takes no more."""

    def __init__(
        self, clock: Clock, origin: tuple[str, str, int], connected: Connected, on_change: Callable[[], None]
    ) -> None:
        self.origin = origin
        self.connected = connected
        self.clock = clock
        self.http11_required = False
        self.idle_since = clock.now()
        self.over = False
        self._stream = connected.stream
        self._on_change = on_change
        self._streams_opened = 0
        self._reserved: set[Http2Stream] = set()  # open, or about to be
        self._by_id: dict[int, Http2Stream] = {}
        self._unread: set[Http2Stream] = set()  # ended, and not yet read
        self._lent = 0
        self.stalled: set[Http2Stream] = set()  # nobody reads them
        self.round_trip = connected.connect_seconds or 0.0
        self._splitter = FrameSplitter()
        self._settled = False  # the server's SETTINGS are here
        self._draining: str | None = None  # no new streams: the name of an error code
        self._out = bytearray()
        self._writing = 0
        self._writer: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._await_drain: set[Http2Stream] = set()
        self._last_heard = clock.now()
        self._health = Watchdog(clock, self._silent)
        self._credit = 0  # bytes that were read and not yet given back to the connection's window
        self._h2 = H2Connection(H2Configuration(client_side=True))
        # The same for everyone, in this order.
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            },
        )
        del self._h2.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - self._h2.inbound_flow_control_window)
        self._flush()
        self._reader = asyncio.create_task(self._read())

    # -- for the pool -------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """New streams may be opened, now or when others have ended."""
        return not self.over and self._draining is None and self._h2.highest_outbound_stream_id < LAST_STREAM_ID

    @property
    def active(self) -> int:
        """Streams that are open or about to be."""
        return len(self._reserved)

    @property
    def capacity(self) -> int:
        """How many more streams may be opened now."""
        if not self.usable:
            return 0
        allowed = self._h2.remote_settings.max_concurrent_streams if self._settled else STREAMS_BEFORE_SETTINGS
        return max(0, min(allowed, MAX_STREAMS - len(self._unread)) - len(self._reserved))

    @property
    def stuck(self) -> bool:
        """Of the places for streams most are held by bodies that nobody reads."""
        return 2 * len(self.stalled) >= len(self._reserved) + len(self._unread)

    @property
    def usable_until_the_end(self) -> bool:
        """The server has not announced that it would end the connection."""
        return self._draining is None

    def open(self) -> Http2Stream:
        """One stream for one exchange; only where there is `capacity`."""
        stream = Http2Stream(self, reused=self._streams_opened > 0)
        if not self._reserved:
            stream.idle_before = self.idle_since
        self._streams_opened += 1
        self._reserved.add(stream)
        return stream

    async def close(self) -> None:
        """Orderly end of a connection without streams: GOAWAY, then the end of the byte stream."""
        if self.over:
            return
        self._h2.close_connection()
        self._end(None, abort=False)
        await self._goodbye()
        try:
            await self._stream.close()
        except SmolmixError as error:
            self._stream.abort(error)

    def abort(self, error: SmolmixError | None = None) -> None:
        """Free everything at once; all streams get `error`."""
        self._end(error)

    # -- for the streams ----------------------------------------------------------------------------

    def send_request(self, stream: Http2Stream, fields: Headers, *, end: bool) -> int:
        """HEADERS; returns the stream identifier. `HttpError` codes `stream_refused` (not sent) and `bad_request`."""
        if not self.usable:
            raise HttpError("the connection takes no more requests", code="stream_refused", phase="request")
        stream_id = self._h2.get_next_available_stream_id()
        try:
            # Octets, as HTTP/1.1 sends them; of text h2 would make UTF-8.
            octets = [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields]
            self._h2.send_headers(stream_id, octets, end_stream=end)
        except TooManyStreamsError:
            raise HttpError("the server allows no more streams", code="stream_refused", phase="request") from None
        except ProtocolError as error:
            raise HttpError(f"the request is not valid HTTP: {error}", code="bad_request", phase="request") from None
        self._by_id[stream_id] = stream
        if not self.heard_within(QUIET_SECONDS):
            self.ping()
        self._flush()
        return stream_id

    def heard_within(self, seconds: float) -> bool:
        """Something came from the peer in the last `seconds`."""
        return self.clock.now() - self._last_heard <= seconds

    def ping(self) -> None:
        """Ask for a sign of life; without one the connection ends. Waiting streams are woken when it comes."""
        self._h2.ping(bytes(8))
        self._health.start(PING_SECONDS, "ping")
        self._flush()

    def send_data(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """DATA of at most `window` bytes, to a stream that is still open for sending."""
        self._h2.send_data(stream_id, data, end_stream=end)
        self._flush()

    def window(self, stream_id: int) -> int:
        """How many bytes of DATA may be sent now, in one frame."""
        return min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)

    @property
    def waiting(self) -> int:
        """Bytes that do not yet stand in the byte stream's send buffer."""
        return 0 if self.over else len(self._out) + self._writing

    def wake_when_drained(self, stream: Http2Stream) -> None:
        self._await_drain.add(stream)

    def credit(self, size: int) -> None:
        """So many bytes of bodies were read or thrown away: room in the connection's window."""
        self._credit += size
        if self._credit >= CREDIT and not self.over:
            self._h2.increment_flow_control_window(self._credit)
            self._credit = 0
            self._flush()

    def widen(self, stream_id: int, size: int) -> None:
        """Room in the window of a stream on which the server may still send."""
        if not self.over:
            self._h2.increment_flow_control_window(size, stream_id)
            self._flush()

    def lend(self, size: int) -> int:
        """How much of `size` the window of a stream may grow; it comes back when the stream is over and read."""
        size = min(size, LENT - self._lent)
        self._lent += size
        return size

    def reset(self, stream_id: int) -> None:
        """RST_STREAM: this side wants no more of the stream. What still arrives of it is thrown away."""
        if not self.over:
            with suppress(StreamClosedError):  # the frame that is being read has ended it
                self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            self._flush()

    def forget(self, stream: Http2Stream) -> None:
        """The stream has ended in both directions."""
        if stream in self._reserved:
            self._reserved.discard(stream)
            self._await_drain.discard(stream)
            if stream.id is not None:
                del self._by_id[stream.id]
            self.idle_since = self.clock.now()
            if stream.has_unread:
                self._unread.add(stream)
            else:
                self._lent -= stream.lent
            self._on_change()

    def drained(self, stream: Http2Stream) -> None:
        """All of a stream that had ended is read, or thrown away."""
        if stream in self._unread:
            self._unread.discard(stream)
            self._lent -= stream.lent
            self._on_change()

    # -- writing ------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._out += self._h2.data_to_send()
        if self._out and self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._out:
                data, self._out = bytes(self._out), bytearray()
                self._writing = len(data)
                await self._stream.write(data)
                self._writing = 0
                self._wake_drained()
        except SmolmixError:
            pass  # the reader sees it too, after what the server said before it closed
        finally:
            self._writing = 0
            self._writer = None

    def _wake_drained(self) -> None:
        self._drained.set()
        waiting, self._await_drain = self._await_drain, set()
        for stream in waiting:
            stream.wake()

    async def _goodbye(self) -> None:
        """Wait, not for long, until GOAWAY is written."""
        self._flush()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=CLOSE_SECONDS)

    # -- reading ------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while data := await self._stream.read():
                self._hear()
                for frame in self._splitter.feed(data):
                    self._receive(frame)
                self._flush()
                while len(self._out) > WRITE_AHEAD and not self.over:
                    self._drained.clear()
                    await self._drained.wait()
                if self.over:
                    return
            self._end(None)
        except HttpError as error:
            if self._h2.state_machine.state is not ConnectionState.CLOSED:
                self._h2.close_connection(ErrorCodes.PROTOCOL_ERROR)  # GOAWAY, where h2 has not said it
            self._end(error, abort=False)
            await self._goodbye()
            self._stream.abort(error)
        except SmolmixError as error:
            self._end(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._end(malformed(f"{type(error).__name__}: {error}"))
            raise  # a defect: the loop reports it

    def _hear(self) -> None:
        before, self._last_heard = self._last_heard, self.clock.now()
        self._health.stop()
        if self._last_heard - before > QUIET_SECONDS / 4:
            for stream in self._reserved:
                stream.wake()

    def _receive(self, frame: bytes) -> None:
        kind, stream_id = frame[3], stream_of(frame)
        if kind == GOAWAY:
            # h2 would end the connection with it; streams that the server still works on go on (RFC 9113 6.8).
            self._goaway(*goaway_of(frame))
            return
        discarded = kind == DATA and stream_id not in self._by_id
        if discarded:
            self._flush()
        try:
            found = self._h2.receive_data(frame)
        except DenialOfServiceError as error:
            raise HttpError(f"the response's header: {error}", code="response_too_large", phase="response") from None
        except ProtocolError as error:
            raise malformed(str(error) or type(error).__name__) from None
        if discarded:
            # h2 gives the bytes back to the connection's window, and repeats RST_STREAM: once was enough.
            answer = self._h2.data_to_send()
            again = len(answer) >= RESET_LENGTH and answer[3 - RESET_LENGTH] == RST_STREAM
            self._out += answer[:-RESET_LENGTH] if again else answer
        for event in found:
            self._handle(event)

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.RemoteSettingsChanged():
                self._settled = True
                self._wake_uploads()
                self._on_change()
            case events.WindowUpdated(stream_id=0):
                self._wake_uploads()
            case events.WindowUpdated(stream_id=stream_id) if stream_id in self._by_id:
                self._by_id[stream_id].wake_upload()
            case events.ResponseReceived(stream_id=stream_id) if stream_id in self._by_id:
                self._by_id[stream_id].received_head(event.headers or [])
            case events.InformationalResponseReceived(stream_id=stream_id) if stream_id in self._by_id:
                self._by_id[stream_id].received_informational()
            case events.DataReceived(stream_id=stream_id, data=data) if stream_id in self._by_id and data is not None:
                self._by_id[stream_id].received_data(data, (event.flow_controlled_length or 0) - len(data))
            case events.StreamEnded(stream_id=stream_id) if stream_id in self._by_id:
                self._by_id[stream_id].received_end()
            case events.StreamReset(stream_id=stream_id) if stream_id in self._by_id:
                self._stream_reset(self._by_id[stream_id], int(event.error_code or 0))
            case _:
                pass  # trailers, pings, priorities and what is unknown change nothing here

    def _wake_uploads(self) -> None:
        for stream in self._reserved:
            stream.wake_upload()

    def _stream_reset(self, stream: Http2Stream, code: int) -> None:
        if code == ErrorCodes.HTTP_1_1_REQUIRED:
            self.http11_required = True
            self._draining = "HTTP_1_1_REQUIRED"
        unprocessed = code in (ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED)
        stream.was_reset(_code_name(code), unprocessed=unprocessed)

    def _goaway(self, last: int, code: int) -> None:
        """Streams above `last` were not acted on; the others go on to their end."""
        self._draining = _code_name(code)
        for stream_id, stream in list(self._by_id.items()):
            if stream_id > last:
                stream.was_reset(self._draining, unprocessed=True)
        self._on_change()

    # -- the end ------------------------------------------------------------------------------------

    def _silent(self, error: TimeoutExpired) -> None:
        self._end(ConnectionReset(f"the server no longer answers: {error.message}", reason="ping"))

    def _end(self, error: SmolmixError | None, *, abort: bool = True) -> None:
        """No error: the byte stream has ended."""
        if self.over:
            return
        self.over = True
        self._health.stop()
        if error is None and self._draining not in (None, "NO_ERROR"):
            error = ConnectionReset(f"the server ended the connection: {self._draining}", reason=self._draining)
        for stream in list(self._reserved):
            stream.connection_ended(copy(error))
        if self._reader is not _current_task():
            self._reader.cancel()
        if abort:
            if self._writer is not None:
                self._writer.cancel()
            self._stream.abort(error)
        self._wake_drained()
        self._on_change()


def _current_task() -> asyncio.Task[object] | None:
    return asyncio.current_task()


def _code_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"0x{code:x}"
