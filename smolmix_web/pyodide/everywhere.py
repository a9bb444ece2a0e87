"""`patch()` in Pyodide: what Python fetches goes through a tunnel, or fails; `unpatch()`.

Two layers. Libraries are led to the tunnel: requests and urllib.request by the package pyodide-http, with the tunnel in
the place of its XMLHttpRequest; urllib3, whose own way out here is the same; httpx. Below them the interfaces of the
browser are shut (javascript/worker/guard.js), for everything that runs in this page or worker, and what Python modules
hold of them is exchanged. What it cannot see is a worker that runs already. Imported under Pyodide only.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any

import js
from pyodide.ffi import JsProxy, can_run_sync

from .. import extras
from ..asyncio_streams import as_os_error
from ..errors import SmolmixError, StateError, TimeoutExpired
from ..http.headers import forbidden
from ..integrations.replacing import Patched, Replacements
from . import parts
from .blocking import BlockingResponse, BlockingTunnel, wait

# What javascript/worker/guard.js shuts and Python code may hold a reference to.
INTERFACES = (
    "fetch", "XMLHttpRequest", "WebSocket", "EventSource", "WebTransport", "WebSocketStream", "Worker", "SharedWorker",
    "RTCPeerConnection",
)  # fmt: skip
# The tunnel's client sets them itself.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "keep-alive"})

_replaced = Replacements()


def patch(tunnel: Any = None, **options: Any) -> Patched:
    """Lead everything through `tunnel` (of `open_tunnel` or `shared_tunnel`, or a `BlockingTunnel` of one).

    Without one it opens its own with `options`, as `open_tunnel` has them, where something can wait. Raises
    `StateError` when it was called before (`patched`) or nothing can wait (`cannot_block`); then nothing is patched.
    """
    if _replaced:
        raise StateError("already patched", code="patched")
    stack = AsyncExitStack()
    if tunnel is None:
        from . import open_tunnel

        tunnel = wait(stack.enter_async_context(open_tunnel(**options)))
    blocking = tunnel if isinstance(tunnel, BlockingTunnel) else BlockingTunnel(tunnel)
    try:
        names = [name for name, apply in _PATCHES.items() if apply(blocking)]
    except BaseException:
        _replaced.revert()
        _close(stack)
        raise
    _replaced.afterwards(lambda: _close(stack))
    return Patched(tuple(names), blocking)


def unpatch() -> None:
    """Everything as it was; the tunnel that `patch` opened is closed. Idempotent."""
    _replaced.revert()


_closing: set[asyncio.Future[None]] = set()


def _close(stack: AsyncExitStack) -> None:
    if can_run_sync():
        wait(stack.aclose())
        return
    task = asyncio.ensure_future(stack.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


# -- one request ---------------------------------------------------------------------------------------


class _Raw(io.RawIOBase):
    """A body as a file."""

    def __init__(self, response: BlockingResponse, failed: Callable[[SmolmixError], Exception]) -> None:
        self._response = response
        self._failed = failed
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            try:
                self._rest = memoryview(self._response.next_chunk())
            except SmolmixError as error:
                raise self._failed(error) from error
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()


def _ask(tunnel: BlockingTunnel, request: Any, redirect: str) -> tuple[BlockingResponse, dict[str, str]]:
    """A request of pyodide-http or urllib3, which are alike. Headers of the response as a dictionary, values joined."""
    url = request.url
    if request.params:
        url += "?" + js.URLSearchParams.new(list(map(list, request.params.items()))).toString()
    pairs = [(name, str(value)) for name, value in request.headers.items()]
    response = tunnel.fetch(
        url,
        method=request.method,
        headers=[pair for pair in pairs if pair[0].lower() not in _OURS and not forbidden(*pair)],
        body=request.body or None,
        redirect=redirect,
        timeout=float(request.timeout) if request.timeout else None,
    )
    coded = {"content-encoding", "content-length"} if response.header("content-encoding") else set()
    names = dict.fromkeys(name.lower() for name, _ in response.headers)
    return response, {name: response.header(name) or "" for name in names if name not in coded}


def _pyodide_http(tunnel: BlockingTunnel) -> bool:
    """pyodide-http's own patches, and in all its modules the tunnel in place of what sends by XMLHttpRequest."""
    if not extras.installed("pyodide_http"):
        return False
    import pyodide_http
    from pyodide_http import _core, _streaming, _urllib

    def failed(error: SmolmixError) -> Exception:
        kind = _core._StreamingTimeout if isinstance(error, TimeoutExpired) else _core._StreamingError
        made: Exception = kind(f"{error.code}: {error.message}")
        return made

    def sender(failed: Callable[[SmolmixError], Exception]) -> Any:
        def send(request: Any, stream: bool = False) -> Any:
            try:
                response, headers = _ask(tunnel, request, "manual")
                body = io.BufferedReader(_Raw(response, failed)) if stream else response.read()
            except SmolmixError as error:
                raise failed(error) from error
            return _core.Response(status_code=response.status, headers=headers, body=body)

        return send

    def open_url(request: Any) -> Any:
        """urllib has no redirects of its own here: pyodide-http leaves them to who sends."""
        try:
            response, headers = _ask(tunnel, request, "follow")
            body = response.read()
        except SmolmixError as error:
            raise urllib.error.URLError(as_os_error(error)) from error
        return _core.Response(status_code=response.status, headers=headers, body=body)

    _replaced.put(_core, "send", sender(failed))
    _replaced.put(_core, "send_streaming_request", sender(failed))
    _replaced.put(_streaming, "_fetcher", None)
    _replaced.put(_urllib, "send", open_url)
    for name in ("urlopen", "OpenerDirector.open"):
        owner: Any = urllib.request.OpenerDirector if "." in name else urllib.request
        _keep(owner, name.rpartition(".")[2])
    _replaced.put(_urllib, "_IS_PATCHED", False)
    pyodide_http.patch_urllib()
    if extras.installed("requests"):
        from pyodide_http import _requests
        from requests import exceptions
        from requests.sessions import Session

        def as_requests(error: SmolmixError) -> Exception:
            """pyodide-http would leave out what happened."""
            opening = error.phase in ("dns", "connect", "tls", "tunnel")
            late = exceptions.ConnectTimeout if opening else exceptions.ReadTimeout
            kind = late if isinstance(error, TimeoutExpired) else exceptions.ConnectionError
            made: Exception = kind(f"{error.code}: {error.message}")
            return made

        _replaced.put(_requests, "send", sender(as_requests))
        if not _requests._IS_PATCHED:
            _keep(Session, "__init__")
            _replaced.put(_requests, "_IS_PATCHED", False)
            pyodide_http.patch_requests()
    return True


