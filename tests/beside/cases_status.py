"""Status and reason: what a page is told of them."""

from __future__ import annotations

from .case import CLOSE, Fails, FetchCase, Read

_DIGITS = "HTTP's status has three digits: of a longer one browsers keep 16 bits, so that 65736 becomes 200."


def _status(line: bytes) -> list[bytes | float]:
    return [b"HTTP/1.1 " + line + b"\r\nContent-Length: 2\r\n\r\nhi"]


def _read(name: str, line: bytes, status: int, reason: str = "X", body: bytes = b"hi") -> FetchCase:
    return FetchCase(name, "status and reason", [_status(line)], Read(body, status, reason))


CASES = [
    *(_read(f"status {line.decode()}", line + b" X", int(line)) for line in (b"200", b"299", b"418", b"599")),
    *(_read(f"status {line.decode()}", line + b" X", int(line)) for line in (b"600", b"700", b"999")),
    *(_read(f"status {line.decode()}", line + b" X", int(line), body=b"") for line in (b"204", b"304")),
    FetchCase(
        "status 205", "status and reason", [[b"HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n"]], Read(b"", 205, "X")
    ),
    *(
        FetchCase(
            f"status {line.decode()}",
            "status and reason",
            [_status(line + b" X")],
            Read(b"hi", status, "X"),
            Fails(),
            _DIGITS,
        )
        for line, status in (
            (b"0", 0),
            (b"1", 1),
            (b"42", 42),
            (b"99", 99),
            (b"000", 0),
            (b"099", 99),
            (b"1000", 1000),
            (b"65736", 200),
        )
    ),
    FetchCase(
        "status 101 that nobody asked for",
        "status and reason",
        [[b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhi", CLOSE]],
        Fails("truncated_body"),
    ),
    _read("no reason", b"200", 200, ""),
    _read("an empty reason", b"200 ", 200, ""),
    _read("a reason of several words", b"200 All Is Well", 200, "All Is Well"),
    _read("a reason in Latin-1", b"200 \xe4\xff\x80", 200, "\xe4\xff\x80"),
    _read("a reason in UTF-8", "200 ä€".encode(), 200, "ä€".encode().decode("latin-1")),
    _read("a reason with a tab", b"200 a\tb", 200, "a\tb"),
    _read("a reason with control characters", b"200 a\x01\x0b\x0c\x7fb", 200, "a\x01\x0b\x0c\x7fb"),
    _read("an odd status with an odd reason", b"600 \x01\xe4", 600, "\x01\xe4"),
    _read("a long reason", b"404 " + b"r" * 3000, 404, "r" * 3000),
    _read("white space around the reason", b"200  two  ", 200, "two"),
]
