"""A static file server on 127.0.0.1 for tests: right content types for modules and WebAssembly.

Nothing is cached, unless `headers` have a Cache-Control of their own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".whl": "application/zip",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}


MAX_BODY = 1 << 16  # bytes of a request


class Asked(NamedTuple):
    method: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


class StaticServer:
    """Serves folders below URL prefixes: `StaticServer({"/": site, "/dist/": dist})`; the longest prefix wins. What
    `answers` has by its whole path is asked for each time, in a thread of the server's.

    `requests` holds the path of every request answered, in order. Use as a context manager, or `start` and `close`.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        headers: Mapping[str, str] | None = None,
        port: int = 0,
        answers: Mapping[str, Callable[[Asked], Answer]] | None = None,
    ) -> None:
        self.requests: list[str] = []
        self._folders = sorted(folders.items(), key=lambda item: -len(item[0]))
        self._headers = dict(headers or {})
        self._answers = dict(answers or {})
        owner = self

        class Handler(SimpleHTTPRequestHandler):
            extensions_map = {"": "application/octet-stream", **TYPES}
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if not self._answered():
                    super().do_GET()

            def do_POST(self) -> None:
                if not self._answered():
                    self.send_error(405)

            def _answered(self) -> bool:
                made = owner._answers.get(urlsplit(self.path).path)
                if made is None:
                    return False
                size = int(self.headers.get("Content-Length") or 0)
                if size > MAX_BODY:
                    self.send_error(413)
                    return True
                answer = made(Asked(self.command, dict(self.headers), self.rfile.read(size)))
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                with contextlib.suppress(ConnectionError):  # who asked may be gone
                    self.end_headers()
                    self.wfile.write(answer.body)
                return True

            def translate_path(self, path: str) -> str:
                return str(owner._find(unquote(urlsplit(path).path)))

            def end_headers(self) -> None:
                if "Cache-Control" not in owner._headers:
                    self.send_header("Cache-Control", "no-store")
                for name, value in owner._headers.items():
                    self.send_header(name, value)
                super().end_headers()

            def list_directory(self, path: object) -> None:
                self.send_error(404)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                owner.requests.append(self.path)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="static-server", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _find(self, path: str) -> Path:
        for prefix, folder in self._folders:
            if path.startswith(prefix):
                target = (folder / path[len(prefix) :].lstrip("/")).resolve()
                if target.is_relative_to(folder.resolve()):
                    return target
        return Path("/nonexistent")

    def start(self) -> StaticServer:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> StaticServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
