"""urllib3 and requests over a tunnel: their own connections, pools, TLS and checks, on sockets of a `BlockingTunnel`.

session = mix_session(tunnel)              # requests
pools = MixPoolManager(tunnel)             # urllib3
"""

from __future__ import annotations

import socket
from typing import Any

from .. import extras
from .blocking import BlockingTunnel

extras.load("urllib3", "requests")

import urllib3  # noqa: E402
from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: E402
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool  # noqa: E402
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError  # noqa: E402


class MixPoolManager(urllib3.PoolManager):
    """A `PoolManager` whose connections go through `tunnel`; it has no other way."""

    def __init__(self, tunnel: BlockingTunnel, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = pool_classes(tunnel)


def pool_classes(tunnel: BlockingTunnel) -> dict[str, Any]:
    """What `PoolManager.pool_classes_by_scheme` is to be."""

    def new_connection(self: Any) -> socket.socket:
        return connect(tunnel, self)

    plain = type("MixHTTPConnection", (HTTPConnection,), {"_new_conn": new_connection})
    secure = type("MixHTTPSConnection", (HTTPSConnection,), {"_new_conn": new_connection})
    return {
        "http": type("MixHTTPConnectionPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("MixHTTPSConnectionPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


def connect(tunnel: BlockingTunnel, connection: Any) -> socket.socket:
    """The socket for a connection of urllib3, which has its errors."""
    # urllib3's own default is a mark for "none given".
    timeout = connection.timeout if isinstance(connection.timeout, (int, float)) else None
    try:
        return tunnel.connect(connection._dns_host, connection.port, timeout)
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"{connection.host}: {error}") from error
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except OSError as error:
        raise NewConnectionError(connection, f"{connection.host}: {error}") from error


def mix_session(tunnel: BlockingTunnel) -> Any:
    """A `requests.Session` for http and https; it looks at no environment, so that no proxy comes in between."""
    requests = extras.load("requests", "requests")
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, mix_adapter(tunnel))
    return session


def mix_adapter(tunnel: BlockingTunnel) -> Any:
    """For `session.mount("https://", mix_adapter(tunnel))`. Proxies are refused: they would be another way."""
    requests = extras.load("requests", "requests")

    class MixAdapter(requests.adapters.HTTPAdapter):  # type: ignore[name-defined, misc]
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
            self.poolmanager = MixPoolManager(tunnel, num_pools=connections, maxsize=maxsize, block=block, **options)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            raise requests.exceptions.ProxyError(f"{proxy}: behind the tunnel there is no proxy")

    return MixAdapter()
