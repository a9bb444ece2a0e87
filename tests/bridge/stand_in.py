"""A tunnel made of scripts: the bridge's protocol without a network. A test decides what each operation meets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

from smolmix_web.bridge.bridge import Bridge
from smolmix_web.dial import Connected, TlsInfo
from smolmix_web.dns import DnsAnswer
from smolmix_web.dns.records import ARecord
from smolmix_web.errors import SmolmixError, StateError
from smolmix_web.http import CookieJar, HttpRequest, Timeouts
from smolmix_web.http.timings import Timings
from smolmix_web.netstack import Endpoint
from smolmix_web.tunnel import PingReply
from smolmix_web.tunnel.options import TunnelOptions
from smolmix_web.tunnel.pool_options import PoolOptions
from smolmix_web.websocket import Close, WebSocketTimeouts

REQUEST = {
    "url": "https://o.test/",
    "method": "GET",
    "headers": [["a", "b"]],
    "redirect": "follow",
    "maxRedirects": None,
    "allowInsecureRedirects": False,
    "cookies": None,
    "integrity": "",
    "timeouts": None,
    "progress": False,
    "streaming": False,
    "length": None,
}


def request(**fields: Any) -> dict[str, Any]:
    """The `request` of a fetch message."""
    return {**REQUEST, **fields}


LOCAL = Endpoint(IPv4Address("10.0.0.9"), 40_000)
REMOTE = Endpoint(IPv4Address("192.0.2.1"), 7)


@dataclass
class Body:
    """A response: `pieces` are its body; an exception among them breaks it, an Event is waited for."""

    pieces: list[Any]
    status: int = 200
    aborted: bool = False
    read: int = 0
    reason: str = "OK"
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("a", "1"), ("a", "2")])
    url: str = "https://o.test/final#part"
    redirected: bool = True
    http_version: str = "1.1"
    truncated: bool = False
    timings: Timings = field(default_factory=lambda: Timings(0.0))
    tls: Any = field(default_factory=lambda: SimpleNamespace(version="TLSv1.3", cipher="C", alpn="http/1.1"))

    async def read_chunk(self) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, asyncio.Event):
            await piece.wait()
            return await self.read_chunk()
        if isinstance(piece, Exception):
            raise piece
        self.read += 1
        return bytes(piece)

    def abort(self) -> None:
        self.aborted = True


class Stream:
    """A TCP connection whose peer sends what is put into `incoming`; `b""` is its end, in TLS perhaps cut off."""

    def __init__(self, *, truncated: bool = False) -> None:
        self.truncated = truncated
        self.incoming: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.sent: list[bytes] = []
        self.calls: list[str] = []
        self.room = asyncio.Event()
        self.room.set()

    async def read(self, limit: int = 65536) -> bytes:
        item = await self.incoming.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def write(self, data: bytes) -> None:
        await self.room.wait()
        self.sent.append(data)

    async def send_eof(self) -> None:
        self.calls.append("send_eof")

    async def close(self) -> None:
        self.calls.append("close")

    def abort(self, error: SmolmixError | None = None) -> None:
        self.calls.append("abort")


class Socket:
    """A WebSocket that receives what is put into `incoming`."""

    subprotocol = "chat"
    extensions = "permessage-deflate"
    failing = False

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[str | bytes | Close] = asyncio.Queue()
        self.sent: list[str | bytes] = []
        self.calls: list[str] = []
        self.fail: SmolmixError | None = None

    async def receive(self) -> str | bytes | Close:
        return await self.incoming.get()

    async def send(self, message: str | bytes) -> None:
        if self.fail is not None:
            raise self.fail
        self.sent.append(message)

    async def close(self, code: int | None, reason: str) -> Close:
        self.calls.append(f"close {code} {reason}")
        end = Close(1005 if code is None else code, reason, True)
        self.incoming.put_nowait(end)
        return end

    def abort(self, error: SmolmixError | None = None) -> None:
        self.calls.append("abort")
        self.incoming.put_nowait(Close(1006, error.message if error else "", False, error))


class Datagrams:
    """A UDP socket; connected when it has a `remote`."""

    port = 50_000
    family: int | None = None

    def __init__(self, remote: Endpoint | None = None) -> None:
        self.incoming: asyncio.Queue[tuple[bytes, Endpoint] | SmolmixError] = asyncio.Queue()
        self.sent: list[tuple[bytes, str | None, int | None]] = []
        self.closed = False
        self.fail: SmolmixError | None = None
        self.remote = remote
        self.local = LOCAL._replace(port=self.port) if remote is not None else None

    def send_to(self, data: bytes, address: Any, port: int) -> bool:
        return self._send(data, str(address), port)

    def send(self, data: bytes) -> bool:
        return self._send(data, None, None)

    def _send(self, data: bytes, address: str | None, port: int | None) -> bool:
        if self.fail is not None:
            raise self.fail
        self.sent.append((data, address, port))
        return True

    async def receive(self) -> tuple[bytes, Endpoint]:
        item = await self.incoming.get()
        if isinstance(item, SmolmixError):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


class StandIn:
    """Has the interface of `Tunnel` that the bridge uses. `meets[kind]` is a value, an exception, or a callable."""

    def __init__(
        self, options: TunnelOptions, on_change: Callable[[dict[str, Any]], None], meets: dict[str, Any]
    ) -> None:
        self.options = options
        self.on_change = on_change
        self.meets = meets
        self.state = "shutdown"
        self.timeouts = Timeouts(dns=7.0)
        self.jars: dict[str | None, CookieJar] = {}  # by isolation key
        self.isolations: list[str | None] = []  # of fetches and look-ups of addresses
        self.requests: list[HttpRequest] = []
        self.lookups: list[Any] = []
        self.asked: list[dict[str, Any]] = []  # of sockets
        self.cancelled: list[str] = []
        self.networks: list[bool] = []  # online or not, as the page told
        self.rests: list[bool] = []  # suspended or not

    async def _meet(self, kind: str, default: Any = None) -> Any:
        what = self.meets.get(kind, default)
        if isinstance(what, Exception):
            raise what
        if isinstance(what, asyncio.Event):
            try:
                await what.wait()
            except asyncio.CancelledError:
                self.cancelled.append(kind)
                raise
            return default
        return what

    async def start(self) -> None:
        self.state = "connecting"
        self.on_change({"state": "connecting", "step": "directory"})
        await self._meet("start")
        self.state = "ready"
        self.on_change({"state": "ready", "step": None})

    async def close(self) -> None:
        await self._meet("close")
        self.state = "shutdown"

    def network_changed(self, online: bool = True) -> None:
        self.networks.append(online)

    async def suspend(self) -> None:
        await self._meet("suspend")
        self.rests.append(True)

    def resume(self) -> None:
        self.rests.append(False)

    def statistics(self) -> dict[str, Any]:
        return {"packets_sent": 3}

    async def lookup(self, name: str, type: str, **options: Any) -> Any:
        self.lookups.append((name, type, options))
        answer = DnsAnswer(name, type, (ARecord(name, 60, IPv4Address("192.0.2.1")),), name, 60, "s", False, True)
        return await self._meet("lookup", answer)

    def clear_dns_cache(self) -> None:
        self.lookups.append("cleared")

    async def resolve(self, name: str, *, family: int | None = None, isolation: str | None = None) -> list[IPv4Address]:
        self.isolations.append(isolation)
        found: list[IPv4Address] = await self._meet("resolve", [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")])
        return found

    def jar(self, isolation: str | None = None) -> CookieJar:
        return self.jars.setdefault(isolation, CookieJar(lambda: 1_700_000_000.0))

    async def fetch(self, request: HttpRequest, *, isolation: str | None = None) -> Any:
        self.requests.append(request)
        self.isolations.append(isolation)
        what = await self._meet("fetch", Body([]))
        return await what(request) if callable(what) else what

    @property
    def websocket_timeouts(self) -> WebSocketTimeouts:
        return WebSocketTimeouts.over(self.timeouts)

    async def connect_websocket(self, url: str, protocols: Any, headers: Any, timeouts: Any, *, isolation: Any) -> Any:
        given = {"protocols": list(protocols), "headers": headers, "timeouts": timeouts, "isolation": isolation}
        self.asked.append({"url": url, **given})
        return await self._meet("websocket", Socket())

    async def connect_tcp(self, host: str, port: int, *, tls: Any = False, **given: Any) -> Connected:
        self.asked.append({"host": host, "port": port, "tls": tls, **given})
        stream = await self._meet("tcp", Stream())
        facts = TlsInfo("TLSv1.3", "C", "h2") if tls else None
        return Connected(stream, facts, local=LOCAL, remote=REMOTE)

    async def usable(self, isolation: str | None = None) -> None:
        await self._meet("usable")

    def bind_udp(self, port: int = 0, **given: Any) -> Any:
        self.asked.append({"port": port, **given})
        what = self.meets.get("udp")
        if isinstance(what, Exception):
            raise what
        return what or Datagrams()

    async def connect_udp(self, host: str, port: int, **given: Any) -> Any:
        self.asked.append({"host": host, "port": port, **given})
        return await self._meet("udp", Datagrams(REMOTE))

    async def ping(self, host: str, **given: Any) -> PingReply:
        self.asked.append({"host": host, **given})
        reply: PingReply = await self._meet("ping", PingReply(REMOTE.address, 1.25))
        return reply

    # Of other clients there are none here: tests/bridge/test_peers.py has real tunnels.

    @property
    def messages(self) -> Any:
        raise not_ready()

    listener = messages

    def listen(self) -> Any:
        raise not_ready()

    async def open_stream(self, address: str, *, surbs: int) -> Any:
        raise not_ready()


def tcp_request(**fields: Any) -> dict[str, Any]:
    """What a page asks for by `tcp`, plain unless it says otherwise."""
    plain = {"host": "h", "port": 80, "family": None, "tls": None, "noDelay": True, "timeouts": {}}
    return {**plain, "keepAliveDelay": None, "sendBufferSize": None, "receiveBufferSize": None, **fields}


class Page:
    """The page's end: sends messages, keeps what comes back."""

    def __init__(self, **meets: Any) -> None:
        self.posted: list[dict[str, Any]] = []
        self.meets = meets
        self.tunnel: StandIn | None = None
        self.pool: PoolOptions | None = None
        self.bridge = Bridge(self.posted.append, self._make)  # type: ignore[arg-type]

    def _make(
        self, options: TunnelOptions, on_change: Callable[[dict[str, Any]], None], pool: PoolOptions | None = None
    ) -> StandIn:
        self.pool = pool
        if isinstance(self.meets.get("make"), Exception):
            raise self.meets["make"]
        self.tunnel = StandIn(options, on_change, self.meets)
        return self.tunnel

    def say(self, kind: str, id: int = 1, **fields: Any) -> None:
        self.bridge.receive({"type": kind, "id": id, **fields})

    async def set_up(self) -> StandIn:
        self.say("setup", 1000, options={})
        await settle()
        self.posted.clear()
        assert self.tunnel is not None
        return self.tunnel

    def kinds(self, id: int = 1) -> list[str]:
        return [message["type"] for message in self.posted if message.get("id") == id]

    def take(self) -> list[dict[str, Any]]:
        taken, self.posted[:] = list(self.posted), []
        return taken

    def error(self, id: int = 1) -> tuple[str, str | None]:
        """Code and phase of the one error of an id, which must be its last message."""
        mine = [message for message in self.posted if message.get("id") == id]
        assert [message["type"] for message in mine].count("error") == 1 and mine[-1]["type"] == "error", mine
        return mine[-1]["error"]["code"], mine[-1]["error"]["phase"]

    @property
    def open(self) -> int:
        """Ids that the bridge still knows."""
        return len(self.bridge._channels) + len(self.bridge._tasks)


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


def not_ready() -> StateError:
    return StateError("the tunnel is not ready", code="tunnel_down")
