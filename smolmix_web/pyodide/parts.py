"""The JavaScript that a tunnel needs in somebody else's Pyodide: `guest.js` beside this file, made by the build.

It is loaded from the wheel's own bytes, by a blob: address; nothing is fetched. A Content-Security-Policy must allow
that: `script-src blob: 'unsafe-eval'`, the latter because only JavaScript can call `import()`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from typing import Any

import js
import pyodide_js  # type: ignore[import-not-found, unused-ignore]
from pyodide.code import run_js
from pyodide.ffi import JsException, to_js

from ..errors import MissingLibrary, StateError
from ..host.browser import Parts

FILE = "guest.js"
# Pyodide knows an error by its stack, and WebKit's has none.
_IMPORT = "(url) => import(url).catch((error) => { throw new Error(`${error}`); })"

_loading: asyncio.Future[Any] | None = None
_crypto: asyncio.Future[None] | None = None


async def guest() -> Any:
    """javascript/worker/guest.js, loaded once. `StateError` (`boot_failed`) where the page does not let it in."""
    global _loading
    if _loading is None or (_loading.done() and _loading.exception() is not None):
        _loading = asyncio.ensure_future(_import())
    return await asyncio.shield(_loading)


def loaded() -> Any:
    """The same for code that blocks; a tunnel that is open has loaded it."""
    if _loading is None or not _loading.done():
        raise StateError("no tunnel was opened in this Pyodide", code="tunnel_down")
    return _loading.result()


async def prepare_crypto() -> None:
    """Makes the module `smolmix_crypto` importable."""
    global _crypto
    if _crypto is None or (_crypto.done() and _crypto.exception() is not None):
        _crypto = asyncio.ensure_future(_register_crypto())
    await asyncio.shield(_crypto)


async def host_parts() -> Parts:
    """What one host needs, with ways out of its own."""
    module = await guest()
    doors = module.openDoors()
    return Parts(doors, module.createStorage(), doors.ask, module)


async def _import() -> Any:
    get_data: Any = getattr(__spec__.loader if __spec__ else None, "get_data", None)
    try:
        source = get_data(os.path.join(os.path.dirname(__file__), FILE))
    except OSError:
        raise MissingLibrary(
            f"smolmix_web/pyodide/{FILE} is missing: this is the wheel for CPython, install the one for Pyodide",
            phase="boot",
            reason=FILE,
        ) from None
    options = to_js({"type": "text/javascript"}, dict_converter=js.Object.fromEntries)
    url = js.URL.createObjectURL(js.Blob.new(to_js([to_js(source)]), options))
    try:
        return await run_js(_IMPORT)(url)
    except JsException as error:
        raise StateError(
            f"the page does not load the tunnel's JavaScript: {error}", code="boot_failed", phase="boot"
        ) from None
    finally:
        js.URL.revokeObjectURL(url)


async def _register_crypto() -> None:
    pyodide_js.registerJsModule("smolmix_crypto", await (await guest()).createCrypto())


def add_libraries() -> None:
    """rustls as a library that Pyodide can load comes in this wheel: the index has none for Pyodide."""
    if importlib.util.find_spec("rtls") is None:
        sys.path.append(os.path.join(os.path.dirname(__file__), "libraries"))
        importlib.invalidate_caches()
