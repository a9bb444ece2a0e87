"""An HTTP/1.1 server for tests on any byte stream, by the server's side of h11."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import h11

from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import SmolmixError
from smolmix_web.http import Connected, Timeouts, Url
from tests.pipe import Pipe


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Answer:
    """`body` None with a Content-Length of its own: nothing is sent. An iterator is sent as it comes."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""
    close: bool = False  # the stream ends after this answer


Handler = Callable[[Request], Awaitable[Answer] | Answer]


Step = bytes | float | str


class Speaker(Protocol):
    """What a server of raw bytes needs of a stream."""

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...

    def abort(self) -> None: ...


async def play(stream: Speaker, steps: Iterable[Step]) -> str | None:
    """Send bytes, wait so many seconds, "close" or "reset". Which of these two ended it; None: it is still open."""
    for step in steps:
        if step == "close":
            await stream.close()
            return "close"
        if step == "reset":
            stream.abort()
            return "reset"
        if isinstance(step, bytes):
            await stream.write(step)
        else:
            assert not isinstance(step, str), step
            await asyncio.sleep(step)
    return None


class HttpServer:
    """Serves connections with one handler; keeps what it saw."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.connections = 0

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        with contextlib.suppress(SmolmixError):
            try:
                await self._serve(stream)
            except h11.RemoteProtocolError:
                await stream.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                await stream.close()

    async def _serve(self, stream: ByteStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request = await self._request(connection, stream)
            if request is None:
                await stream.close()
                return
            self.requests.append(request)
            answer = self.handler(request)
            if isinstance(answer, Awaitable):
                answer = await answer
            await self._answer(connection, stream, answer)
            if answer.close or connection.our_state is h11.MUST_CLOSE:
                await stream.close()
                return
            connection.start_next_cycle()

    async def _request(self, connection: h11.Connection, stream: ByteStream) -> Request | None:
        request: Request | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.read())
            elif isinstance(event, h11.Request):
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                request = Request(event.method.decode(), event.target.decode(), headers)
            elif isinstance(event, h11.Data):
                assert request is not None
                request.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return request
            else:
                return None

    async def _answer(self, connection: h11.Connection, stream: ByteStream, answer: Answer) -> None:
        headers = list(answer.headers)
        names = {name.lower() for name, _ in headers}
        if isinstance(answer.body, bytes) and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(answer.body))))
        out = connection.send(
            h11.Response(status_code=answer.status, headers=[(n.encode(), v.encode("latin-1")) for n, v in headers])
        )
        await stream.write(out or b"")
        if isinstance(answer.body, bytes):
            if answer.body:
                await stream.write(connection.send(h11.Data(data=answer.body)) or b"")
        else:
            async for piece in answer.body:
                await stream.write(connection.send(h11.Data(data=piece)) or b"")
        await stream.write(connection.send(h11.EndOfMessage()) or b"")


class PipeConnector:
    """Connects every origin to one server, in memory; `far` keeps the server's ends, `near` the client's."""

    def __init__(self, serve: Callable[[ByteStream], Awaitable[None]]) -> None:
        self._serve = serve
        self.near: list[Pipe] = []
        self.far: list[Pipe] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.origins: list[str] = []
        self.delay = 0.0

    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        if self.delay:
            await asyncio.sleep(self.delay)
        near, far = Pipe.pair()
        self.origins.append(f"{url.scheme}://{url.authority}")
        self.near.append(near)
        self.far.append(far)

        async def run() -> None:
            await self._serve(far)

        self.tasks.append(asyncio.create_task(run()))
        return Connected(near)

    @property
    def open_count(self) -> int:
        """Client ends that are not closed."""
        return sum(not pipe.closed for pipe in self.near)
