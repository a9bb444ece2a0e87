"""The worker's side of the page's messages: one task for each id, on top of `Tunnel`.

The messages are those of `javascript/shared/messages.js`. This file knows nothing of JavaScript: `worker.py` turns
JavaScript objects into dictionaries and back, tests pass dictionaries directly. What one id does stands in
`operations.py` and `sockets.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..crypto.distribution import fetch_pyca
from ..errors import Cancelled, SmolmixError, StateError, UsageError, unforeseen
from ..tunnel.options import TunnelOptions
from . import operations, peers, sockets
from .channel import Channel, Close, Finish, Post, Rewound, Write, field, isolation, optional

if TYPE_CHECKING:
    from ..tunnel.pool import AnyTunnel
    from ..tunnel.pool_options import PoolOptions

MAX_CHANNELS = 1024
CANCEL_TIMEOUT = 1.0  # s for cancelled operations to free what they hold, at a disconnect

Message = Mapping[str, Any]
Operation = Callable[["AnyTunnel", Channel, Message], Coroutine[Any, Any, None]]


class MakeTunnel(Protocol):
    def __call__(
        self, options: TunnelOptions, on_change: Callable[[dict[str, Any]], None], pool: PoolOptions | None = None
    ) -> AnyTunnel:
        """A tunnel, or with `pool` several, not started."""
        ...


OPERATIONS: Mapping[str, Operation] = {
    "resolve": operations.resolve,
    "lookup": operations.lookup,
    "clear-dns-cache": operations.clear_dns_cache,
    "fetch": operations.fetch,
    "cookies": operations.cookies,
    "websocket": operations.websocket,
    "ping": sockets.ping,
    "tcp": sockets.tcp,
    "udp": sockets.udp,
    "messages": peers.messages,
    "message": peers.message,
    "reply": peers.reply,
    "listen": peers.listen,
    "accept": peers.accept,
    "stream": peers.stream,
}


class Bridge:
    """`post` takes messages for the page; `make_tunnel` builds a tunnel that has not started.

    `worker_statistics`: numbers of the worker itself, for the statistics of the tunnel.
    """

    def __init__(
        self, post: Post, make_tunnel: MakeTunnel, worker_statistics: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self._worker_statistics = worker_statistics
        self._post = post
        self._make_tunnel = make_tunnel
        self._tunnel: AnyTunnel | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._channels: dict[int, Channel] = {}
        self._own: dict[str, Callable[[Channel, Message], Coroutine[Any, Any, None]]] = {
            "setup": self._setup,
            "disconnect": self._disconnect,
            "statistics": self._statistics,
            "network": self._network,
            "suspend": self._suspend,
            "rotate": self._rotate,
        }

    def receive(self, message: Any) -> None:
        """One message of the page. Never raises: a bad message is answered with `error` where it has an id."""
        try:
            if not isinstance(message, Mapping):
                return
            kind = field(message, "type", str)
            channel_id = field(message, "id", int)
        except UsageError:
            return
        try:
            if kind in self._own or kind in OPERATIONS:
                self._open(kind, channel_id, message)
            elif (channel := self._channels.get(channel_id)) is not None:
                self._verb(kind, channel, message)
        except SmolmixError as error:
            self._fail(channel_id, error)
        except Exception as error:  # a defect ends one id, not the worker
            self._fail(channel_id, unforeseen(error))

    def unreadable(self, channel_id: int, error: Exception) -> None:
        """A message of the page could not be taken over: its id ends, also one that was only to be opened by it."""
        if channel_id in self._channels:
            self._fail(channel_id, unforeseen(error))
        else:
            self._post({"type": "error", "id": channel_id, "error": unforeseen(error).to_dict()})

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
            host, port = optional(message, "host", str), optional(message, "port", int)
            channel.push(Write(data, host, port, optional(message, "family", int)))
        elif kind == "finish":
            channel.push(Finish())
        elif kind == "rewound":
            channel.push(Rewound(field(message, "turn", int)))
        elif kind == "discard":
            channel.discard()
        elif kind == "close":
            code = field(message, "code", int) if message.get("code") is not None else None
            channel.push(Close(code, field(message, "reason", str)))
        elif kind == "abort":
            channel.farewell = (optional(message, "code", int), optional(message, "text", str) or "")
            self._end(channel.id)
        else:
            raise UsageError(f"unknown message type {kind!r}", code="bad_message")

    async def _run(self, kind: str, channel: Channel, message: Message) -> None:
        try:
            own = self._own.get(kind)
            if own is not None:
                await own(channel, message)
            else:
                await OPERATIONS[kind](self._ready(), channel, message)
        except SmolmixError as error:
            self._fail(channel.id, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(channel.id, unforeseen(error))
            raise  # the loop reports it with its traceback
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

    def _ready(self) -> AnyTunnel:
        if self._tunnel is None:
            raise StateError("the tunnel is not set up", code="tunnel_down", phase="setup")
        return self._tunnel

    async def _setup(self, channel: Channel, message: Message) -> None:
        if self._tunnel is not None:
            raise StateError("this worker has a tunnel already", code="already_set_up", phase="setup")
        options = TunnelOptions.from_mapping(field(message, "options", Mapping))
        if options.crypto == "pyca":
            await fetch_pyca()
        given = optional(message, "pool", Mapping)
        pool = None
        if given is not None:
            from ..tunnel.pool_options import PoolOptions

            pool = PoolOptions.from_mapping(given)
        self._tunnel = self._make_tunnel(options, self._changed, pool)
        await self._tunnel.start()
        channel.send("result", value=None)

    def _changed(self, snapshot: dict[str, Any]) -> None:
        self._post({"type": "state", "snapshot": snapshot})

    async def _disconnect(self, channel: Channel, _message: Message) -> None:
        gone = Cancelled("the tunnel was disconnected", code="tunnel_down")
        tasks = [task for other, task in self._tasks.items() if other != channel.id]
        for other in list(self._channels):
            if other != channel.id:
                self._fail(other, gone)
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
        if self._tunnel is not None:
            await self._tunnel.close()
        channel.send("result", value=None)

    async def _network(self, channel: Channel, message: Message) -> None:
        """The page went online or offline, or (null) may be in another network."""
        online = message.get("online")
        if online is not None:
            online = field(message, "online", bool)
        if self._tunnel is not None:
            self._tunnel.network_changed(online)
        channel.send("result", value=None)

    async def _suspend(self, channel: Channel, message: Message) -> None:
        """The page rests, or goes on."""
        tunnel = self._ready()
        if field(message, "on", bool):
            await tunnel.suspend()
        else:
            tunnel.resume()
        channel.send("result", value=None)

    async def _rotate(self, channel: Channel, message: Message) -> None:
        """Another exit for a key of a pool; one `result`, null, when it is in use."""
        from ..tunnel.pool import TunnelPool

        tunnel = self._ready()
        if not isinstance(tunnel, TunnelPool):
            raise StateError("a tunnel alone keeps its exit: a pool rotates", code="no_pool")
        await tunnel.rotate(isolation(message))
        channel.send("result", value=None)

    async def _statistics(self, channel: Channel, _message: Message) -> None:
        """The tunnel's counters, and how many other operations of the page are under way."""
        own = {"operations": len(self._channels) - 1, **self._worker_statistics()}
        channel.send("result", value={**own, **self._ready().statistics()})
