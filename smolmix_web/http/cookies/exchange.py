"""Cookies outside a jar: plain dictionaries that JSON can hold, the same in Python and in a page.

    {"name", "value", "domain", "path", "hostOnly", "secure", "httpOnly", "sameSite", "expires", "created", "used"}

`value` has one Latin-1 character for each octet; `sameSite` is Strict, Lax, None or Default (none was given); `expires`
is null for a cookie that lives as long as the jar; times are seconds since 1970. Only `name`, `value` and `domain` are
needed, null stands for what is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from ...dns.names import parse_address, parse_host
from ...errors import DnsError, UsageError
from .cookie import MAX_AGE, MAX_ATTRIBUTE, Cookie, SameSite, bad_flags, bad_pair

MAX_LIST = 10_000
MAX_TIME = 1e13

_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "value": (str,),
    "domain": (str,),
    "path": (str,),
    "hostOnly": (bool,),
    "secure": (bool,),
    "httpOnly": (bool,),
    "sameSite": (str,),
    "expires": (int, float),
    "created": (int, float),
    "used": (int, float),
}
# What a Set-Cookie header could not have carried.
_NOT_IN_NAME = re.compile(r"[\x00-\x1f\x7f;=]|[^\x00-\xff]")
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f;]|[^\x00-\xff]")


def bad(index: int, field: str | None, why: str) -> UsageError:
    where = f"cookie {index}" if field is None else f"cookie {index}, {field}"
    return UsageError(f"{where}: {why}", code="bad_cookie")


def to_dict(cookie: Cookie) -> dict[str, Any]:
    return {
        "name": cookie.name,
        "value": cookie.value,
        "domain": cookie.domain,
        "path": cookie.path,
        "hostOnly": cookie.host_only,
        "secure": cookie.secure,
        "httpOnly": cookie.http_only,
        "sameSite": cookie.same_site,
        "expires": cookie.expires,
        "created": cookie.created,
        "used": cookie.used,
    }


def listed(cookies: Iterable[Mapping[str, Any]]) -> list[Any]:
    if isinstance(cookies, (str, bytes, Mapping)) or not isinstance(cookies, Iterable):
        raise UsageError(f"cookies come as a list, not as {type(cookies).__name__}", code="bad_cookie")
    items = list(cookies)
    if len(items) > MAX_LIST:
        raise UsageError(f"{len(items)} cookies at once, more than {MAX_LIST}", code="bad_cookie")
    return items


def from_dict(item: Any, index: int, now: float) -> Cookie:
    """The cookie of one dictionary. Raises `UsageError(code="bad_cookie")`."""
    if not isinstance(item, Mapping):
        raise bad(index, None, f"a {type(item).__name__} is no cookie")
    item = {field: value for field, value in item.items() if value is not None}
    for field, value in item.items():
        types = _TYPES.get(field)
        if types is None:
            raise bad(index, str(field)[:40], "there is no such field")
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise bad(index, field, f"{type(value).__name__} is not its type")
        if isinstance(value, (int, float)) and not abs(value) <= MAX_TIME:
            raise bad(index, field, "is not a time")
    for field in ("name", "value", "domain"):
        if field not in item:
            raise bad(index, field, "is missing")
    name, value = item["name"], item["value"]
    if _NOT_IN_NAME.search(name) or name != name.strip(" \t"):
        raise bad(index, "name", "has a character that it cannot have")
    if _NOT_IN_VALUE.search(value) or value != value.strip(" \t"):
        raise bad(index, "value", "has a character that it cannot have")
    if (why := bad_pair(name, value)) is not None:
        raise bad(index, None, why)
    path = item.get("path", "/")
    if not path.startswith("/") or len(path) > MAX_ATTRIBUTE or _NOT_IN_VALUE.search(path):
        raise bad(index, "path", "is no path")
    same_site = item.get("sameSite", "Default")
    if same_site not in get_args(SameSite):
        raise bad(index, "sameSite", f"must be one of {', '.join(get_args(SameSite))}")
    expires = item.get("expires")
    cookie = Cookie(
        name,
        value,
        _domain(item["domain"], index),
        path,
        item.get("hostOnly", True),
        item.get("secure", False),
        item.get("httpOnly", False),
        same_site,
        None if expires is None else min(float(expires), now + MAX_AGE),
        min(float(item.get("created", now)), now),
        min(float(item.get("used", now)), now),
    )
    if not cookie.host_only and parse_address(cookie.domain) is not None:
        raise bad(index, "hostOnly", "a cookie of an address is for that address only")
    if (why := bad_flags(cookie)) is not None:
        raise bad(index, None, why)
    return cookie


def _domain(text: str, index: int) -> str:
    try:
        return str(parse_host(text))
    except DnsError as error:
        raise bad(index, "domain", error.message) from None
