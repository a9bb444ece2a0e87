"""The Electron examples as projects of their own: with the package, and with a stand-in for Electron or its types."""

from __future__ import annotations

import shutil
from pathlib import Path

from buildtools.common import ROOT
from buildtools.npm import ensure_package
from tests.consumers.consumer import unpack

EXAMPLES = ROOT / "examples" / "electron"
STAND_IN = Path(__file__).parent / "electron" / "stand_in.js"
SERVE = STAND_IN.parent / "serve.mjs"


def project(folder: Path) -> Path:
    """A copy of the examples with the package installed beside them."""
    shutil.copytree(EXAMPLES, folder)
    unpack(ensure_package(), folder / "node_modules" / "smolmix-web")
    return folder


def with_stand_in(folder: Path) -> Path:
    """One that runs in Node.js."""
    place = project(folder) / "node_modules" / "electron"
    place.mkdir()
    (place / "package.json").write_text('{"name": "electron", "type": "module", "main": "stand_in.js"}\n')
    shutil.copyfile(STAND_IN, place / "stand_in.js")
    return folder
