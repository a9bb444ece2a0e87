"""ICMP errors that concern a connection (RFC 5461, RFC 5927) and path MTU discovery (RFC 1191, RFC 8201).

An error counts only when the sequence number it quotes is one that is in flight, so that a stranger cannot make them
up. While connecting, unreachable is the end; later it is a hint that is told with a timeout, since routes recover.
"""

from __future__ import annotations

from ..icmp import Error, ErrorKind
from .connection import TcpConnection
from .segment import HEADER_SIZE
from .seq import unwrap
from .states import OPENING, State

# RFC 1191 7: likely MTUs below the one that did not fit, for routers that do not tell.
PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1420, 1280, 1006, 576)
MIN_MTU_V4 = 552
MIN_MTU_V6 = 1280


def next_mtu(error: Error) -> int:
    """The MTU to use from now on for that destination."""
    v4 = len(error.source) == 4
    mtu = error.mtu
    if not mtu:
        mtu = next((plateau for plateau in PLATEAUS if plateau < error.total), MIN_MTU_V4)
    return max(mtu, MIN_MTU_V4 if v4 else MIN_MTU_V6)


def concerns(connection: TcpConnection, error: Error) -> bool:
    """The quoted segment is in flight."""
    seq = int.from_bytes(error.transport[4:8], "big")
    if connection.state in OPENING:
        return seq == connection.iss & 0xFFFFFFFF
    sender = connection.sender
    return sender.snd_una <= unwrap(seq, sender.snd_una) < sender.snd_max


def icmp_error(connection: TcpConnection, error: Error, mss: int) -> None:
    """`mss` is what the path takes now, for FRAGMENTATION_NEEDED."""
    if error.kind is ErrorKind.FRAGMENTATION_NEEDED:
        if HEADER_SIZE < mss < connection.path_mss:
            connection.set_path_mss(mss)
        return
    failure = error.kind.to_error(str(connection.remote), connection.phase())
    if connection.state is State.SYN_SENT and error.kind is not ErrorKind.TTL_EXCEEDED:
        connection.fail(failure, reset=False)
    else:
        connection.soft_error = failure
