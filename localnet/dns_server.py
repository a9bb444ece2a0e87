"""The DNS server behind the exits: authoritative for the test names, over UDP, TCP, TLS and HTTPS.

RFC 1035, 6891, 7858, 8484. Every name outside the table does not exist. Some names misbehave on purpose
(`names.SERVFAIL` and others), and `many.test` is too large for a UDP answer, so that clients must come back over TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .counters import Counters
from .http_server import HttpServer, Request, Response, text_response
from .listening import BACKLOG, listen
from .names import FOLDED, REFUSED, SERVFAIL, SILENT, Name

PLAIN_UDP_SIZE = 512
MAX_UDP_SIZE = 1232
TCP_IDLE = 10.0
HTTPS_PATH = "/dns-query"
MEDIA_TYPE = "application/dns-message"


class DnsServer:
    """Answers on loopback ports, one for each protocol; TLS and HTTPS with `tls` only."""

    def __init__(self, names: Iterable[Name], tls: ssl.SSLContext | None = None) -> None:
        self._names = {name.name: name for name in names}
        self._context = tls
        self._tls: asyncio.Server | None = None
        self.tls_port = 0
        self.https = HttpServer(self._post, tls=tls, name="resolver")
        self.counters = Counters()
        self.queries: list[tuple[str, str]] = []
        self.port = 0
        self.udp_port = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def set(self, name: Name) -> None:
        """Add or change a name."""
        self._names[name.name] = name

    async def start(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, sock=listen(host), backlog=BACKLOG)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, 0))
        self.udp_port = self._udp.get_extra_info("sockname")[1]
        if self._context is not None:
            self._tls = await asyncio.start_server(
                self._serve_tls, sock=listen(host), backlog=BACKLOG, ssl=self._context
            )
            self.tls_port = self._tls.sockets[0].getsockname()[1]
            await self.https.start(host)

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        for server in (self._tcp, self._tls):
            if server is not None:
                server.close()
        await self.https.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer(self, wire: bytes, *, stream: bool) -> bytes | None:
        """The answer to one query, or None for silence."""
        try:
            query = dns.message.from_wire(wire)
            if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
                raise dns.exception.FormError
        except Exception:
            self.counters.add("bad.query")
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.counters.add("queries")
        if len(self.queries) < 1000:
            self.queries.append((name, kind))
        if name == SILENT:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        response.flags |= dns.flags.AA
        if name == FOLDED.name:
            self.counters.add("folded")
            question = dns.rrset.RRset(question.name.canonicalize(), question.rdclass, question.rdtype)
            response.question = [question]
        if name == SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name == REFUSED:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            self._fill(response, question.name, name, question.rdtype)
        limit = 65535
        if not stream:
            limit = PLAIN_UDP_SIZE if query.edns < 0 else min(max(query.payload, PLAIN_UDP_SIZE), MAX_UDP_SIZE)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            self.counters.add("truncated")
            short = dns.message.make_response(query, recursion_available=True)
            short.flags |= dns.flags.TC
            return short.to_wire()

    def _fill(self, response: Any, owner: dns.name.Name, name: str, kind: dns.rdatatype.RdataType) -> None:
        entry = self._names.get(name)
        if entry is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(
                dns.rrset.from_text("test.", 30, "IN", "SOA", "ns.test. hostmaster.test. 1 3600 600 86400 30")
            )
            return
        for _ in range(8):
            if entry.alias is None:
                break
            response.answer.append(dns.rrset.from_text(owner, entry.ttl, "IN", "CNAME", f"{entry.alias}."))
            owner = dns.name.from_text(entry.alias)
            following = self._names.get(entry.alias)
            if following is None:
                return
            entry = following
        records = [("A", str(address)) for address in entry.ipv4] + [("AAAA", str(address)) for address in entry.ipv6]
        wanted = dns.rdatatype.to_text(kind)
        data = [text for name, text in (*records, *entry.records) if name == wanted]
        if data:
            response.answer.append(dns.rrset.from_text(owner, entry.ttl, "IN", wanted, *data))

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve("tcp", reader, writer)

    async def _serve_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve("tls", reader, writer)

    async def _post(self, request: Request) -> Response:
        """DNS over HTTPS (RFC 8484), by POST only."""
        if request.path != HTTPS_PATH:
            return text_response("not found\n", 404)
        if request.method != "POST" or request.header("content-type") != MEDIA_TYPE:
            return text_response(f"POST {MEDIA_TYPE}\n", 415)
        self.counters.add("https")
        answer = self.answer(request.body, stream=True)
        if answer is None:
            return text_response("no answer\n", 502)
        return Response(200, [("content-type", MEDIA_TYPE)], answer)

    async def _serve(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), TCP_IDLE), "big")
                wire = await asyncio.wait_for(reader.readexactly(size), TCP_IDLE)
                self.counters.add(kind)
                answer = self.answer(wire, stream=True)
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str | Any, int]) -> None:
        answer = self._server.answer(data, stream=False)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, address)
