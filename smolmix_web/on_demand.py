"""Libraries that a page loads when they are first used, so that a first load is small.

They are wheels of the Pyodide distribution that the page came with (`on_demand` in buildtools/libraries.py), bytecode
inside; Python imports from them as they are.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys


async def load_on_demand(*names: str) -> bool:
    """Make these libraries importable, each a package of its own name; False where that cannot be done.

    At once when they are importable already.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if not missing:
        return True
    if sys.platform != "emscripten":
        return False
    import js  # type: ignore[import-not-found, unused-ignore]
    import pyodide_js  # type: ignore[import-not-found, unused-ignore]
    from pyodide.ffi import JsException  # type: ignore[import-not-found, unused-ignore]
    from pyodide.http import pyfetch  # type: ignore[import-not-found, unused-ignore]

    packages = pyodide_js.lockfile.packages.to_py()
    try:
        for name in missing:
            # Relative, or whole where a bundler has put the file elsewhere.
            url = js.URL.new(packages[name]["file_name"], pyodide_js.lockfileBaseUrl).href
            answer = await pyfetch(url)
            answer.raise_for_status()
            data = await answer.bytes()
            if hashlib.sha256(data).hexdigest() != packages[name]["sha256"]:
                js.console.error(f"smolmix: {url} is not the file of this build: its SHA-256 is another one")
                return False
            path = f"/lib/{name}.whl"
            with open(path, "wb") as target:
                target.write(data)
            if path not in sys.path:
                sys.path.append(path)
    except (KeyError, OSError, JsException):
        return False
    # No importlib.invalidate_caches(): it wants importlib.metadata, and nobody has looked into these paths before.
    return all(importlib.util.find_spec(name) is not None for name in missing)
