"""The head of an HTTP/1.1 response, read as browsers read it (RFC 9112 2.2, 4, 5; Fetch leaves the rest to practice).

Sans-I/O and independent of what follows the head, so that `fetch` and the handshake of a WebSocket read alike:

    reader = HeadReader(secure=url.secure)            # upgrade=True: 101 is an answer, not an informational response
    head = reader.feed(data)                          # None: more is needed
    head = reader.end()                               # the connection has ended before that
    reader.rest                                       # bytes after the head, once there is one
    reader.informational                              # 1xx responses before it, so far

All errors are `HttpError` with phase `response`: `http_protocol` (at the first byte that cannot begin a response),
`response_too_large`, `truncated_body` (ended within the head), `bad_content_encoding`. What a browser skips is skipped:
up to four bytes before `HTTP`, lines without colon, lines whose name is no token. Work and memory are linear in the
bytes fed, however they are cut; `scanned` counts the bytes that were looked at for the end of the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import HttpError
from .headers import Headers, content_codings, content_length, get_all, split_list

MAX_HEAD = 262_144  # bytes of one head, with what stands before it
MAX_FIELDS = 1000
MAX_INFORMATIONAL = 64  # 1xx responses before the final one

_SLOP = 4  # bytes before "HTTP"
_HTTP = b"http"
_HEAD_END = re.compile(rb"\n\r?\n")
_LINES = re.compile(rb"[^\r\n]+")
_BARE_CR = re.compile(rb"\r(?!\n)")
_VERSION = re.compile(rb"http/(\d)[^ .]*\.(\d)", re.IGNORECASE)
# A tab is a space here: Chromium reads `HTTP/1.1<tab>404` as 200.
_STATUS = re.compile(rb"[^ \t]*(?:[ \t]+(?:0*([0-9]+)(.*))?)?")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# These decide where the body ends: written in an odd way they may mean something else to others on the path.
_FRAMING = re.compile(rb"content-length|transfer-encoding", re.IGNORECASE)
# Of these, two that differ are an attack or a defect, and no choice between them is right.
_SINGLE = ("location", "content-disposition")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Head:
    """A status line and its fields, names in lower case, values as Latin-1, in order.

    `version`: "1.0" or "1.1", what the response is treated as. `chunked`: how its body ends. `doubtful`: somebody else
    may read another end of the body out of it, so the connection carries nothing after it. `complete`: False when the
    connection ended within it.
    """

    status: int
    reason: str
    headers: Headers
    version: str
    chunked: bool
    doubtful: bool = False
    complete: bool = True


class HeadReader:
    """For the answer to one request."""

    def __init__(self, *, secure: bool, upgrade: bool = False) -> None:
        self.rest = b""
        self.informational = 0
        self.scanned = 0
        self._secure = secure
        self._upgrade = upgrade
        self._buffer = bytearray()
        self._start: int | None = None  # where "HTTP" stands in the buffer
        self._looked = 0  # up to here there is no end of the head
        self._doubtful = False

    def feed(self, data: bytes) -> Head | None:
        """The final head when `data` completes it; nothing must be fed after that."""
        self._buffer += data
        while True:
            end = self._find_end()
            if (len(self._buffer) if end is None else end) > MAX_HEAD:
                raise _error(f"the response's header is longer than {MAX_HEAD} bytes", "response_too_large")
            if end is None:
                return None
            assert self._start is not None
            head = _parse(bytes(self._buffer[:end]), self._start, self._doubtful)
            del self._buffer[:end]
            if head.status >= 200 or (head.status == 101 and self._upgrade):
                content_codings(get_all(head.headers, "content-encoding"))
                self.rest = bytes(self._buffer)
                return head
            self._interim(head)

    def _interim(self, head: Head) -> None:
        self.informational += 1
        if self.informational > MAX_INFORMATIONAL:
            raise _error(f"more than {MAX_INFORMATIONAL} informational responses")
        # After a 101 that nobody asked for the server may believe that another protocol is spoken.
        self._doubtful = self._doubtful or head.doubtful or head.status == 101
        self._start, self._looked = None, 0

    def _find_end(self) -> int | None:
        if self._start is None and not self._find_start():
            return None
        assert self._start is not None
        begin = max(self._start, self._looked - 2)
        found = _HEAD_END.search(self._buffer, begin)
        self._looked = found.end() if found else len(self._buffer)
        self.scanned += self._looked - begin
        return self._looked if found else None

    def _find_start(self) -> bool:
        """False: more is needed to tell. Raises when no response can begin here any more."""
        possible = False
        for offset in range(_SLOP + 1):
            start = bytes(self._buffer[offset : offset + len(_HTTP)]).lower()
            if start == _HTTP:
                self._start = offset
                return True
            possible = possible or _HTTP.startswith(start)
        if not possible:
            raise _error(f"the answer begins with {bytes(self._buffer[:8])!r}, which is not HTTP/1")
        return False

    def end(self) -> Head:
        """The connection has ended within the head: what is there counts, as in browsers, unless it may mislead.

        Under TLS the end of the head was promised; the status must be there; and a redirect depends on its fields.
        """
        truncated = _error("the server closed the connection within an answer", "truncated_body")
        if self._secure or self._start is None:
            raise truncated
        head = _parse(bytes(self._buffer), self._start, True, complete=False)
        if head.status < 200 or head.status in _REDIRECTS:
            raise truncated
        content_codings(get_all(head.headers, "content-encoding"))
        return head


def _parse(data: bytes, start: int, doubtful: bool, *, complete: bool = True) -> Head:
    if b"\0" in data:
        raise _error("there is a NUL in the response's header")
    lines = _LINES.finditer(data, start)
    first = next(lines)[0]
    status, reason = _status(first, complete)
    headers, odd = _fields(match[0] for match in lines)
    version = _VERSION.match(first)
    modern = version is not None and (version[1], version[2]) >= (b"1", b"1")
    # HTTP/1.0 has no codings. Of others than `chunked` browsers know nothing, and hand their data over as they are.
    codings = split_list(get_all(headers, "transfer-encoding")) if modern else []
    chunked = any(coding.lower() == "chunked" for coding in codings)
    _check_single(headers, chunked)
    doubtful = doubtful or odd or not data.startswith(b"HTTP/1.") or _BARE_CR.search(data) is not None
    return Head(status, reason, headers, "1.1" if modern else "1.0", chunked, doubtful, complete)


def _status(line: bytes, complete: bool) -> tuple[int, str]:
    """Without a number it is 200, as in browsers; one that is no status is refused: Chromium takes it modulo 65536."""
    match = _STATUS.match(line)
    assert match is not None
    digits, reason = match[1], match[2]
    if digits is None:
        if not complete:
            raise _error("the server closed the connection within the status line", "truncated_body")
        return 200, "" if b" " in line or b"\t" in line else "OK"
    if len(digits) != 3:
        code = "http_protocol" if complete or len(digits) > 3 else "truncated_body"
        raise _error(f"the response has the status {digits[:20].decode()}", code)
    return int(digits), reason.strip(b" ").decode("latin-1")


def _fields(lines: Iterator[bytes]) -> tuple[Headers, bool]:
    """The fields, and whether one that frames the body is written in an odd way."""
    fields: Headers = []
    odd = False
    name: str | None = None
    parts: list[bytes] = []  # the value, as far as it is known
    continuable = False

    def take() -> None:
        if name is not None:
            if len(fields) == MAX_FIELDS:
                raise _error(f"the response has more than {MAX_FIELDS} headers", "response_too_large")
            fields.append((name, b" ".join(parts).strip(b" \t").decode("latin-1")))

    for line in lines:
        folded = line[0] in b" \t"
        if folded and continuable:  # RFC 9112 5.2
            parts.append(line.lstrip(b" \t"))
            odd = odd or (name is not None and _FRAMING.fullmatch(name.encode()) is not None)
            continue
        take()
        before, colon, value = line.partition(b":")
        continuable = bool(colon and before) and not folded
        parts = [value]
        key = before.rstrip(b" \t")
        name = key.decode("ascii").lower() if continuable and _TOKEN.fullmatch(key) else None
        if (name is None or key != before) and _FRAMING.search(line):
            odd = True
    take()
    return fields, odd


def _check_single(headers: Headers, chunked: bool) -> None:
    if not chunked:
        content_length(headers)
    for name in _SINGLE:
        if len({value for key, value in headers if key == name}) > 1:
            raise _error(f"the response has several {name} headers, which differ")


def _error(message: str, code: str = "http_protocol") -> HttpError:
    return HttpError(message, code=code, phase="response")
