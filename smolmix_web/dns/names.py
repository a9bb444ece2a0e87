"""Host names: what may be asked of a resolver, in the one spelling used everywhere (ASCII, lower case, no final dot).

RFC 1035 2.3.4 (lengths), RFC 5890 (IDNA), RFC 6761, 6762, 7686 (names that never go to the public DNS). Names are
checked before anything is sent, so that a local or onion name cannot leak to the resolver at the far end.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from ..errors import DnsError

MAX_NAME = 253
MAX_LABEL = 63

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

# The characters whose meaning differs between IDNA 2003 (what Python has) and what browsers do.
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")
_IDEOGRAPHIC_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")

_SPECIAL = {
    "localhost": "is this machine's own name and has no meaning behind the tunnel (RFC 6761)",
    "local": "belongs to multicast DNS (RFC 6762)",
    "onion": "belongs to Tor (RFC 7686)",
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


def to_ascii(name: str) -> str:
    """The ASCII form of a host name: IDNA applied, lower case, without the final dot. Raises `DnsError(bad_name)`."""
    if not name.isascii():
        name = _idna(name.translate(_IDEOGRAPHIC_DOTS))
    name = name.lower()
    if name.endswith("."):
        name = name[:-1]
    if not name:
        raise bad_name(name, "is empty")
    if len(name) > MAX_NAME:
        raise bad_name(name, f"has {len(name)} characters, more than {MAX_NAME}")
    for label in name.split("."):
        if not label:
            raise bad_name(name, "has an empty label")
        if len(label) > MAX_LABEL:
            raise bad_name(name, f"has a label of {len(label)} characters, more than {MAX_LABEL}")
        if not _LETTERS.issuperset(label):
            raise bad_name(name, "has a character that host names cannot have")
        if label[0] == "-" or label[-1] == "-":
            raise bad_name(name, "has a label that begins or ends with '-'")
    return name


def _idna(name: str) -> str:
    if _DEVIATIONS.intersection(name):
        raise bad_name(name, "reads differently in two versions of IDNA; give its xn-- form")
    from encodings import idna  # pulls in Unicode tables; only names that need it pay

    labels = []
    for label in name.split("."):
        try:
            labels.append(idna.ToASCII(label).decode("ascii") if label else "")
        except UnicodeError as error:
            raise bad_name(name, f"is not a valid international name: {error}") from None
    return ".".join(labels)


def check_public(name: str) -> None:
    """Refuse names (in ASCII form) that must not be sent to a public resolver. Raises `DnsError`."""
    top = name.rpartition(".")[2]
    if top in _SPECIAL:
        raise DnsError(f"{name!r}: .{top} {_SPECIAL[top]}", code="special_name", phase="dns")
    if top == "invalid":
        raise DnsError(f"{name!r} does not exist (RFC 6761)", code="dns_not_found", phase="dns")
    if top.isdigit():
        raise bad_name(name, "ends in a number but is not an IPv4 address")
