"""Choice of the crypto provider: what the runtime bundles, or the one asked for by name."""

from __future__ import annotations

import sys

from ..errors import OptionError
from .provider import Crypto


def load_crypto(choice: str = "auto") -> Crypto:
    """The provider for `auto`, `pyca` or `browser`; `OptionError` when this runtime lacks it."""
    if choice == "auto":
        choice = "browser" if sys.platform == "emscripten" else "pyca"
    if choice == "pyca":
        return pyca_crypto()
    if choice == "browser" and sys.platform == "emscripten":
        from .browser import BrowserCrypto

        return BrowserCrypto()
    raise OptionError("crypto", f"no provider {choice!r} in this runtime")


def pyca_crypto() -> Crypto:
    """The provider on `cryptography`; `OptionError` where that package is missing."""
    try:
        from .pyca import PycaCrypto

        try:
            return PycaCrypto()
        except ImportError:
            if sys.platform != "emscripten":
                raise
            # Pyodide need not have `blake3` and PyNaCl; the page's JavaScript has what they do.
            from .browser import BrowserCrypto

            browser = BrowserCrypto()
            return PycaCrypto(browser.blake3, browser)
    except ImportError as error:
        raise OptionError("crypto", f"provider pyca is not at hand here: {error}") from None
