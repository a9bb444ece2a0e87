"""Content codings of response bodies: gzip, deflate (zlib and raw), br and zstd where there are such (RFC 9110 8.4).

A coded body that ends early gives what it has, as in browsers: whether all of it came is the transfer's to tell.
Decoders are incremental and never produce more than one chunk at a time, so a small body that unpacks to gigabytes
waits for its reader like any other; `Work` ends those that keep it busy for much less than they bring.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Protocol

from ..errors import HttpError
from .headers import content_codings

CHUNK = 65536
MAX_CODINGS = 8
_GZIP_TRAILER = 8  # bytes: checksum, length
_ZLIB_HEADER = b"\x78\x01"
_SNIFFED = 1000  # bytes of a deflate body after which it is what it seems to be
_ZSTD_WINDOW_LOG_MAX = 23  # 8 MiB, the limit of RFC 9659 for HTTP


def _zstd() -> Any:
    """The zstd module: in the standard library since Python 3.14, else the backport where installed, else None."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    return zstd


def _brotli() -> Any:
    """The brotli module where it is installed and can bound its output, else None."""
    try:
        import brotli  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    return brotli if hasattr(brotli.Decompressor, "can_accept_more_data") else None


def accept_encoding() -> str:
    """What can be decoded here, as the header's value."""
    found = {"br": _brotli(), "zstd": _zstd()}
    return ", ".join(["gzip", "deflate", *(name for name, module in found.items() if module is not None)])


def _bad(coding: str, error: Exception | str) -> HttpError:
    return HttpError(f"the {coding} body is damaged: {error}", code="bad_content_encoding", phase="response")


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded chunks of at most `CHUNK` bytes, made while iterating; `b""` where another member begins."""
        ...


class Work:
    """What decoding a body may cost. Browsers unpack without end; here the page's whole tunnel shares one thread.

    Up to `FREE` bytes any body may unpack to, beyond that to `RATIO` times what has come: then decoding takes no longer
    than the transfer, about. Bytes between two codings, and members, which may be empty, count for more: they cost time
    and may come to nothing.
    """

    FREE = 128 << 20
    RATIO = 64
    BETWEEN = 8  # times a byte that another coding unpacks
    MEMBER = 4096  # bytes; a piece from the network pays for two, be it as short as it may

    def __init__(self) -> None:
        self._done = 0
        self._paid = 0

    def arrived(self, size: int) -> None:
        self._paid += max(self.RATIO * size, 2 * self.MEMBER)

    def did(self, size: int, *, last: bool) -> None:
        """Raises `HttpError` (`body_too_large`)."""
        self._done += (size if last else size * self.BETWEEN) or self.MEMBER
        if self._done > max(self.FREE, self._paid):
            message = f"the body unpacks to more than {self.FREE} bytes, and {self.RATIO} times what came"
            raise HttpError(message, code="body_too_large", phase="body")


class _Gzip:
    """RFC 1952, without its checks: browsers take what unpacks, whatever the checksum and length after it say, and
    also where they, or more, are missing. Members may follow one another; other bytes after the end are ignored."""

    def __init__(self) -> None:
        self._header: Generator[None, int, None] | None = _gzip_header(first=True)
        next(self._header)
        self._inflate: Any = None
        self._trailer = 0  # bytes of it still to come
        self._first = True
        self._over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._over:
            if self._header is not None:
                data = self._read_header(self._header, data)
            elif self._trailer:
                skipped = data[: self._trailer]
                self._trailer -= len(skipped)
                data = data[len(skipped) :]
                if not self._trailer:
                    self._header = _gzip_header(first=False)
                    next(self._header)
                    yield b""
            else:
                yield from _unpack("gzip", self._inflate, data)
                if not self._inflate.eof:
                    return
                data = self._inflate.unused_data
                self._first = False
                self._trailer = _GZIP_TRAILER

    def _read_header(self, header: Generator[None, int, None], data: bytes) -> bytes:
        """What follows the header in `data`."""
        for place, byte in enumerate(data):
            try:
                header.send(byte)
            except StopIteration:
                self._header, self._inflate = None, zlib.decompressobj(-15)
                return data[place + 1 :]
            except HttpError:
                if self._first:
                    raise
                self._over = True
                break
        return b""


def _gzip_header(*, first: bool) -> Generator[None, int, None]:
    """Takes the bytes of a member's header one by one, and ends with the last (RFC 1952 2.3)."""
    for magic in b"\x1f\x8b\x08":
        if (yield) != magic:
            raise _bad("gzip", "there is no gzip header")
    flags = yield
    if flags & 0xE0 and not first:
        raise _bad("gzip", "there is no further member")
    for _ in range(6):  # time, extra flags, system
        yield
    if flags & 4:
        low = yield
        high = yield
        for _ in range(low | high << 8):
            yield
    for text in (8, 16):  # name, comment
        if flags & text:
            while (yield):
                pass
    if flags & 2:  # checksum
        yield
        yield


