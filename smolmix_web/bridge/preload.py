"""What a worker's Python has imported before it knows anything of a user: the content of a memory snapshot
where one is made.

Nothing here may touch JavaScript, the compiled TLS library, or randomness (javascript/worker/snapshot.js).
"""

import gc
import sys

from .classes import compiled_classes

# What is imported stays: to look for garbage in it, now or later, takes a tenth of the time and finds nothing.
gc.disable()
with compiled_classes():
    from .. import tunnel
    from ..crypto import browser
    from ..dns import message
    from . import bridge

    message.prepare()
gc.freeze()
gc.enable()
for finder in sys.meta_path:
    if hasattr(finder, "rest"):
        finder.rest()  # the pack's (buildtools/pack_importer.py)

__all__ = ["bridge", "browser", "message", "tunnel"]
