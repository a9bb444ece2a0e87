"""SOCKS as a server speaks it, without I/O: 5 (RFC 1928), its user names and passwords (RFC 1929), 4 and 4A.

`Handshake` takes bytes as they come, in any pieces, and ends with a `Request`; what is to be sent lies in `outgoing`,
what came after the request in `rest`. The libraries that there are speak the client's side only (socksio, PySocks); the
tests let them speak to this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from ..errors import ProtocolError

IpAddress = IPv4Address | IPv6Address

VERSION_4, VERSION_5 = 4, 5
NO_AUTHENTICATION, USER_AND_PASSWORD, NO_METHOD = 0x00, 0x02, 0xFF
_AUTH_VERSION = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
MAX_TEXT = 255  # bytes of a name or user, in version 4 as in version 5
_UNSPECIFIED = IPv4Address(0)


class Command(IntEnum):
    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3


class Reply(IntEnum):
    """RFC 1928 6."""

    SUCCEEDED = 0
    FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


_GRANTED_4, _REJECTED_4, _WRONG_USER_4 = 90, 91, 93


class SocksError(ProtocolError):
    """The client said what is not SOCKS, or may not be said; what it is told stands in `Handshake.outgoing`."""

    default_code = "socks"


@dataclass(frozen=True)
class Request:
    """What the client wants. `host` is a name or an address as text; `user` is empty when none was given."""

    version: int
    command: Command
    host: str
    port: int
    user: str

    @property
    def isolation(self) -> str | None:
        """The tunnel's isolation key: the user name, apart from those of HTTP clients."""
        return f"socks\0{self.user}" if self.user else None

    def reply(self, code: Reply, address: IpAddress = _UNSPECIFIED, port: int = 0) -> bytes:
        """The answer in the request's version; `address` and `port` are what was bound."""
        if self.version == VERSION_5:
            return bytes((VERSION_5, code, 0)) + _encode_address(address) + port.to_bytes(2, "big")
        status = _GRANTED_4 if code == Reply.SUCCEEDED else _REJECTED_4
        four = address if address.version == 4 else _UNSPECIFIED
        return bytes((0, status)) + port.to_bytes(2, "big") + four.packed


class Handshake:
    """From the first byte to the request.

    `allowed(user, password)` decides on credentials; None: none are needed, and those that are given are taken as
    names for isolation, whatever they are, as Tor does.
    """

    def __init__(self, allowed: Callable[[str, str], bool] | None = None) -> None:
        self.outgoing = bytearray()
        self.rest = b""
        self._allowed = allowed
        self._received = bytearray()
        self._step: Callable[[_Reader], Request | None] = self._first
        self._user = ""

    def receive(self, data: bytes) -> Request | None:
        """More bytes; the request once it is complete. Raises `SocksError`."""
        self._received += data
        while True:
            reader = _Reader(self._received)
            try:
                request = self._step(reader)
            except _Short:
                return None
            del self._received[: reader.at]
            if request is not None:
                self.rest = bytes(self._received)
                return request

    def take(self) -> bytes:
        """What is to be sent now."""
        out = bytes(self.outgoing)
        self.outgoing.clear()
        return out

    # -- one method a message ------------------------------------------------------------------------

    def _first(self, reader: _Reader) -> Request | None:
        version = reader.byte()
        if version == VERSION_5:
            self._greeting(reader)
            return None
        if version == VERSION_4:
            return self._request_4(reader)
        raise SocksError(f"version {version} is not one of SOCKS", code="socks_version")

    def _greeting(self, reader: _Reader) -> None:
        methods = reader.take(reader.byte())
        if USER_AND_PASSWORD in methods:
            chosen, self._step = USER_AND_PASSWORD, self._credentials
        elif NO_AUTHENTICATION in methods and self._allowed is None:
            chosen, self._step = NO_AUTHENTICATION, self._request_5
        else:
            self.outgoing += bytes((VERSION_5, NO_METHOD))
            raise SocksError("no way of authentication in common", code="socks_authentication")
        self.outgoing += bytes((VERSION_5, chosen))

    def _credentials(self, reader: _Reader) -> None:
        version = reader.byte()
        if version != _AUTH_VERSION:
            raise SocksError(f"version {version} of user and password", code="socks_version")
        user, password = _text(reader.take(reader.byte())), _text(reader.take(reader.byte()))
        if self._allowed is not None and not self._allowed(user, password):
            self.outgoing += bytes((_AUTH_VERSION, 1))
            raise SocksError("wrong user or password", code="socks_authentication")
        self.outgoing += bytes((_AUTH_VERSION, 0))
        self._user = user
        self._step = self._request_5

    def _request_5(self, reader: _Reader) -> Request:
        version, command, _, kind = reader.take(4)
        if version != VERSION_5:
            raise SocksError(f"version {version} in the request", code="socks_version")
        if kind not in (_IPV4, _NAME, _IPV6):
            self._refuse(Reply.ADDRESS_TYPE_NOT_SUPPORTED, f"address type {kind}")
        host = _read_host(reader, kind)
        port = int.from_bytes(reader.take(2), "big")
        if command not in (Command.CONNECT, Command.UDP_ASSOCIATE):
            self._refuse(Reply.COMMAND_NOT_SUPPORTED, f"command {command}")
        if host is None:
            self._refuse(Reply.HOST_UNREACHABLE, "a host name that is not text")
        return Request(VERSION_5, Command(command), host or "", port, self._user)

    def _refuse(self, code: Reply, what: str) -> None:
        self.outgoing += Request(VERSION_5, Command.CONNECT, "", 0, "").reply(code)
        raise SocksError(f"{what} is not supported", code="socks_unsupported")

    def _request_4(self, reader: _Reader) -> Request:
        command, port = reader.byte(), int.from_bytes(reader.take(2), "big")
        address = reader.take(4)
        user = _text(reader.until_zero())
        host: str | None = str(IPv4Address(address))
        if address[:3] == bytes(3) and address[3]:  # 4A: the name follows
            host = _host_text(reader.until_zero())
        status = _REJECTED_4
        if self._allowed is not None:
            status, what = _WRONG_USER_4, "version 4 carries no password"
        elif command != Command.CONNECT:
            what = f"command {command} is not supported"
        elif host is None:
            what = "a host name that is not text"
        else:
            return Request(VERSION_4, Command.CONNECT, host, port, user)
        self.outgoing += bytes((0, status)) + bytes(6)
        code = "socks_authentication" if status == _WRONG_USER_4 else "socks_unsupported"
        raise SocksError(what, code=code)


