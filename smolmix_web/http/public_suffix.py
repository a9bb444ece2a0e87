"""Names under which anybody can register: no cookie may be set for them (publicsuffix.org).

The list is read at first use: a client without a cookie jar never pays for it. In a page it is a file beside the
pack, fetched then from the worker's own folder; elsewhere it is part of the installed library.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ..errors import HttpError

DATA = "public_suffix_list.dat"  # in the library's folder
PACKED = "public_suffix_list.zst"  # beside the pack of a page


class PublicSuffixes(Protocol):
    def is_public(self, domain: str) -> bool:
        """True for `com`, `co.uk`, `github.io` and every name of one label."""
        ...


_loaded: PublicSuffixes | None = None


async def load_public_suffixes() -> PublicSuffixes:
    """The list, read once. Raises `HttpError(code="no_public_suffixes")`; the next call tries again."""
    global _loaded
    if _loaded is None:
        try:
            text = await _text()
        except Exception as error:
            raise HttpError(
                f"the list of public suffixes, which cookies need, did not load: {error}",
                code="no_public_suffixes",
                phase="request",
            ) from error
        _loaded = parse_public_suffixes(text)
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
            yield rule if rule.isascii() else mark + rule.removeprefix("!").encode("idna").decode()


async def _text() -> str:
    import publicsuffixlist

    try:
        return Path(publicsuffixlist.__file__).with_name(DATA).read_text("utf-8")
    except OSError:
        if sys.platform != "emscripten":
            raise
    return (await _fetch()).decode()


async def _fetch() -> bytes:
    import pyodide_js  # type: ignore[import-not-found, unused-ignore]
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    from pyodide.http import pyfetch  # type: ignore[import-not-found, unused-ignore]

    answer: Any = await pyfetch(f"{pyodide_js.lockfileBaseUrl}{PACKED}")
    answer.raise_for_status()
    data: bytes = zstd.decompress(await answer.bytes())
    return data
