"""The CPython client of a soak, in a process of its own: `python -m bench.soak_python`.

The first line of its input is JSON: `options` of the tunnel, `seconds` to work, `deadline` of each operation. It
answers with JSON lines: `{"event": "ready"}`, operations as `bench.soak_ledger` has them, `{"event": "memory"}`, and
last `{"event": "done"}` with the tunnel's counters. Three users work side by side: one downloads, one does small
things, one keeps a WebSocket.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from localnet.origin import body_sha256
from smolmix_web.errors import SmolmixError
from smolmix_web.host.cpython import CPythonHost
from smolmix_web.http import HttpRequest
from smolmix_web.tunnel import Tunnel
from smolmix_web.tunnel.options import TunnelOptions
from smolmix_web.websocket.connection import WebSocketConnection

DOWNLOAD = (100_000, 300_000)  # bytes, from and to
SMALL = (1_000, 20_000)
MEMORY_EVERY = 5.0  # s
PAUSE = 0.3  # s between two operations of one user
ECHOES = 20  # on one WebSocket


class WrongBytes(Exception):
    """An operation ended well with another result than the right one."""


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def resident() -> float:
    """MB of this process that are in memory now; where the system does not tell, the most there ever were."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 1e6


class Users:
    """What is done over one tunnel until `until`."""

    def __init__(self, tunnel: Tunnel, until: float, deadline: float) -> None:
        self._tunnel = tunnel
        self._until = until
        self._deadline = deadline
        self._random = random.Random(1)
        self._number = 0

    async def operation(self, kind: str, work: Callable[[], Awaitable[int]]) -> bool:
        """Do it once and say how it ended; whether it ended well."""
        began = time.monotonic()
        record: dict[str, Any] = {"kind": kind, "outcome": "ok"}
        try:
            async with asyncio.timeout(self._deadline) as limit:
                record["bytes"] = await work()
        except SmolmixError as error:
            record |= {"outcome": "failed", "code": error.code, "phase": error.phase, "message": error.message}
        except WrongBytes as error:
            record |= {"outcome": "wrong", "code": str(error)}
        except TimeoutError:
            record |= {"outcome": "hung" if limit.expired() else "wrong", "code": "TimeoutError"}
        except Exception as error:  # an error without a type of ours is a bug
            record |= {"outcome": "wrong", "code": repr(error)}
        say({**record, "ms": round((time.monotonic() - began) * 1000)})
        return record["outcome"] == "ok"

    @property
    def working(self) -> bool:
        return time.monotonic() < self._until

    def _seed(self) -> str:
        self._number += 1
        return f"soak{self._number}"

    async def _fetch(self, url: str, sizes: tuple[int, int]) -> int:
        size, seed = self._random.randint(*sizes), self._seed()
        response = await self._tunnel.fetch(HttpRequest(url=f"{url}/bytes/{size}?seed={seed}"))
        body = await response.read()
        if response.status != 200 or hashlib.sha256(body).hexdigest() != body_sha256(size, seed):
            raise WrongBytes(f"status {response.status}, {len(body)} bytes instead of {size}")
        return size

    async def _post(self) -> int:
        sent = self._random.randbytes(self._random.randint(1, 5_000))
        response = await self._tunnel.fetch(HttpRequest(method="POST", url="https://origin.test/echo", body=sent))
        if base64.b64decode(json.loads(await response.read())["base64"]) != sent:
            raise WrongBytes("another body came back")
        return len(sent)

    async def _resolve(self) -> int:
        # Its records live for a second: nearly every question goes through the tunnel.
        if [str(address) for address in await self._tunnel.resolve("short.test", family=4)] != ["203.0.114.10"]:
            raise WrongBytes("another address")
        return 0

    async def _resolve_nothing(self) -> int:
        try:
            await self._tunnel.resolve(f"{self._seed()}.nowhere.test", family=4)
        except SmolmixError as error:
            if error.code != "dns_not_found":
                raise
            return 0
        raise WrongBytes("an address for a name that does not exist")

    async def downloads(self) -> None:
        scheme = 0
        while self.working:
            url = ("https://origin.test", "http://origin.test")[scheme % 2]
            scheme += 1
            await self.operation("download", lambda url=url: self._fetch(url, DOWNLOAD))  # type: ignore[misc]
            await asyncio.sleep(PAUSE)

    async def small_things(self) -> None:
        works: tuple[tuple[str, Callable[[], Awaitable[int]]], ...] = (
            ("dns", self._resolve),
            ("fetch", lambda: self._fetch("https://origin.test", SMALL)),
            ("dns", self._resolve_nothing),
            ("post", self._post),
        )
        turn = 0
        while self.working:
            await self.operation(*works[turn % len(works)])
            turn += 1
            await asyncio.sleep(PAUSE)

    async def websocket(self) -> None:
        while self.working:
            opened: list[WebSocketConnection] = []

            async def connect(opened: list[WebSocketConnection] = opened) -> int:
                opened.append(await self._tunnel.connect_websocket("wss://ws.test/"))
                return 0

            if await self.operation("websocket open", connect):
                await self._echo_on(opened[0])
            await asyncio.sleep(PAUSE)

    async def _echo_on(self, socket: WebSocketConnection) -> None:
        async def echo() -> int:
            sent = self._random.randbytes(self._random.randint(1, 3_000))
            await socket.send(sent)
            got = await socket.receive()
            if socket.error is not None:
                raise socket.error
            if got != sent:
                raise WrongBytes(f"another echo: {got!r:.100}")
            return len(sent)

        async def close() -> int:
            await socket.close()
            return 0

        for _ in range(ECHOES):
            if not self.working or not await self.operation("websocket echo", echo):
                break
            await asyncio.sleep(PAUSE)
        await self.operation("websocket close", close)


async def watch_memory() -> None:
    while True:
        say({"event": "memory", "megabytes": resident()})
        await asyncio.sleep(MEMORY_EVERY)


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    tunnel = Tunnel(
        TunnelOptions.from_mapping(given["options"]),
        CPythonHost(),
        on_change=lambda snapshot: say({"event": "state", "state": snapshot["state"], "step": snapshot["step"]}),
    )
    await tunnel.start()
    say({"event": "ready"})
    memory = asyncio.create_task(watch_memory())
    users = Users(tunnel, time.monotonic() + given["seconds"], given["deadline"])
    try:
        await asyncio.gather(users.downloads(), users.small_things(), users.websocket())
    finally:
        memory.cancel()
        statistics = tunnel.statistics()
        await tunnel.close()
    say({"event": "memory", "megabytes": resident()})
    say({"event": "done", "statistics": statistics})


if __name__ == "__main__":
    asyncio.run(main())
