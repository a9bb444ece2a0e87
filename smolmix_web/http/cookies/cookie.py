"""One cookie: from a Set-Cookie header to what may be stored (RFC 6265bis 5.5 to 5.7), and which requests it fits.

Texts are those of headers: one Latin-1 character for each octet, so that what came is sent back unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ...dns.names import parse_address
from ..url import Url
from .dates import parse_date

SameSite = Literal["Strict", "Lax", "None", "Default"]

MAX_SIZE = 4096  # octets of name and value together
MAX_ATTRIBUTE = 1024  # octets of the value of one attribute
MAX_AGE = 400 * 86_400  # s; what asks to live longer lives this long
LONG_AGO = float("-inf")  # the earliest representable time: expired

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WHITE = " \t"
_SAME_SITE: dict[str, SameSite] = {"strict": "Strict", "lax": "Lax", "none": "None"}


@dataclass(frozen=True)
class Cookie:
    """A stored cookie. Times in seconds since 1970; `expires` None: it lives as long as the jar.

    `same_site` is kept for whoever takes the cookies elsewhere; a tunnel knows no site that a request comes from.
    """

    name: str
    value: str
    domain: str
    path: str = "/"
    host_only: bool = True
    secure: bool = False
    http_only: bool = False
    same_site: SameSite = "Default"
    expires: float | None = None
    created: float = 0.0
    used: float = 0.0

    @property
    def key(self) -> tuple[str, str, bool, str]:
        """Two cookies with the same key replace each other."""
        return self.name, self.domain, self.host_only, self.path

    @property
    def pair(self) -> str:
        """As in the Cookie header; a cookie without a name is its value."""
        return f"{self.name}={self.value}" if self.name else self.value

    def expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def fits(self, url: Url) -> bool:
        """Is it sent with a request for `url`?"""
        if self.secure and not url.secure:
            return False
        same = url.host == self.domain if self.host_only else domain_matches(url.host, self.domain)
        return same and path_matches(url.path, self.path)


@dataclass(frozen=True)
class SetCookie:
    """What one Set-Cookie header says; attributes that were absent, or not valid, are None."""

    name: str
    value: str
    domain: str | None = None
    path: str | None = None
    expires: float | None = None
    secure: bool = False
    http_only: bool = False
    same_site: SameSite = "Default"


def parse_set_cookie(text: str, now: float) -> SetCookie | None:
    """The header's value (RFC 6265bis 5.6); None where it has to be ignored."""
    if _CONTROL.search(text):
        return None
    pair, *attributes = text.split(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(_WHITE), value.strip(_WHITE)
    if bad_pair(name, value) is not None:
        return None
    domain = path = expires = max_age = None
    secure = http_only = False
    same_site: SameSite = "Default"
    for attribute in attributes:
        key, _, given = attribute.partition("=")
        key, given = key.strip(_WHITE).lower(), given.strip(_WHITE)
        if len(given) > MAX_ATTRIBUTE:
            continue
        # Of an attribute that stands several times the last one counts.
        if key == "expires":
            date = parse_date(given)
            expires = expires if date is None else date
        elif key == "max-age":
            if re.fullmatch(r"-?[0-9]+", given):
                seconds = int(given)
                max_age = now + min(seconds, MAX_AGE) if seconds > 0 else LONG_AGO
        elif key == "domain":
            domain = given.removeprefix(".").lower()
        elif key == "path":
            path = given if given.startswith("/") else None
        elif key == "secure":
            secure = True
        elif key == "httponly":
            http_only = True
        elif key == "samesite":
            same_site = _SAME_SITE.get(given.lower(), "Default")
    if max_age is not None:
        expires = max_age
    elif expires is not None:
        expires = min(expires, now + MAX_AGE)
    return SetCookie(name, value, domain, path, expires, secure, http_only, same_site)


def bad_pair(name: str, value: str) -> str | None:
    """Why a name and a value cannot be a cookie's; None when they can."""
    if not name and not value:
        return "name and value are empty"
    if len(name) + len(value) > MAX_SIZE:
        return f"name and value are longer than {MAX_SIZE}"
    if not name and ("=" in value or value.lower().startswith(("__secure-", "__host-"))):
        return "a value without a name would be read as one with a name"
    return None


def bad_flags(cookie: Cookie, *, path_given: bool = True) -> str | None:
    """Which rule on flags, prefixes (RFC 6265bis 4.1.3) or SameSite the cookie breaks; None when none."""
    prefix = cookie.name.lower()
    if cookie.same_site == "None" and not cookie.secure:
        return "SameSite=None needs Secure"
    if prefix.startswith("__secure-") and not cookie.secure:
        return "the prefix __Secure- needs Secure"
    if prefix.startswith("__host-") and not (cookie.secure and cookie.host_only and path_given and cookie.path == "/"):
        return "the prefix __Host- needs Secure, Path=/ and no Domain"
    return None


def domain_matches(host: str, domain: str) -> bool:
    """RFC 6265bis 5.1.3: the same, or a name below it; an address matches itself alone."""
    return host == domain or (host.endswith("." + domain) and parse_address(host) is None)


def path_matches(path: str, prefix: str) -> bool:
    """RFC 6265bis 5.1.4."""
    return path == prefix or (path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix)] == "/"))


def default_path(path: str) -> str:
    """RFC 6265bis 5.1.4: the folder of the request's path."""
    return path.rpartition("/")[0] or "/"
