"""What one id of the page does with a raw socket: TCP, UDP, ping. Each is one task; cancelling it frees its flow.

The messages they exchange with the page are described in `javascript/shared/messages.js`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..dial import Connected
from ..edge.sockets import ByteStream, TcpOptions, UdpSocket
from ..edge.tls import TlsOptions
from ..errors import SmolmixError, UsageError
from ..http import Timeouts
from .channel import Channel, Write, field, isolation, optional

if TYPE_CHECKING:
    from ..tunnel.pool import AnyTunnel

READ_PIECE = 65_536

Message = Mapping[str, Any]


def _family(message: Message) -> int | None:
    family: int | None = optional(message, "family", int)
    if family not in (4, 6, None):
        raise UsageError(f"family must be 4, 6 or null, not {family!r}", code="bad_message", phase="dns")
    return family


# -- ping -------------------------------------------------------------------------------------------


async def ping(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """One `result`: the address that answered, and the round trip in milliseconds."""
    reply = await tunnel.ping(
        field(message, "host", str),
        timeout=field(message, "timeout", int, float) / 1000,
        size=field(message, "size", int),
        family=_family(message),
        isolation=isolation(message),
    )
    channel.send("result", value={"address": str(reply.address), "rtt": reply.rtt * 1000})


# -- TCP --------------------------------------------------------------------------------------------


async def tcp(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """`opened`, a `chunk` for each pull, `eof` when the peer has finished, `end` when both halves have ended."""
    request = field(message, "request", Mapping)
    connected = await tunnel.connect_tcp(
        field(request, "host", str),
        field(request, "port", int),
        tls=_tls(request),
        options=_tcp_options(request),
        family=_family(request),
        timeouts=Timeouts.from_mapping(field(request, "timeouts", Mapping), tunnel.timeouts),
        isolation=isolation(request),
    )
    stream = connected.stream
    try:
        channel.send("opened", detail=_tcp_detail(connected))
        await carry(channel, stream, lambda: connected.truncated)
        await stream.close()
        channel.send("end")
    except BaseException:
        stream.abort()
        raise


def _tls(request: Message) -> TlsOptions | bool:
    given = optional(request, "tls", Mapping)
    if given is None:
        return False
    return TlsOptions(
        server_name=optional(given, "serverName", str),
        alpn=tuple(field(given, "alpn", list, tuple)),
        ca_certificates=tuple(field(given, "caCertificates", list, tuple)),
        default_roots=field(given, "defaultRoots", bool),
    )


def _tcp_options(request: Message) -> TcpOptions:
    keepalive = optional(request, "keepAliveDelay", int)
    return TcpOptions(
        nodelay=field(request, "noDelay", bool),
        keepalive=None if keepalive is None else keepalive / 1000,
        send_buffer=optional(request, "sendBufferSize", int),
        receive_buffer=optional(request, "receiveBufferSize", int),
    )


def _tcp_detail(connected: Connected) -> dict[str, Any]:
    local, remote, facts = connected.local, connected.remote, connected.tls
    assert local is not None and remote is not None
    return {
        "remoteAddress": str(remote.address),
        "remotePort": remote.port,
        "localAddress": str(local.address),
        "localPort": local.port,
        "tls": None if facts is None else {"version": facts.version, "cipher": facts.cipher, "alpn": facts.alpn},
    }


async def carry(channel: Channel, stream: ByteStream, truncated: Callable[[], bool]) -> None:
    """Bytes both ways, until both halves have ended; `truncated` is asked at the peer's end."""
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_reads(channel, stream, truncated))
            await _writes(channel, stream)
            discarded = group.create_task(channel.discarded.wait())
            await asyncio.wait((reading, discarded), return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            discarded.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _reads(channel: Channel, stream: ByteStream, truncated: Callable[[], bool]) -> None:
    """One chunk for each pull. What comes when the page reads no more is dropped, so that the end is noticed."""
    while data := await stream.read(READ_PIECE):
        if not channel.discarded.is_set():
            await channel.pulled()
        if not channel.discarded.is_set():
            channel.send("chunk", data=data)
    channel.send("eof", truncated=truncated())


async def _writes(channel: Channel, stream: ByteStream) -> None:
    while isinstance(item := await channel.next_inbound(), Write):
        await stream.write(item.octets)
        channel.send("written", bytes=item.size)
    await stream.send_eof()


# -- UDP --------------------------------------------------------------------------------------------


async def udp(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """`opened`, a `chunk` or `failed` for each pull; ends by `abort` only."""
    request = field(message, "request", Mapping)
    key = isolation(request)
    socket = await _udp_socket(tunnel, request, key)
    try:
        channel.send("opened", detail=_udp_detail(socket))
        async with asyncio.TaskGroup() as group:
            group.create_task(_udp_writes(channel, tunnel, socket, key))
            while True:
                await channel.pulled()
                try:
                    data, source = await socket.receive()
                except SmolmixError as error:
                    _failed(channel, socket, "pull", error)
                else:
                    channel.send("chunk", data=data, host=str(source.address), port=source.port)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        socket.close()


async def _udp_socket(tunnel: AnyTunnel, request: Message, key: str | None) -> UdpSocket:
    port, family, size = field(request, "port", int), _family(request), optional(request, "receiveBufferSize", int)
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port} is not in 0..65535", code="bad_port", phase="udp")
    host = optional(request, "host", str)
    if host is None:
        address = optional(request, "localAddress", str)
        await tunnel.usable(key)
        return tunnel.bind_udp(port, address=address, family=family, receive_buffer=size, isolation=key)
    remote_port = field(request, "remotePort", int)
    return await tunnel.connect_udp(
        host, remote_port, local_port=port, family=family, receive_buffer=size, isolation=key
    )


def _udp_detail(socket: UdpSocket) -> dict[str, Any]:
    local, remote = socket.local, socket.remote
    if local is None or remote is None:
        return {"localAddress": "::" if socket.family != 4 else "0.0.0.0", "localPort": socket.port}
    return {
        "localAddress": str(local.address),
        "localPort": local.port,
        "remoteAddress": str(remote.address),
        "remotePort": remote.port,
    }


async def _udp_writes(channel: Channel, tunnel: AnyTunnel, socket: UdpSocket, key: str | None) -> None:
    while True:
        item = await channel.next_inbound()
        if not isinstance(item, Write) or (item.host is None) != (item.port is None):
            raise UsageError("a datagram needs data, host and port", code="bad_message", phase="udp")
        try:
            if item.host is None or item.port is None:
                socket.send(item.octets)
            else:
                family = item.family or socket.family
                address = (await tunnel.resolve(item.host, family=family, isolation=key))[0]
                socket.send_to(item.octets, address, item.port)
            channel.send("written", bytes=item.size)
        except SmolmixError as error:
            _failed(channel, socket, "write", error)


def _failed(channel: Channel, socket: UdpSocket, request: str, error: SmolmixError) -> None:
    """One datagram failed; a tunnel that lost its addresses ends the socket."""
    if socket.closed:
        raise error
    channel.send("failed", request=request, error=error.to_dict())
