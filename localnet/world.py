"""What lies behind the exits: DNS, the origin over HTTP and HTTPS, echoes, and the map that leads there."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from . import names
from .certificates import HTTP2, Authority, self_signed_context
from .dns_server import DnsServer
from .echo import EchoServers
from .http_server import HttpServer
from .observed import Watcher
from .origin import Origin

ECHO_PORTS = (7, 50_007)  # the exits' standard policy refuses the first
ALT_HTTP, ALT_HTTPS = 8080, 8443


class World:
    """All servers on ephemeral loopback ports; `dial_map` says which test address leads to which."""

    def __init__(self, authority: Authority, resolvers: tuple[str, ...]) -> None:
        self.origin = Origin()
        self.dns = DnsServer(names.NAMES, authority.context([names.RESOLVER, *resolvers]))
        self.echo = EchoServers()
        self.dial_map = names.DialMap()
        self._resolvers = resolvers
        secure_names = [name.name for name in names.NAMES if name != names.WRONG_NAME and not name.records]
        addresses = [str(a) for name in (names.ORIGIN, names.WEBSOCKET) for a in (*name.ipv4, *name.ipv6)]
        self._tls = authority.context([*secure_names, *addresses])
        self.http = HttpServer(self.origin.handle, name="origin")
        self.https = HttpServer(self.origin.handle, tls=self._tls, name="origin")
        self.http2 = HttpServer(
            self.origin.handle, tls=authority.context([names.HTTP2.name], alpn=HTTP2), name="origin"
        )
        self._odd = {
            names.SELF_SIGNED: HttpServer(self.origin.handle, tls=self_signed_context([names.SELF_SIGNED.name])),
            names.WRONG_NAME: HttpServer(self.origin.handle, tls=authority.context(["other.test"])),
            names.EXPIRED: HttpServer(self.origin.handle, tls=authority.context([names.EXPIRED.name], expired=True)),
        }
        self._closed_port: socket.socket | None = None

    async def start(self, host: str) -> None:
        servers = [self.http, self.https, self.http2, *self._odd.values()]
        await asyncio.gather(*(server.start(host) for server in servers))
        await self.dns.start(host)
        await self.echo.start(host, self._tls)
        # Bound but not listening: a port that surely refuses, and that nobody else takes meanwhile.
        self._closed_port = socket.socket()
        self._closed_port.bind((host, 0))
        add, add_name = self.dial_map.add, self.dial_map.add_name
        for name in (names.ORIGIN, names.HTTP, names.MANY):
            for port, server in ((80, self.http), (ALT_HTTP, self.http), (443, self.https), (ALT_HTTPS, self.https)):
                add_name(name, "tcp", port, (host, server.port))
        add_name(names.HTTP2, "tcp", 443, (host, self.http2.port))
        for name, server in self._odd.items():
            add_name(name, "tcp", 443, (host, server.port))
        add_name(names.WEBSOCKET, "tcp", 80, (host, self.echo.ws_port))
        add_name(names.WEBSOCKET, "tcp", 443, (host, self.echo.wss_port))
        for port in ECHO_PORTS:
            add_name(names.ECHO, "tcp", port, (host, self.echo.tcp_port))
            add_name(names.ECHO, "udp", port, (host, self.echo.udp_port))
        for port in (80, 443):
            add_name(names.CLOSED, "tcp", port, (host, self._closed_port.getsockname()[1]))
        for resolver in self._resolvers:
            add("tcp", ip_address(resolver), 53, (host, self.dns.port))
            add("udp", ip_address(resolver), 53, (host, self.dns.udp_port))
            add("tcp", ip_address(resolver), 853, (host, self.dns.tls_port))
            add("tcp", ip_address(resolver), 443, (host, self.dns.https.port))

    async def close(self) -> None:
        if self._closed_port is not None:
            self._closed_port.close()
        servers = [self.http, self.https, self.http2, *self._odd.values()]
        await asyncio.gather(*(server.close() for server in servers), self.dns.close(), self.echo.close())

    def watch(self, watcher: Watcher | None) -> None:
        for server in (self.http, self.https, self.http2):
            server.watcher = watcher

    def table(self) -> dict[str, list[str]]:
        """Every name with its addresses, and its other records."""
        table = {}
        for name in names.NAMES:
            records = [str(address) for address in (*name.ipv4, *name.ipv6)]
            records += [f"-> {name.alias}"] if name.alias else []
            table[name.name] = records + [f"{kind} {data}" for kind, data in name.records]
        return table
