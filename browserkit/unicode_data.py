"""A `unicodedata` for the tests inside the page, whose interpreter has none: Hypothesis asks for categories.

Made from the data of the Python that runs the tests, as source: runs of characters of one category. What else the
module has is for text that no test inside the page has; it is refused.
"""

from __future__ import annotations

import io
import itertools
import re
import sys
import unicodedata
import zipfile
from pathlib import Path

SOURCE = '''\
"""Categories of characters, as {version} has them."""

import bisect

unidata_version = {version!r}
_STARTS = {starts!r}
_NAMES = {names!r}


def category(character):
    return _NAMES[bisect.bisect_right(_STARTS, ord(character)) - 1]


def normalize(form, text):
    if text.isascii():
        return text
    raise NotImplementedError("this unicodedata knows categories only")


def combining(character):
    return 0 if not category(character).startswith("M") else 230


def east_asian_width(character):
    return "N"
'''


def module_source() -> str:
    """Source text of the module."""
    runs = itertools.groupby(range(sys.maxunicode + 1), key=lambda code: unicodedata.category(chr(code)))
    found = [(next(codes), name) for name, codes in runs]
    return SOURCE.format(
        version=unicodedata.unidata_version,
        starts=[start for start, _ in found],
        names=[name for _, name in found],
    )


def spelt_out(wheel: Path) -> bytes:
    """The wheel with numbers for names of characters in its sources: to read `\\N{...}` takes the real module."""
    made = io.BytesIO()
    with zipfile.ZipFile(wheel) as read, zipfile.ZipFile(made, "w") as written:
        for name in read.namelist():
            data = read.read(name)
            if name.endswith(".py"):
                data = re.sub(rb"\\N\{([A-Z0-9 -]+)\}", _number, data)
            written.writestr(name, data)
    return made.getvalue()


def _number(found: re.Match[bytes]) -> bytes:
    return b"\\U%08x" % ord(unicodedata.lookup(found[1].decode()))
