"""Names and downloads through the mixnet: one look-up, then several requests on one connection that is kept.

python tcp_download.py [--ipr ADDRESS] [HOST] [PATHS, with commas between them]
"""

from __future__ import annotations

import asyncio
import hashlib

from network import Stopwatch, arguments, options

from smolmix_web import open_tunnel


async def main() -> None:
    args = arguments(__doc__, host="www.rfc-editor.org", paths="/rfc/rfc1928.txt,/rfc/rfc1929.txt,/rfc/rfc9110.txt")
    async with open_tunnel(**options(args.ipr)) as tunnel:
        watch = Stopwatch()
        answer = await tunnel.lookup(args.host)
        print(f"{args.host}: {[str(record.address) for record in answer.records]} in {watch.ms} ms")
        for path in args.paths.split(","):
            watch = Stopwatch()
            response = await tunnel.fetch(f"https://{args.host}{path}")
            digest, size = hashlib.sha256(), 0
            async for chunk in response:
                digest.update(chunk)
                size += len(chunk)
            kept = "kept" if response.timings.reused else "new"
            rate = size / max(watch.ms, 1)
            print(f"{path}: {response.status}, {size} bytes on a {kept} connection in {watch.ms} ms, {rate:.0f} kB/s")
            print(f"{path}: sha256 {digest.hexdigest()}")


asyncio.run(main())
