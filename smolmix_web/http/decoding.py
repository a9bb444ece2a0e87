"""Content codings of response bodies: gzip, deflate (zlib and raw), br and zstd where there are such (RFC 9110 8.4).

Decoders are incremental and never produce more than one chunk at a time, so a small body that unpacks to gigabytes
waits for its reader like any other.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from ..errors import HttpError

CHUNK = 65536
MAX_CODINGS = 3
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
        """Decoded chunks of at most `CHUNK` bytes, made while iterating."""
        ...

    def finish(self) -> None:
        """The coded body has ended. Raises when it ended too early."""
        ...


class _Zlib:
    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inflate: Any = zlib.decompressobj(31) if coding == "gzip" else None
        self._begun = False
        self._over = False
        self._head = b""  # too little to tell what follows

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            # "deflate" means zlib by the standard and raw deflate by many servers; two bytes tell which.
            self._head += data
            if len(self._head) < 2:
                return
            data, self._head = self._head, b""
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = zlib.decompressobj(15 if is_zlib else -15)
        while data and not self._over:
            if self._inflate.eof:
                # RFC 1952 2.2: members may follow one another. Anything else after the end is ignored, as everywhere.
                data, self._head = self._head + data, b""
                if self._coding != "gzip" or not b"\x1f\x8b".startswith(data[:2]):
                    self._over = True
                    return
                if len(data) < 2:
                    self._head = data
                    return
                self._inflate = zlib.decompressobj(31)
                self._begun = False
            self._begun = True
            try:
                out = self._inflate.decompress(data, CHUNK)
            except zlib.error as error:
                raise _bad(self._coding, error) from None
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if out:
                yield out
            elif not self._inflate.eof and data:
                raise _bad(self._coding, "no progress")
        # Output may remain inside when the input is used up exactly at a full chunk.
        while not self._inflate.eof:
            try:
                out = self._inflate.decompress(b"", CHUNK)
            except zlib.error as error:
                raise _bad(self._coding, error) from None
            if not out:
                return
            yield out

    def finish(self) -> None:
        if self._head if self._inflate is None else self._begun and not self._inflate.eof:
            raise _bad(self._coding, "it ends too early")


class _Zstd:
    def __init__(self) -> None:
        self._module = _zstd()
        options = {self._module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG_MAX}
        self._new: Callable[[], Any] = partial(self._module.ZstdDecompressor, options=options)
        self._frame: Any = self._new()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._frame.eof:
                data = self._frame.unused_data or data
                if not data:
                    return
                self._frame = self._new()
                self._begun = False
            if data:
                self._begun = True
            try:
                out = self._frame.decompress(data, CHUNK)
            except self._module.ZstdError as error:
                raise _bad("zstd", error) from None
            data = b""
            if out:
                yield out
            if not self._frame.eof and (self._frame.needs_input or not out):
                return

    def finish(self) -> None:
        if self._begun and not self._frame.eof:
            raise _bad("zstd", "it ends too early")


class _Brotli:
    def __init__(self) -> None:
        self._module = _brotli()
        self._stream: Any = self._module.Decompressor()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        self._begun = True
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

    def finish(self) -> None:
        if self._begun and not self._stream.is_finished():
            raise _bad("br", "it ends too early")


def decoders(content_encoding: list[str]) -> list[Decoder] | None:
    """Decoders for the values of Content-Encoding, outermost first; none for `identity`.

    None when a coding is unknown: the body is then handed over as it is, as fetch does. Raises `HttpError` for a pile
    of codings.
    """
    names = [name.strip().lower() for value in content_encoding for name in value.split(",")]
    names = [name for name in names if name and name != "identity"]
    if len(names) > MAX_CODINGS:
        raise _bad("response", f"{len(names)} content codings")
    chain: list[Decoder] = []
    for name in reversed(names):
        if name in ("gzip", "x-gzip"):
            chain.append(_Zlib("gzip"))
        elif name == "deflate":
            chain.append(_Zlib("deflate"))
        elif name == "zstd" and _zstd() is not None:
            chain.append(_Zstd())
        elif name == "br" and _brotli() is not None:
            chain.append(_Brotli())
        else:
            return None
    return chain


def decode_through(chain: list[Decoder], data: bytes) -> Iterator[bytes]:
    """Run `data` through all decoders."""
    if not chain:
        if data:
            yield data
        return
    for part in chain[0].feed(data):
        yield from decode_through(chain[1:], part)
