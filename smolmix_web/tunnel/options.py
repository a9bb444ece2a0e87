"""Options of a tunnel: one table with name, type, unit, default and range, and the only validation.

Names and defaults are those of `@nymproject/mix-tunnel` 0.2.1 (docs/protocol/ipr.md 6.3), plus our own. The
same camelCase names are used from JavaScript, from Python dictionaries and in error messages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from ..dns import ServerAddress, parse_server
from ..errors import HttpError, OptionError
from ..http.client import MAX_DECODED
from ..http.timeouts import Timeouts
from ..http.url import parse_url
from ..mixnet.json_text import load_json
from ..mixnet.ladder import RATES
from ..mixnet.traffic import PRESETS

MAX_ISOLATION = 1024  # characters of an isolation key
MAINNET_DIRECTORY = ("https://validator.nymtech.net/api/",)

# A resolver that is asked in secret is not replaced by one that is not: the fallback goes the way of the primary.
_PRIMARY = ServerAddress("udp", IPv4Address("8.8.8.8"), 53)
_CLOUDFLARE, _CLOUDFLARE_NAME = IPv4Address("1.1.1.1"), "cloudflare-dns.com"
_FALLBACKS = {
    server.scheme: server
    for server in (
        ServerAddress("udp", _CLOUDFLARE, 53),
        ServerAddress("tcp", _CLOUDFLARE, 53),
        ServerAddress("tls", _CLOUDFLARE, 853, _CLOUDFLARE_NAME),
        ServerAddress("https", _CLOUDFLARE, 443, _CLOUDFLARE_NAME, "/dns-query"),
    )
}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(name, f"expected a string, got {type(value).__name__}")
    if not value:
        raise OptionError(name, "must not be empty")
    return value


def _isolation(name: str, value: Any) -> str:
    if len(text := _text(name, value)) > MAX_ISOLATION:
        raise OptionError(name, f"{len(text)} characters are more than {MAX_ISOLATION}")
    return text


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(name, f"expected true or false, got {type(value).__name__}")
    return value


def integer(low: int, high: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JavaScript has one number type
        if isinstance(value, bool) or not isinstance(value, int):
            raise OptionError(name, f"expected a whole number, got {type(value).__name__}")
        if not low <= value <= high:
            raise OptionError(name, f"{value} is not in {low}..{high}")
        return value

    return check


def _resolver(name: str, value: Any) -> ServerAddress:
    return parse_server(name, _text(name, value))


def _urls(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise OptionError(name, "expected a list of at least one URL")
    try:
        urls = [parse_url(url) for url in value]
    except HttpError as error:
        raise OptionError(name, error.message) from None
    for url in urls:
        if url.query is not None or url.fragment is not None or url.authorization is not None:
            raise OptionError(name, f"expected URLs without credentials, query or fragment, got {url}")
    return tuple(str(url).removesuffix("/") + "/" for url in urls)


def _certificates(name: str, value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise OptionError(name, "expected PEM text or a list of PEM texts")
    for pem in items:
        if not isinstance(pem, str) or "-----BEGIN CERTIFICATE-----" not in pem:
            raise OptionError(name, "every item must be PEM text with a certificate")
    return tuple(items)


def _document(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = load_json(value.encode())
        except (ValueError, RecursionError):
            raise OptionError(name, "expected an object or JSON text") from None
    if not isinstance(value, Mapping):
        raise OptionError(name, f"expected an object, got {type(value).__name__}")
    return dict(value)


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise OptionError(name, f"expected one of {', '.join(choices)}")
        return value

    return check


def _timeouts(name: str, value: Any) -> Timeouts:
    if isinstance(value, Timeouts):
        return value
    return Timeouts.from_mapping(value, option=name)


def _option(
    js_name: str, check: Callable[[str, Any], Any], default: Any, unit: str, text: str, *, secret: bool = False
) -> Any:
    metadata = {"js": js_name, "check": check, "unit": unit, "text": text}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class TunnelOptions:
    """Validated options; times keep the unit of their name. Build with `from_mapping`.

    `persistent` is no option: it says that `clientId` was given. Only then is anything stored (docs/storage.md).
    """

    client_id: str = _option(
        "clientId", _text, "smolmix-wasm", "", "when given, the identity is stored under this name and used again"
    )
    preferred_ipr: str | None = _option(
        "preferredIpr", _text, None, "", "Nym address of the exit; none: drawn by weight"
    )
    preferred_gateway: str | None = _option("preferredGateway", _text, None, "", "base58 identity of the entry gateway")
    force_tls: bool = _option("forceTls", _flag, True, "", "reach the gateway by wss:// only")
    disable_poisson_traffic: bool = _option("disablePoissonTraffic", _flag, False, "", "send at once, no dummy packets")
    disable_cover_traffic: bool = _option("disableCoverTraffic", _flag, False, "", "no separate loop cover stream")
    traffic_preset: str = _option(
        "trafficPreset", _one_of(*PRESETS), "default", "", "named set of traffic settings; the two switches act on top"
    )
    traffic_rate: str = _option(
        "trafficRate", _one_of("auto", *RATES), "auto", "", "part of the usual rate; auto: what machine and line carry"
    )
    open_reply_surbs: int = _option("openReplySurbs", integer(0, 100), 10, "SURBs", "attached to the Open frame")
    data_reply_surbs: int = _option(
        "dataReplySurbs", integer(0, 100), 2, "SURBs", "at least this many on small data messages"
    )
    primary_dns: ServerAddress = _option(  # noqa: RUF009 -- a frozen default
        "primaryDns",
        _resolver,
        _PRIMARY,
        "",
        "resolver, asked through the tunnel: address:port (UDP), tcp://, tls:// or https:// with an address",
    )
    fallback_dns: ServerAddress = _option(  # noqa: RUF009 -- a frozen default
        "fallbackDns",
        _resolver,
        _FALLBACKS["udp"],
        "",
        "used when the primary does not answer; by default 1.1.1.1 in the way of the primary",
    )
    storage_passphrase: str | None = _option(
        "storagePassphrase", _text, None, "", "seals the stored identity, with clientId", secret=True
    )
    connect_timeout_ms: int = _option("connectTimeoutMs", integer(100, 600_000), 60_000, "ms", "for the exit handshake")
    dns_timeout_ms: int = _option("dnsTimeoutMs", integer(100, 600_000), 30_000, "ms", "per query attempt")
    tcp_keepalive_ms: int = _option(
        "tcpKeepaliveMs", integer(1_000, 7_200_000), 10_000, "ms", "TCP keep-alive interval"
    )
    tcp_buffer_size: int = _option(
        "tcpBufferSize", integer(4_096, 16_777_216), 65_535, "bytes", "send and receive buffer per TCP socket"
    )
    tcp_segments: str = _option(
        "tcpSegments",
        _one_of("whole", "paired"),
        "whole",
        "",
        "paired: servers send half segments, two in a packet; fewest packets, slower start",
    )
    fingerprint: str = _option(
        "fingerprint",
        _one_of("usual", "official"),
        "usual",
        "",
        "official: behind the exit as the official client, and slower (docs/privacy.md)",
    )
    max_redirects: int = _option("maxRedirects", integer(0, 50), 20, "", "HTTP redirects followed")
    debug: bool = _option("debug", _flag, False, "", "pages: all that is known is told to the logger")
    # -- ours ---------------------------------------------------------------------------------------
    directory_urls: tuple[str, ...] = _option(
        "directoryUrls", _urls, MAINNET_DIRECTORY, "", "directory base URLs, tried in order"
    )
    exit: str = _option(
        "exit", _one_of("auto", "none"), "auto", "", "none: the mixnet alone, for messages and streams; no sockets"
    )
    topology: Mapping[str, Any] | None = _option(
        "topology", _document, None, "", "pinned network; no directory is asked, and preferredIpr is needed"
    )
    ca_certificates: tuple[str, ...] = _option(
        "caCertificates", _certificates, (), "", "PEM certificates trusted for TLS besides the others, roots or not"
    )
    default_roots: bool = _option("defaultRoots", _flag, True, "", "False: only caCertificates are trusted for TLS")
    timeouts: Timeouts = _option(  # noqa: RUF009 -- a frozen default
        "timeouts", _timeouts, Timeouts(), "ms", "for each phase of a request, by name"
    )
    max_decoded_bytes: int = _option(
        "maxDecodedBytes", integer(1_024, 1 << 53), MAX_DECODED, "bytes", "to which a coded response body may unpack"
    )
    isolation: str | None = _option(
        "isolation", _isolation, None, "", "isolation key of what is asked without one; none: they share"
    )
    crypto: str = _option("crypto", _one_of("auto", "pyca", "browser"), "auto", "", "crypto provider")
    assets_url: str | None = _option("assetsUrl", _text, None, "", "pages: the folder that the worker's files are in")
    integrity: str = _option(
        "integrity", _one_of("auto", "require", "off"), "auto", "", "pages: check the hashes of the files"
    )
    snapshot: str = _option(
        "snapshot", _one_of("auto", "off"), "auto", "", "pages: keep Python's memory for a faster next visit"
    )
    shared: bool = _option("shared", _flag, False, "", "pages: one tunnel for all tabs of the origin")
    storage: bool = _option(
        "storage", _flag, False, "", "pages: functions of the page's keep what is kept; here, whether they do"
    )
    persistent: bool = field(default=False, metadata={"js": None})

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> TunnelOptions:
        """Check a mapping with camelCase names. `None` means "not given". Raises `OptionError`."""
        known = {f.metadata["js"]: f for f in dataclasses.fields(cls) if f.metadata["js"] is not None}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise OptionError(str(name), "unknown option")
            if value is not None:
                values[known[name].name] = known[name].metadata["check"](name, value)
        if "primary_dns" in values and "fallback_dns" not in values:
            values["fallback_dns"] = _FALLBACKS[values["primary_dns"].scheme]
        return cls(**values, persistent="client_id" in values)

    @classmethod
    def from_keywords(cls, given: Mapping[str, Any]) -> TunnelOptions:
        """As `from_mapping`, with the names that the fields have in Python."""
        names = {f.name: f.metadata["js"] for f in dataclasses.fields(cls) if f.metadata["js"] is not None}
        for name in given:
            if name not in names:
                raise OptionError(name, "unknown option")
        if given.get("storage"):
            raise OptionError("storage", "it is for JavaScript alone: a Python program keeps the identity in a folder")
        return cls.from_mapping({names[name]: value for name, value in given.items()})


def option_table() -> list[dict[str, Any]]:
    """The table itself, for documentation and for the page's types: one dictionary per option."""
    return [
        {
            "name": f.metadata["js"],
            "type": f.type,
            "unit": f.metadata["unit"],
            "default": f.default,
            "text": f.metadata["text"],
        }
        for f in dataclasses.fields(TunnelOptions)
        if f.metadata["js"] is not None
    ]
