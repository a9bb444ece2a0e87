"""`cryptography` in a page: loaded from the Pyodide distribution that the page came with, if that offers it.

Only the option `crypto: "pyca"` asks for it, so nothing of it is part of a first load. The one place of this room that
awaits; call it before `load_crypto("pyca")`.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from ..errors import OptionError

_WANTED = ("cryptography", "blake3", "pynacl")
_STDLIB = "python_stdlib.zip"
_STDLIB_PATH = "/lib/python_stdlib.zip"


async def fetch_pyca() -> None:
    """Makes `cryptography` importable in a page, and PyNaCl and `blake3` where offered; elsewhere nothing.

    `OptionError` for `crypto` when the distribution lacks it or does not deliver it.
    """
    if sys.platform != "emscripten" or importlib.util.find_spec("cryptography") is not None:
        return
    import pyodide_js  # type: ignore[import-not-found, unused-ignore]

    offered = set(pyodide_js.lockfile.packages.object_keys())
    if "cryptography" not in offered:
        raise OptionError("crypto", "pyca: the page's Pyodide distribution does not offer the package cryptography")
    try:
        await _complete_stdlib(pyodide_js)
        await pyodide_js.loadPackage([name for name in _WANTED if name in offered])
    except Exception as error:
        raise OptionError("crypto", f"pyca: the package cryptography did not load: {error}") from error
    if importlib.util.find_spec("cryptography") is None:
        raise OptionError("crypto", "pyca: the package cryptography did not load")


async def _complete_stdlib(pyodide_js: Any) -> None:
    """Loading packages needs modules that a first load leaves out: the complete library goes behind the small one."""
    if importlib.util.find_spec("email") is not None:
        return
    from pyodide.http import pyfetch  # type: ignore[import-not-found, unused-ignore]

    answer = await pyfetch(f"{pyodide_js.lockfileBaseUrl}{_STDLIB}")
    answer.raise_for_status()
    with open(_STDLIB_PATH, "wb") as file:
        file.write(await answer.bytes())
    small = next(path for path in sys.path if path.endswith(".zip"))
    sys.path.insert(sys.path.index(small) + 1, _STDLIB_PATH)
    for name, module in list(sys.modules.items()):
        paths = getattr(module, "__path__", None)
        if isinstance(paths, list) and any(path.startswith(small) for path in paths):
            paths.append(f"{_STDLIB_PATH}/{name.replace('.', '/')}")
