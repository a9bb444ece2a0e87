"""Methods that the build has compiled: `dataclass` writes the source of a class's methods while it is imported, and to
compile that is what importing our modules mostly takes.

The build imports them once and notes the code under a digest of its source (buildtools/bytecode.py); what it has not
seen is compiled as ever.
"""

from __future__ import annotations

import dataclasses
import hashlib
import marshal
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

NAME = "classes.bin"


def digest(source: str) -> bytes:
    """What a source is found by."""
    return hashlib.blake2b(source.encode(), digest_size=16).digest()


def _compiled() -> dict[bytes, CodeType]:
    """Empty where no build has been."""
    get_data = getattr(globals().get("__loader__"), "get_data", None)
    try:
        return dict(marshal.loads(get_data(os.path.join(os.path.dirname(__file__), NAME)))) if get_data else {}
    except OSError:
        return {}


@contextmanager
def compiled_classes() -> Iterator[None]:
    """While it lasts `dataclass` takes compiled code where there is some."""
    compiled = _compiled()

    def run(source: str, scope: dict[str, Any], names: dict[str, Any]) -> None:
        exec(compiled.get(digest(source), source), scope, names)

    module: Any = dataclasses
    module.exec = run  # found before the built-in one
    try:
        yield
    finally:
        del module.exec
