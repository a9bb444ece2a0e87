"""Locations: which responses are redirects, and what the bytes of a Location mean."""

from __future__ import annotations

from .case import Fails, FetchCase, Read

_END = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend"
_BASE = "/x/y?q"
# Of other schemes, and those that name nothing that could be connected to.
_SCHEMES = (
    b"ftp://a.test/", b"file:///etc/passwd", b"data:,x", b"blob:http://a.test/x", b"about:blank",
    b"javascript:alert(1)",
    b"mailto:a@a.test", b"foo:bar", b"ws://a.test/", b"a.test:80",
)  # fmt: skip
_HOSTS = (
    b"//", b"///", b"http://", b"http://:80/", b"//a.test:65536/", b"//a.test:0/", b"//a.test:x/", b"//[::1/",
    b"//[::1%25lo]/", b"//a%00b/", b"//a<b/", b"//1.2.3.256/", b"//m\xfcnchen.test/", b"//a..b/", b"//.a/", b"//a%zz/",
    b"//" + b"a" * 64 + b".test/",
)  # fmt: skip


def _moved(*values: bytes, status: bytes = b"302 Found") -> bytes:
    lines = b"".join(b"Location:" + value + b"\r\n" for value in values)
    return b"HTTP/1.1 " + status + b"\r\n" + lines + b"Content-Length: 2\r\n\r\nhi"


def _leads(name: str, value: bytes, target: str) -> FetchCase:
    return FetchCase(
        name, "what a Location means", [[_moved(value)], [_END]], Read(b"end", target=target), target=_BASE, requests=2
    )


def _refused(name: str, *values: bytes, code: str = "bad_redirect") -> FetchCase:
    return FetchCase(
        name, "Locations that are refused", [[_moved(*values)], [_END]], Fails(code), target=_BASE, requests=1
    )


def _plain(name: str, *values: bytes, status: bytes = b"302 Found") -> FetchCase:
    code, _, reason = status.decode().partition(" ")
    return FetchCase(
        name,
        "what is a redirect",
        [[_moved(*values, status=status)], [_END]],
        Read(b"" if code == "304" else b"hi", int(code), reason, target=_BASE),
        target=_BASE,
        requests=1,
    )


CASES = [
    *(
        FetchCase(
            f"a Location with {status.decode()}",
            "what is a redirect",
            [[_moved(b" /to", status=status)], [_END]],
            Read(b"end", target="/to"),
            target=_BASE,
            requests=2,
        )
        for status in (b"301 Moved", b"302 Found", b"303 See Other", b"307 Again", b"308 Ever")
    ),
    *(
        _plain(f"no redirect: a Location with {status.decode()}", b" /to", status=status)
        for status in (
            b"200 OK",
            b"201 Made",
            b"300 Many",
            b"304 Same",
            b"305 Proxy",
            b"306 X",
            b"309 X",
            b"399 X",
            b"600 X",
        )
    ),
    _plain("no Location"),
    _plain("an empty Location", b""),
    _plain("a Location of white space", b" \t "),
    _plain("two empty Locations", b"", b" "),
    FetchCase(
        "the same Location twice",
        "what is a redirect",
        [[_moved(b" /a", b"  /a ")], [_END]],
        Read(b"end", target="/a"),
        target=_BASE,
        requests=2,
    ),
    _refused("two Locations", b" /a", b" /b", code="http_protocol"),
    _refused("an empty Location before another", b"", b" /a", code="http_protocol"),
    _refused("an empty Location after another", b" /a", b"", code="http_protocol"),
    _leads("Latin-1", b" /\xe4?\xfc#\xf6", "/%E4?%FC"),
    _leads("UTF-8", " /ä?€#ö".encode(), "/%C3%A4?%E2%82%AC"),
    _leads("bytes that are no text", b" /\xff\xfe\x80%e4%", "/%FF%FE%80%e4%"),
    _leads("a URL with bytes beyond ASCII", b" {origin}/\xe4?\xe4", "/%E4?%E4"),
    _leads("a scheme and a path", b" http:/to", "/to"),
    _leads("a scheme and a relative path", b" http:to", "/x/to"),
    _leads("a scheme and a query", b" http:?r", "/x/y?r"),
    _leads("a scheme alone", b" http:", _BASE),
    _leads("a scheme in capitals and a path", b" HTTP:/to", "/to"),
    _leads("a scheme and a backslash", b" http:\\to", "/to"),
    _leads("a URL in full", b" {origin}/to?r", "/to?r"),
    _leads("a fragment alone", b" #part", _BASE),
    _leads("a query", b" ?r", "/x/y?r"),
    _leads("one dot", b" .", "/x/"),
    _leads("two dots", b" ..", "/"),
    _leads("dot segments, some encoded", b" /a/%2e/b/%2E./c", "/a/c"),
    _leads("a backslash", b" \\to\\b", "/to/b"),
    _leads("spaces inside", b" /a b", "/a%20b"),
    _leads("a tab inside", b" /a\tb", "/ab"),
    _leads("control characters around", b" \x01/to\x02", "/to"),
    _leads("a control character inside", b" /a\x01b", "/a%01b"),
    _leads("per cent signs that encode nothing", b" /%zz%", "/%zz%"),
    _leads("characters that paths encode", b' /"<>`{}^', "/%22%3C%3E%60%7B%7D%5E"),
    _leads("characters that queries encode", b" ?\"<>'`{}|^\\", "/x/y?%22%3C%3E%27`{}|^\\"),
    _leads("a list", b" /a,/b", "/a,/b"),
    _leads("parameters, as of another header", b" /a; b", "/a;%20b"),
    _leads("angle brackets", b" <to>", "/x/%3Cto%3E"),
    _leads("quotation marks", b' "to"', "/x/%22to%22"),
    _leads("no white space before it", b"/to", "/to"),
    _leads("a long one", b" /" + b"a" * 60_000, "/" + "a" * 60_000),
    *(_refused(f"another scheme: {value.decode()}", b" " + value) for value in _SCHEMES),
    *(_refused(f"no host or port: {value.decode('latin-1')!a:.30}", b" " + value) for value in _HOSTS),
]
