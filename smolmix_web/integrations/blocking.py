"""A tunnel for code that blocks: it runs on a thread of its own, and gives out real sockets.

A socket is one end of a pair on this machine's loopback; the thread relays what passes between the other end and the
tunnel. Whatever takes a connected socket can use it, with its own TLS on top.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from ..asyncio_streams import as_os_error
from ..cpython import open_tunnel
from ..errors import SmolmixError, StateError
from ..http import HttpRequest, HttpResponse
from ..proxy.relay import Local, relay
from ..tunnel import Tunnel

T = TypeVar("T")

_own = threading.local()


def on_own_thread() -> bool:
    """Whether this is a thread of a `BlockingTunnel`, whose own connections must not go through it."""
    return getattr(_own, "thread", False)


def _mark() -> None:
    _own.thread = True


class BlockingTunnel:
    """`with BlockingTunnel() as tunnel:`; the options are those of `open_tunnel`. Any thread may use it."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._tunnel: Tunnel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._relays: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when the tunnel is up; raises what kept it from it."""
        if self._thread is not None:
            raise StateError("a tunnel starts once", phase="setup")
        up: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(up,), name="smolmix-tunnel", daemon=True)
        self._thread.start()
        up.result()

    def _run(self, up: Future[None]) -> None:
        _mark()
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(ThreadPoolExecutor(initializer=_mark))
            runner.run(self._live(up))

    async def _live(self, up: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with open_tunnel(**self._options) as tunnel:
                self._tunnel = tunnel
                up.set_result(None)
                await self._stop.wait()
                for task in self._relays:
                    task.cancel()
                await asyncio.gather(*self._relays, return_exceptions=True)
        except BaseException as error:
            if up.done():
                raise
            up.set_exception(error)
        finally:
            self._tunnel = None

    def close(self) -> None:
        """Connections are reset. Idempotent."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is not None and stop is not None and thread is not None and thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(stop.set)
            thread.join()

    def __enter__(self) -> BlockingTunnel:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- use ----------------------------------------------------------------------------------------

    @property
    def tunnel(self) -> Tunnel:
        """The tunnel itself, for coroutines that `call` runs. Raises `StateError` when it is not up."""
        if self._tunnel is None:
            raise StateError("the tunnel is not up", code="tunnel_down")
        return self._tunnel

    def submit(self, work: Callable[[Tunnel], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run `work(tunnel)` on the tunnel's thread."""
        if on_own_thread():
            raise StateError("on the tunnel's own thread nothing may wait for it", code="own_thread")
        tunnel, loop = self.tunnel, self._loop
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(work(tunnel), loop)

    def call(self, work: Callable[[Tunnel], Coroutine[Any, Any, T]]) -> T:
        """Its result: `tunnel.call(lambda t: t.resolve("example.com"))`. Interrupted, the work is cancelled."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def fetch(self, request: HttpRequest | str, *, isolation: str | None = None, **fields: Any) -> BlockingResponse:
        """As `Tunnel.fetch`; a body may also be an iterator of bytes, which is asked on a thread of its own."""
        request = HttpRequest(request, **fields) if isinstance(request, str) else replace(request, **fields)
        body: Any = request.body
        if body is not None and not isinstance(body, (bytes, str, bytearray, memoryview)) and hasattr(body, "__iter__"):
            request = replace(request, body=_pieces(body))
        return BlockingResponse(self, self.call(lambda tunnel: tunnel.fetch(request, isolation=isolation)))

    def connect(self, host: str, port: int, timeout: float | None = None) -> socket.socket:
        """A connected socket; `timeout` in seconds for the opening, and then the socket's. Errors are `OSError`."""
        return self.connect_later(host, port, timeout).result()

    def connect_later(self, host: str, port: int, timeout: float | None = None) -> Future[socket.socket]:
        """As `connect`, for code that waits in another way."""

        async def opening(tunnel: Tunnel) -> socket.socket:
            try:
                async with asyncio.timeout(timeout):
                    connected = await tunnel.connect_tcp(host, port)
            except SmolmixError as error:
                raise as_os_error(error) from error
            try:
                ours, theirs = await _pair()
            except BaseException:
                connected.stream.abort()
                raise
            reader, writer = await asyncio.open_connection(sock=ours)
            task = asyncio.get_running_loop().create_task(self._relay(Local(reader, writer), connected))
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)
            theirs.settimeout(timeout)
            return theirs

        return self.submit(opening)

    @staticmethod
    async def _relay(local: Local, connected: Any) -> None:
        with contextlib.suppress(SmolmixError):  # the user of the socket has seen its end
            await relay(local, connected.stream, b"", lambda sent, received: None)


class BlockingResponse:
    """An `HttpResponse` whose body is read by blocking: iterate it, or `read()`."""

    def __init__(self, tunnel: BlockingTunnel, response: HttpResponse) -> None:
        self._tunnel = tunnel
        self._response = response
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        self.url = response.url
        self.http_version = response.http_version

    def header(self, name: str) -> str | None:
        return self._response.header(name)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._tunnel.call(lambda _: self._response.read_chunk()):
            yield chunk

    def read(self) -> bytes:
        return self._tunnel.call(lambda _: self._response.read())

    def close(self) -> None:
        """Give up what has not been read. Idempotent."""

        async def abort(_: Tunnel) -> None:
            self._response.abort()

        if not self._response.finished:
            with contextlib.suppress(StateError):
                self._tunnel.call(abort)


async def _pieces(body: Iterable[bytes]) -> AsyncIterator[bytes]:
    iterator = iter(body)
    while (piece := await asyncio.to_thread(next, iterator, None)) is not None:
        yield piece


async def _pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets joined over loopback: other than a Unix pair, one can be reset, and has an address."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        listener.setblocking(False)
        near = socket.socket()
        near.setblocking(False)
        try:
            await loop.sock_connect(near, listener.getsockname())
            while True:
                far, address = await loop.sock_accept(listener)
                if address == near.getsockname():
                    break
                far.close()  # somebody else's
        except BaseException:
            near.close()
            raise
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
