"""A program that knows nothing of the mixnet, with one line before it: whatever it connects to goes through the tunnel.

python patched.py [--ipr ADDRESS] [URL]
"""

from __future__ import annotations

import ssl
import urllib.request

from network import arguments, local_network, options

import smolmix_web


def main() -> None:
    args = arguments(__doc__, url="https://www.example.com/")
    network = local_network()
    context = ssl.create_default_context(cafile=network["ca"] if network is not None else None)
    patched = smolmix_web.patch(**options(args.ipr))
    try:
        print("through the tunnel:", ", ".join(patched.names))
        with urllib.request.urlopen(args.url, context=context, timeout=60) as response:
            print(response.status, len(response.read()), "bytes")
    finally:
        smolmix_web.unpatch()


main()
