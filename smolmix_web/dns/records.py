"""Resource records as plain values: one frozen dataclass for each type, made of what dnspython has parsed.

Names are in lower case and without the final dot (`.` is the root): a query in random case comes back in random case.
RFC 1035 3.3 and 3.4.1, RFC 2782 (SRV), RFC 3596 (AAAA), RFC 8659 (CAA), RFC 9460 (HTTPS).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address
from typing import Any, ClassVar, TypeVar

from ..errors import DnsError

R = TypeVar("R", bound="Record")


@dataclass(frozen=True)
class Record:
    """What all have: the owner's `name`, and `ttl` in seconds."""

    type: ClassVar[str]
    name: str
    ttl: int

    def to_dict(self) -> dict[str, Any]:
        """For a page: camelCase keys, addresses as text, binary data as base64."""
        return {"type": self.type, **{_camel(f.name): _plain(getattr(self, f.name)) for f in fields(self)}}

    def aged(self: R, seconds: float) -> R:
        """The same record, this much later."""
        return replace(self, ttl=max(0, int(self.ttl - seconds)))


@dataclass(frozen=True)
class ARecord(Record):
    type: ClassVar[str] = "A"
    address: IPv4Address


@dataclass(frozen=True)
class AAAARecord(Record):
    type: ClassVar[str] = "AAAA"
    address: IPv6Address


@dataclass(frozen=True)
class CNAMERecord(Record):
    type: ClassVar[str] = "CNAME"
    target: str


@dataclass(frozen=True)
class NSRecord(Record):
    type: ClassVar[str] = "NS"
    target: str


@dataclass(frozen=True)
class PTRRecord(Record):
    type: ClassVar[str] = "PTR"
    target: str


@dataclass(frozen=True)
class MXRecord(Record):
    """`exchange` `.`: this name takes no mail (RFC 7505)."""

    type: ClassVar[str] = "MX"
    preference: int
    exchange: str


@dataclass(frozen=True)
class TXTRecord(Record):
    type: ClassVar[str] = "TXT"
    strings: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """All strings joined, as UTF-8; what is not is replaced."""
        return b"".join(self.strings).decode("utf-8", "replace")

    def to_dict(self) -> dict[str, Any]:
        strings = [string.decode("utf-8", "replace") for string in self.strings]
        return {**super().to_dict(), "strings": strings, "text": self.text, "base64": _plain(self.strings)}


@dataclass(frozen=True)
class SOARecord(Record):
    """Times in seconds; `rname` is the mailbox of who is responsible, with `.` for `@`."""

    type: ClassVar[str] = "SOA"
    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@dataclass(frozen=True)
class SRVRecord(Record):
    """`target` `.`: there is no such service."""

    type: ClassVar[str] = "SRV"
    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True)
class CAARecord(Record):
    """`value` is text in every property there is; bytes that are not are replaced."""

    type: ClassVar[str] = "CAA"
    flags: int
    tag: str
    value: str

    @property
    def critical(self) -> bool:
        return bool(self.flags & 0x80)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "critical": self.critical}


@dataclass(frozen=True)
class HTTPSRecord(Record):
    """`priority` 0: an alias for `target`. Else the parameters; `target` `.` is the owner itself.

    `ech` is an ECHConfigList. `other` are the remaining parameters, by name (`dohpath`, `key65333`), as on the wire.
    """

    type: ClassVar[str] = "HTTPS"
    priority: int
    target: str
    alpn: tuple[str, ...] = ()
    no_default_alpn: bool = False
    port: int | None = None
    ipv4hint: tuple[IPv4Address, ...] = ()
    ipv6hint: tuple[IPv6Address, ...] = ()
    ech: bytes | None = None
    mandatory: tuple[str, ...] = ()
    other: dict[str, bytes] = field(default_factory=dict, hash=False)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (IPv4Address, IPv6Address)):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


# -- from dnspython ---------------------------------------------------------------------------------


def text_of(name: Any) -> str:
    """A `dns.name.Name` in the spelling used everywhere."""
    return str(name.to_text(omit_final_dot=True)).lower()


