"""A WebSocket through the mixnet: an echo, on the clear net first, then by the tunnel.

python websocket.py [--ipr ADDRESS] [URL]
"""

from __future__ import annotations

import asyncio

from network import Stopwatch, arguments, local_network, options
from websockets.asyncio.client import connect

from smolmix_web import open_tunnel

MESSAGES = ["hello", "through", "the mixnet"]


async def clear_net(url: str) -> None:
    watch = Stopwatch()
    async with connect(url) as socket:
        print(f"clear net: open in {watch.ms} ms")
        for message in MESSAGES:
            watch = Stopwatch()
            await socket.send(message)
            print(f"clear net: {await socket.recv()!r} in {watch.ms} ms")


async def main() -> None:
    args = arguments(__doc__, url="wss://ws.postman-echo.com/raw")
    if local_network() is None:
        await clear_net(args.url)
    async with open_tunnel(**options(args.ipr)) as tunnel:
        watch = Stopwatch()
        async with await tunnel.connect_websocket(args.url) as socket:
            print(f"mixnet: open in {watch.ms} ms")
            for message in MESSAGES:
                watch = Stopwatch()
                await socket.send(message)
                print(f"mixnet: {await socket.receive()!r} in {watch.ms} ms")
            closed = await socket.close(1000)
            print(f"mixnet: closed with code {closed.code}")


asyncio.run(main())
