"""TCP and TLS through the mixnet: the server sees the exit's address, not ours.

python tcp.py [--ipr ADDRESS] [URL]
"""

from __future__ import annotations

import asyncio
import urllib.request
from urllib.parse import urlsplit

from network import Stopwatch, arguments, local_network, options

from smolmix_web import open_tunnel


def address_in(text: str) -> str:
    """The line `ip=` of a trace page."""
    return next((line[3:] for line in text.splitlines() if line.startswith("ip=")), "not told")


def clear_net(url: str) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "smolmix-web example"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return address_in(response.read().decode())


async def main() -> None:
    args = arguments(__doc__, url="https://cloudflare.com/cdn-cgi/trace")
    url = urlsplit(args.url)
    if local_network() is None:
        watch = Stopwatch()
        print(f"clear net: our address is {await asyncio.to_thread(clear_net, args.url)}, in {watch.ms} ms")
    async with open_tunnel(**options(args.ipr)) as tunnel:
        watch = Stopwatch()
        async with await tunnel.connect_tcp(url.hostname or "", url.port or 443, tls=True) as tcp:
            print(f"mixnet: {tcp.tls.version} with {tcp.remote.address} in {watch.ms} ms")
            head = f"GET {url.path or '/'} HTTP/1.0\r\nHost: {url.hostname}\r\nUser-Agent: smolmix-web example\r\n\r\n"
            await tcp.stream.write(head.encode())
            answer = b"".join([chunk async for chunk in tcp]).decode()
        print(f"mixnet: {answer.splitlines()[0]}, our address is {address_in(answer)}, in {watch.ms} ms")


asyncio.run(main())
