"""Why a fact of ours is not the official client's, and who could use it: one line for each difference that is known.

A reason has to be true of a difference that is there: one that a run does not show is told as stale. `NOT_MEASURED` is
what the bench has no fact for yet.
"""

from __future__ import annotations

_SERVER = "the exit, a server and who watches the line between them"

REASONS: dict[str, tuple[str, str]] = {
    "tcp.syn.options": (
        "Ours has the options of a Linux kernel in their order, timestamps too: it measures round trips with them, and "
        "kernels are the larger crowd. The official one's stack sends no timestamps.",
        _SERVER,
    ),
    "tcp.timestamps": (
        "The official one sends none. Ours has an offset of its own for each connection (RFC 7323 5.4), so that a "
        "server cannot tell by the clock which connections behind one exit are one user's. Linux has one for each pair "
        "of addresses: by two connections of a user to one server, known as such, ours is told from a kernel.",
        _SERVER,
    ),
    "rate.timestamps": ("The official one sends none; 1000 a second is a Linux kernel's.", _SERVER),
    "http1.request": (
        "`Accept-Encoding`: the official one cannot decode bodies and asks for `identity`; ours asks for the codings "
        "that it decodes, since fewer packets then carry a body.",
        "a server; over TLS nobody else",
    ),
    "tls.alpn": (
        "The official one speaks HTTP/1.1 alone. With HTTP/2 ours needs one connection for all requests to a server.",
        _SERVER,
    ),
    "http2.start": ("The official one has no HTTP/2.", "a server"),
    "http2.headers": ("The official one has no HTTP/2.", "a server"),
}

NOT_MEASURED = """* Reaction times: reconnection after a loss, the first directory request of a visit, retransmissions.
* Keys of gateways beyond two visits, and what changes when the directory's keys rotate.
* TLS on a second connection to the same server (resumption), and encrypted DNS.
* TCP's keep-alive, window updates and ACKs over a long connection.
* What two tunnels of one user at the same time share.
* Counters in headers of packets are looked for as values that come back, not as values that follow each other.
"""
