"""A `unicodedata` for the tests inside the page, whose interpreter has none: Hypothesis asks for categories.

Made from the data of the Python that runs the tests, as source: runs of characters of one category. What else the
module has is for text that no test inside the page has; it is refused.
"""

from __future__ import annotations

import itertools
import sys
import unicodedata

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
