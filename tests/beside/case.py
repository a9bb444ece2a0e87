"""One case of a table that is read by the product and by Chromium: what a raw server says, and what comes of it.

A table is a module `tests/beside/cases_<kind>.py` with a list `CASES`. Three runners read all tables: the unit tests
(the Python client, virtual time), the browser suite with `mixFetch` and `MixWebSocket` in the page, and the browser
suite with Chromium's own `fetch` and `WebSocket` at the same server. `chromium` is what Chromium does; where we do
something else on purpose, `ours` is that and `why` is the reason: both go into docs/conformance.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

CLOSE: Literal["close"] = "close"  # FIN
RESET: Literal["reset"] = "reset"

# Bytes are sent as they are, but for `{origin}` ("http://host:port" of the server, as the client calls it); a float
# pauses, in seconds; without CLOSE or RESET the server reads on.
Step = bytes | float | Literal["close", "reset"]
Script = Sequence[Step]


@dataclass(frozen=True)
class Read:
    """A response that was read. `headers`: all of them, names in lower case, as a page sees them; None: not compared.

    `target` is the path and query of the final URL. `broken`: the body ended with an error, after `body`.
    """

    body: bytes = b""
    status: int = 200
    reason: str = "OK"
    headers: Sequence[tuple[str, str]] | None = None
    target: str = "/"
    broken: bool = False


@dataclass(frozen=True)
class Fails:
    """The promise is rejected with a `TypeError`; `code` is that of our error."""

    code: str = "http_protocol"


@dataclass(frozen=True)
class FetchCase:
    """A request for `target`. `scripts` answer the requests that the server gets, one each, on whatever connection
    they come; the last one answers all that follow. `requests`: how many there must have been; None: not compared."""

    name: str
    kind: str
    scripts: Sequence[Script]
    chromium: Read | Fails
    ours: Read | Fails | None = None
    why: str = ""
    target: str = "/"
    init: Mapping[str, Any] = field(default_factory=dict)  # of `fetch`, as JSON
    requests: int | None = None


@dataclass(frozen=True)
class Closed:
    """How a WebSocket ended: messages that were delivered (text or bytes), then the close event."""

    messages: Sequence[str | bytes] = ()
    code: int = 1000
    reason: str = ""
    clean: bool = True
    opened: bool = True
    error: bool = False  # an `error` event came before `close`


@dataclass(frozen=True)
class WebSocketCase:
    """`handshake` is the server's answer as bytes, `{accept}` in it stands for the right Sec-WebSocket-Accept; after
    it `script` is sent. The client sends `sends` when it is open, and closes when `closes` messages have come (None:
    it leaves that to the server). `heard`: opcodes and payloads of the frames that the server must get; None: not
    compared."""

    name: str
    kind: str
    script: Script
    chromium: Closed
    ours: Closed | None = None
    why: str = ""
    handshake: bytes = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    protocols: Sequence[str] = ()
    sends: Sequence[str | bytes] = ()
    closes: int | None = None
    heard: Sequence[tuple[int, bytes]] | None = None
