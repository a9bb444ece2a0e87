"""Header fields: what a caller may set, what is sent by default (RFC 9110 5, 7.6.1; Fetch 2.2.2), reading of values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import HttpError

MAX_HEADERS = 256
MAX_HEADER_BYTES = 65_536
MAX_LENGTH = (1 << 63) - 1  # bytes of a body

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LIST = re.compile(r'((?:"(?:[^"\\]|\\.)*(?:"|$)|[^,"])*)(?:,|$)', re.DOTALL)
_LENGTH = re.compile(r"-0+|0*([0-9]{1,19})")
_NO_CODING = re.compile(r'[ \t"=;*]')
_BAD_VALUE = re.compile(r"[\x00\r\n]")

# What no caller may set: the names that Fetch forbids (2.2.2), and HTTP2-Settings, which belongs to a connection. They
# are the client's own (Host, Content-Length, Accept-Encoding, Proxy-*), or would say of a user what others do not say
# (DNT, Sec-*, Via). Cookie, Origin and Referer, which Fetch keeps from pages because browsers fill them in, may be set:
# here nobody else does. A page's are left out without a word, as by `fetch`; a Python program gets `forbidden_header`.
_FORBIDDEN = frozenset(
    {
        "accept-charset",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
        "connection",
        "content-length",
        "cookie2",
        "date",
        "dnt",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
# Of a preflight, which who makes CORS's checks for a page sends (javascript/service/cors.js).
_OF_PREFLIGHTS = frozenset({"access-control-request-headers", "access-control-request-method"})
_FORBIDDEN_PREFIXES = ("proxy-", "sec-")
_METHOD_OVERRIDES = frozenset({"x-http-method", "x-http-method-override", "x-method-override"})
FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})

# Removed when a redirect leaves the origin.
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
# Removed when a redirect drops the body (Fetch: request-body-header name).
BODY_HEADERS = frozenset({"content-encoding", "content-language", "content-location", "content-type", "content-length"})

Headers = list[tuple[str, str]]

# What goes with every request whose caller gives no header of that name: the same for every user, whatever the machine,
# the page or the settings. The values are the official client's. That makes no crowd of its users and ours: it sends
# `Accept-Encoding: identity`, because it cannot decode, and its TLS is another one.
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
LANGUAGES = "en-US,en;q=0.9"
DEFAULTS: tuple[tuple[str, str], ...] = (
    ("User-Agent", USER_AGENT),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", LANGUAGES),
)


def _bad(message: str, code: str = "bad_header") -> HttpError:
    return HttpError(message, code=code, phase="request")


def forbidden(name: str, value: str, method: str = "GET") -> bool:
    """Whether a caller may not set this header (Fetch 2.2.2, with the exceptions above)."""
    name = name.lower()
    if method == "OPTIONS" and name in _OF_PREFLIGHTS:
        return False
    if name in _METHOD_OVERRIDES:  # may not hide a method that could not be used openly
        return any(method.strip(" \t").upper() in FORBIDDEN_METHODS for method in value.split(","))
    return name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIXES)


def check_headers(given: Iterable[tuple[str, str]] | Mapping[str, str], method: str = "GET") -> Headers:
    """The caller's headers in order, values stripped. Raises `HttpError` codes `bad_header`, `forbidden_header`."""
    items = given.items() if isinstance(given, Mapping) else given
    headers: Headers = []
    total = 0
    for item in items:
        try:
            name, value = item
        except (TypeError, ValueError):
            raise _bad(f"header {item!r} is not a (name, value) pair") from None
        if not isinstance(name, str) or not isinstance(value, str):
            raise _bad(f"header {name!r}: name and value must be strings")
        if not _TOKEN.fullmatch(name):
            raise _bad(f"{name[:80]!r} is not a header name")
        value = value.strip(" \t\r\n")
        if _BAD_VALUE.search(value):
            raise _bad(f"header {name}: the value has a line break or NUL")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise _bad(f"header {name}: the value has characters beyond Latin-1") from None
        if forbidden(name, value, method):
            raise _bad(f"header {name} cannot be set", "forbidden_header")
        total += len(name) + len(value) + 4
        headers.append((name, value))
    if len(headers) > MAX_HEADERS or total > MAX_HEADER_BYTES:
        raise _bad(f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")
    return headers


def with_defaults(headers: Headers, accept_encoding: str) -> Headers:
    """Put the defaults before the caller's headers; the caller wins."""
    present = {name.lower() for name, _ in headers}
    defaults = (*DEFAULTS, ("Accept-Encoding", accept_encoding))
    return [item for item in defaults if item[0].lower() not in present] + headers


def with_credentials(headers: Headers, authorization: str | None, cookie: str | None) -> Headers:
    """Add what the URL and the cookie jar give for one hop; the caller wins here too."""
    present = {name.lower() for name, _ in headers}
    given = (("Authorization", authorization), ("Cookie", cookie))
    return headers + [(name, value) for name, value in given if value is not None and name.lower() not in present]


def without(headers: Headers, names: frozenset[str]) -> Headers:
    return [item for item in headers if item[0].lower() not in names]


def get_all(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def split_list(values: list[str]) -> list[str]:
    """The elements of a field that is a list (RFC 9110 5.6.1), empty ones too; a comma within quotes is none."""
    elements = []
    for value in values:
        parts = _LIST.findall(value) if '"' in value else [*value.split(","), ""]
        elements += [part.strip(" \t") for part in parts[:-1]]
    return elements


def content_length(headers: Headers) -> int | None:
    """Bytes by the first Content-Length. None without, and for one that is no number, which is as if there were none.

    Raises `HttpError` code `http_protocol` for several that differ.
    """
    lengths = split_list(get_all(headers, "content-length"))
    if len(set(lengths)) > 1:
        raise HttpError("the response has several lengths, which differ", code="http_protocol", phase="response")
    match = _LENGTH.fullmatch(lengths[0]) if lengths else None
    length = int(match[1] or 0) if match else MAX_LENGTH + 1
    return length if length <= MAX_LENGTH else None


def content_codings(values: list[str]) -> list[str]:
    """The names in all values of Content-Encoding, in lower case.

    Raises `HttpError` code `bad_content_encoding` as browsers do, for parameters and quotes, which no coding has, and
    for nothing but white space, which an empty field after another makes; between two commas there may be nothing.
    """
    text = ", ".join(values)
    elements = text.lower().split(",") if values else []
    names = [element.strip(" \t") for element in elements]
    if any(_NO_CODING.search(name) or (element and not name) for element, name in zip(elements, names, strict=True)):
        raise HttpError(f"{text[:80]!r} names no content coding", code="bad_content_encoding", phase="response")
    return names
