"""Records of the resolver in the presentation format (RFC 1035 5.1, RFC 9460 2.1), for dnspython."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from ..dns.records import HTTPSRecord, Record, TXTRecord

_PLAIN = frozenset(range(0x20, 0x7F)) - {ord('"'), ord("\\")}


def to_text(record: Record) -> str:
    """The data of a record."""
    return _FORMS[record.type](record)


def _quoted(data: bytes) -> str:
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in data) + '"'


def _name(text: str) -> str:
    return text if text == "." else f"{text}."


def _https(record: Any) -> str:
    assert isinstance(record, HTTPSRecord)
    parts = [str(record.priority), _name(record.target)]
    parameters = {
        "mandatory": ",".join(record.mandatory),
        "alpn": ",".join(protocol.replace("\\", "\\\\").replace(",", "\\,") for protocol in record.alpn),
        "port": str(record.port) if record.port is not None else "",
        "ipv4hint": ",".join(map(str, record.ipv4hint)),
        "ipv6hint": ",".join(map(str, record.ipv6hint)),
        "ech": base64.b64encode(record.ech).decode() if record.ech is not None else "",
    }
    parts += [f"{key}={_quoted(value.encode())}" for key, value in parameters.items() if value]
    parts += ["no-default-alpn"] if record.no_default_alpn else []
    parts += [f"{key}={_quoted(value)}" if value else key for key, value in record.other.items()]
    return " ".join(parts)


def _txt(record: Any) -> str:
    assert isinstance(record, TXTRecord)
    return " ".join(_quoted(string) for string in record.strings)


_FORMS: dict[str, Callable[[Any], str]] = {
    "A": lambda record: str(record.address),
    "AAAA": lambda record: str(record.address),
    "CNAME": lambda record: _name(record.target),
    "NS": lambda record: _name(record.target),
    "PTR": lambda record: _name(record.target),
    "MX": lambda record: f"{record.preference} {_name(record.exchange)}",
    "TXT": _txt,
    "SOA": lambda record: " ".join(
        [_name(record.mname), _name(record.rname)]
        + [str(n) for n in (record.serial, record.refresh, record.retry, record.expire, record.minimum)]
    ),
    "SRV": lambda record: f"{record.priority} {record.weight} {record.port} {_name(record.target)}",
    "CAA": lambda record: f"{record.flags} {record.tag} {_quoted(record.value.encode())}",
    "HTTPS": _https,
}
