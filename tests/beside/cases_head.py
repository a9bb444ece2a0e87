"""Heads of responses: status lines, fields, ends of lines, informational responses, heads that are cut."""

from __future__ import annotations

from collections.abc import Sequence

from .case import CLOSE, Fails, FetchCase, Read

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"
LENGTH = ("content-length", "2")

NO_STATUS = "HTTP's status has three digits: of others Chromium makes one modulo 65536, or 2 of a damaged `2o0`."
ANY_PROTOCOL = "HTTP/0.9: bytes of any protocol would be a response with status 200."
MANY_FIELDS = "Bounded: 1,000 fields."
MANY_HINTS = "Bounded: 64 informational responses."
CUT_STATUS = "The connection ended before the status was there, which then would be 200."
CUT_BODY = "The header that was cut announces a body; none came."
CUT_REDIRECT = "What a redirect means stands in its fields, which are cut (RFC 9112 8)."
CUT_HINT = "An informational response is no answer, cut or not."
TAB = "A tab counts as a space: Chromium sees no status, and takes 200 for any."


def _line(line: bytes, want: Read | Fails, ours: Read | Fails | None = None, why: str = "") -> FetchCase:
    """A status line before a body of two bytes."""
    return FetchCase(repr(line)[2:-1], "status lines", [[line + b"\r\n" + TWO, CLOSE]], want, ours, why)


def _fields(name: str, lines: bytes, headers: Sequence[tuple[str, str]] = (), fails: bool = False) -> FetchCase:
    """Lines of a header before the length."""
    want = Fails() if fails else Read(b"ok", headers=[*headers, LENGTH])
    return FetchCase(name, "header fields", [[OK + lines + b"\r\n" + TWO, CLOSE]], want)


def _head(
    name: str, kind: str, data: bytes, want: Read | Fails, ours: Read | Fails | None = None, why: str = ""
) -> FetchCase:
    return FetchCase(name, kind, [[data, CLOSE]], want, ours, why)


def _read(status: int = 200, reason: str = "OK") -> Read:
    return Read(b"ok", status, reason, headers=[LENGTH])


