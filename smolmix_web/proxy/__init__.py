"""A proxy on this machine for programs that know nothing of the tunnel: SOCKS, HTTP and DNS (docs/command-line.md).

    socks.py       the SOCKS codec, a server's side, without I/O         relay.py    bytes both ways, half close, ends
    replies.py     errors as reply codes and statuses                    server.py   listeners, bounds, graceful stop
    socks_front.py http_front.py dns_front.py   one kind of client each  udp_relay.py  UDP ASSOCIATE
    command.py     `smolmix-web proxy`

A front end like `bridge/`: it knows `Tunnel` and nothing below it. Under CPython only. No name is resolved here:
whatever a client names goes to the tunnel's resolver.
"""