def _https(name: str, ttl: int, rdata: Any) -> HTTPSRecord:
    import dns.rdtypes.svcbbase as svcb

    key = svcb.ParamKey
    key_text: Callable[[int], str] = svcb.key_to_text
    params: dict[int, Any] = dict(rdata.params)
    values: dict[str, Any] = {}
    if key.ALPN in params:
        values["alpn"] = tuple(protocol.decode("utf-8", "replace") for protocol in params.pop(key.ALPN).ids)
    if key.NO_DEFAULT_ALPN in params:
        params.pop(key.NO_DEFAULT_ALPN)
        values["no_default_alpn"] = True
    if key.PORT in params:
        values["port"] = params.pop(key.PORT).port
    if key.IPV4HINT in params:
        values["ipv4hint"] = tuple(IPv4Address(address) for address in params.pop(key.IPV4HINT).addresses)
    if key.IPV6HINT in params:
        values["ipv6hint"] = tuple(IPv6Address(address) for address in params.pop(key.IPV6HINT).addresses)
    if key.ECH in params:
        values["ech"] = params.pop(key.ECH).ech
    if key.MANDATORY in params:
        values["mandatory"] = tuple(key_text(item) for item in params.pop(key.MANDATORY).keys)
    values["other"] = {key_text(item): _wire(param) for item, param in params.items()}
    return HTTPSRecord(name, ttl, rdata.priority, text_of(rdata.target), **values)


def _wire(param: Any) -> bytes:
    if param is None:
        return b""
    buffer = BytesIO()
    param.to_wire(buffer)
    return buffer.getvalue()


def _soa(name: str, ttl: int, rdata: Any) -> SOARecord:
    times = (rdata.serial, rdata.refresh, rdata.retry, rdata.expire, rdata.minimum)
    return SOARecord(name, ttl, text_of(rdata.mname), text_of(rdata.rname), *times)


_MAKERS: dict[str, Callable[[str, int, Any], Record]] = {
    "A": lambda name, ttl, rdata: ARecord(name, ttl, IPv4Address(rdata.address)),
    "AAAA": lambda name, ttl, rdata: AAAARecord(name, ttl, IPv6Address(rdata.address)),
    "CNAME": lambda name, ttl, rdata: CNAMERecord(name, ttl, text_of(rdata.target)),
    "NS": lambda name, ttl, rdata: NSRecord(name, ttl, text_of(rdata.target)),
    "PTR": lambda name, ttl, rdata: PTRRecord(name, ttl, text_of(rdata.target)),
    "MX": lambda name, ttl, rdata: MXRecord(name, ttl, rdata.preference, text_of(rdata.exchange)),
    "TXT": lambda name, ttl, rdata: TXTRecord(name, ttl, tuple(rdata.strings)),
    "SOA": _soa,
    "SRV": lambda name, ttl, rdata: SRVRecord(
        name, ttl, rdata.priority, rdata.weight, rdata.port, text_of(rdata.target)
    ),
    "CAA": lambda name, ttl, rdata: CAARecord(
        name, ttl, rdata.flags, rdata.tag.decode("ascii").lower(), rdata.value.decode("utf-8", "replace")
    ),
    "HTTPS": _https,
}

TYPES: dict[str, int] = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65,
    "CAA": 257,
}  # fmt: skip


def type_number(name: str) -> int:
    """The number of a record type, by its name in any case. Raises `DnsError(bad_type)`."""
    number = TYPES.get(name.upper())
    if number is None:
        raise DnsError(f"{name!r:.40} is not one of {', '.join(TYPES)}", code="bad_type", phase="dns")
    return number


_NAMES = {number: name for name, number in TYPES.items()}


def type_name(number: int) -> str:
    return _NAMES[number]


def records_of(rrset: Any) -> tuple[Record, ...]:
    """The records of a `dns.rrset.RRset` of one of `TYPES`, by preference or priority where they have one."""
    make, name = _MAKERS[_NAMES[rrset.rdtype]], text_of(rrset.name)
    records = [make(name, rrset.ttl, rdata) for rdata in rrset]
    return tuple(sorted(records, key=lambda record: getattr(record, "preference", getattr(record, "priority", 0))))


__all__ = [
    "TYPES",
    "AAAARecord",
    "ARecord",
    "CAARecord",
    "CNAMERecord",
    "HTTPSRecord",
    "MXRecord",
    "NSRecord",
    "PTRRecord",
    "Record",
    "SOARecord",
    "SRVRecord",
    "TXTRecord",
    "records_of",
    "text_of",
    "type_name",
    "type_number",
]