# -- datagrams (RFC 1928 7) ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Datagram:
    """One that a client sends or gets; `host` is a name or an address as text."""

    host: str
    port: int
    data: bytes


def decode_datagram(packet: bytes) -> Datagram:
    """Raises `SocksError`: malformed, or a fragment, which a relay may refuse to put together."""
    reader = _Reader(packet)
    try:
        _, _, fragment, kind = reader.take(4)
        host = _read_host(reader, kind) if kind in (_IPV4, _NAME, _IPV6) else None
        port = int.from_bytes(reader.take(2), "big")
    except _Short:
        raise SocksError("a datagram that ends in its header", code="socks_malformed") from None
    if fragment or not host or not port:
        raise SocksError("a datagram with a fragment, or without an address", code="socks_unsupported")
    return Datagram(host, port, bytes(packet[reader.at :]))


def encode_datagram(address: IpAddress, port: int, data: bytes) -> bytes:
    """As the client gets it; the address is the sender's."""
    return bytes(3) + _encode_address(address) + port.to_bytes(2, "big") + data


# -- parts ---------------------------------------------------------------------------------------------


class _Short(Exception):
    """More bytes are needed."""


class _Reader:
    """A cursor over what has been received."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise _Short
        piece = bytes(self._data[self.at : end])
        self.at = end
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def until_zero(self) -> bytes:
        """A text of version 4; `SocksError` when it is longer than any."""
        end = self._data.find(0, self.at, self.at + MAX_TEXT + 1)
        if end >= 0:
            text = self.take(end - self.at)
            self.at += 1
            return text
        if len(self._data) - self.at > MAX_TEXT:
            raise SocksError(f"a text of more than {MAX_TEXT} bytes", code="socks_malformed")
        raise _Short


def _read_host(reader: _Reader, kind: int) -> str | None:
    """An address or a name as text; None for bytes that are none."""
    if kind == _IPV4:
        return str(IPv4Address(reader.take(4)))
    if kind == _IPV6:
        return str(IPv6Address(reader.take(16)))
    return _host_text(reader.take(reader.byte()))


def _host_text(data: bytes) -> str | None:
    try:
        return data.decode() or None
    except UnicodeDecodeError:
        return None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encode_address(address: IpAddress) -> bytes:
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed
