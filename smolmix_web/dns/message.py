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
_QR, _QR_OPCODE = 0x80, 0xF8
_AUTHORITATIVE, _RECURSION_AVAILABLE = 0x0400, 0x0080
_TC = 0x0200
_RECURSIVE, _AUTHENTIC = 0x0100, 0x0020


class EdnsRefused(DnsError):
    """The server's error may be about EDNS: whoever used it may ask again without (RFC 6891 7)."""


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


def prepare() -> None:
    """Load the library and the commonest records now, so that the first question need not: about 0.1 s in a browser."""
    import dns.message
    import dns.rdtypes.ANY.OPT
    import dns.rdtypes.IN.A
    import dns.rdtypes.IN.AAAA  # noqa: F401


def mixed_case(name: str, rng: RandomSource) -> str:
    """`name` with each letter in random case: bits that whoever forges an answer has to guess."""
    coins = int.from_bytes(rng.bytes(len(name) // 8 + 1), "big")
    return "".join(c.upper() if coins >> i & 1 else c for i, c in enumerate(name))


def encode_query(name: str, rdtype: int, identifier: int, *, edns: bool = True, padded: bool = False) -> bytes:
    """One recursive question in class IN, with EDNS(0) or not; `name` is ASCII, and is sent in the case it has.

    `padded` hides the length of the name from whoever sees only encrypted messages; it needs EDNS.
    """
    import dns.message
    from dns.rdatatype import RdataType

    query = dns.message.make_query(
        name if name.endswith(".") else name + ".",
        RdataType(rdtype),
        id=identifier,
        use_edns=0 if edns else False,
        payload=EDNS_PAYLOAD if edns else None,
        # AD: say whether signatures were checked (RFC 6840 5.7); who knows no EDNS has not checked any.
        flags=_RECURSIVE | _AUTHENTIC if edns else _RECURSIVE,
        pad=PADDED_QUERY if padded and edns else 0,
    )
    return query.to_wire()


def decode_reply(data: bytes, question: Question, sent: Mapping[int, str], *, exact_case: bool = False) -> Reply | None:
    """The meaning of a message; None when it is not an answer to this question, and the wait goes on.

    `sent` are the names as they were sent, by their identifiers; with `exact_case` the answer must repeat them so.
    Raises `DnsError` when the server answered with an error (`dns_servfail`, `dns_refused`; `EdnsRefused` where EDNS
    may be the reason) or with nonsense (`dns_malformed`). What follows the message is ignored, as everywhere.
    """
    if len(data) < 12 or int.from_bytes(data[:2], "big") not in sent or data[2] & _QR_OPCODE != _QR:
        return None
    import dns.message
    import dns.name
    import dns.rcode

    truncated = bool(int.from_bytes(data[2:4], "big") & _TC)
    try:
        message: Any = dns.message.from_wire(data, ignore_trailing=True, continue_on_error=truncated)
    except Exception as error:  # whatever a parser of foreign bytes stumbles over is the sender's fault
        if truncated:
            return Reply(truncated=True)
        raise _malformed(question, error) from None
    rcode = message.rcode()
    if not message.question and rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):  # it may not have read that far
        raise _server_error(question, message, rcode)
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
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _server_error(question, message, rcode)
    if rcode == dns.rcode.NOERROR and _is_lame(message):
        raise DnsError(f"{question.name}: the server does not resolve names", code="dns_servfail", phase="dns")
    try:
        reply = _meaning(message, rcode == dns.rcode.NXDOMAIN)
    except Exception as error:
        raise _malformed(question, error) from None
    return replace(reply, authenticated=bool(message.flags & _AUTHENTIC), size=len(data))


def _server_error(question: Question, message: Any, rcode: Any) -> DnsError:
    import dns.rcode

    about_edns = rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)
    # Who knows EDNS says so in each answer (RFC 6891 7); some who do not fail at it.
    about_edns = about_edns or (rcode == dns.rcode.SERVFAIL and message.edns < 0)
    text = f"{question.name}: the resolver answered {dns.rcode.to_text(rcode)}"
    code = "dns_refused" if rcode == dns.rcode.REFUSED else "dns_servfail"
    return (EdnsRefused if about_edns else DnsError)(text, code=code, phase="dns")


def _is_lame(message: Any) -> bool:
    """Nothing, from a server that neither knows nor asks on: a referral, or a port that answers anything."""
    knows = message.flags & (_AUTHORITATIVE | _RECURSION_AVAILABLE) or message.answer
    return not knows and not any(rrset.rdtype == _SOA for rrset in message.authority)


def _meaning(message: Any, nxdomain: bool) -> Reply:
    """Records that lead from the question count, whatever the code says beside them; as in browsers."""
    message.set_rcode(0)  # else the library would not look for them
    chain = message.resolve_chaining()
    canonical = text_of(chain.canonical_name)
    if chain.answer is not None:
        return Reply(records_of(chain.answer), chain.minimum_ttl, canonical)
    # RFC 2308 5: without the SOA of its zone a negative answer is not cached.
    has_soa = any(rrset.rdtype == _SOA and chain.canonical_name.is_subdomain(rrset.name) for rrset in message.authority)
    ttl = chain.minimum_ttl if has_soa else 0
    if nxdomain:
        return Reply(ttl=ttl, canonical=canonical, code="dns_not_found")
    if chain.cnames and not has_soa:
        return Reply(ttl=chain.minimum_ttl, canonical=canonical, follow=canonical)
    return Reply(ttl=ttl, canonical=canonical, code="dns_no_data")


def _malformed(question: Question, what: Exception | str) -> DnsError:
    text = what if isinstance(what, str) else f"{type(what).__name__}: {what}"
    return DnsError(f"{question.name}: malformed answer: {text}", code="dns_malformed", phase="dns")
