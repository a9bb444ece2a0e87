"""Kept connections that a server closes after some idle seconds, over real TCP with the round trips of a mixnet."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest

from smolmix_web.dial import Connected, TlsInfo
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import SmolmixError
from smolmix_web.http import HttpClient, HttpRequest
from smolmix_web.http.connector import Connector, NetConnector
from tests.http2_server import Http2Server
from tests.http_server import Answer, Request
from tests.virtual_loop import run_virtual
from tests.wire import Wire

AGAIN = pytest.mark.feature("HTTP", "a request on a kept connection that the server closed is sent again, any method")
ROUND_TRIPS = (0.2, 0.5, 1.0, 2.2, 3.0)
KEPT_FOR = (1.0, 2.0, 5.0, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "REPORT", "stream")


@dataclass
class IdleServer:
    """Ends a connection that has been idle for `seconds`. `says`: what it answers tells so; `how` it ends."""

    seconds: float
    says: bool = False
    how: str = "close"  # or "reset", "408"
    acted: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    async def serve(self, stream: TcpStream) -> None:
        self.connections += 1
        protocol = h11.Connection(h11.SERVER)
        while True:
            try:
                name = await asyncio.wait_for(self._request(protocol, stream), self.seconds)
            except TimeoutError:
                if self.how == "408":
                    await stream.write(
                        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                await stream.close() if self.how != "reset" else stream.abort()
                return
            if name is None:
                await stream.close()
                return
            self.acted[name] += 1
            headers = [("Content-Length", "2")]
            if self.says:
                headers.append(("Keep-Alive", f"timeout={self.seconds:g}, max=100"))
            out = protocol.send(h11.Response(status_code=200, headers=headers)) or b""
            if protocol.their_state is h11.DONE and self._method != "HEAD":
                out += protocol.send(h11.Data(data=b"ok")) or b""
            out += protocol.send(h11.EndOfMessage()) or b""
            await stream.write(out)
            protocol.start_next_cycle()

    async def _request(self, protocol: h11.Connection, stream: TcpStream) -> str | None:
        name = None
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.read())
            elif isinstance(event, h11.Request):
                self._method = event.method.decode()
                name = event.target.decode()
            elif isinstance(event, h11.EndOfMessage):
                return name
            elif not isinstance(event, h11.Data):
                return None


class IdleStream:
    """The server's end of a connection of HTTP/2, which ends when nothing has come for some seconds."""

    def __init__(self, stream: TcpStream, seconds: float, how: str) -> None:
        self.stream, self.seconds, self.how = stream, seconds, how

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    async def read(self) -> bytes:
        try:
            return await asyncio.wait_for(self.stream.read(), self.seconds)
        except TimeoutError:
            if self.how == "reset":
                self.stream.abort()
            elif self.how == "goaway":
                await self.stream.write(b"\0\0\x08\x07" + bytes(9) + bytes(4))
            await self.stream.close()
            return b""


class IdleHttp2Server:
    """As `IdleServer`. With GOAWAY it says that it has acted on nothing, which is true of what crosses it."""

    def __init__(self, seconds: float, how: str) -> None:
        self.seconds, self.how = seconds, how
        self.acted: Counter[str] = Counter()
        self.connections = 0
        self._server = Http2Server(self._answer)

    def _answer(self, request: Request) -> Answer:
        self.acted[request.target] += 1
        return Answer(body=b"" if request.method == "HEAD" else b"ok")

    async def serve(self, stream: TcpStream) -> None:
        self.connections += 1
        await self._server.serve(IdleStream(stream, self.seconds, self.how))


class SaysHttp2(NetConnector):
    """What TLS would agree on, without it."""

    async def connect(self, url: Any, timeouts: Any, alpn: Any = ("http/1.1",)) -> Connected:
        began = self._clock.now()
        stream = await self.dialer.tcp([url.address], 80, timeouts.connect)
        agreed = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2")
        return Connected(stream, agreed, remote=stream.remote, connect_seconds=self._clock.now() - began)


