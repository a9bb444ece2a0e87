"""JSON from peers, with a bound on nesting before the parser sees it.

The parser of the standard library recurses. CPython stops it with `RecursionError`, but inside WebAssembly a text of a
hundred thousand brackets overflows the JavaScript engine's stack first, and that ends the whole interpreter.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

MAX_DEPTH = 64  # Nym's answers nest less than ten levels

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1, ord('"'): 0}


def load_json(text: str | bytes) -> Any:
    """`json.loads` of UTF-8 that refuses more than `MAX_DEPTH` levels; `ValueError` for every text it does not take."""
    if isinstance(text, bytes):
        text = text.decode()  # the parser would also take UTF-16, where bytes of brackets and quotes mean nothing
    data = text.encode("utf-8", "surrogatepass")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and nesting(data) > MAX_DEPTH:
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH} levels")
    return json.loads(text)


def nesting(data: bytes) -> int:
    """Deepest nesting of brackets outside strings, in one pass over the bytes that matter.

    Exact for UTF-8 JSON. For texts that are not JSON it may be anything; the parser refuses those where they go wrong,
    and cannot have recursed deeper than the brackets before that place.
    """
    plain = _ESCAPE.sub(b"", data) if b"\\" in data else data
    # Two quotes in a row gone, every bracket has as many before it as it had, or two less: still inside or outside.
    structure = _STRING.sub(b"", plain.translate(None, _NOT_STRUCTURE).replace(b'""', b""))
    return max(accumulate(map(_STEP.__getitem__, structure)), default=0)
