"""How a resolver is named: by its address, with the way to talk to it.

`8.8.8.8:53` and `udp://8.8.8.8` are plain DNS, `tcp://8.8.8.8` the same over TCP (RFC 7766), `tls://1.1.1.1#name` is
DNS over TLS (RFC 7858), `https://1.1.1.1/dns-query#name` DNS over HTTPS (RFC 8484). The name after `#` is what the
certificate must be for; without one it must be for the address. A server is never given by name: resolving that would
need a resolver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..edge.sockets import Address
from ..errors import DnsError, OptionError
from .names import parse_address, to_ascii

PORTS = {"udp": 53, "tcp": 53, "tls": 853, "https": 443}
DOH_PATH = "/dns-query"

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+):(?P<port>[0-9]{1,5})")
_URL = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!-~]*?)?(?:\{\?dns\})?(?:#(?P<name>[^#]+))?"
)


@dataclass(frozen=True)
class ServerAddress:
    """`scheme` is `udp`, `tcp`, `tls` or `https`; `name` what the certificate is for, None: the address."""

    scheme: str
    address: Address
    port: int
    name: str | None = None
    path: str = ""

    @property
    def encrypted(self) -> bool:
        return self.scheme in ("tls", "https")

    @property
    def url(self) -> str:
        """Of a DNS over HTTPS server: what is asked for, under the name of its certificate."""
        port = "" if self.port == PORTS["https"] else f":{self.port}"
        return f"https://{self.name or _bracketed(self.address)}{port}{self.path}"

    def __str__(self) -> str:
        if self.scheme == "udp":
            return f"{_bracketed(self.address)}:{self.port}"
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        name = f"#{self.name}" if self.name else ""
        return f"{self.scheme}://{_bracketed(self.address)}{port}{self.path}{name}"


def parse_server(option: str, text: str) -> ServerAddress:
    """One of the forms above. Raises `OptionError` in the name of `option`."""
    found = _HOST_PORT.fullmatch(text) or _URL.fullmatch(text)
    parts = found.groupdict() if found is not None else {}
    scheme = parts.get("scheme") or "udp"
    if found is None or scheme not in PORTS:
        raise OptionError(
            option, f"expected address:port, udp://, tcp://, tls:// or https:// with an address, got {text!r:.80}"
        )
    address = parse_address(parts["host"])
    if address is None:
        # A name would have to be resolved first, and there is nobody to ask but the clear net.
        raise OptionError(option, f"expected an IP address and port, got {text!r:.80}")
    port = int(parts["port"] or PORTS[scheme])
    if not 1 <= port <= 65535:
        raise OptionError(option, f"port {port} is not in 1..65535")
    path, name = parts.get("path"), parts.get("name")
    if name is not None:
        if scheme not in ("tls", "https"):
            raise OptionError(option, f"{scheme}:// has no certificate, and so no name after '#'")
        try:
            name = to_ascii(name)
        except DnsError as error:
            raise OptionError(option, error.message) from None
    if scheme == "https":
        path = DOH_PATH if path in (None, "/", "") else path
    elif path not in (None, "/"):
        raise OptionError(option, f"{scheme}:// has no path")
    else:
        path = ""
    return ServerAddress(scheme, address, port, name, path)


def _bracketed(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