STATUS_LINES = [
    _line(b"http/1.1 200 OK", _read()),
    _line(b"HtTp/1.1 200 OK", _read()),
    _line(b" HTTP/1.1 200 OK", _read()),
    _line(b"\r\nHTTP/1.1 200 OK", _read()),
    _line(b"\r\n\r\nHTTP/1.1 200 OK", _read()),
    _line(b"\r\n\r\n\r\nHTTP/1.1 200 OK", Fails()),
    _line(b"\n\n\n\nHTTP/1.1 200 OK", _read()),
    _line(b"\n\n\n\n\nHTTP/1.1 200 OK", Fails()),
    _line(b"abcdHTTP/1.1 200 OK", _read()),
    _line(b"abcdeHTTP/1.1 200 OK", Fails()),
    _line(b"\0HTTP/1.1 200 OK", Fails()),
    _line(b"HTTP/1.1  200 OK", _read()),
    _line(b"HTTP/1.1    404   Not  Found   ", _read(404, "Not  Found")),
    _line(b"HTTP/1.1\t200 OK", _read(200, ""), _read(), TAB),
    _line(b"HTTP/1.1\t404 Gone", _read(200, ""), _read(404, "Gone"), TAB),
    _line(b"HTTP/1.1 200\tOK", _read(200, "\tOK")),
    _line(b"HTTP/1.1 200 O\tK", _read(200, "O\tK")),
    _line(b"HTTP/1.1 200", _read(200, "")),
    _line(b"HTTP/1.1 200 ", _read(200, "")),
    _line(b"HTTP/1.1", _read()),
    _line(b"HTTP/1.1 ", _read(200, "")),
    _line(b"HTTP/1.1 OK", _read(200, "")),
    _line(b"HTTP/1.1 -20 OK", _read(200, "")),
    _line(b"HTTP/1.1 +200 OK", _read(200, "")),
    _line(b"HTTP/1.1 404Gone", _read(404, "Gone")),
    _line(b"HTTP/1.1 0404 Gone", _read(404, "Gone")),
    _line(b"HTTP/1.1 00000000000000000404 Gone", _read(404, "Gone")),
    _line(b"HTTP/1.1 2o0 OK", _read(2, "o0 OK"), Fails(), NO_STATUS),
    _line(b"HTTP/1.1 0 OK", _read(0), Fails(), NO_STATUS),
    _line(b"HTTP/1.1 99 OK", _read(99), Fails(), NO_STATUS),
    _line(b"HTTP/1.1 1000 OK", _read(1000), Fails(), NO_STATUS),
    _line(b"HTTP/1.1 65736 OK", _read(), Fails(), NO_STATUS),
    _line(b"HTTP/1.1 99999999999999999999 OK", _read(65535), Fails(), NO_STATUS),
    _line(b"HTTP/1.0 200 OK", _read()),
    _line(b"HTTP/0.9 200 OK", _read()),
    _line(b"HTTP/1.7 200 OK", _read()),
    _line(b"HTTP/2.0 200 OK", _read()),
    _line(b"HTTP/2 200 OK", _read()),
    _line(b"HTTP/1.x 200 OK", _read()),
    _line(b"HTTP/11.1 200 OK", _read()),
    _line(b"HTTP 200 OK", _read()),
    _line(b"HTTP1.1 404 Gone", _read(404, "Gone")),
    _line(b"HTTP /1.1 404 Gone", _read(200, "")),
    _line(b"HTTP/ 1.1 404 Gone", _read(1, ".1 404 Gone"), Fails(), NO_STATUS),
    _line(b"HTTPS/1.1 404 Gone", _read(404, "Gone")),
    _line(b"HTTP", _read()),
    _line(b"HTTP/1.1 200 \xe9t\xe9", _read(200, "\xe9t\xe9")),
    _line("HTTP/1.1 200 \xe9".encode(), _read(200, "\xc3\xa9")),
    _line(b"HTTP/1.1 200 O\0K", Fails()),
    _line(b"HTTP/1.1 200 O\rK", _read(200, "O")),
    _line(b"SSH-2.0-OpenSSH_9.9", Fails()),
    _line(b"<html>here you are</html>", Fails()),
    _line(b"GET / HTTP/1.1", Fails()),
    _head("an answer of eight NULs", "status lines", b"\0" * 8, Fails()),
    _head("nothing but empty lines", "status lines", b"\r\n" * 10, Fails()),
    _head("ICY", "status lines", b"ICY 200 OK\r\n\r\nmp3", Read(b"ICY 200 OK\r\n\r\nmp3"), Fails(), ANY_PROTOCOL),
]  # fmt: skip

