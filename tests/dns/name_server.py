"""A name server made of dnspython at the far end of a wire: over UDP, TCP and TLS, with habits good and bad."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from smolmix_web.dns import Resolver, ServerAddress
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.netstack import Endpoint
from smolmix_web.rand import SeededRandom
from tests.tls_server import TlsServer
from tests.wire import Wire

PRIMARY, FALLBACK = "192.0.2.53", "192.0.2.54"
TIMEOUT = 30.0
SOA = "ns.test. admin.test. 1 2 3 4 30"


class Query(NamedTuple):
    """What came in: `server` is the address asked, or "tcp" or "tls"; the name as it was spelled."""

    server: str
    name: str
    type: str
    port: int
    wire: bytes


class NameServer:
    """Answers at any address, on UDP and TCP port 53, and on 853 once there is a `context`."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.records: dict[tuple[str, str], list[str]] = {("origin.test.", "A"): ["192.0.2.80"]}
        self.ttl = 60
        self.rcode: dict[str, int] = {}
        self.silent: set[str] = set()
        self.deaf_for = 0  # queries lost before the first answer
        self.delay = 0.0
        self.folds_case = False
        self.edns_error: int | None = None  # to each question with EDNS, by who does not know it
        self.edns_error_bare = False  # and without the question
        self.mangle: Callable[[dns.message.Message], bytes] | None = None
        self.mangle_stream: Callable[[bytes], list[bytes]] = lambda out: [out]  # the messages sent for an answer
        self.answers_per_connection = 1_000_000
        self.hold = 0  # answers collected on a connection, then sent the last first
        self.context: ssl.SSLContext | None = None
        self.connections = 0
        self.seen: list[Query] = []
        wire.server.stack.on_udp = self._udp
        wire.listen(53, self._tcp)
        wire.listen(853, self._tls)

    @property
    def queries(self) -> list[tuple[str, str, str, int]]:
        """Server, name in lower case, type, source port."""
        return [(query.server, query.name.lower(), query.type, query.port) for query in self.seen]

    def _note(self, server: str, wire: bytes, port: int) -> dns.message.Message:
        message = dns.message.from_wire(wire)
        question = message.question[0]
        self.seen.append(Query(server, str(question.name), dns.rdatatype.to_text(question.rdtype), port, wire))
        return message

    def _udp(self, source: Endpoint, destination: Endpoint, data: bytes, now: float) -> None:
        server = str(destination.address)
        message = self._note(server, data, source.port)
        if self.deaf_for > 0:
            self.deaf_for -= 1
            return
        if server in self.silent:
            return
        response = self.answer(message, server)
        out = self.mangle(response) if self.mangle is not None else response.to_wire(max_size=65535)

        def send() -> None:
            self.wire.server.stack.send_udp(destination, source, out, self.wire.server.now())
            self.wire.server.wake()

        asyncio.get_running_loop().call_later(self.delay, send)

    def answer(self, message: dns.message.Message, server: str) -> dns.message.Message:
        response = dns.message.make_response(message)
        if self.edns_error is not None:
            response.use_edns(False)
            if message.edns >= 0:
                response.set_rcode(dns.rcode.Rcode(self.edns_error))
                if self.edns_error_bare:
                    response.question = []
                return response
        if server in self.rcode:
            response.set_rcode(dns.rcode.Rcode(self.rcode[server]))
            return response
        question = message.question[0]
        name, kind = str(question.name).lower(), dns.rdatatype.to_text(question.rdtype)
        if self.folds_case:
            response.question = [dns.rrset.RRset(dns.name.from_text(name), question.rdclass, question.rdtype)]
        owner = response.question[0].name
        while (name, "CNAME") in self.records and kind != "CNAME":
            (target,) = self.records[name, "CNAME"]
            response.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", "CNAME", target))
            owner, name = dns.name.from_text(target), target
        if (name, kind) in self.records:
            response.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", kind, *self.records[name, kind]))
        elif not response.answer and not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not response.answer:
            response.authority.append(dns.rrset.from_text("test.", 30, "IN", "SOA", SOA))
        return response

    async def _tcp(self, stream: TcpStream) -> None:
        await self._serve(stream, "tcp")

    async def _tls(self, stream: TcpStream) -> None:
        assert self.context is not None
        tls = TlsServer(stream, self.context)
        with contextlib.suppress(ssl.SSLError):  # the client refused us
            await tls.handshake()
            await self._serve(tls, "tls")
        await stream.close()

    async def _serve(self, stream: Any, kind: str) -> None:
        self.connections += 1
        received, waiting = b"", []
        for _ in range(self.answers_per_connection):
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                data = await stream.read()
                if not data:
                    return
                received += data
            end = 2 + int.from_bytes(received[:2], "big")
            message, received = self._note(kind, received[2:end], 0), received[end:]
            if kind in self.silent:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            waiting.append(self.answer(message, kind).to_wire(max_size=65535))
            if len(waiting) < self.hold:
                continue
            while waiting:
                for out in self.mangle_stream(waiting.pop()):
                    await stream.write(len(out).to_bytes(2, "big") + out)
        await stream.close()


def address(scheme: str = "udp", literal: str = PRIMARY, name: str | None = None) -> ServerAddress:
    from ipaddress import ip_address

    return ServerAddress(scheme, ip_address(literal), {"udp": 53, "tcp": 53, "tls": 853}[scheme], name)


def set_up(
    primary: ServerAddress | None = None, fallback: bool = True, ipv6: bool = False, **options: Any
) -> tuple[Wire, NameServer, Resolver]:
    wire = Wire(ipv6=ipv6)
    server = NameServer(wire)
    rng = SeededRandom("resolver")
    second = (FALLBACK, 53) if fallback else None
    return wire, server, Resolver(wire.client, primary or (PRIMARY, 53), second, TIMEOUT, rng, **options)
