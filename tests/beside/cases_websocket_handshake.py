"""The answer to the opening handshake (RFC 6455 4.1, 4.2.2): its head in every shape, and what does not open."""

from __future__ import annotations

from .case import CLOSE, RESET, Closed, Script, WebSocketCase
from .cases_websocket_frames import BYE, DEFLATE, TEXT, frame

LINE = b"HTTP/1.1 101 Switching Protocols\r\n"
UPGRADE = b"Upgrade: websocket\r\n"
CONNECTION = b"Connection: Upgrade\r\n"
ACCEPT = b"Sec-WebSocket-Accept: {accept}\r\n"
GOOD = LINE + UPGRADE + CONNECTION + ACCEPT
REFUSED = Closed(code=1006, clean=False, opened=False, error=True)
HELLO = frame(TEXT, b"hello") + BYE


def opens(kind: str, name: str, handshake: bytes, *, script: Script = (HELLO,), **more: object) -> WebSocketCase:
    return WebSocketCase(name, kind, script, Closed(["hello"]), handshake=handshake, **more)  # type: ignore[arg-type]


def fails(kind: str, name: str, handshake: bytes, *, script: Script = (HELLO,), **more: object) -> WebSocketCase:
    return WebSocketCase(name, kind, script, REFUSED, handshake=handshake, **more)  # type: ignore[arg-type]


def _heads() -> list[WebSocketCase]:
    kind = "WebSocket: head of the answer"
    rest = UPGRADE + CONNECTION + ACCEPT + b"\r\n"
    return [
        opens(kind, "plain", GOOD + b"\r\n"),
        opens(kind, "no reason", b"HTTP/1.1 101\r\n" + rest),
        opens(kind, "an empty reason", b"HTTP/1.1 101 \r\n" + rest),
        opens(kind, "a reason in Latin-1", b"HTTP/1.1 101 Gewechselt \xfc\r\n" + rest),
        opens(kind, "two spaces before the status", b"HTTP/1.1  101 X\r\n" + rest),
        opens(kind, "the status with letters behind it", b"HTTP/1.1 101X\r\n" + rest),
        opens(kind, "HTTP in small letters", b"http/1.1 101 X\r\n" + rest),
        opens(kind, "HTTP/1.2", b"HTTP/1.2 101 X\r\n" + rest),
        opens(kind, "HTTP/1.0", b"HTTP/1.0 101 X\r\n" + rest),
        opens(kind, "HTTP/2.0", b"HTTP/2.0 101 X\r\n" + rest),
        opens(kind, "HTTP/0.9", b"HTTP/0.9 101 X\r\n" + rest),
        opens(kind, "no version", b"HTTP 101 X\r\n" + rest),
        fails(kind, "no HTTP at all", b"SSH-2.0-x\r\n\r\n"),
        fails(kind, "frames without an answer", HELLO, script=[]),
        fails(kind, "no status", b"HTTP/1.1\r\n" + rest),
        fails(kind, "a status that is no number", b"HTTP/1.1 abc X\r\n" + rest),
        fails(kind, "a status of two digits", b"HTTP/1.1 10 X\r\n" + rest),
        fails(kind, "a status of four digits", b"HTTP/1.1 1010 X\r\n" + rest),
        opens(kind, "line ends of LF alone", (GOOD + b"\r\n").replace(b"\r\n", b"\n")),
        opens(kind, "mixed line ends", GOOD + b"\n"),
        opens(kind, "an empty line before it", b"\r\n" + GOOD + b"\r\n"),
        opens(kind, "two empty lines before it", b"\r\n\r\n" + GOOD + b"\r\n"),
        opens(kind, "one line end of LF before it", b"\n" + GOOD + b"\r\n"),
        opens(kind, "a line without a colon", GOOD + b"nothing\r\n\r\n"),
        opens(kind, "a name with a space", GOOD + b"a name: x\r\n\r\n"),
        opens(kind, "a name with a slash", GOOD + b"a/b: x\r\n\r\n"),
        opens(kind, "an empty name", GOOD + b": x\r\n\r\n"),
        opens(kind, "a space before the colon", LINE + CONNECTION + ACCEPT + b"Upgrade : websocket\r\n\r\n"),
        opens(kind, "no space behind the colon", GOOD.replace(b": ", b":") + b"\r\n"),
        opens(
            kind,
            "much space around the values",
            GOOD.replace(b": ", b": \t ").replace(b"\r\n", b" \t\r\n").replace(LINE.strip() + b" \t", LINE.strip())
            + b"\r\n",
        ),
        opens(
            kind,
            "names in capitals",
            LINE
            + UPGRADE.replace(b"Upgrade", b"UPGRADE")
            + CONNECTION.replace(b"Conn", b"CONN")
            + ACCEPT.replace(b"Sec-WebSocket", b"SEC-WEBSOCKET")
            + b"\r\n",
        ),
        opens(kind, "a value continued on the next line", GOOD + b"X: a\r\n b\r\n\r\n"),
        opens(
            kind,
            "Upgrade continued on the next line",
            LINE + b"Upgrade:\r\n websocket\r\n" + CONNECTION + ACCEPT + b"\r\n",
        ),
        opens(kind, "a value with control characters", GOOD + b"X: a\x01\x7fb\r\n\r\n"),
        fails(kind, "a NUL in a value", GOOD + b"X: a\0b\r\n\r\n"),
        opens(kind, "a value beyond ASCII", GOOD + b"X: \xff\xfe\r\n\r\n"),
        opens(kind, "a bare CR in a value", GOOD + b"X: a\rb\r\n\r\n"),
        opens(kind, "100 KiB of headers", GOOD + b"X: " + b"y" * 100_000 + b"\r\n\r\n"),
        opens(kind, "200 headers of 1 KiB", GOOD + (b"X-Filler: " + b"y" * 1000 + b"\r\n") * 200 + b"\r\n"),
        fails(kind, "300 KiB of headers", GOOD + (b"X-Filler: " + b"y" * 1000 + b"\r\n") * 300 + b"\r\n", script=[]),
        opens(kind, "900 headers", GOOD + b"X: y\r\n" * 900 + b"\r\n"),
        opens(kind, "Content-Length: 0", GOOD + b"Content-Length: 0\r\n\r\n"),
        opens(kind, "a Content-Length that is not 0", GOOD + b"Content-Length: 5\r\n\r\n"),
        opens(kind, "Transfer-Encoding: chunked", GOOD + b"Transfer-Encoding: chunked\r\n\r\n"),
        opens(kind, "Content-Encoding: gzip", GOOD + b"Content-Encoding: gzip\r\n\r\n"),
        fails(kind, "a content coding in quotes", GOOD + b'Content-Encoding: "x"\r\n\r\n'),
        opens(kind, "a cookie", GOOD + b"Set-Cookie: a=b\r\n\r\n"),
        fails(kind, "closed at once", b"", script=[CLOSE]),
        fails(kind, "reset at once", b"", script=[RESET]),
        fails(kind, "closed in the status line", b"HTTP/1.1 10", script=[CLOSE]),
        fails(kind, "closed in the head", GOOD, script=[CLOSE]),
        fails(kind, "closed in the last line end", GOOD + b"\r", script=[CLOSE]),
        opens(kind, "its last line end in pieces", GOOD, script=[0.05, b"\r", 0.05, b"\n", 0.05, HELLO, CLOSE]),
    ]


