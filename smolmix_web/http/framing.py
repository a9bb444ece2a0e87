"""Where the body of an HTTP/1.1 response ends (RFC 9112 6, 7, 9.3), read as browsers read it. Sans-I/O.

    body = open_body(method, head)      # once the head is there
    data = body.feed(data)              # what of it belongs to the body
    body.over, body.rest                # it has ended; what came after it
    body.end()                          # the connection has ended: raises `truncated_body` unless that ends the body

What a browser accepts is accepted. Where that is no more what the RFC has, the body is the `last` of its connection:
then it does not matter that somebody else on the path may have found another end.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import HttpError
from .headers import MAX_LENGTH, Headers, content_length, get_all, split_list
from .reader import MAX_HEAD, Head

MAX_CHUNK_LINE = 16_384  # bytes of a size with its extensions
MAX_TRAILERS = MAX_HEAD  # bytes

_PLAIN_LENGTH = re.compile(r"[0-9]+")
_MAX_DIGITS = 16
_HEX = re.compile(rb"[0-9a-fA-F]*")  # a run of digits
_WITHOUT_BODY = frozenset({204, 205, 304})
_CR, _LF, _SPACE, _SEMICOLON = b"\r\n ;"


class Body:
    """A body as it is transferred, up to the end of the connection. `length`: its bytes, None where not known."""

    length: int | None = None
    error: HttpError | None = None  # what the next `feed` raises

    def __init__(self, *, last: bool) -> None:
        self.last = last
        self.over = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`. Raises `HttpError` at malformed framing, after all that came before it."""
        return data

    def end(self) -> None:
        """The connection has ended."""
        self.over = True


class _Fixed(Body):
    """Of a known length."""

    def __init__(self, length: int, *, last: bool) -> None:
        super().__init__(last=last)
        self.length = length
        self._left = length
        self.over = not length

    def feed(self, data: bytes) -> bytes:
        if len(data) > self._left:
            data, self.rest = data[: self._left], self.rest + data[self._left :]
        self._left -= len(data)
        self.over = not self._left
        return data

    def end(self) -> None:
        if not self.over:
            raise _error(f"the body ends {self._left} bytes too early", "truncated_body")


