"""A static file server on 127.0.0.1 for tests: right content types for modules and WebAssembly.

Nothing is cached, unless `headers` have a Cache-Control of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
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


class StaticServer:
    """Serves folders below URL prefixes: `StaticServer({"/": site, "/dist/": dist})`; the longest prefix wins.

    `requests` holds the path of every request answered, in order. Use as a context manager, or `start` and `close`.
    """

    def __init__(self, folders: Mapping[str, Path], *, headers: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.requests: list[str] = []
        self._folders = sorted(folders.items(), key=lambda item: -len(item[0]))
        self._headers = dict(headers or {})
        owner = self

        class Handler(SimpleHTTPRequestHandler):
            extensions_map = {"": "application/octet-stream", **TYPES}
            protocol_version = "HTTP/1.1"

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
