"""The parser of the URL Standard: the browser's own in a page, Ada (which is Node's too) under CPython.

What a URL or a host name means is decided here and nowhere else, so that a page and a program ask for the same thing as
a browser does. Only http, https, ws and wss are of use; text of any other scheme is refused like text that is no URL.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from . import extras

_PLATFORM: str = sys.platform

# A serialized URL has each delimiter in one place: credentials, host and path have theirs percent-encoded.
_SERIALIZED = re.compile(
    r"(https?|wss?)://(?:([^/@]*)@)?(\[[0-9a-f:]+\]|[^/:]*)(?::([0-9]+))?(/[^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)
_NOT_IN_A_HOST = re.compile(r"[\t\n\r#%/:?@\\]")


class UrlParts(NamedTuple):
    """Of a serialized URL: all ASCII; `host` without brackets, `port` None for the scheme's own."""

    scheme: str
    credentials: str
    host: str
    port: int | None
    path: str
    query: str | None
    fragment: str | None


def split_url(text: str, base: str | None = None) -> UrlParts | None:
    """`text`, resolved against the URL `base` where there is one; None when it is no URL of the four schemes."""
    serialized = _serialize(_scalars(text), base)
    found = _SERIALIZED.fullmatch(serialized) if serialized is not None else None
    if found is None:
        return None
    scheme, credentials, host, port, path, query, fragment = found.groups()
    # Chromium writes `*` as %2A, and lets a space pass as %20; in the standard hosts have no percent sign.
    host = host.replace("%2A", "*").strip("[]")
    if "%" in host:
        return None
    return UrlParts(scheme, credentials or "", host, int(port) if port else None, path, query, fragment)


def canonical_host(text: str) -> str | None:
    """A host name (or IPv4 address in any form) as the host of a URL: mapped to ASCII (UTS 46), lower case."""
    parts = split_url(f"http://{text}/") if not _NOT_IN_A_HOST.search(text) else None
    return parts.host if parts is not None else None


def _scalars(text: str) -> str:
    """Lone surrogates, which text from JavaScript may have, replaced as the Web IDL type USVString does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _serialize(text: str, base: str | None) -> str | None:
    if _PLATFORM == "emscripten":
        from js import URL
        from pyodide.ffi import JsException  # type: ignore[import-not-found, unused-ignore]

        try:
            serialized: str = URL.new(text, *([] if base is None else [base])).href
        except JsException:
            return None
        return serialized
    ada_url = extras.load("ada_url", "cpython")
    try:
        href: str = ada_url.URL(text, base).href
    except ValueError:
        return None
    return href
