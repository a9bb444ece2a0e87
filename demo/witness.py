"""The witness of a browser's requests beside its driver: its own network log, or a proxy that it is sent through.

Chromium writes a log of its network stack. Firefox and WebKitGTK write none that could be read, so a proxy on this
machine notes what they ask for; a name that one of them wanted would be seen there as a request to it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from browserkit.recording_proxy import RecordingProxy

from .recorder import NetLog, Recorder

# What Firefox asks for itself: updates, lists, whether there is a network.
OF_THE_BROWSER = ("mozilla.org", "mozilla.com", "mozilla.net", "firefox.com", "mozgcp.net")


class Witness(Protocol):
    """`arguments` and `proxy` are what the browser is started with; the rest holds once it has ended."""

    arguments: tuple[str, ...]
    proxy: int | None

    def others(self, recorder: Recorder) -> list[str]:
        """What pages and workers asked for and is of no allowed kind, each once."""

    def mentions(self, name: str) -> bool:
        """A host name was looked up, connected to, or asked for."""

    def counts(self, recorder: Recorder) -> Counter[str]:
        """Requests by kind, each once."""


class _Log:
    def __init__(self, path: Path) -> None:
        self.arguments: tuple[str, ...] = (f"--log-net-log={path}",)
        self.proxy: int | None = None
        self._path = path

    def others(self, recorder: Recorder) -> list[str]:
        return recorder.others(NetLog(self._path).page_urls())

    def mentions(self, name: str) -> bool:
        return NetLog(self._path).mentions(name)

    def counts(self, recorder: Recorder) -> Counter[str]:
        return recorder.counts()  # Playwright's, which has what came from a cache too


class _Proxy:
    def __init__(self, proxy: RecordingProxy) -> None:
        self.arguments: tuple[str, ...] = ()
        self.proxy: int | None = proxy.port
        self._record = proxy

    def _urls(self) -> list[str]:
        return [url for url in self._record.urls if not _of_the_browser(url)]

    def others(self, recorder: Recorder) -> list[str]:
        # Nothing goes past the proxy, and it tells WebSockets from requests: Playwright adds nothing.
        return sorted({url for url in self._urls() if recorder.allowed.kind(url) is None})

    def mentions(self, name: str) -> bool:
        return any(urlsplit(url).hostname == name for url in self._record.urls)

    def counts(self, recorder: Recorder) -> Counter[str]:
        return Counter(recorder.allowed.kind(url) or "other" for url in self._urls())


def _of_the_browser(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return any(host == name or host.endswith(f".{name}") for name in OF_THE_BROWSER)


@contextlib.asynccontextmanager
async def witness(engine: str) -> AsyncIterator[Witness]:
    """The one that an engine has."""
    if engine == "chromium":
        with tempfile.TemporaryDirectory(prefix="smolmix-demo-") as folder:
            yield _Log(Path(folder) / "netlog.json")
        return
    async with RecordingProxy() as proxy:
        yield _Proxy(proxy)
