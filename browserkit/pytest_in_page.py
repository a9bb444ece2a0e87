"""pytest inside the page's Python: puts the test packages and test files there, runs a file, brings the reports back.

The page runs what ships, which has only a part of the standard library; pytest needs more, so the complete one is added
behind it first, and a stand-in for `unicodedata`, which the interpreter no longer has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from buildtools.common import DIST, ROOT
from buildtools.libraries import fetch_test_packages

from .pyodide_page import PyodidePage
from .unicode_data import module_source

CHECKOUT = "/checkout"
SITE_PACKAGES = "/lib/python3.14/site-packages"

ADD_STDLIB = """
import sys

# Packages that are already there keep their path: give it the complete library as a second place.
complete = "/lib/complete.zip"
sys.path.insert(sys.path.index("/lib/python314.zip") + 1, complete)
for name, module in list(sys.modules.items()):
    paths = getattr(module, "__path__", None)
    if isinstance(paths, list) and any(path.startswith("/lib/python314.zip") for path in paths):
        paths.append(f"{complete}/{name.replace('.', '/')}")
"""

INSTALL = """
import importlib
import zipfile

for path in arguments["wheels"]:
    zipfile.ZipFile(path).extractall(arguments["site"])
importlib.invalidate_caches()
"""

INI = """\
[pytest]
addopts = --strict-markers --import-mode=importlib -p no:cacheprovider -p no:faulthandler
markers =
{markers}
"""

RUN = """
import contextlib
import io
import os
import sys

import pytest


class Reporter:
    def __init__(self):
        self.reports = {}
        self.errors = []

    def pytest_collectreport(self, report):
        if report.failed:
            self.errors.append([report.nodeid, "error", report.longreprtext, 0.0])
        elif report.skipped:
            self.errors.append([report.nodeid, "skipped", str(report.longrepr[2]), 0.0])

    def pytest_runtest_logreport(self, report):
        old = self.reports.get(report.nodeid)
        seconds = report.duration + (old[3] if old else 0.0)
        if report.when == "call" or not report.passed:
            reason = report.skipped and isinstance(report.longrepr, tuple)
            text = str(report.longrepr[2]) if reason else report.longreprtext
            outcome = report.outcome if report.when == "call" or report.skipped else "error"
            if old is None or old[1] in ("", "passed"):
                self.reports[report.nodeid] = [report.nodeid, outcome, text, seconds]
        elif old is None:
            self.reports[report.nodeid] = [report.nodeid, "", "", seconds]
        else:
            old[3] = seconds


os.chdir(arguments["folder"])
if arguments["folder"] not in sys.path:
    sys.path.insert(0, arguments["folder"])
reporter = Reporter()
output = io.StringIO()
with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
    code = pytest.main(["-c", "pytest.ini", *arguments["args"]], plugins=[reporter])
reports = reporter.errors + list(reporter.reports.values())
result = {"code": int(code), "reports": reports, "output": output.getvalue()[-4000:]}
"""


@dataclass(frozen=True)
class PageReport:
    """One test that ran in the page."""

    nodeid: str
    outcome: str  # passed, failed, skipped or error
    text: str  # traceback or reason
    seconds: float


def install_pytest(page: PyodidePage, *, markers: list[str]) -> None:
    """Once per page: the complete standard library, pytest and Hypothesis, and the files of tests/."""
    page.put_file(DIST / "pyodide" / "python_stdlib.zip", "/lib/complete.zip")
    page.run(ADD_STDLIB)
    page.put_file(module_source().encode(), f"{SITE_PACKAGES}/unicodedata.py")
    wheels = []
    for wheel in fetch_test_packages():
        target = f"/tmp/{wheel.name}"
        page.put_file(wheel, target)
        wheels.append(target)
    page.run(INSTALL, {"wheels": wheels, "site": SITE_PACKAGES})
    page.put_file(
        INI.format(markers="\n".join(f"    {marker}" for marker in markers)).encode(), f"{CHECKOUT}/pytest.ini"
    )
    page.put_folder(ROOT / "tests", f"{CHECKOUT}/tests")


def run_file(page: PyodidePage, path: str, *, timeout: float = 300.0) -> list[PageReport]:
    """Run one test file (relative to the checkout) in the page; its reports, never an empty list."""
    arguments = {"folder": CHECKOUT, "args": [path, "-m", "not cpython"]}
    answer = page.run(RUN, arguments, timeout=timeout)
    reports = [PageReport(*report) for report in answer["reports"]]
    if not reports and answer["code"] == 5:  # nothing collected, or all deselected
        return [PageReport(path, "skipped", "every test of this file is marked `cpython`", 0.0)]
    if not reports:
        return [PageReport(path, "error", f"pytest ended with {answer['code']}: {answer['output']}", 0.0)]
    return reports


def files_of(names: list[str]) -> list[Path]:
    """These test files, and all in these folders, of tests/, relative to the checkout."""
    paths = [ROOT / "tests" / name for name in names]
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("test_*.py")))]
    return [file.relative_to(ROOT) for file in found]
