"""Web servers of the simulated world as services: HTTP/1.1 by h11, TLS by Python's `ssl`, WebSocket echo.

All are pure byte machines on a `Flow`, so they run with and without asyncio.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ssl
from typing import Any
from urllib.parse import urlsplit

import h11
import trustme
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from .world import ORIGIN, OTHER, Flow, Service, ServiceFactory, World, pattern


class HttpService:
    """`GET /bytes/N`: `pattern(N)`. `POST /digest`: SHA-256 of the body. `GET /text`: a line. `/silent`: nothing,
    ever. `/cut/N`: the connection is reset after N bytes of a longer body."""

    def __init__(self, flow: Flow, world: World) -> None:
        self.flow = flow
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()

    def data(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._events()

    def eof(self) -> None:
        self._http.receive_data(b"")
        self._events()
        self.flow.close()

    def _events(self) -> None:
        try:
            while True:
                event = self._http.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                    return
                if isinstance(event, h11.Request):
                    self._request = event
                    self._body.clear()
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self._answer()
        except h11.RemoteProtocolError:
            self.flow.abort()

    def _answer(self) -> None:
        assert self._request is not None
        path = urlsplit(self._request.target.decode()).path
        kind, _, argument = path.strip("/").partition("/")
        if kind == "silent":
            return
        if kind == "cut":
            head = self._http.send(h11.Response(status_code=200, headers=[("Content-Length", "10000000")]))
            self.flow.write((head or b"") + pattern(int(argument)))
            self.flow.queue.after(1.0, self.flow.abort)
            return
        status, body = 200, b"hello\n"
        if kind == "bytes":
            body = pattern(int(argument))
        elif kind == "digest":
            body = hashlib.sha256(self._body).hexdigest().encode()
        elif kind != "text":
            status, body = 404, b"not found\n"
        headers = [("Content-Length", str(len(body))), ("Content-Type", "application/octet-stream")]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.flow.write(self._http.send(event) or b"")
        if self._http.our_state is h11.MUST_CLOSE:
            self.flow.close()
        elif self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._http.start_next_cycle()


class WebSocketEcho:
    """Echoes text and binary messages."""

    def __init__(self, flow: Flow, world: World) -> None:
        self.flow = flow
        self._ws = ServerProtocol()

    def data(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        for event in ws.events_received():
            if isinstance(event, Request):
                ws.send_response(ws.accept(event))
            elif event.opcode is Opcode.TEXT:
                ws.send_text(event.data)
            elif event.opcode is Opcode.BINARY:
                ws.send_binary(event.data)
        self._flush()

    def eof(self) -> None:
        self._ws.receive_eof()
        self._flush()
        self.flow.close()

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if data:
                self.flow.write(data)
        if self._ws.state is State.CLOSED or self._ws.close_expected():
            self.flow.close()


class TlsService:
    """TLS around another service. To that service it looks like a flow."""

    def __init__(self, flow: Flow, world: World, *, context: ssl.SSLContext, inner: ServiceFactory) -> None:
        self.flow = flow
        self.queue = flow.queue
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._open = False
        self._inner: Service = inner(self, world)  # type: ignore[arg-type]

    def data(self, data: bytes) -> None:
        self._in.write(data)
        self._pump()

    def eof(self) -> None:
        self._in.write_eof()
        self._pump()
        self.flow.close()

    def _pump(self) -> None:
        try:
            if not self._open:
                self._tls.do_handshake()
                self._open = True
            while piece := self._tls.read(65_536):
                self._inner.data(piece)
            self._inner.eof()
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._inner.eof()
        except ssl.SSLError:
            self._flush()
            self.flow.close()
            return
        self._flush()

    def _flush(self) -> None:
        if data := self._out.read():
            self.flow.write(data)

    # what the inner service sees as its flow
    def write(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
            self._flush()

    def close(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the peer's own end is not waited for
            self._tls.unwrap()
        self._flush()
        self.flow.close()

    def abort(self) -> None:
        self.flow.abort()


@functools.cache
def authority() -> tuple[trustme.CA, ssl.SSLContext]:
    """The certificate authority of the simulated world and its servers' context; costly, so there is one."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("origin.test", "other.test").configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    return ca, context


def ca_pem() -> str:
    return authority()[0].cert_pem.bytes().decode()


def add_web(world: World, *, tls: bool = True) -> None:
    """HTTP on port 80, HTTPS on 443, WebSocket echo on 8080 and with TLS on 8443, at both origins."""
    for address in (ORIGIN, OTHER):
        world.listen(address, 80, HttpService)
        world.listen(address, 8080, WebSocketEcho)
        if tls:
            context: Any = authority()[1]
            world.listen(address, 443, functools.partial(TlsService, context=context, inner=HttpService))
            world.listen(address, 8443, functools.partial(TlsService, context=context, inner=WebSocketEcho))
