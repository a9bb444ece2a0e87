"""`PyodidePage`: Python in a module worker of a real browser, Chromium or Firefox, driven from CPython.

The worker starts exactly what ships (dist/pyodide and the crypto module of javascript/worker/). Values cross as JSON.

    with PyodidePage() as page:
        page.run("import sys; sys.version")                      # the last expression's value
        page.run("result = [x * 2 for x in arguments]", [1, 2])  # or what it puts into `result`
        page.put_file(Path("bench/x.py"), "/work/x.py")
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from buildtools.common import DIST
from buildtools.javascript import bundle

from .chromium import launch_chromium
from .engines import firefox_options
from .server import StaticServer

HERE = Path(__file__).resolve().parent


class PageError(Exception):
    """Python in the page raised; the message is its traceback. Or the worker could not start."""


class PageDied(PageError):
    """The interpreter in the page is gone, or did not answer in time; only a new page helps."""


class PyodidePage:
    """A started worker. `start_ms` is what starting took in the page (Pyodide and crypto, files from this machine)."""

    def __init__(self, *, dist: Path = DIST, timeout: float = 120.0, engine: str = "chromium") -> None:
        self._engine = engine
        self._dist = dist
        self._timeout = timeout
        self._files = Path(tempfile.mkdtemp(prefix="pyodide-page-"))
        self._count = 0
        self._playwright: Playwright | None = None
        self.start_ms = 0.0
        self.alive = True
        self.console: list[str] = []

    def __enter__(self) -> PyodidePage:
        bundle(HERE / "runner.js", self._files / "runner" / "runner.js")
        shutil.copyfile(HERE / "runner.html", self._files / "index.html")
        self.server = StaticServer({"/": self._files, "/dist/": self._dist}).start()
        # Playwright's loop stays in a thread of its own, so that asyncio is free in the caller's.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pyodide-page")
        try:
            self._thread.submit(self._open).result()
            self.start_ms = json.loads(self._evaluate("() => window.pythonStarted", None))
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        self._playwright = sync_playwright().start()
        self.page = self._launch(self._playwright).new_page()
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.goto(f"{self.server.url}/index.html")

    def _launch(self, playwright: Playwright) -> Browser:
        if self._engine == "firefox":
            with firefox_options() as options:
                return playwright.firefox.launch(**options)
        return launch_chromium(playwright)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._playwright is not None:
            self._thread.submit(self._playwright.stop).result()
        self._thread.shutdown()
        self.server.close()
        shutil.rmtree(self._files, ignore_errors=True)

    def with_page(self, task: Callable[[Page], Any]) -> Any:
        """Call `task` with Playwright's page, in the only thread that may touch it."""
        return self._thread.submit(lambda: task(self.page)).result()

    def _evaluate(self, expression: str, argument: Any) -> Any:
        try:
            return self.with_page(lambda page: page.evaluate(expression, argument))
        except PlaywrightError as error:
            message = error.message.removeprefix("Page.evaluate: Error: ")
            if message.startswith(("the interpreter died", "the worker died", "no answer")):
                self.alive = False
                raise PageDied(message) from None
            raise PageError(message.partition("\n    at ")[0].rstrip()) from None

    def run(self, code: str | Path, arguments: Any = None, *, timeout: float | None = None) -> Any:
        """Run Python source (or a file) as a fresh `__main__` that may `await` at top level; its JSON value.

        `arguments` is any JSON value, visible under that name. `PageError` carries the Python traceback; `PageDied`
        says that the interpreter crashed or gave no answer within `timeout` seconds (default: the page's).
        """
        text = code.read_text() if isinstance(code, Path) else code
        sent = [text, json.dumps(arguments), (timeout or self._timeout) * 1000]
        return json.loads(self._evaluate("([code, args, limit]) => window.runPython(code, args, limit)", sent))

    def put_file(self, source: Path | bytes, path: str) -> None:
        """Write a file into the worker's file system; folders are made."""
        self._count += 1
        name = f"file{self._count}"
        (self._files / name).write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        self._evaluate("([path, url]) => window.putFile(path, url)", [path, f"/{name}"])

    def put_folder(self, folder: Path, path: str, pattern: str = "**/*") -> None:
        """Write the files of a folder that match `pattern`, keeping their relative names; one transfer."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.glob(pattern)):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(folder).as_posix())
        self.put_file(packed.getvalue(), "/tmp/folder.zip")
        self.run("import zipfile; zipfile.ZipFile('/tmp/folder.zip').extractall(arguments)", path)
