"""DNS on the wire (RFC 1035, 2308, 6891), by dnspython, and the checks that tie an answer to its query."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ..errors import DnsError

EDNS_PAYLOAD = 1232  # fits the tunnel's MTU in both families with room to spare
TYPE_A = 1
TYPE_AAAA = 28
TYPE_SOA = 6

_TC = 0x0200


@dataclass(frozen=True)
class Reply:
    """What one answer says about (name, type).

    `addresses` with `ttl` seconds; or none with `code` `dns_not_found` or `dns_no_data` and the negative `ttl` (0: do
    not cache); or `follow`, the end of a CNAME chain whose address the server left out; or `truncated`: ask again over
    TCP.
    """

    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    ttl: int = 0
    code: str | None = None
    follow: str | None = None
    truncated: bool = False


def encode_query(name: str, rdtype: int, identifier: int) -> bytes:
    """One recursive question in class IN with EDNS(0); `name` is ASCII."""
    import dns.message
    from dns.rdatatype import RdataType

    query = dns.message.make_query(name + ".", RdataType(rdtype), id=identifier, use_edns=0, payload=EDNS_PAYLOAD)
    return query.to_wire()


def decode_reply(data: bytes, name: str, rdtype: int, identifiers: set[int]) -> Reply | None:
    """The meaning of a datagram; None when it is not an answer to this question, and the wait goes on.

    Raises `DnsError` when the server answered with an error (`dns_servfail`, `dns_refused`) or with nonsense
    (`dns_malformed`).
    """
    if len(data) < 12 or int.from_bytes(data[:2], "big") not in identifiers or not data[2] & 0x80:
        return None
    import dns.exception
    import dns.message
    import dns.name
    import dns.rcode

    truncated = bool(int.from_bytes(data[2:4], "big") & _TC)
    try:
        message: Any = dns.message.from_wire(data, ignore_trailing=truncated, continue_on_error=truncated)
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        if truncated:
            return Reply(truncated=True)
        raise _malformed(name, f"{type(error).__name__}: {error}") from None
    wanted = dns.name.from_text(name + ".")
    if len(message.question) != 1:
        raise _malformed(name, f"{len(message.question)} questions in the answer")
    question = message.question[0]
    if question.name != wanted or question.rdtype != rdtype or question.rdclass != 1:
        return None
    if truncated:
        return Reply(truncated=True)
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        text = dns.rcode.to_text(rcode)
        code = "dns_refused" if rcode == dns.rcode.REFUSED else "dns_servfail"
        raise DnsError(f"{name}: the resolver answered {text}", code=code, phase="dns")
    return _meaning(message, name, rcode == dns.rcode.NXDOMAIN)


def _meaning(message: Any, name: str, nxdomain: bool) -> Reply:
    import dns.exception

    try:
        chain = message.resolve_chaining()
    except (dns.exception.DNSException, ValueError, NotImplementedError) as error:
        raise _malformed(name, f"{type(error).__name__}: {error}") from None
    if chain.answer is not None:
        addresses = tuple(
            IPv4Address(rdata.address) if chain.answer.rdtype == TYPE_A else IPv6Address(rdata.address)
            for rdata in chain.answer
        )
        return Reply(addresses=addresses, ttl=chain.minimum_ttl)
    # RFC 2308 5: without an SOA a negative answer is not cached.
    has_soa = any(rrset.rdtype == TYPE_SOA for rrset in message.authority)
    ttl = chain.minimum_ttl if has_soa else 0
    if nxdomain:
        return Reply(code="dns_not_found", ttl=ttl)
    if chain.cnames and not has_soa:
        return Reply(follow=chain.canonical_name.to_text(omit_final_dot=True).lower(), ttl=chain.minimum_ttl)
    return Reply(code="dns_no_data", ttl=ttl)


def _malformed(name: str, what: str) -> DnsError:
    return DnsError(f"{name}: malformed answer: {what}", code="dns_malformed", phase="dns")