class _Deflate:
    """zlib by the standard, raw deflate by many servers. As in browsers: what fails as zlib before it gave anything
    begins once more with a zlib header before it."""

    def __init__(self) -> None:
        self._inflate: Any = zlib.decompressobj(15)
        self._seen: bytes | None = b""  # all so far, while it is not known which of the two it is

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._seen is not None:
            try:
                out = self._inflate.decompress(data, CHUNK)
            except zlib.error:
                self._inflate = zlib.decompressobj(15)
                self._inflate.decompress(_ZLIB_HEADER)
                data, self._seen = self._seen + data, None
            else:
                self._seen += data
                if out or len(self._seen) >= _SNIFFED:
                    self._seen = None
                if out:
                    yield out
                data = self._inflate.unconsumed_tail
        yield from _unpack("deflate", self._inflate, data)


def _unpack(coding: str, inflate: Any, data: bytes) -> Iterator[bytes]:
    """Until the data is used up or the stream has ended; what comes after the end is left in `unused_data`."""
    while not inflate.eof:
        try:
            out = inflate.decompress(data, CHUNK)
        except zlib.error as error:
            raise _bad(coding, error) from None
        if not out:
            return
        yield out
        data = inflate.unconsumed_tail


class _Zstd:
    def __init__(self) -> None:
        self._module = _zstd()
        options = {self._module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
        self._new: Callable[[], Any] = partial(self._module.ZstdDecompressor, options=options)
        self._frame: Any = self._new()

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._frame.eof:
                data = self._frame.unused_data or data
                if not data:
                    return
                self._frame = self._new()
                yield b""
            try:
                out = self._frame.decompress(data, CHUNK)
            except self._module.ZstdError as error:
                raise _bad("zstd", error) from None
            data = b""
            if out:
                yield out
            if not self._frame.eof and (self._frame.needs_input or not out):
                return


class _Brotli:
    def __init__(self) -> None:
        self._module = _brotli()
        self._stream: Any = self._module.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        while True:
            try:
                # Refuses what comes after the end. What it has taken it gives out bit by bit, asked with nothing.
                out = self._stream.process(data, output_buffer_limit=CHUNK)
            except self._module.error as error:
                raise _bad("br", error) from None
            if not out and self._stream.can_accept_more_data():
                return
            data = b""
            for start in range(0, len(out), CHUNK):
                yield out[start : start + CHUNK]


def decoders(content_encoding: list[str]) -> list[Decoder] | None:
    """Decoders for the values of Content-Encoding, outermost first.

    None when one of the codings is unknown, as `identity` is: the body is then handed over as it is, as in browsers.
    Raises `HttpError` for a pile of codings.
    """
    names = content_codings(content_encoding)
    chain: list[Decoder] = []
    for name in reversed(names):
        if name in ("gzip", "x-gzip"):
            chain.append(_Gzip())
        elif name == "deflate":
            chain.append(_Deflate())
        elif name == "zstd" and _zstd() is not None:
            chain.append(_Zstd())
        elif name == "br" and _brotli() is not None:
            chain.append(_Brotli())
        else:
            return None
        if len(chain) > MAX_CODINGS:
            raise _bad("response", f"{len(names)} content codings")
    return chain


def decode_through(chain: list[Decoder], data: bytes, work: Work) -> Iterator[bytes]:
    """Run `data`, which came from the network, through all decoders. `b""`: there was work, and nothing to show yet;
    between two pieces others may have their turn."""
    work.arrived(len(data))
    return _through(chain, data, work)


def _through(chain: list[Decoder], data: bytes, work: Work) -> Iterator[bytes]:
    if not chain:
        yield data
        return
    last = len(chain) == 1
    for part in chain[0].feed(data):
        work.did(len(part), last=last)
        if part:
            yield from _through(chain[1:], part, work)
        if not last or not part:
            yield b""
