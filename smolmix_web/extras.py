"""Optional libraries: which extra of the package brings which, and the error that says so when one is missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from .errors import MissingLibrary

# Extra to the modules that cannot be done without; others, such as brotli, only make more possible.
MODULES = {
    "cpython": ("ada_url", "blake3", "cryptography", "filelock", "platformdirs"),
    "proxy": ("h11",),
    "requests": ("requests", "urllib3"),
    "httpx": ("httpx",),
    "aiohttp": ("aiohttp",),
}


def load(module: str, extra: str) -> ModuleType:
    """Import a library that `extra` brings. Raises `MissingLibrary`, an `ImportError`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(error.name or module, extra) from error


def require(extra: str) -> None:
    """Raises `MissingLibrary` unless all libraries of `extra` are installed; loads none."""
    for module in MODULES[extra]:
        if not installed(module):
            raise _missing(module, extra)


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _missing(module: str, extra: str) -> MissingLibrary:
    way = f'micropip.install("{module}")' if sys.platform == "emscripten" else f"pip install 'smolmix-web[{extra}]'"
    return MissingLibrary(f"the library {module} is not installed: {way}", phase="setup", reason=module)
