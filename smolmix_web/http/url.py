"""URLs as a fetch needs them: http, https, ws and wss only, spelled as browsers spell them (WHATWG URL, special
schemes).

Not a general URL parser: other schemes and hosts that cannot be asked for are refused with
`HttpError(code="bad_url")` before anything is sent. Credentials in a URL become the value of an Authorization header
at once (RFC 7617), and no text made of a URL shows them again.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from ..dns.names import parse_address, to_ascii
from ..errors import DnsError, HttpError

MAX_URL = 65_536
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_AUTHORITY = re.compile(r"[/\\]*([^/\\?#]*)(.*)\Z", re.DOTALL)
_FORBIDDEN_HOST = re.compile(r"[\x00-\x20#/:<>?@\[\\\]^|%\x7f]")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
# Whatever may have been meant as credentials: a text that is refused shows rather too little.
_CREDENTIALS = re.compile(r"\A([A-Za-z][A-Za-z0-9+.\-]*:)?([/\\]*).*@", re.DOTALL)
_LEADING = "".join(map(chr, range(0x21)))

# Bytes that stay as they are; the rest is percent-encoded (WHATWG path and special-query percent-encode sets).
_PATH_SAFE = frozenset(range(0x21, 0x7F)) - frozenset(b'"#<>?^`{}')
_QUERY_SAFE = frozenset(range(0x21, 0x7F)) - frozenset(b"\"#<>'")
_FRAGMENT_SAFE = frozenset(range(0x21, 0x7F)) - frozenset(b'"<>`')


def _bad(text: str, why: str) -> HttpError:
    text = _CREDENTIALS.sub(r"\1\2***@", _stripped(text))
    shown = text if len(text) <= 120 else text[:117] + "..."
    return HttpError(f"{shown!r}: {why}", code="bad_url", phase="request")


@dataclass(frozen=True)
class Url:
    """A parsed URL. `host` is ASCII, no brackets; `path` begins with `/`; `query`, `fragment` without their sign.

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
    cleaned = _clean(text)
    match = _SCHEME.match(cleaned)
    if match is None:
        raise _bad(text, "is not an absolute URL")
    scheme = match[1].lower()
    if scheme not in schemes:
        raise _bad(text, f"the scheme must be {' or '.join(schemes)}")
    return _with_authority(text, scheme, cleaned[match.end() :])


def join_url(base: Url, reference: str) -> Url:
    """Resolve a reference (a Location) against `base`, same family of schemes. Raises `HttpError(bad_url)`."""
    cleaned = _clean(reference)
    match = _SCHEME.match(cleaned)
    schemes = ("http", "https") if base.scheme in ("http", "https") else ("ws", "wss")
    if match is not None:
        scheme = match[1].lower()
        rest = cleaned[match.end() :]
        if scheme != base.scheme or rest[:1] in ("/", "\\") or scheme not in schemes:
            return parse_url(reference, schemes)
        cleaned = rest  # "https:path" is relative when the scheme is the base's
    if re.match(r"[/\\]{2}", cleaned):
        return _with_authority(reference, base.scheme, cleaned)
    path, query, fragment = _split(cleaned)
    if not path:
        kept = base.query if query is None else query
        return replace(base, query=kept, fragment=fragment)
    path = path.replace("\\", "/")
    if not path.startswith("/"):
        path = base.path.rpartition("/")[0] + "/" + path
    return replace(base, path=_normal_path(path), query=query, fragment=fragment)


def _clean(text: str) -> str:
    if not isinstance(text, str):
        raise HttpError(f"a URL must be a string, not {type(text).__name__}", code="bad_url", phase="request")
    if len(text) > MAX_URL:
        raise _bad(text, f"is longer than {MAX_URL} characters")
    return _stripped(text)


def _stripped(text: str) -> str:
    return text.strip(_LEADING).translate({9: None, 10: None, 13: None})


