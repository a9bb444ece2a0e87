"""The wheel for a Pyodide that somebody else has started: our package with what the index cannot give it there.

Added to the plain wheel are rustls as a library that Pyodide can load (libraries.py), below `smolmix_web/pyodide` where
it is in nobody's way, and the JavaScript of crypto, storage and guard as one module. Sources, not bytecode: the wheel
is for more than one release of Pyodide.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .common import BUILD
from .javascript import WORKER, bundle
from .libraries import PLATFORM, fetch_libraries, library_files
from .wheels import own_files, write_wheel

# The library's own tag says any CPython from 3.7 on; ours is the range that the package is for.
TAG = f"cp311-abi3-{PLATFORM}"
INSIDE = "smolmix_web/pyodide"
LIBRARY = "rtls"


def write_guest_wheel(folder: Path) -> Path:
    """Write it into `folder`."""
    name, version, files = own_files()
    _, library = library_files(LIBRARY, fetch_libraries()[LIBRARY])
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    for path, data in library.items():
        if "/licenses/" in path or path.endswith(("LICENSE", "NOTICE")):
            files[f"{info}/licenses/{LIBRARY}/{Path(path).name}"] = data
        elif not path.split("/")[0].endswith(".dist-info"):
            files[f"{INSIDE}/libraries/{path}"] = data
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="guest-") as scratch:
        script = Path(scratch, "guest.js")
        bundle(WORKER / "guest.js", script, ["--sourcemap=external"])
        files[f"{INSIDE}/guest.js"] = script.read_bytes()
    return write_wheel(folder, files, name=name, version=version, tag=TAG)
