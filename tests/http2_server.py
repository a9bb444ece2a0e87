"""An HTTP/2 server for tests on any byte stream, by the server's side of h2: as kind or as unkind as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Sequence

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings

from smolmix_web.dial import Connected, TlsInfo
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import SmolmixError
from smolmix_web.http import Timeouts, Url
from tests.http_server import Answer, Handler, PipeConnector, Request
from tests.pipe import Pipe

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Http2Session:
    """One connection: `protocol` may be used by a test to say what it likes, followed by `flush()`."""

    def __init__(self, server: Http2Server, stream: ByteStream) -> None:
        self.server = server
        self.stream = stream
        self.protocol = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self.requests: dict[int, Request] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.resets: list[int] = []  # streams that the client has reset
        self.pings = 0
        self.goodbye = False
        self.closed = False
        self.sent: dict[int, int] = {}  # bytes of DATA by stream
        self.frames: Counter[int] = Counter()  # of the client, by type
        self._unparsed = b""
        self._moved = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def flush(self) -> None:
        """A task of its own writes: who waits here may be cancelled without tearing a frame apart."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await asyncio.shield(self._writer)

    async def _write(self) -> None:
        try:
            while data := self.protocol.data_to_send():
                await self.stream.write(data)
        finally:
            self._writer = None

    async def serve(self) -> None:
        self.protocol.local_settings = Settings(client=False, initial_values=self.server.settings)
        self.protocol.initiate_connection()
        await self.flush()
        try:
            while data := await self.stream.read():
                self._count(data)
                for event in self.protocol.receive_data(data):
                    self._handle(event)
                await self.flush()
                self._moved.set()
        finally:
            self.closed = True
            for task in self.tasks.values():
                task.cancel()
        await self.stream.close()

    def _count(self, data: bytes) -> None:
        self._unparsed += data
        if self._unparsed.startswith(PREFACE):
            self._unparsed = self._unparsed[len(PREFACE) :]
        while len(self._unparsed) >= 9 + int.from_bytes(self._unparsed[:3], "big"):
            self.frames[self._unparsed[3]] += 1
            self._unparsed = self._unparsed[9 + int.from_bytes(self._unparsed[:3], "big") :]

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived(stream_id=stream_id, headers=headers):
                fields = [(str(name), str(value)) for name, value in headers or []]
                self.server.fields.append(fields)
                values = dict(fields)
                request = Request(values[":method"], values[":path"], values)
                self.requests[stream_id] = request
                if self.server.early:
                    self._start(stream_id)
            case events.DataReceived(stream_id=stream_id, data=data):
                self.requests[stream_id].body += data or b""
                if self.server.read_bodies and event.flow_controlled_length:
                    self.protocol.acknowledge_received_data(event.flow_controlled_length, stream_id)
            case events.StreamEnded(stream_id=stream_id):
                self._start(stream_id)
            case events.StreamReset(stream_id=stream_id):
                self.resets.append(stream_id)
                if stream_id in self.tasks:
                    self.tasks[stream_id].cancel()
            case events.PingReceived():
                self.pings += 1
            case events.ConnectionTerminated():
                self.goodbye = True
            case _:
                pass

    def _start(self, stream_id: int) -> None:
        if stream_id not in self.tasks:
            self.tasks[stream_id] = asyncio.create_task(self._answer(stream_id))

    async def _answer(self, stream_id: int) -> None:
        request = self.requests[stream_id]
        self.server.requests.append(request)
        self.server.sessions_of.append(self)
        self.server.running += 1
        self.server.most = max(self.server.most, self.server.running)
        try:
            answer = self.server.handler(request)
            if isinstance(answer, Awaitable):
                answer = await answer
            await self.answer(stream_id, answer)
        except (StreamClosedError, SmolmixError, ProtocolError, KeyError):
            pass  # gone
        finally:
            self.server.running -= 1

    async def answer(self, stream_id: int, answer: Answer) -> None:
        named = [(":status", str(answer.status)), *((name.lower(), value) for name, value in answer.headers)]
        fields = [(name.encode(), value.encode("latin-1")) for name, value in named]
        if answer.body == b"":
            self.protocol.send_headers(stream_id, fields, end_stream=True)
            await self.flush()
            return
        self.protocol.send_headers(stream_id, fields)
        if isinstance(answer.body, bytes):
            await self.send(stream_id, answer.body)
        else:
            async for piece in answer.body:
                await self.send(stream_id, piece)
        self.protocol.end_stream(stream_id)
        await self.flush()

    async def send(self, stream_id: int, data: bytes) -> None:
        """DATA as far as the client's windows allow."""
        while data:
            room = min(self.protocol.local_flow_control_window(stream_id), self.protocol.max_outbound_frame_size)
            if room <= 0:
                self._moved.clear()
                await self._moved.wait()
                continue
            self.protocol.send_data(stream_id, data[:room])
            self.sent[stream_id] = self.sent.get(stream_id, 0) + len(data[:room])
            data = data[room:]
            await self.flush()


class Http2Server:
    """Serves connections with one handler; keeps what it saw."""

    def __init__(
        self,
        handler: Handler,
        *,
        max_streams: int = 100,
        window: int | None = None,
        early: bool = False,
        read_bodies: bool = True,
    ) -> None:
        """`early`: answer when the header is there. `read_bodies` False: the windows of uploads stay closed."""
        self.handler = handler
        self.early = early
        self.read_bodies = read_bodies
        self.settings: dict[SettingCodes | int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: max_streams}
        if window is not None:
            self.settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.requests: list[Request] = []
        self.fields: list[list[tuple[str, str]]] = []
        self.sessions: list[Http2Session] = []
        self.sessions_of: list[Http2Session] = []
        self.complaints: list[str] = []  # about the client
        self.running = 0
        self.most = 0

    async def serve(self, stream: ByteStream) -> None:
        session = Http2Session(self, stream)
        self.sessions.append(session)
        with contextlib.suppress(SmolmixError):
            try:
                await session.serve()
            except ProtocolError as error:
                self.complaints.append(f"{type(error).__name__}: {error}")
                await session.flush()
                await stream.close()


class Http2Connector(PipeConnector):
    """Agrees on HTTP/2 with whoever offers it, unless told otherwise."""

    alpn: str | None = "h2"

    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        plain = await super().connect(url, timeouts, alpn)
        if not url.secure:
            return plain
        chosen = self.alpn if self.alpn in alpn else None
        return Connected(plain.stream, TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", chosen), connect_seconds=self.delay)

    def pipe(self, index: int = 0) -> Pipe:
        """The server's end of a connection."""
        return self.far[index]