def _keep(owner: Any, name: str) -> None:
    """What somebody else is going to replace."""
    _replaced.put(owner, name, getattr(owner, name))


def _urllib_request(_: BlockingTunnel) -> bool:
    return extras.installed("pyodide_http")


def _requests(_: BlockingTunnel) -> bool:
    return extras.installed("requests")  # sessions that are older than the patch speak by urllib3


def _urllib3(tunnel: BlockingTunnel) -> bool:
    if not extras.installed("urllib3"):
        return False
    try:
        connection = importlib.import_module("urllib3.contrib.emscripten.connection")
    except ImportError:
        return False  # an old one has sockets only, and they lead nowhere here
    from urllib3.contrib.emscripten import fetch
    from urllib3.contrib.emscripten.response import EmscriptenResponse

    def failed(request: Any) -> Callable[[SmolmixError], Exception]:
        def make(error: SmolmixError) -> Exception:
            kind = fetch._TimeoutError if isinstance(error, TimeoutExpired) else fetch._RequestError
            made: Exception = kind(f"{error.code}: {error.message}", request=request)
            return made

        return make

    def send(request: Any, stream: bool = False) -> Any:
        with_error = failed(request)
        try:
            response, headers = _ask(tunnel, request, "manual")
            body = io.BufferedReader(_Raw(response, with_error)) if stream else response.read()
        except SmolmixError as error:
            raise with_error(error) from error
        return EmscriptenResponse(status_code=response.status, headers=headers, body=body, request=request)

    for owner in (connection, fetch):
        _replaced.put(owner, "send_request", send)
        _replaced.put(owner, "send_streaming_request", lambda request: send(request, stream=True))
    return True


def _httpx(tunnel: BlockingTunnel) -> bool:
    if not extras.installed("httpx"):
        return False
    import httpx

    from ..integrations.httpx_transport import MixTransport

    ours = MixTransport(tunnel)
    kinds: list[Any] = [httpx.HTTPTransport, httpx.AsyncHTTPTransport]
    with contextlib.suppress(ImportError):  # in Pyodide's own distribution
        kinds += vars(importlib.import_module("httpx._transports.jsfetch")).values()
    for kind in kinds:
        for name in ("handle_request", "handle_async_request"):
            if isinstance(kind, type) and issubclass(kind, _base(httpx, name)) and name in vars(kind):
                _replaced.put(kind, name, _to(ours, name))
    return True


def _base(httpx: Any, name: str) -> Any:
    return httpx.BaseTransport if name == "handle_request" else httpx.AsyncBaseTransport


def _to(ours: Any, name: str) -> Any:
    if name == "handle_request":
        return lambda self, request: ours.handle_request(request)

    async def handle_async_request(self: Any, request: Any) -> Any:
        return await ours.handle_async_request(request)

    return handle_async_request


def _guard(_: BlockingTunnel) -> bool:
    natives = {getattr(js, name).js_id: name for name in INTERFACES if hasattr(js, name)}
    undo = parts.loaded().shut()
    _replaced.then(undo)
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, JsProxy) and value.js_id in natives:
                _replaced.put(module, name, getattr(js, natives[value.js_id]))
    return True


# The guard last: importing the others may need what it shuts.
_PATCHES: dict[str, Callable[[BlockingTunnel], bool]] = {
    "pyodide_http": _pyodide_http,
    "urllib": _urllib_request,
    "requests": _requests,
    "urllib3": _urllib3,
    "httpx": _httpx,
    "guard": _guard,
}
