"""Names under which anybody can register: no cookie may be set for them (publicsuffix.org).

The list is read at first use: a client without a cookie jar never pays for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ..errors import HttpError
from ..on_demand import load_on_demand
from ..url_parser import canonical_host

LIBRARY = "publicsuffixlist"
DATA = "public_suffix_list.dat"


class PublicSuffixes(Protocol):
    def is_public(self, domain: str) -> bool:
        """True for `com`, `co.uk`, `github.io` and every name of one label."""
        ...


_loaded: PublicSuffixes | None = None


async def load_public_suffixes() -> PublicSuffixes:
    """The list, read once. Raises `HttpError(code="no_public_suffixes")`; the next call tries again."""
    global _loaded
    if _loaded is None:
        if not await load_on_demand(LIBRARY):
            raise HttpError(
                "the list of public suffixes, which cookies need, did not load",
                code="no_public_suffixes",
                phase="request",
            )
        _loaded = parse_public_suffixes(_text())
    return _loaded


def parse_public_suffixes(text: str) -> PublicSuffixes:
    """From the text of the list. Host names are ASCII here, so of every rule the ASCII form alone is kept."""
    import publicsuffixlist

    suffixes: PublicSuffixes = publicsuffixlist.PublicSuffixList(
        list(ascii_rules(text.splitlines())), accept_encoded_idn=False
    )
    return suffixes


def ascii_rules(lines: Iterable[str]) -> Iterator[str]:
    """The rules of the list without comments, in ASCII form."""
    for line in lines:
        words = line.split()
        if words and not words[0].startswith("//"):
            rule = words[0].lower()
            mark = "!" if rule.startswith("!") else ""
            host = rule if rule.isascii() else canonical_host(rule.removeprefix("!"))
            if host is not None:  # else it is a rule for what cannot be a host
                yield host if rule.isascii() else mark + host


def _text() -> str:
    """The list as the library has it, in a folder or in a wheel."""
    spec = importlib.util.find_spec(LIBRARY)
    assert spec is not None and spec.origin is not None
    loader: Any = spec.loader
    text: str = loader.get_data(str(Path(spec.origin).with_name(DATA))).decode()
    return text
