"""HTTP/2 for `HttpServer`, where ALPN has agreed on it: the same handlers, many requests on one connection (h2).

One task reads; each request is answered by a task of its own, within the client's windows. What was sent and reset
is counted in the server's `http2`, so that a test can tell what a client's abort has stopped.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

if TYPE_CHECKING:
    from .http_server import HttpServer, Response

MAX_STREAMS = 100
WINDOW = 1 << 20
PIECE = 65536
IDLE_TIMEOUT = 120.0
WRITE_TIMEOUT = 300.0
MAX_BODY = 64 * 1024 * 1024


@dataclass
class Http2Counters:
    """Of all connections; times are the loop's."""

    connections: int = 0
    streams: int = 0
    sent: int = 0  # bytes of response bodies
    received: int = 0  # bytes of request bodies
    resets: list[float] = field(default_factory=list)  # when clients reset a stream


@dataclass
class _Request:
    fields: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)


class Http2ServerConnection:
    """`run` returns when the client is gone."""

    def __init__(self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = server.connections
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._requests: dict[int, _Request] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._moved = asyncio.Event()

    async def run(self) -> None:
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            },
        )
        self._h2.initiate_connection()
        self._server.http2.connections += 1
        try:
            await self._flush()
            while data := await asyncio.wait_for(self._reader.read(PIECE), IDLE_TIMEOUT):
                self._server.tell(self._number, data)
                for event in self._h2.receive_data(data):
                    self._handle(event)
                self._moved.set()
                self._moved = asyncio.Event()
                await self._flush()
        except ProtocolError as error:
            self._server.note(f"HTTP/2: {error}")
            await self._flush()  # GOAWAY
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())
        await asyncio.wait_for(self._writer.drain(), WRITE_TIMEOUT)

    def _handle(self, event: events.Event) -> None:
        counters = self._server.http2
        match event:
            case events.RequestReceived(stream_id=stream_id, headers=headers) if stream_id is not None:
                counters.streams += 1
                self._requests[stream_id] = _Request([(str(name), str(value)) for name, value in headers or []])
            case events.DataReceived(stream_id=stream_id, data=data) if stream_id in self._requests:
                request = self._requests[stream_id]
                request.body += data or b""
                counters.received += len(data or b"")
                if len(request.body) > MAX_BODY:
                    self._h2.reset_stream(stream_id, 0xB)  # ENHANCE_YOUR_CALM
                    del self._requests[stream_id]
                elif event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
            case events.StreamEnded(stream_id=stream_id) if stream_id in self._requests:
                task = asyncio.create_task(self._answer(stream_id, self._requests.pop(stream_id)))
                self._tasks[stream_id] = task
                task.add_done_callback(lambda _: self._tasks.pop(stream_id, None))
            case events.StreamReset(stream_id=stream_id) if stream_id is not None:
                counters.resets.append(asyncio.get_running_loop().time())
                self._requests.pop(stream_id, None)
                if stream_id in self._tasks:
                    self._tasks[stream_id].cancel()
            case _:
                pass

    async def _answer(self, stream_id: int, request: _Request) -> None:
        from .http_server import BadRequest, make_request, text_response

        pseudo = {name: value for name, value in request.fields if name.startswith(":")}
        headers = [("host", pseudo.get(":authority", ""))]
        headers += [(name, value) for name, value in request.fields if not name.startswith(":")]
        try:
            try:
                known = make_request(
                    pseudo[":method"], pseudo[":path"], headers, bytes(request.body), "2", self._writer, secure=True
                )
                response = await self._server.answer(known)
            except BadRequest as error:
                response = text_response(f"{error}\n", 400)
            await self._send(stream_id, response, pseudo[":method"])
        except (ProtocolError, ConnectionError, TimeoutError):
            pass  # the stream or the client is gone

    async def _send(self, stream_id: int, response: Response, method: str) -> None:
        fields = [(":status", str(response.status))]
        fields += [(name.lower(), value) for name, value in response.headers]
        names = {name for name, _ in fields}
        length = len(response.body) if isinstance(response.body, bytes) else response.length
        bodiless = method == "HEAD" or response.status in (204, 304)
        if response.status not in (204, 304) and "content-length" not in names and length is not None:
            fields.append(("content-length", str(length)))
        fields.append(("server", "localnet"))
        bodiless = bodiless or response.body == b""
        self._h2.send_headers(stream_id, fields, end_stream=bodiless)
        if not bodiless:
            if isinstance(response.body, bytes):
                await self._send_data(stream_id, response.body)
            else:
                async for chunk in response.body:
                    await self._send_data(stream_id, chunk)
            promised = next((int(value) for name, value in fields if name == "content-length"), None)
            if isinstance(response.body, bytes) and promised not in (None, len(response.body)):
                self._h2.reset_stream(stream_id, 0x2)  # less than announced, on purpose
            else:
                self._h2.end_stream(stream_id)
        await self._flush()

    async def _send_data(self, stream_id: int, data: bytes) -> None:
        while data:
            room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if room <= 0:
                await self._moved.wait()
                continue
            self._h2.send_data(stream_id, data[:room])
            self._server.http2.sent += len(data[:room])
            data = data[room:]
            await self._flush()
