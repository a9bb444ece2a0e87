"""What a worker's Python has imported before it knows anything of a user: the content of a memory snapshot.

Nothing here may touch JavaScript, the compiled TLS library, or randomness (worker/snapshot.js).
"""

from .classes import compiled_classes

with compiled_classes():
    from .. import tunnel
    from ..crypto import browser
    from . import bridge

__all__ = ["bridge", "browser", "tunnel"]
