"""Connections that are used again, and what ends them: a server that closes meanwhile, 408, 421, bodies of redirects.

A redirect to the same server, answered in full, makes its connection a kept one for the next request.
"""

from __future__ import annotations

from .case import CLOSE, RESET, Fails, FetchCase, Read

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
KEEP = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /end\r\n"
END = Read(b"fine", target="/end")
POST = {"method": "POST", "body": "order"}
WRONG = b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 5\r\n\r\nwrong"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate"

STALE = "kept connections that end"
MISDIRECTED = "421"
BODIES = "bodies of redirects"

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PURGE")

_BODIES = {
    "cut": [MOVED + b"Content-Length: 100\r\n\r\nsome", CLOSE],
    "cut by a reset": [MOVED + b"Content-Length: 100\r\n\r\nsome", 0.2, RESET],
    "cut before it begins": [MOVED + b"Content-Length: 100\r\n\r\n", CLOSE],
    "cut inside a chunk": [MOVED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", CLOSE],
    "bad chunks": [MOVED + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense\r\n", CLOSE],
    "silent": [MOVED + b"Content-Length: 100\r\n\r\n", 3.0, CLOSE],
    "chunks that do not end": [MOVED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 3.0, CLOSE],
    "without length": [MOVED + b"\r\nbody", 3.0, CLOSE],
    "slow": [MOVED + b"Content-Length: 4\r\n\r\nbo", 1.0, b"dy"],
    "longer than it says": [MOVED + b"Content-Length: 4\r\n\r\nbody and more of it", CLOSE],
    "long": [MOVED + b"Content-Length: 10000000\r\n\r\n" + bytes(30_000), 3.0, CLOSE],
    "not gzip": [MOVED + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk"],
    "with a connection that ends": [MOVED + b"Connection: close\r\nContent-Length: 4\r\n\r\nbody", CLOSE],
    "short, and used again": [MOVED + b"Content-Length: 4\r\n\r\nbody"],
}

CASES = [
    *(
        FetchCase(
            f"{method}: {how} without a byte",
            STALE,
            [[KEEP], [end], [FINE[:-4] if method == "HEAD" else FINE]],
            Read(b"" if method == "HEAD" else b"fine", target="/end"),
            init={"method": method} | ({"body": "order"} if method in ("POST", "PUT", "PATCH") else {}),
            requests=3,
        )
        for how, end in (("closed", CLOSE), ("reset", RESET))
        for method in _METHODS
    ),
    FetchCase("once only", STALE, [[KEEP], [CLOSE], [CLOSE], [FINE]], Fails("empty_response"), init=POST, requests=3),
    FetchCase(
        "not after a byte of the answer",
        STALE,
        [[KEEP], [b"HTTP/1.1 200 OK\r\nContent-Le", 0.2, RESET], [FINE]],
        END,
        Fails("connection_reset"),
        "An answer that has begun is a sign that the server acts on the request: it is not sent a second time.",
        init=POST,
        requests=2,
    ),
    FetchCase("a new connection's end is final", STALE, [[CLOSE], [FINE]], Fails("empty_response"), requests=1),
    FetchCase("408 on a kept connection", STALE, [[KEEP], [TIMED_OUT, CLOSE], [FINE]], END, init=POST, requests=3),
    FetchCase(
        "408 on a new connection",
        STALE,
        [[TIMED_OUT, CLOSE], [FINE]],
        Read(b"late", 408, "Request Timeout"),
        init=POST,
        requests=1,
    ),
    FetchCase(
        "408 a second time",
        STALE,
        [[KEEP], [TIMED_OUT, CLOSE], [TIMED_OUT, CLOSE], [FINE]],
        Read(b"late", 408, "Request Timeout", target="/end"),
        init=POST,
        requests=3,
    ),
    *(
        FetchCase(f"{method} is repeated", MISDIRECTED, [[WRONG], [FINE]], Read(b"fine"), init=init, requests=2)
        for method, init in (("GET", {}), ("POST", POST), ("DELETE", {"method": "DELETE"}))
    ),
    FetchCase(
        "the second is the answer",
        MISDIRECTED,
        [[WRONG], [WRONG], [FINE]],
        Read(b"wrong", 421, "Misdirected Request"),
        requests=2,
    ),
    *(FetchCase(name, BODIES, [script, [FINE]], END, requests=2) for name, script in _BODIES.items()),
    FetchCase(
        "integrity is of the last one",
        BODIES,
        [_BODIES["cut"], [FINE]],
        END,
        init={"integrity": "sha256-0UpYuugEorgLW3agECOciP/KH8eVGpD46RMb7aHiPBs="},
        requests=2,
    ),
]
