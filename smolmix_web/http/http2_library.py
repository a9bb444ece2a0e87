"""The libraries of HTTP/2 in a page: not part of a first load, fetched from beside the worker when TLS is first used.

They are wheels of the Pyodide distribution that the page came with, bytecode inside; Python imports from them as they
are.
"""

from __future__ import annotations

import importlib.util
import sys

LIBRARIES = ("h2", "hpack", "hyperframe")


async def load_http2() -> bool:
    """Make `h2` importable; False where that cannot be done. At once when it is importable already."""
    if importlib.util.find_spec("h2") is not None:
        return True
    if sys.platform != "emscripten":
        return False
    import pyodide_js  # type: ignore[import-not-found, unused-ignore]
    from pyodide.ffi import JsException  # type: ignore[import-not-found, unused-ignore]
    from pyodide.http import pyfetch  # type: ignore[import-not-found, unused-ignore]

    packages = pyodide_js.lockfile.packages.to_py()
    try:
        for name in LIBRARIES:
            file = packages[name].file_name
            answer = await pyfetch(f"{pyodide_js.lockfileBaseUrl}{file}")
            answer.raise_for_status()
            path = f"/lib/{file}"
            with open(path, "wb") as target:
                target.write(await answer.bytes())
            if path not in sys.path:
                sys.path.append(path)
    except (KeyError, OSError, JsException):
        return False
    importlib.invalidate_caches()
    return importlib.util.find_spec("h2") is not None
