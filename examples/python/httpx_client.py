"""httpx through the mixnet: the client as ever, with our transport. Needs `pip install 'smolmix-web[httpx]'`.

python httpx_client.py [--ipr ADDRESS] [URL]
"""

from __future__ import annotations

import asyncio

import httpx
from network import Stopwatch, arguments, options

from smolmix_web import open_tunnel
from smolmix_web.integrations.httpx_transport import MixTransport


async def main() -> None:
    args = arguments(__doc__, url="https://www.example.com/")
    async with (
        open_tunnel(**options(args.ipr)) as tunnel,
        httpx.AsyncClient(transport=MixTransport(tunnel), timeout=60, follow_redirects=True) as client,
    ):
        watch = Stopwatch()
        # Several at once share what is under way in the mixnet.
        responses = await asyncio.gather(*(client.get(args.url) for _ in range(3)))
        for response in responses:
            print(f"{response.http_version} {response.status_code}, {len(response.content)} bytes, {watch.ms} ms")


asyncio.run(main())
