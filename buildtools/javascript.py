"""Bundle the JavaScript: each entry becomes one self-contained ES module in dist/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .common import DIST, NODE_MODULES, ROOT, TaskError, run

# Entry in the source tree -> file in dist/. The page API finds the worker beside itself, the worker finds pyodide/.
ENTRIES = {"worker/index.js": "index.js", "worker/worker.js": "worker.js"}


def bundle(entry: Path, target: Path, extra: Sequence[str] = ()) -> None:
    """One entry point with everything it imports statically; `import(...)` of computed URLs stays as it is."""
    run(
        [
            NODE_MODULES / ".bin" / "esbuild",
            entry,
            "--bundle",
            "--format=esm",
            "--platform=browser",
            "--target=es2022",
            "--minify",
            "--legal-comments=eof",
            "--sourcemap=linked",
            "--log-level=warning",
            f"--outfile={target}",
            *extra,
        ]
    )


def bundle_all(folder: Path = DIST) -> None:
    for entry, name in ENTRIES.items():
        source = ROOT / entry
        if not source.exists():
            raise TaskError(f"{entry} does not exist")
        bundle(source, folder / name)
