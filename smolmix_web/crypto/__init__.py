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
        try:
            from .pyca import PycaCrypto
        except ImportError as error:
            raise OptionError("crypto", f"provider pyca is not at hand here: {error}") from None
        return PycaCrypto()
    if choice == "browser" and sys.platform == "emscripten":
        from .browser import BrowserCrypto

        return BrowserCrypto()
    raise OptionError("crypto", f"no provider {choice!r} in this runtime")
