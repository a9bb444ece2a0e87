"""Names: what may be asked of a resolver, in the one spelling used everywhere (ASCII, lower case, no final dot).

Host names are read as the host of a URL is (`url_parser.py`: UTS 46, IPv4 addresses in all their forms); what DNS can
carry is asked, whatever its letters. RFC 1035 2.3.4 (lengths) and 5.1 (escapes), RFC 6303, 6761, 6762, 7686, 8375, 9476
(names that never go to the public DNS). Names are checked before anything is sent, so that a local or onion name cannot
leak to the resolver at the far end.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ..errors import DnsError
from ..url_parser import canonical_host

MAX_NAME = 253
MAX_LABEL = 63

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))

_SPECIAL = {
    "localhost": "is this machine's own name and has no meaning behind the tunnel (RFC 6761)",
    "local": "belongs to multicast DNS (RFC 6762)",
    "onion": "belongs to Tor (RFC 7686)",
    "internal": "is for private networks and has no meaning behind the tunnel",
    "home.arpa": "is for home networks and has no meaning behind the tunnel (RFC 8375)",
    "alt": "belongs to other name systems (RFC 9476)",
}


def bad_name(name: str, why: str) -> DnsError:
    shown = name if len(name) <= 80 else name[:77] + "..."
    return DnsError(f"{shown!r} {why}", code="bad_name", phase="dns")


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address literal in its usual spelling, IPv6 with or without brackets; None for anything else."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        pass
    if ":" not in text:
        return None
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return None
    return None if address.scope_id else address


def parse_host(text: str) -> IPv4Address | IPv6Address | str:
    """A host as one names it: an address in any form that a URL may have, or a name. Raises `DnsError(bad_name)`."""
    address = parse_address(text)
    if address is not None:
        return address
    name = to_ascii(text)
    return parse_address(name) or name


def to_ascii(name: str) -> str:
    """The ASCII form of a host name: IDNA applied, lower case, without the final dot. Raises `DnsError(bad_name)`."""
    host = canonical_host(name)
    if host is None:
        raise bad_name(name, "is no host name")
    host = host.removesuffix(".")
    check_labels(host)
    return host


def to_owner(name: str) -> str:
    """The same for the owner of any record: labels of printable characters, others escaped as in RFC 1035 5.1.

    `.` is the root. Raises `DnsError(bad_name)`.
    """
    name = name.lower() if name.isascii() else to_ascii(name)
    if name == ".":
        return name
    if not _PRINTABLE.issuperset(name):
        raise bad_name(name, "has a character that must be escaped")
    if not _LETTERS.issuperset(name.replace(".", "")):
        return _unescaped(name)
    if name.endswith("."):
        name = name[:-1]
    check_labels(name)
    return name


def check_labels(name: str) -> None:
    """Lengths that DNS can carry; no final dot. Raises `DnsError(bad_name)`."""
    if not name:
        raise bad_name(name, "is empty")
    if len(name) > MAX_NAME:
        raise bad_name(name, f"has {len(name)} characters, more than {MAX_NAME}")
    for label in name.split("."):
        if not label:
            raise bad_name(name, "has an empty label")
        if len(label) > MAX_LABEL:
            raise bad_name(name, f"has a label of {len(label)} characters, more than {MAX_LABEL}")


def _unescaped(name: str) -> str:
    import dns.exception
    import dns.name

    try:
        parsed = dns.name.from_text(name)
    except (dns.exception.DNSException, ValueError) as error:
        raise bad_name(name, f"is not a name: {error}") from None
    return parsed.to_text(omit_final_dot=True).lower()


def check_public(name: str) -> None:
    """Refuse names (in ASCII form) that must not be sent to a public resolver. Raises `DnsError`."""
    labels = name.split(".")
    for tail in (labels[-1], ".".join(labels[-2:])):
        if tail in _SPECIAL:
            raise DnsError(f"{name!r}: .{tail} {_SPECIAL[tail]}", code="special_name", phase="dns")
    if labels[-1] == "invalid":
        raise DnsError(f"{name!r} does not exist (RFC 6761)", code="dns_not_found", phase="dns")
    if labels[-1].isdigit():
        raise bad_name(name, "ends in a number but is not an IPv4 address")
    if labels[-1] == "arpa":
        network = _reversed(labels)
        if network is not None and not network.is_global:
            raise DnsError(f"{name!r}: {network} has no public names (RFC 6303)", code="special_name", phase="dns")


def _reversed(labels: list[str]) -> IPv4Network | IPv6Network | None:
    """The network that a reverse name, whole or in part, stands for."""
    zone, digits = labels[-2:-1], labels[-3::-1]
    try:
        if zone == ["in-addr"] and 1 <= len(digits) <= 4:
            number = int.from_bytes(bytes(int(digit) for digit in digits).ljust(4, b"\0"), "big")
            return IPv4Network((number, 8 * len(digits)))
        if zone == ["ip6"] and 1 <= len(digits) <= 32 and all(len(digit) == 1 for digit in digits):
            return IPv6Network((int("".join(digits).ljust(32, "0"), 16), 4 * len(digits)))
    except ValueError:
        pass  # not a reverse name, only one that looks a bit like it
    return None
