"""Browser tests share one started Python worker per session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browserkit.pyodide_page import PyodidePage
from buildtools.common import DIST


@pytest.fixture(scope="session")
def pyodide_page() -> Iterator[PyodidePage]:
    """The worker as it ships: only the standard library that a first page load fetches."""
    assert (DIST / "pyodide" / "python.zst").exists(), "dist/ is missing: run `python3 build.py build` first"
    with PyodidePage() as page:
        yield page
