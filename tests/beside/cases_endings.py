"""How bodies end: by the end of the connection, in order or not, and what follows an end that was there."""

from __future__ import annotations

import gzip

from .case import CLOSE, RESET, FetchCase, Read, Script

KIND = "ends of bodies"
OK = b"HTTP/1.1 200 OK\r\n"
OPEN = OK + b"\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ZEROS = gzip.compress(bytes(1_000_000))


def case(name: str, script: Script, read: Read) -> FetchCase:
    return FetchCase(name, KIND, [script], read)


CASES = [
    case("to the end, in pieces", [OPEN, 0.1, b"one ", 0.1, b"two", 0.1, CLOSE], Read(b"one two")),
    case("to the end, and nothing", [OPEN, CLOSE], Read(b"")),
    case("to the end, which is a reset", [OPEN + b"half", 0.3, RESET], Read(b"half", broken=True)),
    case("to the end, reset before a byte", [OPEN, 0.3, RESET], Read(b"", broken=True)),
    case("HTTP/1.0", [b"HTTP/1.0 200 OK\r\n\r\nold", 0.1, CLOSE], Read(b"old")),
    case(
        "HTTP/1.0 that says keep-alive",
        [b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nold", 0.1, CLOSE],
        Read(b"old"),
    ),
    case("to the end, said to be kept alive", [OK + b"Connection: keep-alive\r\n\r\nall", 0.1, CLOSE], Read(b"all")),
    case("to the end, and gzip", [OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"all"), CLOSE], Read(b"all")),
    case("shorter than its length", [OK + b"Content-Length: 9\r\n\r\nhalf", 0.1, CLOSE], Read(b"half", broken=True)),
    case("nothing of its length", [OK + b"Content-Length: 9\r\n\r\n", 0.1, CLOSE], Read(b"", broken=True)),
    case("its length, and a reset", [OK + b"Content-Length: 3\r\n\r\nall", 0.3, RESET], Read(b"all")),
    case("longer than its length", [OK + b"Content-Length: 3\r\n\r\nall and more", 0.1, CLOSE], Read(b"all")),
    case("a chunk, and no last one", [CHUNKED + b"4\r\nhalf\r\n", 0.1, CLOSE], Read(b"half", broken=True)),
    case("within a chunk", [CHUNKED + b"9\r\nhalf", 0.1, CLOSE], Read(b"half", broken=True)),
    case("within a chunk's size", [CHUNKED + b"4\r\nhalf\r\n3", 0.1, CLOSE], Read(b"half", broken=True)),
    case(
        "a last chunk, and not the empty line", [CHUNKED + b"3\r\nall\r\n0\r\n", 0.1, CLOSE], Read(b"all", broken=True)
    ),
    case(
        "a trailer, and not the empty line",
        [CHUNKED + b"3\r\nall\r\n0\r\nA: b\r\n", 0.1, CLOSE],
        Read(b"all", broken=True),
    ),
    case("trailers", [CHUNKED + b"3\r\nall\r\n0\r\nA: b\r\nC: d\r\n\r\n"], Read(b"all")),
    case("chunks, the end, and a reset", [CHUNKED + b"3\r\nall\r\n0\r\n\r\n", 0.3, RESET], Read(b"all")),
    case("chunks, the end, and more", [CHUNKED + b"3\r\nall\r\n0\r\n\r\nmore", 0.1, CLOSE], Read(b"all")),
    case(
        "a thousand times what came",
        [OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZEROS) + ZEROS],
        Read(bytes(1_000_000)),
    ),
]
