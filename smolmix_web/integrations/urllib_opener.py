"""urllib.request over a tunnel: `mix_opener(tunnel).open(url)`, on sockets of a `BlockingTunnel`."""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from typing import Any

from .blocking import BlockingTunnel


def mix_opener(tunnel: BlockingTunnel, *handlers: Any, context: ssl.SSLContext | None = None) -> Any:
    """An `OpenerDirector` for http and https; `context` says what TLS trusts. It looks for no proxy."""

    def connect(address: tuple[str, int], timeout: Any = None, source_address: Any = None) -> Any:
        # http.client's own default is a mark for "none given".
        return tunnel.connect(address[0], address[1], timeout if isinstance(timeout, (int, float)) else None)

    class Plain(http.client.HTTPConnection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._create_connection = connect

    class Secure(http.client.HTTPSConnection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._create_connection = connect

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, request, context=context)

    return urllib.request.build_opener(urllib.request.ProxyHandler({}), PlainHandler, SecureHandler, *handlers)
