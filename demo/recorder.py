"""Which requests a page and its workers make, and whether they may: the site's own files, the directory, a gateway.

Playwright tells of requests of page and workers and of their WebSockets, as they happen; WebKit's driver does not.
Chromium's own network log (`--log-net-log`) has everything that reached its network stack, with its initiator, and
names that were looked up; it is complete once the browser has ended. Which engine has which witness: `witness.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page, Request

BROWSER_ITSELF = "not an origin"  # the initiator that the network log gives to what no page asked for


@dataclass(frozen=True)
class Allowed:
    """Addresses that may be asked, by kind: `site`, `directory`, `gateway`. Each is a list of URL prefixes."""

    site: str
    directory: tuple[str, ...]
    gateways: tuple[str, ...]

    def kind(self, url: str) -> str | None:
        """The kind of a URL, or None when it is of no kind that may be asked."""
        own = f"{self.site}/"
        if url.startswith((own, f"blob:{own}", "data:")):  # blob: and data: never leave the page
            return "site"
        for kind, prefixes in (("directory", self.directory), ("gateway", self.gateways)):
            if any(url == prefix.rstrip("/") or url.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes):
                return kind
        return None


@dataclass
class Recorder:
    """Collects what a browser context asks for."""

    allowed: Allowed
    urls: list[str] = field(default_factory=list)

    def attach(self, context: BrowserContext) -> None:
        context.on("request", self._note)
        context.on("page", self._watch)

    def _note(self, request: Request) -> None:
        # Firefox's driver tells of a WebSocket as of a document or a request of no known type, whose URL has `http:`.
        socket = f"ws{request.url.removeprefix('http')}"
        known = request.resource_type in ("document", "other") and self.allowed.kind(socket) == "gateway"
        self.urls.append(socket if known else request.url)

    def _watch(self, page: Page) -> None:
        page.on("websocket", lambda socket: self.urls.append(socket.url))

    def counts(self) -> Counter[str]:
        """How many requests of each kind; `other` for the rest."""
        return Counter(self.allowed.kind(url) or "other" for url in self.urls)

    def others(self, more: Iterable[str] = ()) -> list[str]:
        """Requests that are of no allowed kind, each once."""
        return sorted({url for url in [*self.urls, *more] if self.allowed.kind(url) is None})


class NetLog:
    """A network log that Chromium has written to its end."""

    def __init__(self, path: Path) -> None:
        self._text = path.read_text(encoding="utf-8", errors="replace")
        self._log: dict[str, Any] = json.loads(self._text)

    def _params(self, event: str) -> list[dict[str, Any]]:
        number = self._log["constants"]["logEventTypes"][event]
        return [entry["params"] for entry in self._log["events"] if entry["type"] == number and "params" in entry]

    def page_urls(self) -> list[str]:
        """URLs that pages and workers asked for; what the browser asks for itself (its updates) is left out."""
        requests = [params for params in self._params("URL_REQUEST_START_JOB") if "url" in params]
        return [params["url"] for params in requests if params.get("initiator", BROWSER_ITSELF) != BROWSER_ITSELF]

    def mentions(self, name: str) -> bool:
        """A host name occurs anywhere: it was looked up, connected to, or asked for."""
        return name in self._text