def _interim() -> list[WebSocketCase]:
    kind = "WebSocket: informational answers"
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    before = {
        "100": b"HTTP/1.1 100 Continue\r\n\r\n",
        "103 with headers": hints,
        "102, 100 and 103": b"HTTP/1.1 102 A\r\n\r\nHTTP/1.1 100 B\r\n\r\nHTTP/1.1 103 C\r\n\r\n",
        "fifty": hints * 50,
        "199": b"HTTP/1.1 199 X\r\n\r\n",
        "100 with line ends of LF": b"HTTP/1.1 100 Continue\n\n",
    }
    return [
        *(
            WebSocketCase(
                f"{name} before the answer",
                kind,
                [HELLO],
                REFUSED,
                ours=Closed(["hello"]),
                why="A client must be able to read informational responses before the final one (RFC 9110 15.2).",
                handshake=head + GOOD + b"\r\n",
            )
            for name, head in before.items()
        ),
        fails(kind, "100 and nothing more", b"HTTP/1.1 100 Continue\r\n\r\n", script=[CLOSE]),
        fails(kind, "100, then a refusal", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\n\r\n", script=[CLOSE]),
    ]


def _refusals() -> list[WebSocketCase]:
    kind = "WebSocket: refusals"
    headers = UPGRADE + CONNECTION + ACCEPT + b"Content-Length: 0\r\n\r\n"
    cases = [
        fails(kind, f"status {code}", b"HTTP/1.1 %d X\r\n" % code + headers, script=[])
        for code in (200, 201, 204, 205, 206, 300, 304, 400, 403, 404, 407, 426, 429, 500, 503, 599)
    ]
    cases += [
        fails(kind, f"a redirect: {code}", b"HTTP/1.1 %d X\r\nLocation: /elsewhere\r\n" % code + headers, script=[])
        for code in (301, 302, 303, 307, 308)
    ]
    cases += [
        fails(kind, "401 with a challenge", b"HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer\r\n" + headers, script=[]),
        fails(kind, "404 with a body that does not end", b"HTTP/1.1 404 X\r\n\r\nfor ever", script=[]),
        fails(kind, "503 with a body that does not come", b"HTTP/1.1 503 X\r\nContent-Length: 99\r\n\r\n", script=[]),
        fails(kind, "200 chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", script=[]),
        fails(kind, "600", b"HTTP/1.1 600 X\r\n" + headers, script=[]),
        fails(kind, "999", b"HTTP/1.1 999 X\r\n" + headers, script=[]),
    ]
    return cases


def _upgrade() -> list[WebSocketCase]:
    kind = "WebSocket: Upgrade, Connection, Accept"

    def head(upgrade: bytes = UPGRADE, connection: bytes = CONNECTION, accept: bytes = ACCEPT) -> bytes:
        return LINE + upgrade + connection + accept + b"\r\n"

    return [
        fails(kind, "no Upgrade", head(upgrade=b"")),
        fails(kind, "an empty Upgrade", head(upgrade=b"Upgrade: \r\n")),
        opens(kind, "Upgrade in capitals", head(upgrade=b"Upgrade: WEBSOCKET\r\n")),
        fails(kind, "another Upgrade", head(upgrade=b"Upgrade: h2c\r\n")),
        fails(kind, "Upgrade with more behind it", head(upgrade=b"Upgrade: websocket2\r\n")),
        fails(kind, "Upgrade with a version", head(upgrade=b"Upgrade: websocket/13\r\n")),
        fails(kind, "two values of Upgrade", head(upgrade=b"Upgrade: websocket, h2c\r\n")),
        fails(kind, "Upgrade twice", head(upgrade=UPGRADE * 2)),
        fails(kind, "the same twice in one Upgrade", head(upgrade=b"Upgrade: websocket, websocket\r\n")),
        fails(kind, "Upgrade with an empty second value", head(upgrade=b"Upgrade: websocket,\r\n")),
        fails(kind, "Upgrade in quotes", head(upgrade=b'Upgrade: "websocket"\r\n')),
        fails(kind, "no Connection", head(connection=b"")),
        fails(kind, "an empty Connection", head(connection=b"Connection:\r\n")),
        opens(kind, "Connection in small letters", head(connection=b"Connection: upgrade\r\n")),
        opens(kind, "Connection with other options", head(connection=b"Connection: keep-alive, Upgrade\r\n")),
        opens(kind, "Connection in two lines", head(connection=b"Connection: keep-alive\r\n" + CONNECTION)),
        opens(kind, "Connection with empty elements", head(connection=b"Connection: ,, upgrade,\r\n")),
        opens(kind, "Connection with a bad element", head(connection=b"Connection: a b, upgrade\r\n")),
        opens(kind, "Connection: close, Upgrade", head(connection=b"Connection: close, Upgrade\r\n")),
        fails(kind, "Connection: close", head(connection=b"Connection: close\r\n")),
        fails(kind, "Connection: upgraded", head(connection=b"Connection: upgraded\r\n")),
        fails(kind, "no Accept", head(accept=b"")),
        fails(kind, "an empty Accept", head(accept=b"Sec-WebSocket-Accept:\r\n")),
        fails(kind, "a wrong Accept", head(accept=b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n")),
        fails(kind, "Accept twice", head(accept=ACCEPT * 2)),
        fails(kind, "Accept right and wrong", head(accept=ACCEPT + b"Sec-WebSocket-Accept: x\r\n")),
        fails(kind, "Accept with more behind it", head(accept=b"Sec-WebSocket-Accept: {accept}=\r\n")),
        fails(kind, "Accept in quotes", head(accept=b'Sec-WebSocket-Accept: "{accept}"\r\n')),
        fails(kind, "Accept with a comma", head(accept=b"Sec-WebSocket-Accept: {accept},\r\n")),
        opens(kind, "Accept with space around it", head(accept=b"Sec-WebSocket-Accept: \t {accept} \t\r\n")),
        opens(
            kind,
            "a key and a version in the answer",
            head(accept=ACCEPT + b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"),
        ),
        opens(kind, "another version in the answer", head(accept=ACCEPT + b"Sec-WebSocket-Version: 8\r\n")),
    ]


def _protocols() -> list[WebSocketCase]:
    kind = "WebSocket: subprotocols"

    def head(*values: bytes) -> bytes:
        return GOOD + b"".join(b"Sec-WebSocket-Protocol: %s\r\n" % value for value in values) + b"\r\n"

    two = {"protocols": ["chat", "more"]}
    return [
        opens(kind, "the first", head(b"chat"), **two),
        opens(kind, "the second", head(b"more"), **two),
        fails(kind, "none of those asked for", head(), **two),
        fails(kind, "an empty one", head(b""), **two),
        fails(kind, "another", head(b"other"), **two),
        fails(kind, "in other letters", head(b"Chat"), **two),
        fails(kind, "both", head(b"chat, more"), **two),
        fails(kind, "both in two lines", head(b"chat", b"more"), **two),
        fails(kind, "the same twice", head(b"chat, chat"), **two),
        fails(kind, "the same in two lines", head(b"chat", b"chat"), **two),
        fails(kind, "an empty line besides", head(b"chat", b""), **two),
        fails(kind, "with an empty second", head(b"chat,"), **two),
        fails(kind, "in quotes", head(b'"chat"'), **two),
        fails(kind, "unasked", head(b"chat")),
        fails(kind, "an empty one unasked", head(b"")),
    ]


def _extensions() -> list[WebSocketCase]:
    kind = "WebSocket: extensions"

    def head(*values: bytes) -> bytes:
        return GOOD + b"".join(b"Sec-WebSocket-Extensions: %s\r\n" % value for value in values) + b"\r\n"

    deflate = b"permessage-deflate"
    good = [
        b"",
        b"; server_no_context_takeover",
        b"; client_no_context_takeover",
        b"; server_max_window_bits=8",
        b"; server_max_window_bits=15",
        b"; client_max_window_bits=8",
        b"; client_max_window_bits=9",
        b"; client_max_window_bits=15",
        b'; client_max_window_bits="10"',
        b"; server_no_context_takeover; client_no_context_takeover",
        b";server_no_context_takeover;client_max_window_bits=12",
        b" ; server_max_window_bits = 10",
        b"; client_max_window_bits=10; server_max_window_bits=10",
    ]
    bad = [
        b"; server_max_window_bits=16",
        b"; server_max_window_bits=7",
        b"; server_max_window_bits=0",
        b"; server_max_window_bits=08",
        b"; server_max_window_bits=+9",
        b"; server_max_window_bits=x",
        b"; server_max_window_bits",
        b"; server_max_window_bits=",
        b'; server_max_window_bits=""',
        b"; client_max_window_bits",
        b"; client_max_window_bits=16",
        b"; client_max_window_bits=7",
        b"; server_no_context_takeover=1",
        b"; client_no_context_takeover=true",
        b"; unknown",
        b"; unknown=1",
        b";",
        b"; ;",
        b"; server_no_context_takeover; server_no_context_takeover",
        b"; server_max_window_bits=9; server_max_window_bits=9",
        b"; client_max_window_bits=9; client_max_window_bits=10",
        b"; SERVER_NO_CONTEXT_TAKEOVER",
        b" server_no_context_takeover",
        b"; server max window bits=9",
    ]
    return [
        *(opens(kind, f"deflate{text.decode()}", head(deflate + text)) for text in good),
        *(fails(kind, f"deflate{text.decode()}", head(deflate + text)) for text in bad),
        fails(kind, "an unknown one", head(b"unknown")),
        fails(kind, "an unknown one behind deflate", head(deflate + b", unknown")),
        fails(kind, "deflate twice", head(deflate + b", " + deflate)),
        fails(kind, "deflate in two lines", head(deflate, deflate)),
        fails(kind, "deflate in capitals", head(b"Permessage-Deflate")),
        fails(kind, "an old name of deflate", head(b"x-webkit-deflate-frame")),
        fails(kind, "an empty line", head(b"")),
        fails(kind, "a comma", head(b",")),
        fails(kind, "deflate and a comma", head(deflate + b",")),
        fails(kind, "a comma and deflate", head(b", " + deflate)),
        fails(kind, "an empty line and deflate", head(b"", deflate)),
    ]


def _behind() -> list[WebSocketCase]:
    kind = "WebSocket: frames that come with the answer"
    return [
        WebSocketCase("a message", kind, [0.1, BYE], Closed(["hi"]), handshake=GOOD + b"\r\n\x81\x02hi"),
        WebSocketCase("a close", kind, [CLOSE], Closed(), handshake=GOOD + b"\r\n" + BYE),
        WebSocketCase(
            "half a message", kind, [0.1, b"i" + BYE, CLOSE], Closed(["hi"]), handshake=GOOD + b"\r\n\x81\x02h"
        ),
        WebSocketCase(
            "a bad frame", kind, [], Closed(code=1006, clean=False, error=True), handshake=GOOD + b"\r\n\x83\x00"
        ),
        WebSocketCase(
            "a message and a bad frame",
            kind,
            [],
            Closed(["hi"], 1006, clean=False, error=True),
            handshake=GOOD + b"\r\n\x81\x02hi\x83\x00",
        ),
        WebSocketCase("the end", kind, [CLOSE], Closed(code=1006, clean=False), handshake=GOOD + b"\r\n"),
        WebSocketCase(
            "a compressed message",
            kind,
            [0.1, BYE],
            Closed(["Hello"]),
            handshake=DEFLATE % b"" + bytes.fromhex("c107f248cdc9c90700"),
        ),
    ]


CASES = [*_heads(), *_interim(), *_refusals(), *_upgrade(), *_protocols(), *_extensions(), *_behind()]
