"""The small world behind the exits: test names, their public-looking addresses, and where they really lead.

The addresses look globally routable, so that an exit's policy lets them pass, and none of them is ever dialled:
the `DialMap` turns (protocol, address, port) into a loopback port, and what is not in it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Name:
    """A test name with its A and AAAA records, and `records` of other types: (type, data as in a zone file)."""

    name: str
    ipv4: tuple[IPv4Address, ...] = ()
    ipv6: tuple[IPv6Address, ...] = ()
    alias: str | None = None  # CNAME
    ttl: int = 60
    records: tuple[tuple[str, str], ...] = ()


def _host(name: str, number: int, ttl: int = 60) -> Name:
    return Name(name, (IPv4Address(f"203.0.114.{number}"),), (IPv6Address(f"2a0e:6a80:114::{number:x}"),), ttl=ttl)


ORIGIN = _host("origin.test", 10)
HTTP = _host("http.test", 11)
WEBSOCKET = _host("ws.test", 12)
ECHO = _host("echo.test", 13)
CLOSED = _host("closed.test", 14)
IPV4_ONLY = Name("ipv4.test", ORIGIN.ipv4)
IPV6_ONLY = Name("ipv6.test", (), ORIGIN.ipv6)
ALIAS = Name("www.test", alias="origin.test")
SHORT = Name("short.test", ORIGIN.ipv4, ttl=1)
MANY = Name(
    "many.test",
    tuple(IPv4Address(f"203.0.114.{n}") for n in range(100, 180)),
    tuple(IPv6Address(f"2a0e:6a80:114::{n:x}") for n in range(100, 180)),
)
SELF_SIGNED = _host("self-signed.test", 15)
WRONG_NAME = _host("wrong-name.test", 16)
EXPIRED = _host("expired.test", 17)
HTTP2 = _host("h2.test", 18)

ZONE = Name(
    "zone.test",
    ORIGIN.ipv4,
    ORIGIN.ipv6,
    ttl=300,
    records=(
        ("SOA", "ns1.zone.test. hostmaster.zone.test. 2026112201 7200 900 1209600 300"),
        ("NS", "ns1.zone.test."),
        ("NS", "ns2.zone.test."),
        ("MX", "20 backup.zone.test."),
        ("MX", "10 mail.zone.test."),
        ("TXT", '"v=spf1 -all"'),
        ("TXT", '"two " "parts, \\195\\188"'),
        ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=203.0.114.10 ipv6hint=2a0e:6a80:114::a ech=AAj+DQAEYWJjZA=="),
        ("CAA", '0 issue "ca.test"'),
        ("CAA", '128 issuewild ";"'),
    ),
)
"""A name with records of many types."""
SERVICE = Name("_sip._tcp.zone.test", records=(("SRV", "10 60 5060 origin.test."), ("SRV", "20 0 5060 http.test.")))
FOLDED = Name("folded.test", ORIGIN.ipv4, ORIGIN.ipv6)
"""A name that comes back in lower case, in whatever case it was asked."""


def _reverse(host: Name) -> tuple[Name, ...]:
    pointer = (("PTR", f"{host.name}."),)
    return tuple(Name(address.reverse_pointer, records=pointer) for address in (*host.ipv4, *host.ipv6))


NAMES: tuple[Name, ...] = (
    ORIGIN,
    HTTP,
    WEBSOCKET,
    ECHO,
    CLOSED,
    IPV4_ONLY,
    IPV6_ONLY,
    ALIAS,
    SHORT,
    MANY,
    SELF_SIGNED,
    WRONG_NAME,
    EXPIRED,
    HTTP2,
    ZONE,
    SERVICE,
    FOLDED,
    *_reverse(ORIGIN),
    *_reverse(HTTP),
)

RESOLVER = "dns.test"
"""What the certificate of the resolvers is for, beside their addresses."""

SERVFAIL = "servfail.test"
REFUSED = "refused.test"
SILENT = "silent.test"
"""Names whose queries fail in a certain way: an error code, or no answer at all."""


@dataclass
class DialMap:
    """(protocol `tcp` or `udp`, public address, port) to a (host, port) on loopback."""

    entries: dict[tuple[str, IPAddress, int], tuple[str, int]] = field(default_factory=dict)

    def add(self, protocol: str, address: str | IPAddress, port: int, target: tuple[str, int]) -> None:
        if protocol not in ("tcp", "udp"):
            raise ValueError(f"protocol {protocol!r}")
        if not ip_address(target[0]).is_loopback:
            raise ValueError(f"{target[0]} is not a loopback address")
        known: IPAddress = ip_address(address) if isinstance(address, str) else address
        self.entries[(protocol, known, port)] = target

    def add_name(self, name: Name, protocol: str, port: int, target: tuple[str, int]) -> None:
        addresses: tuple[IPAddress, ...] = (*name.ipv4, *name.ipv6)
        for address in addresses:
            self.add(protocol, address, port, target)

    def lookup(self, protocol: str, address: IPAddress, port: int) -> tuple[str, int] | None:
        """Where to dial, or None: refuse."""
        return self.entries.get((protocol, address, port))

    def hosts(self) -> set[IPAddress]:
        """All addresses that exist."""
        return {address for _, address, _ in self.entries}