def _with_authority(text: str, scheme: str, rest: str) -> Url:
    match = _AUTHORITY.match(rest)
    assert match is not None
    authority, tail = match[1], match[2]
    credentials, _, authority = authority.rpartition("@")
    host, port = _host_port(text, scheme, authority)
    path, query, fragment = _split(tail)
    return Url(scheme, host, port, _normal_path(path.replace("\\", "/")), query, fragment, _authorization(credentials))


def _authorization(credentials: str) -> str | None:
    """`user:password` of a URL as the value of an Authorization header; None when both are empty."""
    user, _, password = credentials.partition(":")
    if not user and not password:
        return None
    data = _percent_decode(f"{user}:{password}".encode("utf-8", "replace"))
    return f"Basic {b64encode(data).decode()}"


def _percent_decode(data: bytes) -> bytes:
    return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), data)


def _host_port(text: str, scheme: str, authority: str) -> tuple[str, int]:
    host, port_text = authority, ""
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _bad(text, "has a malformed IPv6 host")
        host, port_text = host + "]", rest[1:]
    elif ":" in authority:
        host, _, port_text = authority.rpartition(":")
    port = DEFAULT_PORTS[scheme]
    if port_text:
        if not (port_text.isascii() and port_text.isdigit()) or not 0 < int(port_text[:9]) < 65536:
            raise _bad(text, "the port is not in 1..65535")
        port = int(port_text[:9])
    return _host(text, host), port


def _host(text: str, host: str) -> str:
    if host.startswith("["):
        address = parse_address(host)
        if address is None:
            raise _bad(text, f"{host} is not an IPv6 address")
        return address.compressed
    if "%" in host:
        try:
            host = _percent_decode(host.encode()).decode()
        except UnicodeError:
            raise _bad(text, "has a host that is not UTF-8") from None
    if not host:
        raise _bad(text, "has no host")
    if _FORBIDDEN_HOST.search(host):
        raise _bad(text, "has a character that hosts cannot have")
    try:
        name = to_ascii(host)
    except DnsError as error:
        raise _bad(text, error.message) from None
    last = name.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        return str(_ipv4(text, name))
    return name


def _ipv4(text: str, name: str) -> IPv4Address:
    """WHATWG IPv4 parser: one to four parts, decimal, octal or hexadecimal; the last part fills the rest."""
    parts = name.split(".")
    numbers = []
    for part in parts:
        try:
            if part.startswith("0x"):
                numbers.append(int(part[2:] or "0", 16))
            elif len(part) > 1 and part.startswith("0"):
                numbers.append(int(part, 8))
            elif part.isdigit():
                numbers.append(int(part))
            else:
                raise ValueError
        except ValueError:
            raise _bad(text, f"{name} is not an IPv4 address") from None
    if len(numbers) > 4 or any(n > 255 for n in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise _bad(text, f"{name} is not an IPv4 address")
    value = numbers[-1]
    for index, number in enumerate(numbers[:-1]):
        value += number << (8 * (3 - index))
    return IPv4Address(value)


def _split(rest: str) -> tuple[str, str | None, str | None]:
    rest, hash_sign, fragment = rest.partition("#")
    path, question, query = rest.partition("?")
    return (
        _encode(path, _PATH_SAFE),
        _encode(query, _QUERY_SAFE) if question else None,
        _encode(fragment, _FRAGMENT_SAFE) if hash_sign else None,
    )


def _encode(text: str, safe: frozenset[int]) -> str:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate from JavaScript
        data = text.encode("utf-8", "replace")
    if safe.issuperset(data):
        return text
    return "".join(chr(b) if b in safe else f"%{b:02X}" for b in data)


def _normal_path(path: str) -> str:
    """Remove dot segments (also `%2e`), with a leading slash."""
    out: list[str] = []
    segments = path.split("/")
    if segments and not segments[0]:
        segments = segments[1:]
    for index, segment in enumerate(segments):
        dots = segment.lower().replace("%2e", ".")
        last = index == len(segments) - 1
        if dots == "..":
            if out:
                out.pop()
            if last:
                out.append("")
        elif dots == ".":
            if last:
                out.append("")
        else:
            out.append(segment)
    return "/" + "/".join(out)
