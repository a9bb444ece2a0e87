"""Plain conversations: what everything else is a variation of, and what shows that the runners see what they should."""

from __future__ import annotations

from .case import CLOSE, RESET, Closed, Fails, FetchCase, Read, WebSocketCase

OK = b"HTTP/1.1 200 OK\r\n"


def _plain(body: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


CASES = [
    FetchCase("a body by its length", "plain responses", [[_plain(b"hello")]], Read(b"hello")),
    FetchCase(
        "headers as they are, joined where a name comes twice",
        "plain responses",
        [[OK + b"X-One: a\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nx-one:  b \r\n\r\nok"]],
        Read(b"ok", headers=[("content-length", "2"), ("x-one", "a, b")]),
    ),
    FetchCase(
        "a body to the end of the connection", "plain responses", [[OK + b"\r\nall of it", CLOSE]], Read(b"all of it")
    ),
    FetchCase(
        "chunks, with a pause between them",
        "plain responses",
        [[OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0.1, b"3\r\ndef\r\n0\r\n\r\n"]],
        Read(b"abcdef"),
    ),
    FetchCase(
        "404 with a reason of its own",
        "plain responses",
        [[b"HTTP/1.1 404 Nothing Here\r\nContent-Length: 1\r\n\r\nx"]],
        Read(b"x", 404, "Nothing Here"),
    ),
    FetchCase(
        "a redirect to the same server",
        "plain responses",
        [[b"HTTP/1.1 302 Found\r\nLocation: /there?x\r\nContent-Length: 0\r\n\r\n"], [_plain(b"there")]],
        Read(b"there", target="/there?x"),
        requests=2,
    ),
    FetchCase(
        "a POST with its body",
        "plain responses",
        [[_plain(b"taken")]],
        Read(b"taken"),
        init={"method": "POST", "body": "what is sent"},
        requests=1,
    ),
    FetchCase("closed without an answer", "broken connections", [[CLOSE]], Fails("empty_response")),
    FetchCase("reset without an answer", "broken connections", [[RESET]], Fails("connection_reset")),
    FetchCase("closed inside the header", "broken connections", [[OK + b"X: y", CLOSE]], Read(b"")),
    FetchCase(
        "reset inside the body",
        "broken connections",
        [[OK + b"Content-Length: 9\r\n\r\nabc", 0.3, RESET]],
        Read(b"abc", broken=True),
    ),
    WebSocketCase(
        "a message each way, closed by the client",
        "plain WebSockets",
        [b"\x81\x05hello"],
        Closed(["hello"], code=1005),
        sends=["hi", b"\x01\x02"],
        closes=1,
        heard=[(1, b"hi"), (2, b"\x01\x02"), (8, b"")],
    ),
    WebSocketCase(
        "closed by the server with a reason",
        "plain WebSockets",
        [b"\x82\x02\x00\xff\x88\x05\x0b\xb8bye"],
        Closed([b"\x00\xff"], 3000, "bye"),
        heard=[(8, b"\x0b\xb8bye")],
    ),
    WebSocketCase(
        "the connection ends without a close frame",
        "plain WebSockets",
        [b"\x81\x02ok", CLOSE],
        Closed(["ok"], 1006, clean=False),
    ),
    WebSocketCase(
        "refused with 403",
        "plain WebSockets",
        [CLOSE],
        Closed(code=1006, clean=False, opened=False, error=True),
        handshake=b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    ),
]
