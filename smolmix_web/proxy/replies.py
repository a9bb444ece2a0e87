"""What the tunnel's errors are in the words of SOCKS (RFC 1928 6) and HTTP (statuses, and RFC 9209 beside them)."""

from __future__ import annotations

from ..errors import AddressError, DnsError, HttpError, SmolmixError, StateError, TimeoutExpired, TunnelError
from .socks import Reply

_REPLIES = {
    "admin_prohibited": Reply.NOT_ALLOWED,
    "policy_denied": Reply.NOT_ALLOWED,
    "special_name": Reply.NOT_ALLOWED,
    "network_unreachable": Reply.NETWORK_UNREACHABLE,
    "tunnel_reconnecting": Reply.NETWORK_UNREACHABLE,
    "tunnel_timeout": Reply.NETWORK_UNREACHABLE,
    "host_unreachable": Reply.HOST_UNREACHABLE,
    "bad_name": Reply.HOST_UNREACHABLE,
    "connect_refused": Reply.REFUSED,
    "port_unreachable": Reply.REFUSED,
    "ttl_exceeded": Reply.TTL_EXPIRED,
}


def socks_reply(error: SmolmixError) -> Reply:
    """Time that ran out is "TTL expired", as Tor has it: SOCKS knows no other word for it."""
    if error.code in _REPLIES:
        return _REPLIES[error.code]
    if isinstance(error, DnsError):
        return Reply.HOST_UNREACHABLE
    if isinstance(error, TimeoutExpired):
        return Reply.TTL_EXPIRED
    if isinstance(error, (TunnelError, StateError)):
        return Reply.NETWORK_UNREACHABLE
    if isinstance(error, AddressError):
        return Reply.ADDRESS_TYPE_NOT_SUPPORTED
    return Reply.FAILURE


def http_status(error: SmolmixError) -> tuple[int, str, str]:
    """Status, its reason, and the error type for `Proxy-Status`."""
    reply = socks_reply(error)
    if isinstance(error, HttpError):
        return 502, "Bad Gateway", "http_protocol_error"
    if reply is Reply.NOT_ALLOWED:
        return 403, "Forbidden", "destination_ip_prohibited"
    if reply is Reply.NETWORK_UNREACHABLE and error.code != "network_unreachable":
        return 503, "Service Unavailable", "proxy_internal_response"
    if isinstance(error, DnsError):
        timeout = error.code == "dns_timeout"
        return (504, "Gateway Timeout", "dns_timeout") if timeout else (502, "Bad Gateway", "dns_error")
    if isinstance(error, TimeoutExpired):
        kinds = {"connect": "connection_timeout", "dns": "dns_timeout"}
        return 504, "Gateway Timeout", kinds.get(error.phase or "", "http_response_timeout")
    if reply is Reply.REFUSED:
        return 502, "Bad Gateway", "connection_refused"
    if reply in (Reply.HOST_UNREACHABLE, Reply.NETWORK_UNREACHABLE, Reply.ADDRESS_TYPE_NOT_SUPPORTED):
        return 502, "Bad Gateway", "destination_ip_unroutable"
    return 502, "Bad Gateway", "connection_terminated"
