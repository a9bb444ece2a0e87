"""DNS on the wire (RFC 1035, 2308, 6891), by dnspython, and the checks that tie an answer to its query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..errors import DnsError
from ..rand import RandomSource
from .records import Record, records_of, text_of

EDNS_PAYLOAD = 1232  # fits the tunnel's MTU in both families with room to spare
PADDED_QUERY = 128  # RFC 8467 4.1: encrypted queries are as long as this, or twice, ...

_SOA = 6
_QR = 0x80
_TC = 0x0200
_RECURSIVE, _AUTHENTIC = 0x0100, 0x0020


class Question(NamedTuple):
    """`name` in the one spelling, `rdtype` by number; the class is always IN."""

    name: str
    rdtype: int


@dataclass(frozen=True)
class Reply:
    """What one answer says about a question.

    `records` with `ttl` seconds and the `canonical` name at the end of the CNAMEs; or none with `code` `dns_not_found`
    or `dns_no_data` and the negative `ttl` (0: do not cache); or `follow`, the end of a CNAME chain of which the server
    left out the rest; or `truncated`: ask again over TCP; or `folded`: an answer to the question in another case, for
    whoever asked in random case. `authenticated` is the server's word that it checked signatures. `size` in bytes.
    """

    records: tuple[Record, ...] = ()
    ttl: int = 0
    canonical: str = ""
    code: str | None = None
    follow: str | None = None
    truncated: bool = False
    folded: bool = False
    authenticated: bool = False
    size: int = 0

    def aged(self, seconds: int) -> Reply:
        """The same reply after it lay `seconds` in a cache that does not count down by itself (RFC 8484 5.1)."""
        records = tuple(record.aged(seconds) for record in self.records)
        return replace(self, records=records, ttl=max(0, self.ttl - seconds))


def mixed_case(name: str, rng: RandomSource) -> str:
    """`name` with each letter in random case: bits that whoever forges an answer has to guess."""
    coins = int.from_bytes(rng.bytes(len(name) // 8 + 1), "big")
    return "".join(c.upper() if coins >> i & 1 else c for i, c in enumerate(name))


def encode_query(name: str, rdtype: int, identifier: int, *, padded: bool = False) -> bytes:
    """One recursive question in class IN with EDNS(0); `name` is ASCII, and is sent in the case it has.

    `padded` hides the length of the name from whoever sees only encrypted messages.
    """
    import dns.message
    from dns.rdatatype import RdataType

    query = dns.message.make_query(
        name if name.endswith(".") else name + ".",
        RdataType(rdtype),
        id=identifier,
        use_edns=0,
        payload=EDNS_PAYLOAD,
        flags=_RECURSIVE | _AUTHENTIC,  # AD: say whether signatures were checked (RFC 6840 5.7)
        pad=PADDED_QUERY if padded else 0,
    )
    return query.to_wire()


def decode_reply(data: bytes, question: Question, sent: Mapping[int, str], *, exact_case: bool = False) -> Reply | None:
    """The meaning of a message; None when it is not an answer to this question, and the wait goes on.

    `sent` are the names as they were sent, by their identifiers; with `exact_case` the answer must repeat them so.
    Raises `DnsError` when the server answered with an error (`dns_servfail`, `dns_refused`) or with nonsense
    (`dns_malformed`).
    """
    if len(data) < 12 or int.from_bytes(data[:2], "big") not in sent or not data[2] & _QR:
        return None
    import dns.message
    import dns.name
    import dns.rcode

    truncated = bool(int.from_bytes(data[2:4], "big") & _TC)
    try:
        message: Any = dns.message.from_wire(data, ignore_trailing=truncated, continue_on_error=truncated)
    except Exception as error:  # whatever a parser of foreign bytes stumbles over is the sender's fault
        if truncated:
            return Reply(truncated=True)
        raise _malformed(question, error) from None
    if len(message.question) != 1:
        if truncated:
            return Reply(truncated=True)
        raise _malformed(question, f"{len(message.question)} questions in the answer")
    asked = message.question[0]
    wanted = dns.name.from_text(sent[message.id])
    if asked.name != wanted or asked.rdtype != question.rdtype or asked.rdclass != 1:
        return None
    if exact_case and asked.name.labels != wanted.labels:
        return Reply(folded=True)
    if truncated:
        return Reply(truncated=True)
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        text = dns.rcode.to_text(rcode)
        code = "dns_refused" if rcode == dns.rcode.REFUSED else "dns_servfail"
        raise DnsError(f"{question.name}: the resolver answered {text}", code=code, phase="dns")
    try:
        reply = _meaning(message, rcode == dns.rcode.NXDOMAIN)
    except Exception as error:
        raise _malformed(question, error) from None
    return replace(reply, authenticated=bool(message.flags & _AUTHENTIC), size=len(data))


def _meaning(message: Any, nxdomain: bool) -> Reply:
    chain = message.resolve_chaining()
    canonical = text_of(chain.canonical_name)
    if chain.answer is not None:
        return Reply(records_of(chain.answer), chain.minimum_ttl, canonical)
    # RFC 2308 5: without an SOA a negative answer is not cached.
    has_soa = any(rrset.rdtype == _SOA for rrset in message.authority)
    ttl = chain.minimum_ttl if has_soa else 0
    if nxdomain:
        return Reply(ttl=ttl, canonical=canonical, code="dns_not_found")
    if chain.cnames and not has_soa:
        return Reply(ttl=chain.minimum_ttl, canonical=canonical, follow=canonical)
    return Reply(ttl=ttl, canonical=canonical, code="dns_no_data")


def _malformed(question: Question, what: Exception | str) -> DnsError:
    text = what if isinstance(what, str) else f"{type(what).__name__}: {what}"
    return DnsError(f"{question.name}: malformed answer: {text}", code="dns_malformed", phase="dns")
