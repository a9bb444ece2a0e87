"""A DNS server on this machine whose answers come through the tunnel, over UDP and TCP (RFC 1035, 7766).

What is asked is looked up by the tunnel's own resolver, with its cache, its servers and its ways (also TLS and HTTPS),
and written anew: record types that it does not know are answered with "not implemented". Names that never leave
(`localhost`, `.onion`, ...) do not exist here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from ..dns import DnsAnswer
from ..dns.records import TYPES, Record
from ..errors import SmolmixError
from ..tunnel import Tunnel
from .dns_text import to_text
from .relay import Local

if TYPE_CHECKING:
    from .server import ProxyStatistics

IN_FLIGHT = 256  # questions at once; further ones are dropped, and asked again by whoever asked
IDLE = 30.0  # s without a question, then a TCP connection is closed
PAYLOAD = 1232  # bytes over UDP, whatever a client would take
_PLAIN = 512  # of one that does not know EDNS
_MAX_TTL = 0x7FFFFFFF


class DnsFront:
    """`listen` for UDP; `serve` for one TCP connection; `close`."""

    def __init__(self, tunnel: Tunnel, statistics: ProxyStatistics) -> None:
        self._tunnel = tunnel
        self._statistics = statistics
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))

    def close(self) -> None:
        """What is under way is given up."""
        if self._transport is not None:
            self._transport.close()
        for task in self._tasks:
            task.cancel()

    def datagram(self, data: bytes, address: Any) -> None:
        if len(self._tasks) >= IN_FLIGHT:
            return
        task = asyncio.get_running_loop().create_task(self._reply(data, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, address: Any) -> None:
        answer = await self.answer(data, stream=False)
        if answer is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, address)

    async def serve(self, local: Local) -> None:
        """Questions of one connection, one after the other."""
        received = bytearray()
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(IDLE):
                    data = await local.read()
                if not data:
                    break
                received += data
                while len(received) >= 2 and len(received) >= (end := 2 + int.from_bytes(received[:2], "big")):
                    answer = await self.answer(bytes(received[2:end]), stream=True)
                    del received[:end]
                    if answer is None:
                        local.close()
                        return
                    await local.write(len(answer).to_bytes(2, "big") + answer)
        local.close()

    async def answer(self, data: bytes, *, stream: bool) -> bytes | None:
        """The answer to a message; None for what is none, or must not be answered."""
        try:
            query = dns.message.from_wire(data, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return _format_error(data)
        if query.flags & dns.flags.QR:
            return None
        self._statistics.queries += 1
        response = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        else:
            await self._fill(response, query.question[0], bool(query.flags & dns.flags.AD))
        limit = 65_535 if stream else min(max(query.payload, _PLAIN), PAYLOAD)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    async def _fill(self, response: dns.message.Message, question: dns.rrset.RRset, wants_ad: bool) -> None:
        kind = dns.rdatatype.to_text(question.rdtype)
        if kind not in TYPES or question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.NOTIMP)
            return
        try:
            found = await self._tunnel.lookup(question.name.to_text(omit_final_dot=True) or ".", kind)
        except SmolmixError as error:
            response.set_rcode(_RCODES.get(error.code, dns.rcode.SERVFAIL))
            return
        response.answer = _records(question.name, found)
        if found.authenticated and wants_ad:
            response.flags |= dns.flags.AD


_RCODES = {
    "dns_not_found": dns.rcode.NXDOMAIN,
    "special_name": dns.rcode.NXDOMAIN,
    "dns_no_data": dns.rcode.NOERROR,
    "dns_refused": dns.rcode.REFUSED,
    "bad_name": dns.rcode.FORMERR,
}


def _records(asked: dns.name.Name, found: DnsAnswer) -> list[dns.rrset.RRset]:
    """The records, after one CNAME for the whole chain that led to them."""
    sections = []
    owner = dns.name.from_text(found.records[0].name)
    if owner == asked:
        owner = asked  # in the spelling of the question
    else:
        sections.append(_rrset(asked, found.ttl, "CNAME", [owner.to_text()]))
    by_ttl: list[Record] = list(found.records)
    ttl = min(min(record.ttl for record in by_ttl), _MAX_TTL)
    return [*sections, _rrset(owner, ttl, found.type, [to_text(record) for record in by_ttl])]


def _rrset(owner: dns.name.Name, ttl: int, kind: str, texts: list[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(owner, ttl, "IN", kind, texts)


def _format_error(data: bytes) -> bytes | None:
    """For a question that cannot be read: its id is all there is (RFC 1035 4.1.1). An answer gets none."""
    if len(data) < 12 or data[2] & 0x80:
        return None
    return data[:2] + bytes((0x80 | data[2] & 0x79, 0x80 | int(dns.rcode.FORMERR))) + bytes(8)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, front: DnsFront) -> None:
        self._front = front

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._front.datagram(data, address)