async def small_stream() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield b"piece of a stream " * 20
        await asyncio.sleep(0.1)


def request(index: int, method: str, scheme: str) -> HttpRequest:
    url = f"{scheme}://192.0.2.80/{index}"
    if method == "stream":
        return HttpRequest(url, method="POST", body=small_stream())
    return HttpRequest(url, method=method, body=b"order" if method in ("POST", "PUT", "PATCH", "REPORT") else None)


def pauses(round_trip: float, kept: float) -> list[float]:
    """Between an answer and the next request: far from the server's end, and all around the moment where they cross."""
    crossing = [kept + shift for shift in (-round_trip, -round_trip / 2, -0.1, 0.0, 0.1, round_trip / 2)]
    return [max(0.0, pause) for pause in (0.0, 0.3 * kept, *crossing, kept - round_trip - 0.05, 3 * kept)]


async def measure(round_trip: float, server: IdleServer | IdleHttp2Server, count: int) -> tuple[HttpClient, list[str]]:
    """The errors of `count` requests of all methods, one after another."""
    wire = Wire(round_trip / 2)
    wire.listen(80, server.serve)
    http2 = isinstance(server, IdleHttp2Server)
    connector: Connector = (SaysHttp2 if http2 else NetConnector)(wire.client, None)
    client = HttpClient(wire.client, connector=connector)
    failed = []
    pairs = zip(itertools.cycle(METHODS), itertools.cycle(pauses(round_trip, server.seconds)), strict=False)
    for index, (method, pause) in enumerate(itertools.islice(pairs, count)):
        await asyncio.sleep(pause)
        try:
            response = await client.fetch(request(index, method, "https" if http2 else "http"))
            body = await response.read()
            assert (response.status, body) == (200, b"" if method == "HEAD" else b"ok")
        except SmolmixError as error:
            failed.append(f"{method} after {pause:g} s: {error.code}")
    return client, failed


@AGAIN
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("kept", KEPT_FOR)
def test_no_request_fails_because_its_server_closed_meanwhile(round_trip: float, kept: float) -> None:
    async def run() -> None:
        for says, how in ((False, "close"), (True, "close"), (False, "reset"), (False, "408")):
            server = IdleServer(kept, says, how)
            client, failed = await measure(round_trip, server, 40)
            assert not failed
            assert set(server.acted.values()) == {1} and len(server.acted) == 40  # nothing was done twice
            if says:
                assert client.statistics.retried == 0  # what is said is kept to
            assert client.connection_count <= 1

    run_virtual(run())


@AGAIN
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("how", ["close", "reset", "goaway"])
def test_nor_over_http2(round_trip: float, how: str) -> None:
    async def run() -> None:
        for kept in KEPT_FOR:
            server = IdleHttp2Server(kept, how)
            client, failed = await measure(round_trip, server, 40)
            assert not failed
            assert set(server.acted.values()) == {1} and len(server.acted) == 40
            assert client.connection_count <= 1

    run_virtual(run())


def main() -> None:
    """The figures: `python -m tests.http.test_kept_connections`."""
    kinds = [(False, False, how) for how in ("close", "reset", "408")] + [(False, True, "close")]
    for http2, says, how in [*kinds, *((True, False, how) for how in ("close", "reset", "goaway"))]:
        for round_trip in ROUND_TRIPS:
            row = []
            for kept in KEPT_FOR:
                server = IdleHttp2Server(kept, how) if http2 else IdleServer(kept, says, how)
                client, failed = run_virtual(measure(round_trip, server, 200))
                twice = sum(count > 1 for count in server.acted.values())
                row.append(
                    f"{len(failed)} failed, {twice} done twice, {client.statistics.retried} sent again, "
                    f"{server.connections} connections"
                )
            name = f"HTTP/{2 if http2 else 1.1}, {how}{' announced' if says else ''}"
            print(f"{name}, round trip {round_trip:g} s:", " | ".join(row), flush=True)


if __name__ == "__main__":
    main()
