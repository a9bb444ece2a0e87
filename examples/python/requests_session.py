"""requests through the mixnet: a session as ever, on a tunnel that runs on a thread of its own.

Needs `pip install 'smolmix-web[requests]'`.

    python requests_session.py [--ipr ADDRESS] [URL]
"""

from __future__ import annotations

from network import Stopwatch, arguments, local_network, options

from smolmix_web import BlockingTunnel
from smolmix_web.integrations.urllib3_pools import mix_session


def main() -> None:
    args = arguments(__doc__, url="https://www.example.com/")
    network = local_network()
    with BlockingTunnel(**options(args.ipr)) as tunnel, mix_session(tunnel) as session:
        if network is not None:
            session.verify = network["ca"]
        for _ in range(2):
            watch = Stopwatch()
            response = session.get(args.url, timeout=60)
            print(f"{response.status_code}, {len(response.content)} bytes in {watch.ms} ms")


main()
