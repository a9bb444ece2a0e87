"""The readers of heads and bodies, Sans-I/O: whatever way a response is cut, whatever follows it, in linear time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smolmix_web.errors import HttpError
from smolmix_web.http.framing import MAX_CHUNK_LINE, MAX_TRAILERS, Body, open_body
from smolmix_web.http.reader import MAX_FIELDS, MAX_HEAD, MAX_INFORMATIONAL, Head, HeadReader
from tests.beside import cases_framing, cases_head
from tests.beside.case import FetchCase

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Result:
    """What came of a response: `head`, `data` of its body, `error` that ended it, `rest` after it."""

    def __init__(self, pieces: Iterable[bytes], method: str = "GET", *, eof: bool = True) -> None:
        self.head: Head | None = None
        self.body: Body | None = None
        self.data = b""
        self.error: HttpError | None = None
        self.rest = b""
        try:
            self._read(iter(pieces), method, eof)
        except HttpError as error:
            self.error = error

    def _read(self, pieces: Iterable[bytes], method: str, eof: bool) -> None:
        reader = HeadReader(secure=False)
        for piece in pieces:
            if self.body is not None and self.body.over:
                self.rest += piece
            elif self.body is not None:
                self.data += self.body.feed(piece)
            else:
                self.head = reader.feed(piece)
                if self.head is not None:
                    self._open(self.head, method, reader.rest)
        if eof and self.head is None:
            self.head = reader.end()
            self._open(self.head, method, b"")
        if self.body is not None:
            if self.body.error is not None:
                self.body.feed(b"")
            self.rest = self.body.rest + self.rest
            if eof and not self.body.over:
                self.body.end()

    def _open(self, head: Head, method: str, rest: bytes) -> None:
        self.body = open_body(method, head)
        if self.body.over:
            self.body.rest = rest
        elif rest:
            self.data += self.body.feed(rest)

    def summary(self) -> tuple[object, ...]:
        error = self.error and (self.error.code, self.error.phase)
        return self.head, self.data, error, self.rest, self.body is not None and self.body.last


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def bytes_of(case: FetchCase) -> bytes:
    return b"".join(step for step in case.scripts[0] if isinstance(step, bytes))


CASES = [
    case for module in (cases_head, cases_framing) for case in module.CASES if b"{origin}" not in bytes_of(case)
]  # fmt: skip
SHORT = [case for case in CASES if len(bytes_of(case)) <= 400]


def method_of(case: FetchCase) -> str:
    return str(case.init.get("method", "GET"))


@pytest.mark.feature("HTTP", "a response is the same however it is cut into pieces")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_any_size_of_pieces_gives_the_same(case: FetchCase) -> None:
    data = bytes_of(case)
    whole = Result([data], method_of(case)).summary()
    for size in (1, 2, 3, 7, 4096):
        assert Result(cut(data, size), method_of(case)).summary() == whole


@pytest.mark.parametrize("case", SHORT, ids=lambda case: f"{case.kind}: {case.name}")
def test_truncated_at_every_byte(case: FetchCase) -> None:
    """It fails with a type, or it is a response whose body is a beginning of the whole one."""
    data = bytes_of(case)
    whole = Result([data], method_of(case))
    for size in range(len(data)):
        part = Result([data[:size]], method_of(case))
        assert part.error is None or part.error.code in ("truncated_body", "http_protocol")
        if part.head is not None and part.head.complete and whole.head is not None:
            assert part.head == whole.head
            assert whole.data.startswith(part.data)
        if part.error is None and part.head is not None and not part.head.complete:
            assert part.data == b"" and part.body is not None and part.body.last
        # Under TLS nothing that ends within its head is a response.
        if part.head is not None and not part.head.complete:
            reader = HeadReader(secure=True)
            assert reader.feed(data[:size]) is None
            with pytest.raises(HttpError):
                reader.end()


@pytest.mark.parametrize("case", SHORT, ids=lambda case: f"{case.kind}: {case.name}")
def test_bytes_after_the_end_are_never_part_of_it(case: FetchCase) -> None:
    data = bytes_of(case)
    alone = Result([data], method_of(case), eof=False)
    if alone.body is None or not alone.body.over:
        return
    for more in (b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0"):
        for size in (1, 1 << 30):
            result = Result(cut(data + more, size), method_of(case), eof=False)
            assert (result.head, result.data, result.error) == (alone.head, alone.data, alone.error)
            assert result.rest == alone.rest + more


# -- limits ------------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    return OK + b"X: " + b"y" * (size - len(OK) - 7) + b"\r\n\r\n"


@pytest.mark.feature("HTTP", "limits on the header of a response")
@pytest.mark.parametrize("size", [1000, 1 << 30])
def test_the_length_of_a_head(size: int) -> None:
    result = Result(cut(head_of(MAX_HEAD), size))
    assert result.error is None and result.head is not None
    for data in (head_of(MAX_HEAD + 1), b" " + head_of(MAX_HEAD), OK + b"x" * MAX_HEAD, OK + b"X: y\r\n" * MAX_HEAD):
        error = Result(cut(data, size)).error
        assert error is not None and (error.code, error.phase) == ("response_too_large", "response")


def test_the_number_of_fields() -> None:
    result = Result([OK + b"X: y\r\n" * MAX_FIELDS + b"\r\n"])
    assert result.head is not None and len(result.head.headers) == MAX_FIELDS
    error = Result([OK + b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n"]).error
    assert error is not None and error.code == "response_too_large"
    result = Result([OK + b"bad line\r\n" * 5000 + b"X: y\r\n" + b" z\r\n" * 5000 + b"\r\n"])
    assert result.head is not None and result.head.headers == [("x", "y" + " z" * 5000)]


@pytest.mark.feature("HTTP", "up to 64 informational responses before the final one")
def test_the_number_of_informational_responses() -> None:
    hint = b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n"
    for size in (1, 1 << 30):
        reader = HeadReader(secure=True)
        heads = [reader.feed(piece) for piece in cut(hint * MAX_INFORMATIONAL + OK + b"\r\n", size)]
        assert [head for head in heads if head] == [Head(200, "OK", [], "1.1", False)]
        assert reader.informational == MAX_INFORMATIONAL
        error = Result(cut(hint * (MAX_INFORMATIONAL + 1), size)).error
        assert error is not None and error.code == "http_protocol"


def test_what_stands_around_chunks_is_bounded() -> None:
    for piece in (1000, 1 << 30):
        for line in (b"2;" + b"x" * MAX_CHUNK_LINE, b"0" * MAX_CHUNK_LINE + b"2", b"2" + b" " * MAX_CHUNK_LINE):
            result = Result(cut(CHUNKED + line + b"\r\nok\r\n0\r\n\r\n", piece))
            assert result.error is not None and result.error.code == "response_too_large"
        for trailers in (b"X: y\r\n" * MAX_TRAILERS, b"x" * (MAX_TRAILERS + 1)):
            result = Result(cut(CHUNKED + b"0\r\n" + trailers, piece))
            assert result.error is not None and result.error.code == "response_too_large"


@pytest.mark.parametrize(
    "data",
    [
        head_of(200_000),
        OK + b"X: y\r\n" * 900 + b"\r\n",
        OK + b"\r" * 200_000 + b"\n\r\n",
        OK + b"\r\r\n" * 60_000 + b"\n",
        (b"HTTP/1.1 103 Early\r\nX: " + b"y" * 4000 + b"\r\n\r\n") * MAX_INFORMATIONAL + OK + b"\r\n",
    ],
    ids=["one field", "many fields", "CR", "nearly the end", "informational"],
)
def test_a_head_is_searched_in_linear_time(data: bytes) -> None:
    """Each byte is looked at no more than three times, however the head is cut."""
    for size in (1, 2, 100, 65_536, 1 << 30):
        reader = HeadReader(secure=False)
        for piece in cut(data, size):
            head = reader.feed(piece)
        assert head is not None
        assert reader.scanned <= 3 * len(data)


def test_a_malformed_chunk_is_told_at_its_byte() -> None:
    """Nothing is waited for: the first byte that cannot be right is the last one that is read."""
    for good, bad in ((b"", b"z"), (b"2", b"z"), (b"2\r", b"x"), (b"2 ", b"a"), (b"2\r\nok", b"X"),
                      (b"2\r\nok\r", b"X"), (b"", b" "), (b"", b"\r"), (b"f" * 15, b"ff")):  # fmt: skip
        result = Result([CHUNKED + good], eof=False)
        assert result.error is None
        result = Result([CHUNKED + good, bad], eof=False)
        assert result.error is not None and (result.error.code, result.error.phase) == ("http_protocol", "body")


def test_what_is_no_response_is_told_at_its_byte() -> None:
    for data in (b"hello", b"SSH-2", b"\x15\x03\x01\0\x02", b"\r\n\r\n\r\n", b"aaaaa", b"HTTHTX", b"GET /"):
        reader = HeadReader(secure=False)
        for place in range(4):
            assert reader.feed(data[place : place + 1]) is None
        with pytest.raises(HttpError) as caught:
            reader.feed(data[4:])
        assert caught.value.code == "http_protocol"


def test_101_is_an_answer_where_it_was_asked_for() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nframes"
    for size in (1, 1 << 30):
        reader = HeadReader(secure=True, upgrade=True)
        head, rest = None, b""
        for piece in cut(data, size):
            if head is None:
                head = reader.feed(piece)
                rest = reader.rest
            else:
                rest += piece
        assert head == Head(101, "Switching Protocols", [("upgrade", "websocket")], "1.1", False)
        assert (rest, reader.informational) == (b"frames", 1)


# -- properties --------------------------------------------------------------------------------------

PARTS = [OK, b"HTTP/1.0 404 No\r\n", b"HTTP/1.1 103 E\r\n\r\n", b"HTTP/1.1 ", b"302 x\r\n", b"Location: /\r\n",
         b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"identity", b"X: y\r\n", b" folded\r\n", b"bad\r\n",
         b": x\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"2", b"0", b"ok", b";a", b"\0", b" ", b",", b"\t",
         b"5\r\nhello\r\n", b"0\r\n\r\n"]  # fmt: skip
responses = st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=14).map(b"".join)


@given(st.sampled_from([b"", OK, CHUNKED, CHUNKED + b"5\r\nhello\r\n"]), responses, st.data())
def test_cutting_makes_no_difference(head: bytes, tail: bytes, data: st.DataObject) -> None:
    whole = head + tail
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    one = Result([whole])
    assert Result(pieces).summary() == one.summary()
    if one.head is not None:
        assert 200 <= one.head.status <= 999 and len(one.head.headers) <= MAX_FIELDS
        assert all(name == name.lower() and name.isascii() and name for name, _ in one.head.headers)
        assert not any(char in value for _, value in one.head.headers for char in "\r\n\0")


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.sampled_from([b"", b";a=b", b" ; x", b"   "]),
    st.integers(1, 9),
)
@example([b"\r\n", b"0\r\n\r\n"], b"", 1)
def test_chunks_give_what_was_put_into_them(chunks: list[bytes], extension: bytes, size: int) -> None:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks) + b"0\r\nT: u\r\n\r\n"
    result = Result(cut(CHUNKED + body + b"more", size), eof=False)
    assert (result.data, result.error, result.rest) == (b"".join(chunks), None, b"more")
    assert result.body is not None and result.body.over and not result.body.last


names = st.text(alphabet="!#$%&'*+-.^_`|~0Az", min_size=1, max_size=8).filter(lambda name: "content" not in name)
values = (
    st.binary(max_size=12).filter(lambda value: not set(value) & set(b"\r\n\0")).map(lambda value: value.strip(b" \t"))
)


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from([b"\r\n", b"\n"]))
def test_good_fields_are_read_as_they_are(fields: list[tuple[str, bytes]], end: bytes) -> None:
    lines = [b"HTTP/1.1 200 OK", *(name.encode() + b": " + value for name, value in fields), b"", b""]
    head = HeadReader(secure=True).feed(end.join(lines))
    want = Head(200, "OK", [(name.lower(), value.decode("latin-1")) for name, value in fields], "1.1", False)
    assert head is not None and replace(head, doubtful=False) == want
