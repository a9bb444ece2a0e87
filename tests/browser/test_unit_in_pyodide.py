"""The pure unit tests again, inside Pyodide in Chromium, with the browser's crypto provider: one subtest for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browserkit.pyodide_page import PyodidePage
from browserkit.pytest_in_page import files_of, install_pytest, run_file

# Rooms whose tests need neither sockets, threads nor processes, single tests marked `cpython` aside; and what meets the
# browser's own URL parser.
ROOMS = ["crypto", "sphinx", "mixnet", "exit", "netstack", "packetscript"]
URLS = ["http/test_url.py", "http/test_redirects.py", "dns/test_names.py"]


@pytest.fixture(scope="module")
def pytest_page(request: pytest.FixtureRequest) -> Iterator[Callable[[], PyodidePage]]:
    """Gives a page with pytest: the same one while it lives, a new one after a test has killed it."""
    pages: list[PyodidePage] = []

    def living_page() -> PyodidePage:
        if not pages or not pages[-1].alive:
            page = PyodidePage().__enter__()
            pages.append(page)
            install_pytest(page, markers=request.config.getini("markers"))
        return pages[-1]

    yield living_page
    for page in pages:
        page.__exit__(None, None, None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", files_of([*ROOMS, *URLS]), ids=str)
def test_file(pytest_page: Callable[[], PyodidePage], path: Path, subtests: pytest.Subtests) -> None:
    reports = run_file(pytest_page(), path.as_posix(), timeout=300)
    for report in reports:
        with subtests.test(msg=report.nodeid.partition("::")[2] or report.nodeid):
            if report.outcome == "skipped":
                pytest.skip(report.text)
            if report.outcome != "passed":
                pytest.fail(report.text, pytrace=False)