FIELDS = [
    _fields("no colon", b"Bad header"),
    _fields("a space before the colon", b"Bad : x", [("bad", "x")]),
    _fields("tabs and spaces before the colon", b"Bad\t \t: x", [("bad", "x")]),
    _fields("no name", b": x"),
    _fields("a name of spaces", b"  : x"),
    _fields("a space in the name", b"B d: x"),
    _fields("a slash in the name", b"B/d: x"),
    _fields("a parenthesis in the name", b"B(d): x"),
    _fields("an at sign in the name", b"a@b: x"),
    _fields("quotes around the name", b'"B": x'),
    _fields("a control character in the name", b"B\x01d: x"),
    _fields("DEL in the name", b"B\x7fd: x"),
    _fields("a byte beyond ASCII in the name", b"\xe9: x"),
    _fields("every character of a token", b"!#$%&'*+-.^_`|~09aZ: x", [("!#$%&'*+-.^_`|~09az", "x")]),
    _fields("a NUL in the name", b"B\0d: x", fails=True),
    _fields("a NUL in the value", b"B: x\0y", fails=True),
    _fields("a NUL in a line without colon", b"x\0y", fails=True),
    _fields("good fields around bad lines", b"A: 1\r\nbad\r\n: 3\r\nC: 4", [("a", "1"), ("c", "4")]),
    _fields("CR in the value", b"B: x\ry", [("b", "x")]),
    _fields("CR before another field", b"B: x\rC: y", [("b", "x"), ("c", "y")]),
    _fields("CR before a fold", b"B: x\r y", [("b", "x y")]),
    _fields("a fold before any field", b" B: x"),
    _fields("a fold", b"B: x\r\n y", [("b", "x y")]),
    _fields("a fold of tabs and spaces", b"B: x \r\n\t  y  ", [("b", "x  y")]),
    _fields("several folds", b"B: x\r\n y\r\n\tz", [("b", "x y z")]),
    _fields("a fold after a line without colon", b"Bad line\r\n y: z"),
    _fields("a fold after a bad name", b"B d: x\r\n y: z"),
    _fields("a fold of nothing", b"B: x\r\n \t \r\n y", [("b", "x  y")]),
    _fields("a fold after an empty value", b"B:\r\n y", [("b", "y")]),
    _fields("control characters in the value", b"B: x\x01y\x1f", [("b", "x\x01y\x1f")]),
    _fields("DEL in the value", b"B: x\x7fy", [("b", "x\x7fy")]),
    _fields("bytes beyond ASCII in the value", b"B: \xe9\xff", [("b", "\xe9\xff")]),
    _fields("spaces and tabs around the value", b"B:\t x \t", [("b", "x")]),
    _fields("VT and FF around the value", b"B: \x0bx\x0c", [("b", "\x0bx\x0c")]),
    _fields("an empty value", b"B:", [("b", "")]),
    _fields("colons in the value", b"B:: :x:", [("b", ": :x:")]),
    _fields("a name twice", b"B: x\r\nb:\r\nB: y", [("b", "x, , y")]),
    _fields("the same location twice", b"Location: /a\r\nlocation: /a", [("location", "/a, /a")]),
    _fields("two locations", b"Location: /a\r\nLocation: /b", fails=True),
    _fields("two dispositions", b"Content-Disposition: inline\r\nContent-Disposition: attachment", fails=True),
    _fields("two types", b"Content-Type: a/b\r\nContent-Type: c/d", [("content-type", "a/b, c/d")]),
    _fields("250,000 bytes", b"B: " + b"x" * 250_000, [("b", "x" * 250_000)]),
    _head("270,000 bytes", "header fields", OK + b"B: " + b"x" * 270_000 + b"\r\n" + TWO, Fails("response_too_large")),
    _fields("1,000 fields", b"B: x\r\n" * 998 + b"B: x", [("b", "x")] * 999),
    _head("1,001 fields", "header fields", OK + b"B: x\r\n" * 1000 + TWO,
          Read(b"ok"), Fails("response_too_large"), MANY_FIELDS),
    _head("no fields", "header fields", OK + b"\r\nok", Read(b"ok", headers=[])),
]  # fmt: skip