class _Chunked(Body):
    """Chunks (RFC 9112 7.1). Each state takes some of the data from a place on, and returns the place it came to."""

    def __init__(self, *, last: bool) -> None:
        super().__init__(last=last)
        self._state: Callable[[bytes, int], int] = self._size
        self._digits = b""  # of the size, without leading zeros
        self._line = 0  # bytes of the present line, or of all trailers
        self._cr = False  # the last byte was one, where only LF should follow it
        self._left = 0  # bytes of the present chunk
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        if self.error is not None:
            raise self.error
        place = 0
        try:
            while place < len(data) and not self.over:
                place = self._state(data, place)
        except HttpError as error:
            if not self._parts:
                raise
            self.error = error
        if self.over:
            self.rest += data[place:]
        body = b"".join(self._parts)
        self._parts.clear()
        return body

    def end(self) -> None:
        if self.error is not None:
            raise self.error
        if not self.over:
            raise _error("the body ends before its last chunk", "truncated_body")

    def _size(self, data: bytes, place: int) -> int:
        match = _HEX.match(data, place)
        assert match is not None
        if match[0]:
            self._count(len(match[0]), MAX_CHUNK_LINE)
            self._digits = (self._digits + match[0]).lstrip(b"0")
            if len(self._digits) > _MAX_DIGITS or int(self._digits or b"0", 16) > MAX_LENGTH:
                raise _error("a chunk is longer than any can be")
            return match.end()
        if not self._line:
            raise _unexpected(data, place, "a chunk size")
        return self._after_size(data, place)

    def _after_size(self, data: bytes, place: int) -> int:
        """Spaces pad sizes, or stand before an extension (BWS); a tab does so only in the RFC."""
        self._count(1, MAX_CHUNK_LINE)
        byte = data[place]
        if byte == _SEMICOLON:
            self._state = self._extension
        elif byte == _CR:
            self._state = self._size_end
        elif byte == _LF:
            return self._size_end(data, place, bare=True)
        elif byte == _SPACE:
            self._state = self._after_size
        else:
            raise _unexpected(data, place, "the end of a chunk size")
        return place + 1

    def _extension(self, data: bytes, place: int) -> int:
        end = data.find(b"\n", place)
        part = data[place : end if end >= 0 else len(data)]
        self._count(len(part), MAX_CHUNK_LINE)
        if part:
            self.last = self.last or self._cr or b"\r" in part[:-1]  # a CR that ends no line
            self._cr = part.endswith(b"\r")
        return place + len(part) if end < 0 else self._size_end(data, end, bare=not self._cr)

    def _size_end(self, data: bytes, place: int, *, bare: bool = False) -> int:
        self._expect_lf(data, place, bare)
        self._left = int(self._digits or b"0", 16)
        self._digits, self._line, self._cr = b"", 0, False
        self._state = self._data if self._left else self._trailer
        return place + 1

    def _data(self, data: bytes, place: int) -> int:
        part = data[place : place + self._left]
        self._parts.append(part)
        self._left -= len(part)
        if not self._left:
            self._state = self._data_end
        return place + len(part)

    def _data_end(self, data: bytes, place: int) -> int:
        if data[place] == _CR:
            self._state = self._data_lf
            return place + 1
        return self._data_lf(data, place, bare=True)

    def _data_lf(self, data: bytes, place: int, *, bare: bool = False) -> int:
        self._expect_lf(data, place, bare)
        self._state = self._size
        return place + 1

    def _trailer(self, data: bytes, place: int) -> int:
        """At the beginning of a line after the last chunk: the empty one ends the body, all others are dropped."""
        self._count(1, MAX_TRAILERS)
        byte = data[place]
        if byte == _LF:
            self.last = self.last or not self._cr
            self.over = True
        elif byte == _CR and not self._cr:
            self._cr = True
        else:
            self.last = self.last or self._cr
            self._cr = False
            self._state = self._trailer_line
        return place + 1

    def _trailer_line(self, data: bytes, place: int) -> int:
        end = data.find(b"\n", place) + 1
        if end:
            self._state = self._trailer
        self._count((end or len(data)) - place, MAX_TRAILERS)
        return end or len(data)

    def _expect_lf(self, data: bytes, place: int, bare: bool) -> None:
        if data[place] != _LF:
            raise _unexpected(data, place, "the end of a line")
        self.last = self.last or bare

    def _count(self, size: int, limit: int) -> None:
        self._line += size
        if self._line > limit:
            raise _error(f"what stands around the chunks is longer than {limit} bytes", "response_too_large")


def open_body(method: str, head: Head) -> Body:
    """The body that follows a head (RFC 9112 6.3)."""
    codings = [coding.lower() for coding in split_list(get_all(head.headers, "transfer-encoding"))]
    lengths = split_list(get_all(head.headers, "content-length"))
    length = None if head.chunked else content_length(head.headers)
    last = head.doubtful or not _persistent(head)
    last = last or not all(_PLAIN_LENGTH.fullmatch(text) for text in lengths)
    last = last or (bool(codings) and (codings != ["chunked"] or not head.chunked or bool(lengths)))
    if _bodiless(method, head.status):
        announced = method != "HEAD" and head.status != 304 and (bool(codings) or bool(length))
        return _Fixed(0, last=last or announced)
    if head.chunked:
        return _Chunked(last=last)
    return Body(last=True) if length is None else _Fixed(length, last=last)


def body_length(method: str, status: int, headers: Headers) -> int | None:
    """The bytes of a body that has no framing of its own but the protocol's (HTTP/2); None: not known."""
    return 0 if _bodiless(method, status) else content_length(headers)


def _bodiless(method: str, status: int) -> bool:
    return method == "HEAD" or status in _WITHOUT_BODY


def _persistent(head: Head) -> bool:
    options = [option.lower() for option in split_list(get_all(head.headers, "connection"))]
    return "close" not in options and (head.version == "1.1" or "keep-alive" in options)


def _unexpected(data: bytes, place: int, wanted: str) -> HttpError:
    return _error(f"{data[place : place + 8]!r} where {wanted} should be")


def _error(message: str, code: str = "http_protocol", phase: str = "body") -> HttpError:
    return HttpError(message, code=code, phase=phase)
