"""A response whose body is read as it arrives: nothing is fetched from the network before the reader asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from ..deadline import Clock, TimerHandle, expired
from ..errors import Cancelled, HttpError, SmolmixError, StateError
from .connector import TlsInfo
from .decoding import Decoder, decode_through, decoders
from .exchange import Exchange, Progress, ResponseHead
from .headers import Headers, content_length, get_all
from .pool import Pool
from .timings import Timings

MAX_READ = 256 * 1024 * 1024


class HttpResponse:
    """`status`, `reason`, `headers` as received (a list of pairs, names in lower case), final `url`, and the body.

    `bodiless`: there is no body by the rules of HTTP. Else the response is an async iterator of decoded `bytes`, to be
    read once: `async for`, or `read()`. One that is not read to its end holds its connection; call `abort()`.
    """

    def __init__(
        self,
        clock: Clock,
        pool: Pool,
        exchange: Exchange,
        head: ResponseHead,
        *,
        url: str,
        redirected: bool,
        total_left: float | None,
        total: float | None,
        decode: bool,
        max_decoded: int,
        on_download: Progress | None,
        timings: Timings,
    ) -> None:
        self.status = head.status
        self.reason = head.reason
        self.headers: Headers = head.headers
        self.http_version = head.http_version
        self.url = url
        self.redirected = redirected
        self.tls: TlsInfo | None = exchange.connected.tls
        self.timings = timings
        self._clock = clock
        self._pool = pool
        self._exchange: Exchange | None = exchange
        self._error: SmolmixError | None = None
        self._chain: list[Decoder] = []
        self.bodiless = head.length == 0
        if decode and not self.bodiless:
            try:
                self._chain = decoders(get_all(head.headers, "content-encoding")) or []
            except HttpError as error:
                pool.discard(exchange, error)
                raise
        self._max_decoded = max_decoded
        self._decoded_size = 0
        self._on_download = on_download
        self._received = 0
        self._total = head.length
        self._decoded: Iterator[bytes] | None = None
        self._reading = False
        self._timer: TimerHandle | None = None
        if total is not None and total_left is not None:
            self._timer = clock.call_later(total_left, lambda: self.abort(expired("total", total)))

    def header(self, name: str) -> str | None:
        """The values of a header joined by `, `; None when it is absent."""
        values = get_all(self.headers, name.lower())
        return ", ".join(values) if values else None

    @property
    def finished(self) -> bool:
        """The body was read to its end, or the response aborted: no connection is held."""
        return self._exchange is None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read_chunk(self) -> bytes:
        """The next piece of the body, at most 64 KiB when decoded; `b""` at its end."""
        if self._reading:
            raise StateError("the body is already being read")
        self._reading = True
        try:
            return await self._next_chunk()
        except BaseException as error:
            self.abort(error if isinstance(error, SmolmixError) else None)
            raise
        finally:
            self._reading = False

    async def _next_chunk(self) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            if self._decoded is not None:
                chunk = next(self._decoded, None)
                if chunk is not None:
                    self._decoded_size += len(chunk)
                    if self._chain and self._decoded_size > self._max_decoded:
                        raise _too_large(f"the body unpacks to more than {self._max_decoded} bytes")
                    return chunk
                self._decoded = None
            if self._exchange is None:
                return b""
            try:
                data = await self._exchange.read_body()
            except HttpError as error:
                if not self._complete_all_the_same(error):
                    raise
                data = b""
            if data:
                self._received += len(data)
                if self._on_download is not None:
                    self._on_download(self._received, self._total)
                self._decoded = decode_through(self._chain, data)
                continue
            self.timings.end = self.timings.since(self._clock.now())
            self._release()

    def _complete_all_the_same(self, error: HttpError) -> bool:
        """Some servers give the length before coding: browsers take a body that ends exactly there as whole."""
        return error.code == "truncated_body" and content_length(self.headers) == self._decoded_size

    async def read(self, limit: int = MAX_READ) -> bytes:
        """The rest of the body. Raises `HttpError(code="body_too_large")` beyond `limit` bytes."""
        parts = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                error = _too_large(f"the body is longer than {limit} bytes")
                self.abort(error)
                raise error
            parts.append(chunk)
        return b"".join(parts)

    def replay(self, chunks: Iterator[bytes]) -> None:
        """The body that was read to its end comes again, from `chunks`."""
        self._decoded = chunks
        self._decoded_size = 0

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            self._pool.release(exchange)

    def abort(self, error: SmolmixError | None = None) -> None:
        """Give the body up; the flow is freed at once. A reader gets `error`, by default `Cancelled`. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._exchange is None:
            return
        self._error = error or Cancelled("the response was aborted", phase="body")
        exchange, self._exchange = self._exchange, None
        self._pool.discard(exchange, self._error)


def _too_large(message: str) -> HttpError:
    return HttpError(message, code="body_too_large", phase="body")
