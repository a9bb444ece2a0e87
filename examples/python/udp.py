"""UDP through the mixnet: a raw DNS query to 1.1.1.1:53, beside the same look-up on the clear net.

python udp.py [--ipr ADDRESS] [NAME]
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import dns.message
from network import Stopwatch, arguments, local_network, options

from smolmix_web import open_tunnel

RESOLVER = ip_address("1.1.1.1"), 53


def addresses(message: dns.message.Message) -> list[str]:
    return sorted(str(data) for rrset in message.answer for data in rrset if rrset.rdtype == dns.rdatatype.A)


async def main() -> None:
    args = arguments(__doc__, name="example.com")
    if local_network() is None:
        watch = Stopwatch()
        found = await asyncio.get_running_loop().getaddrinfo(args.name, 80, family=socket.AF_INET)
        print(f"clear net: {sorted({entry[4][0] for entry in found})} in {watch.ms} ms")
    async with open_tunnel(**options(args.ipr)) as tunnel:
        with tunnel.bind_udp() as udp:
            query = dns.message.make_query(args.name, "A")
            watch = Stopwatch()
            udp.send_to(query.to_wire(), *RESOLVER)
            data, source = await udp.receive(timeout=60)
            print(f"mixnet: {addresses(dns.message.from_wire(data))} in {watch.ms} ms from {source.address}")


asyncio.run(main())
