"""URLs as a fetch needs them: http, https, ws and wss only, read as browsers read them (`url_parser.py`).

Other schemes, and hosts and ports that cannot be asked for, are refused with `HttpError(code="bad_url")` before
anything is sent. Credentials in a URL become the value of an Authorization header at once (RFC 7617), and no text made
of a URL shows them again.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from ..dns.names import check_labels, parse_address
from ..errors import DnsError, HttpError
from ..url_parser import UrlParts, split_url

MAX_URL = 2 << 20  # characters, as in Chromium
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
# Whatever may have been meant as credentials: a text that is refused shows rather too little.
_CREDENTIALS = re.compile(r"\A([A-Za-z][A-Za-z0-9+.\-]*:)?([/\\]*).*@", re.DOTALL)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_LEADING = "".join(map(chr, range(0x21)))


def _bad(text: str, why: str) -> HttpError:
    text = _CREDENTIALS.sub(r"\1\2***@", _stripped(text))
    shown = text if len(text) <= 120 else text[:117] + "..."
    return HttpError(f"{shown!r}: {why}", code="bad_url", phase="request")


@dataclass(frozen=True)
class Url:
    """A parsed URL. `host` is ASCII, without brackets, with the final dot that was given; `path` begins with `/`;
    `query` and `fragment` are without their sign.

    `authorization`: of the credentials in it, for the header of that name.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str | None = None
    fragment: str | None = None
    authorization: str | None = field(default=None, repr=False)

    @property
    def secure(self) -> bool:
        return self.scheme in ("https", "wss")

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address when the host is a literal."""
        return parse_address(self.host)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """`host[:port]` as in the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """The request target in origin form."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    def __str__(self) -> str:
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.scheme}://{self.authority}{self.target}{fragment}"


def parse_url(text: str, schemes: tuple[str, ...] = ("http", "https")) -> Url:
    """An absolute URL. Raises `HttpError(bad_url)` naming what is wrong."""
    return _checked(text, None, schemes)


def join_url(base: Url, reference: str) -> Url:
    """Resolve a reference (a Location) against `base`, same family of schemes. Raises `HttpError(bad_url)`.

    Only credentials of the reference itself are in the result.
    """
    return _checked(reference, str(base), ("http", "https") if base.scheme in ("http", "https") else ("ws", "wss"))


def _checked(text: str, base: str | None, schemes: tuple[str, ...]) -> Url:
    if not isinstance(text, str):
        raise HttpError(f"a URL must be a string, not {type(text).__name__}", code="bad_url", phase="request")
    if len(text) > MAX_URL:
        raise _bad(text, f"is longer than {MAX_URL} characters")
    parts = split_url(text, base)
    if parts is None or parts.scheme not in schemes:
        raise _bad(text, _why(text, schemes))
    if parts.port == 0:
        raise _bad(text, "port 0 cannot be connected to")
    try:
        if parse_address(parts.host) is None:
            check_labels(parts.host.removesuffix("."))
    except DnsError as error:
        raise _bad(text, error.message) from None
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return Url(parts.scheme, parts.host, port, parts.path, parts.query, parts.fragment, _authorization(parts))


def _why(text: str, schemes: tuple[str, ...]) -> str:
    """What the parser does not tell."""
    scheme = _SCHEME.match(_stripped(text))
    if scheme is None:
        return "is not a URL"
    return "has no valid host or port" if scheme[1].lower() in schemes else f"the scheme must be {' or '.join(schemes)}"


def _stripped(text: str) -> str:
    return text.strip(_LEADING).translate({9: None, 10: None, 13: None})


def _authorization(parts: UrlParts) -> str | None:
    """The credentials as the value of an Authorization header; None when both are empty."""
    user, _, password = parts.credentials.partition(":")
    if not user and not password:
        return None
    octets = _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), f"{user}:{password}".encode())
    return f"Basic {b64encode(octets).decode()}"
