"""Messages and streams between two clients, without I/O: bytes and `now` in, messages for the mixnet out.

    control.py   what two peers of ours tell each other: acknowledged, credit, end, reset, address
    receiver.py  one direction as it arrives: order, holes, a bounded buffer
    sender.py    one direction as it leaves: frames, credit, what must be sent again
    stream.py    one stream: both directions, opening, timers, endings
    orphans.py   frames that overtook their Open
    hub.py       all streams of a client on its mixnet client; the listener
    mailbox.py   messages that are no frames

Written for `docs/protocol/stream.md`; what is ours is in docs/peer-to-peer.md.
"""
