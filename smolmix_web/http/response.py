"""A response as its reader has it: the header, and the body decoded piece by piece as it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from ..errors import Cancelled, HttpError, SmolmixError, StateError
from .body import Body
from .connector import TlsInfo
from .decoding import Decoder, Work, decode_through
from .exchange import Progress, ResponseHead
from .headers import Headers, content_length, get_all
from .timings import Timings

MAX_READ = 256 * 1024 * 1024


class HttpResponse:
    """`status`, `reason`, `headers` as received (a list of pairs, names in lower case), final `url`, and the body.

    `bodiless`: there is no body by the rules of HTTP. Else the response is an async iterator of decoded `bytes`, to be
    read once: `async for`, or `read()`. A short body arrives whether it is read or not; a long one holds its connection
    until it is read to its end, or given up: by `abort()`, or when nobody refers to the response any more.
    `truncated` after its end: the end of the connection ended the body, as HTTP allows, but TLS without its closing
    message: whoever is on the way may have cut it.
    """

    def __init__(
        self,
        head: ResponseHead,
        body: Body | None,
        *,
        url: str,
        redirected: bool,
        tls: TlsInfo | None,
        chain: list[Decoder],
        max_decoded: int,
        on_download: Progress | None,
        timings: Timings,
    ) -> None:
        """`body` None: there is none. `chain`: what decodes it, outermost first."""
        self.status = head.status
        self.reason = head.reason
        self.headers: Headers = head.headers
        self.http_version = head.http_version
        self.url = url
        self.redirected = redirected
        self.tls = tls
        self.timings = timings
        self.truncated = False
        self.bodiless = body is None
        self._body = body
        self._ended = body is None
        self._error: SmolmixError | None = None
        self._chain = chain
        self._max_decoded = max_decoded
        self._decoded_size = 0
        self._work = Work()
        self._on_download = on_download
        self._received = 0
        self._total = head.length
        self._decoded: Iterator[bytes] | None = None
        self._reading = False

    def header(self, name: str) -> str | None:
        """The values of a header joined by `, `; None when it is absent."""
        values = get_all(self.headers, name.lower())
        return ", ".join(values) if values else None

    @property
    def finished(self) -> bool:
        """The body was read to its end, or the response aborted: no connection is held."""
        return self._ended or self._error is not None

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
            if self._body is not None and isinstance(error, HttpError):
                self._body.distrust()
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
                    if self._chain:
                        await asyncio.sleep(0)  # what unpacks to much leaves the others their turn
                    if not chunk or self._error is not None:
                        continue
                    self._decoded_size += len(chunk)
                    if self._chain and self._decoded_size > self._max_decoded:
                        raise _too_large(f"the body unpacks to more than {self._max_decoded} bytes")
                    return chunk
                self._decoded = None
            if self._ended or self._body is None:
                return b""
            try:
                data = await self._body.read()
            except HttpError as error:
                if not self._complete_all_the_same(error):
                    raise
                data = b""
            if data:
                self._received += len(data)
                if self._on_download is not None:
                    self._on_download(self._received, self._total)
                self._decoded = decode_through(self._chain, data, self._work)
                continue
            self.truncated = self._body.truncated
            self._ended = True

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

    def abort(self, error: SmolmixError | None = None) -> None:
        """Give the body up; the flow is freed at once. A reader gets `error`, by default `Cancelled`. Idempotent."""
        if self.finished:
            return
        self._error = error or Cancelled("the response was aborted", phase="body")
        self._decoded = None
        if self._body is not None:
            self._body.abort(self._error)

    def __del__(self) -> None:
        if self._body is not None:
            self._body.abandon()


def _too_large(message: str) -> HttpError:
    return HttpError(message, code="body_too_large", phase="body")
