"""HTTP/1.1 over the tunnel with the semantics of fetch."""

from .client import HttpClient, HttpRequest, HttpStatistics
from .connector import Connected, Connector, NetConnector, TlsInfo
from .cookies import CookieJar
from .response import HttpResponse
from .timeouts import Timeouts
from .timings import Timings
from .url import Url, parse_url

__all__ = [
    "Connected",
    "Connector",
    "CookieJar",
    "HttpClient",
    "HttpRequest",
    "HttpResponse",
    "HttpStatistics",
    "NetConnector",
    "Timeouts",
    "Timings",
    "TlsInfo",
    "Url",
    "parse_url",
]
