"""`patch()`: everything in this process that speaks by Python's sockets goes through a tunnel, or fails; `unpatch()`.

Two layers. The libraries that are installed are led to the tunnel: `socket.create_connection` (http.client and
urllib.request, smtplib, imaplib, ...), urllib3 and requests, asyncio's `create_connection` (streams, websockets, ...),
aiohttp, httpx. Below them a guard: whatever else would look a name up or reach another machine raises `PermissionError`
instead. What the guard cannot see is code that brings its own sockets (pycurl, gRPC, uvloop, other processes).
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from .. import extras
from ..errors import StateError
from .blocking import BlockingTunnel, on_own_thread
from .replacing import Patched, Replacements

# What `socket.create_connection` takes for "none given".
_DEFAULT: Any = inspect.signature(socket.create_connection).parameters["timeout"].default
_lock = threading.Lock()
_replaced = Replacements()
_put = _replaced.put


def patch(tunnel: BlockingTunnel | None = None, **options: Any) -> Patched:
    """Lead everything through `tunnel`, or through one of its own that is opened with `options` as `open_tunnel` has.

    Connections that are open stay what they are. Raises `StateError` when it was called before, and what keeps a tunnel
    from coming up; then nothing is patched.
    """
    with _lock:
        if _replaced:
            raise StateError("already patched", code="patched")
        own = tunnel is None
        if tunnel is None:
            tunnel = BlockingTunnel(**options)
            tunnel.start()
        try:
            names = [name for name, apply in _PATCHES.items() if apply(tunnel)]
        except BaseException:
            _replaced.revert()
            if own:
                tunnel.close()
            raise
        if own:
            _replaced.afterwards(tunnel.close)
        return Patched(tuple(names), tunnel)


def unpatch() -> None:
    """Everything as it was; the tunnel that `patch` opened is closed. Idempotent."""
    with _lock:
        _replaced.revert()


# -- what is let pass ----------------------------------------------------------------------------------


def _stays_here(host: Any) -> bool:
    """This machine's own addresses, and what the tunnel itself does."""
    if on_own_thread() or host is None:
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if text in ("", "localhost"):
        return True
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _literal(host: Any) -> bool:
    try:
        ip_address(host.decode("ascii", "replace") if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return True


def _refuse(what: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{what}: this program's connections go through the tunnel (smolmix_web.patch)")


# -- the patches ---------------------------------------------------------------------------------------


def _guard(_: BlockingTunnel) -> bool:
    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        _put(socket.socket, name, _checked(getattr(socket.socket, name), name))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
        _put(socket, name, _asking(getattr(socket, name), name))
    return True


def _checked(original: Any, name: str) -> Any:
    """A method of sockets with the address among its arguments: the last but for `sendmsg`, whose fourth it is."""

    def method(self: socket.socket, *args: Any) -> Any:
        address: Any = (args[3] if len(args) > 3 else None) if name == "sendmsg" else args[-1]
        remote = isinstance(address, tuple) and self.family in (socket.AF_INET, socket.AF_INET6)
        if remote and not _stays_here(address[0]):
            raise _refuse(f"{name} to {address[0]}")
        return original(self, *args)

    return method


def _asking(original: Any, name: str) -> Any:
    def function(host: Any, *args: Any, **options: Any) -> Any:
        asked = host[0] if isinstance(host, tuple) else host
        # An address needs no look-up, except to be told the name for it.
        if not (_stays_here(asked) or (_literal(asked) and name != "gethostbyaddr" and name != "getnameinfo")):
            raise _refuse(f"{name} of {asked}")
        return original(host, *args, **options)

    return function


def _sockets(tunnel: BlockingTunnel) -> bool:
    original: Any = socket.create_connection

    def create_connection(address: tuple[str, int], timeout: Any = _DEFAULT, *args: Any, **options: Any) -> Any:
        if _stays_here(address[0]):
            return original(address, timeout, *args, **options)
        seconds = timeout if timeout is None or isinstance(timeout, (int, float)) else socket.getdefaulttimeout()
        return tunnel.connect(address[0], int(address[1]), seconds)

    _put(socket, "create_connection", create_connection)
    return True


def _asyncio(tunnel: BlockingTunnel) -> bool:
    loops: Any = asyncio.BaseEventLoop
    original = loops.create_connection

    async def create_connection(self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if host is None or _stays_here(host):
            return await original(self, factory, host, port, **options)
        near = await asyncio.wrap_future(tunnel.connect_later(host, int(port)), loop=self)
        near.setblocking(False)
        for name in ("family", "proto", "flags", "local_addr", "happy_eyeballs_delay", "interleave", "all_errors"):
            options.pop(name, None)
        if options.get("ssl") and options.get("server_hostname") is None:
            options["server_hostname"] = host
        return await original(self, factory, sock=near, **options)

    _put(loops, "create_connection", create_connection)
    return True


def _urllib3(tunnel: BlockingTunnel) -> bool:
    if not extras.installed("urllib3"):
        return False
    from urllib3.connection import HTTPConnection

    from .urllib3_pools import connect

    original: Any = HTTPConnection._new_conn  # the secure one has it from there

    def new_connection(self: Any) -> Any:
        return original(self) if _stays_here(self._dns_host) else connect(tunnel, self)

    _put(HTTPConnection, "_new_conn", new_connection)
    return True


def _requests(_: BlockingTunnel) -> bool:
    return extras.installed("requests")  # its connections are urllib3's


def _httpx(tunnel: BlockingTunnel) -> bool:
    if not extras.installed("httpx"):
        return False
    import httpx

    from .httpx_transport import MixTransport

    ours = MixTransport(tunnel)
    blocking, waiting = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def handle_request(self: Any, request: Any) -> Any:
        return blocking(self, request) if _stays_here(request.url.host) else ours.handle_request(request)

    async def handle_async_request(self: Any, request: Any) -> Any:
        if _stays_here(request.url.host):
            return await waiting(self, request)
        return await ours.handle_async_request(request)

    _put(httpx.HTTPTransport, "handle_request", handle_request)
    _put(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    return True


def _aiohttp(tunnel: BlockingTunnel) -> bool:
    if not extras.installed("aiohttp"):
        return False
    import aiohttp

    original = aiohttp.TCPConnector._create_connection

    async def create_connection(self: Any, request: Any, traces: Any, timeout: Any) -> Any:
        host = request.url.raw_host
        if request.proxy is not None or _stays_here(host):
            return await original(self, request, traces, timeout)
        context = self._get_ssl_context(request)
        name = (request.server_hostname or host).rstrip(".") if context else None
        try:
            async with asyncio.timeout(timeout.sock_connect):
                near = await asyncio.wrap_future(tunnel.connect_later(host, request.port))
                near.setblocking(False)
                _, protocol = await self._loop.create_connection(
                    self._factory, sock=near, ssl=context, server_hostname=name
                )
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise
            raise aiohttp.ClientConnectorError(request.connection_key, error) from error
        return protocol

    _put(aiohttp.TCPConnector, "_create_connection", create_connection)
    return True


# In this order: the guard's own calls must be the originals.
_PATCHES: dict[str, Callable[[BlockingTunnel], bool]] = {
    "socket": _sockets,
    "asyncio": _asyncio,
    "urllib3": _urllib3,
    "requests": _requests,
    "httpx": _httpx,
    "aiohttp": _aiohttp,
    "guard": _guard,
}
