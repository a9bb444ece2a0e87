"""Network access through the Nym mixnet, for web pages and for CPython.

What Python programs use can be imported from here; it is loaded when it is first asked for, so that a page, or a
program without the optional libraries, may import what it needs of the rest.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PLACES = {
    "BlockingTunnel": ".integrations.blocking",
    "SmolmixError": ".errors",
    "open_tunnel": ".cpython",
    "patch": ".integrations.everywhere",
    "unpatch": ".integrations.everywhere",
}

if sys.platform == "emscripten":  # a Pyodide that somebody else has started
    _PLACES |= {
        "BlockingTunnel": ".pyodide.blocking",
        "open_tunnel": ".pyodide",
        "patch": ".pyodide.everywhere",
        "unpatch": ".pyodide.everywhere",
    }

if TYPE_CHECKING:
    from .cpython import open_tunnel as open_tunnel
    from .errors import SmolmixError as SmolmixError
    from .integrations.blocking import BlockingTunnel as BlockingTunnel
    from .integrations.everywhere import patch as patch
    from .integrations.everywhere import unpatch as unpatch


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
