"""The worker's side of the page's messages: one task for each id, on top of `Tunnel`.

The messages are those of `worker/messages.js`. This file knows nothing of JavaScript: `worker.py` turns JavaScript
objects into dictionaries and back, tests pass dictionaries directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from ..errors import Cancelled, SmolmixError, StateError, UsageError
from ..http import HttpRequest
from ..options import TunnelOptions
from ..sockets import ByteStream, UdpSocket
from ..tunnel import Tunnel
from ..websocket import Close as WebSocketClose
from ..websocket import WebSocketConnection
from .channel import Channel, Close, Finish, Post, Write, field

MAX_CHANNELS = 1024
READ_PIECE = 65_536

MakeTunnel = Callable[[TunnelOptions, Callable[[dict[str, Any]], None]], Tunnel]
Message = Mapping[str, Any]


class Bridge:
    """`post` takes messages for the page; `make_tunnel(options, on_change)` builds a tunnel that has not started."""

    def __init__(self, post: Post, make_tunnel: MakeTunnel) -> None:
        self._post = post
        self._make_tunnel = make_tunnel
        self._tunnel: Tunnel | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._channels: dict[int, Channel] = {}
        self._openings: dict[str, Callable[[Channel, Message], Coroutine[Any, Any, None]]] = {
            "setup": self._setup,
            "disconnect": self._disconnect,
            "statistics": self._statistics,
            "resolve": self._resolve,
            "fetch": self._fetch,
            "websocket": self._websocket,
            "tcp": self._tcp,
            "udp": self._udp,
        }

    def receive(self, message: Message) -> None:
        """One message of the page. Never raises: a bad message is answered with `error` where it has an id."""
        try:
            kind = field(message, "type", str)
            channel_id = field(message, "id", int)
        except UsageError:
            return
        try:
            if kind in self._openings:
                self._open(kind, channel_id, message)
            elif (channel := self._channels.get(channel_id)) is not None:
                self._verb(kind, channel, message)
        except SmolmixError as error:
            self._fail(channel_id, error)

    def _open(self, kind: str, channel_id: int, message: Message) -> None:
        if channel_id in self._channels:
            raise UsageError(f"id {channel_id} is in use", code="bad_message")
        if len(self._channels) >= MAX_CHANNELS:
            error = StateError(f"more than {MAX_CHANNELS} operations at once", code="too_many_operations")
            self._post({"type": "error", "id": channel_id, "error": error.to_dict()})
            return
        channel = self._channels[channel_id] = Channel(channel_id, self._post)
        self._tasks[channel_id] = asyncio.get_running_loop().create_task(self._run(kind, channel, message))

    def _verb(self, kind: str, channel: Channel, message: Message) -> None:
        if kind == "pull":
            channel.pull()
        elif kind == "write":
            data = field(message, "data", bytes, str)
            host = field(message, "host", str) if message.get("host") is not None else None
            port = field(message, "port", int) if message.get("port") is not None else None
            channel.push(Write(data, host, port))
        elif kind == "finish":
            channel.push(Finish())
        elif kind == "close":
            channel.push(Close(field(message, "code", int), field(message, "reason", str)))
        elif kind == "abort":
            self._end(channel.id)
        else:
            raise UsageError(f"unknown message type {kind!r}", code="bad_message")

    async def _run(self, kind: str, channel: Channel, message: Message) -> None:
        try:
            await self._openings[kind](channel, message)
        except SmolmixError as error:
            self._fail(channel.id, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(channel.id, SmolmixError(f"{type(error).__name__}: {error}"))
            raise
        finally:
            if self._channels.get(channel.id) is channel:
                del self._channels[channel.id]
                del self._tasks[channel.id]

    def _fail(self, channel_id: int, error: SmolmixError) -> None:
        """Tell the page, once, that an id ended with an error."""
        if channel_id in self._channels:
            self._post({"type": "error", "id": channel_id, "error": error.to_dict()})
            self._end(channel_id)

    def _end(self, channel_id: int) -> None:
        self._channels.pop(channel_id, None)
        task = self._tasks.pop(channel_id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _ready(self) -> Tunnel:
        if self._tunnel is None:
            raise StateError("the tunnel is not set up", code="not_connected", phase="setup")
        return self._tunnel

    # -- the tunnel -------------------------------------------------------------------------------

    async def _setup(self, channel: Channel, message: Message) -> None:
        if self._tunnel is not None:
            raise StateError("this worker has a tunnel already", code="already_set_up", phase="setup")
        options = TunnelOptions.from_mapping(field(message, "options", Mapping))
        self._tunnel = self._make_tunnel(options, self._changed)
        await self._tunnel.start()
        channel.send("result", value=None)

    def _changed(self, snapshot: dict[str, Any]) -> None:
        self._post({"type": "state", "snapshot": snapshot})

    async def _disconnect(self, channel: Channel, _message: Message) -> None:
        gone = Cancelled("the tunnel was disconnected", code="tunnel_closed")
        for other in list(self._channels):
            if other != channel.id:
                self._fail(other, gone)
        if self._tunnel is not None:
            await self._tunnel.close()
        channel.send("result", value=None)

    async def _statistics(self, channel: Channel, _message: Message) -> None:
        channel.send("result", value=self._ready().statistics())

    async def _resolve(self, channel: Channel, message: Message) -> None:
        family = message.get("family")
        if family not in (4, 6, None):
            raise UsageError(f"family must be 4, 6 or null, not {family!r}", code="bad_message", phase="dns")
        addresses = await self._ready().resolve(field(message, "name", str), family=family)
        channel.send("result", value=[str(address) for address in addresses])

    # -- fetch ------------------------------------------------------------------------------------

    async def _fetch(self, channel: Channel, message: Message) -> None:
        request = field(message, "request", Mapping)
        streaming = field(request, "streaming", bool)
        body: bytes | AsyncIterator[bytes] | None
        body = self._uploaded(channel) if streaming else request.get("body")
        response = await self._ready().fetch(
            HttpRequest(
                url=field(request, "url", str),
                method=field(request, "method", str),
                headers=[(str(name), str(value)) for name, value in field(request, "headers", list, tuple)],
                body=body,
                redirect=field(request, "redirect", str),
            )
        )
        try:
            channel.send(
                "response",
                head={
                    "status": response.status,
                    "statusText": response.reason,
                    "headers": [[name, value] for name, value in response.headers],
                    "url": response.url,
                    "redirected": response.redirected,
                    "httpVersion": response.http_version,
                    "tls": response.tls.version if response.tls is not None else None,
                },
            )
            await self._send_chunks(channel, response.read_chunk)
        finally:
            response.abort()

    async def _uploaded(self, channel: Channel) -> AsyncIterator[bytes]:
        while True:
            item = await channel.next_inbound()
            if not isinstance(item, Write):
                return
            yield item.data.encode() if isinstance(item.data, str) else item.data
            channel.send("written", bytes=item.size)

    async def _send_chunks(self, channel: Channel, read: Callable[[], Coroutine[Any, Any, bytes]]) -> None:
        """One chunk for each pull; the end is told without being asked, so that an empty body costs nothing."""
        while True:
            data = await read()
            if not data:
                break
            await channel.pulled()
            channel.send("chunk", data=data)
        channel.send("end")

    # -- WebSocket --------------------------------------------------------------------------------

    async def _websocket(self, channel: Channel, message: Message) -> None:
        protocols = [str(name) for name in field(message, "protocols", list, tuple)]
        socket = await self._ready().connect_websocket(field(message, "url", str), protocols)
        writer = asyncio.get_running_loop().create_task(self._websocket_writes(channel, socket))
        try:
            extensions = ", ".join(socket.extensions)
            channel.send("opened", detail={"protocol": socket.subprotocol or "", "extensions": extensions})
            while True:
                received = await socket.receive()
                if isinstance(received, WebSocketClose):
                    break
                await channel.pulled()
                channel.send("chunk", data=received)
            channel.send("closed", code=received.code, reason=received.reason, clean=received.clean)
        finally:
            writer.cancel()
            socket.abort()

    async def _websocket_writes(self, channel: Channel, socket: WebSocketConnection) -> None:
        while True:
            item = await channel.next_inbound()
            if isinstance(item, Write):
                await socket.send(item.data)
                channel.send("written", bytes=item.size)
            elif isinstance(item, Close):
                await socket.close(item.code, item.reason)
                return

    # -- TCP and UDP ------------------------------------------------------------------------------

    async def _tcp(self, channel: Channel, message: Message) -> None:
        tls = field(message, "tls", bool)
        connected = await self._ready().connect_tcp(field(message, "host", str), field(message, "port", int), tls=tls)
        stream = connected.stream
        try:
            facts = connected.tls
            detail = {"tls": facts.version, "cipher": facts.cipher, "alpn": facts.alpn} if facts is not None else {}
            channel.send("opened", detail=detail)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tcp_writes(channel, stream))
                await self._send_chunks(channel, lambda: stream.read(READ_PIECE))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            stream.abort()

    async def _tcp_writes(self, channel: Channel, stream: ByteStream) -> None:
        while True:
            item = await channel.next_inbound()
            if isinstance(item, Write):
                await stream.write(item.data.encode() if isinstance(item.data, str) else item.data)
                channel.send("written", bytes=item.size)
            else:
                await stream.close()
                return

    async def _udp(self, channel: Channel, message: Message) -> None:
        tunnel = self._ready()
        socket = tunnel.bind_udp(field(message, "port", int))
        try:
            local = socket.local
            detail = {"localAddress": str(local.address), "localPort": local.port} if local is not None else {}
            channel.send("opened", detail=detail)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._udp_writes(channel, tunnel, socket))
                while True:
                    await channel.pulled()
                    data, source = await socket.receive()
                    channel.send("chunk", data=data, host=str(source.address), port=source.port)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            socket.close()

    async def _udp_writes(self, channel: Channel, tunnel: Tunnel, socket: UdpSocket) -> None:
        while True:
            item = await channel.next_inbound()
            if not isinstance(item, Write) or item.host is None or item.port is None:
                raise UsageError("a datagram needs data, host and port", code="bad_message", phase="udp")
            address = (await tunnel.resolve(item.host, family=None))[0]
            socket.send_to(item.data.encode() if isinstance(item.data, str) else item.data, address, item.port)
            channel.send("written", bytes=item.size)