LINE_ENDS = [
    _head("LF", "ends of lines", b"HTTP/1.1 200 OK\nB: x\nContent-Length: 2\n\nok",
          Read(b"ok", headers=[("b", "x"), LENGTH])),
    _head("LF, then CR LF", "ends of lines", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", _read()),
    _head("CR LF, then LF", "ends of lines", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", _read()),
    _head("CR CR LF", "ends of lines", b"HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\r\n\r\nok", _read()),
    _head("CR CR LF is no empty line", "ends of lines", OK + b"A: b\r\n\r\r\n" + TWO,
          Read(b"ok", headers=[("a", "b"), LENGTH])),
    _head("CR alone, to the end of the connection", "ends of lines", b"HTTP/1.1 200 OK\rB: x\r\rok",
          Read(b"", headers=[("b", "x")])),
]  # fmt: skip

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


def _after(name: str, data: bytes, want: Read | Fails, ours: Read | Fails | None = None, why: str = "") -> FetchCase:
    return _head(name, "informational responses", data + OK + TWO, want, ours, why)


INFORMATIONAL = [
    _after("100", b"HTTP/1.1 100 Continue\r\n\r\n", _read()),
    _after("102", b"HTTP/1.1 102 Processing\r\n\r\n", _read()),
    _after("103", HINT, _read()),
    _after("199 without reason", b"HTTP/1.1 199\r\n\r\n", _read()),
    _after("101 that nobody asked for", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", _read()),
    _after("with LF", b"HTTP/1.1 100 Continue\n\n", _read()),
    _after("in HTTP/1.0", b"HTTP/1.0 100 Continue\r\n\r\n", _read()),
    _after("with a length", b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n", _read()),
    _after("with a coding", b"HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n", _read()),
    _after("with two lengths", b"HTTP/1.1 103 E\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Fails()),
    _after("with a body", b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\nhello", Fails()),
    _after("empty lines after it", b"HTTP/1.1 100 Continue\r\n\r\n\r\n\r\n", _read()),
    _after("64", HINT * 64, _read()),
    _after("65", HINT * 65, _read(), Fails(), MANY_HINTS),
    _after("40 of 8,000 bytes", (b"HTTP/1.1 103 E\r\nX: " + b"y" * 8000 + b"\r\n\r\n") * 40, _read()),
    _head("and no other", "informational responses", HINT, Fails("truncated_body")),
    _head("and then no HTTP", "informational responses", HINT + b"hello, this is it", Fails()),
    _head("and then ICY", "informational responses", HINT + b"ICY 200 OK\r\n\r\nmp3", Fails()),
]  # fmt: skip


def _cut(data: bytes, want: Read | Fails, ours: Read | Fails | None = None, why: str = "") -> FetchCase:
    return _head(repr(data)[2:-1], "heads that are cut", data, want, ours, why)


CUT = [
    _cut(b"\r\n", Fails("truncated_body")),
    _cut(b"HTT", Fails("truncated_body")),
    _cut(b"HTTP", Read(headers=[]), Fails("truncated_body"), CUT_STATUS),
    _cut(b"HTTP/1.1", Read(headers=[]), Fails("truncated_body"), CUT_STATUS),
    _cut(b"HTTP/1.1 40", Read(status=40, reason="", headers=[]), Fails("truncated_body"), CUT_STATUS),
    _cut(b"HTTP/1.1 404", Read(status=404, reason="", headers=[])),
    _cut(b"HTTP/1.1 404 Not", Read(status=404, reason="Not", headers=[])),
    _cut(OK, Read(headers=[])),
    _cut(OK + b"Content-Le", Read(headers=[])),
    _cut(OK + b"B: x", Read(headers=[("b", "x")])),
    _cut(OK + b"B: x\r\n", Read(headers=[("b", "x")])),
    _cut(OK + b"B: x\r\n\r", Read(headers=[("b", "x")])),
    _cut(OK + b"Content-Length: 0\r\n", Read(headers=[("content-length", "0")])),
    _cut(OK + b"Content-Length: 2\r\n", Read(headers=[LENGTH]), Read(headers=[LENGTH], broken=True), CUT_BODY),
    _cut(OK + b"Transfer-Encoding: chunked\r\n", Read(headers=[("transfer-encoding", "chunked")]),
         Read(headers=[("transfer-encoding", "chunked")], broken=True), CUT_BODY),
    _cut(b"HTTP/1.1 204 No Content\r\nB: x", Read(status=204, reason="No Content", headers=[("b", "x")])),
    _cut(b"HTTP/1.1 100 Continue\r\n", Read(reason="OK", headers=[]), Fails("truncated_body"), CUT_HINT),
    _cut(HINT + b"HTTP/1.1 404 Gone\r\nB: x", Read(status=404, reason="Gone", headers=[("b", "x")])),
    FetchCase(
        "a redirect", "heads that are cut",
        [[b"HTTP/1.1 302 Found\r\nLocation: /there", CLOSE], [OK + TWO]],
        Read(b"ok", target="/there"), Fails("truncated_body"), CUT_REDIRECT,
    ),
]  # fmt: skip

CASES = [*STATUS_LINES, *FIELDS, *LINE_ENDS, *INFORMATIONAL, *CUT]
