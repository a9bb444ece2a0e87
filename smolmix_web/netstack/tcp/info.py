"""What a connection knows about itself, at one instant: the like of the kernel's TCP_INFO, for people and statistics.

Everything is read from where it is kept; nothing is counted for this alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ...errors import NetworkError, SmolmixError
from .. import ip
from ..addresses import Endpoint
from .receiver import Receiver
from .rtt import RttEstimator
from .segment import HEADER_SIZE
from .sender import Sender
from .states import State

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Bytes and seconds. None: not known, or nothing of the kind."""

    local: str
    remote: str
    state: str  # RFC 9293 name, with underscores
    phase: str  # of the sender: OPEN, RECOVERY or LOSS
    error: str | None  # code of what ended it
    soft_error: str | None  # code of the latest ICMP error that did not

    srtt: float | None
    rttvar: float | None
    min_rtt: float | None
    rto: float  # back-off included
    timer: float | None  # until the next deadline of any kind

    congestion: str  # name of the controller
    cwnd: int
    ssthresh: int | None
    in_flight: int  # `pipe` of RFC 6675
    snd_wnd: int  # what the peer offers
    rcv_wnd: int  # what we offer: from RCV.NXT to the promised right edge
    mss: int  # payload of a full segment
    pmtu: int  # of the path, as far as known

    bytes_written: int  # taken from the application
    bytes_sent: int  # once each; what was sent again is in `retransmits`
    bytes_acked: int
    bytes_received: int  # in order
    bytes_read: int  # taken by the application
    send_queue: int  # written and not acknowledged
    unsent: int
    receive_queue: int  # in order and not read
    receive_held: int  # behind holes

    sacked: int
    lost: int  # believed lost and not yet sent again
    delivered: int  # acknowledged or SACKed
    delivery_rate: float | None  # bytes per second, by the latest ACK that told
    retransmits: int  # segments
    recoveries: int
    timeouts: int
    spurious: int  # recoveries and timeouts taken back
    duplicates: int  # segments that came again
    out_of_order: int  # segments that came early
    last_heard: float | None  # seconds ago

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Described(Protocol):
    """What is read of a connection."""

    error: SmolmixError | None
    irs: int
    iss: int
    last_heard: float
    local: Endpoint
    path_mss: int
    receiver: Receiver
    remote: Endpoint
    rtt: RttEstimator
    sender: Sender
    soft_error: NetworkError | None
    state: State

    @property
    def deadline(self) -> float: ...


def snapshot(connection: Described, now: float) -> TcpInfo:
    c, sender, receiver, rtt = connection, connection.sender, connection.receiver, connection.rtt
    synchronized = c.irs or receiver.rcv_nxt  # no number of the peer is known before its SYN
    first = c.iss + 1
    fin_sent = sender.fin_at is not None and sender.snd_max > sender.fin_at
    acked = sender.snd_una - first - sender.fin_acknowledged
    sent = max(sender.snd_nxt, sender.snd_una) - first - fin_sent
    received = receiver.rcv_nxt - c.irs - 1 - receiver.fin_received if synchronized else 0
    return TcpInfo(
        local=str(c.local),
        remote=str(c.remote),
        state=c.state.name,
        phase=sender.phase.name,
        error=c.error.code if c.error is not None else None,
        soft_error=c.soft_error.code if c.soft_error is not None else None,
        srtt=rtt.srtt,
        rttvar=rtt.rttvar if rtt.srtt is not None else None,
        min_rtt=rtt.min_rtt if rtt.min_rtt != INFINITY else None,
        rto=rtt.rto,
        timer=max(0.0, c.deadline - now) if c.deadline != INFINITY else None,
        congestion=type(sender.congestion).__name__,
        cwnd=sender.congestion.cwnd,
        ssthresh=sender.congestion.ssthresh if sender.congestion.ssthresh < 1 << 62 else None,
        in_flight=sender.in_flight,
        snd_wnd=sender.snd_wnd,
        rcv_wnd=receiver.rcv_adv - receiver.rcv_nxt,
        mss=sender.mss,
        pmtu=c.path_mss + HEADER_SIZE + ip.header_size(c.local.address.packed),
        bytes_written=acked + sender.queued,
        bytes_sent=sent,
        bytes_acked=acked,
        bytes_received=received,
        bytes_read=received - receiver.available,
        send_queue=sender.queued,
        unsent=acked + sender.queued - sent,
        receive_queue=receiver.available,
        receive_held=receiver.buffered - receiver.available,
        sacked=sender.board.sacked,
        lost=sender.board.lost,
        delivered=sender.rate.delivered,
        delivery_rate=sender.rate.sample.rate,
        retransmits=sender.retransmits,
        recoveries=sender.recoveries,
        timeouts=sender.timeouts,
        spurious=sender.spurious,
        duplicates=receiver.duplicates,
        out_of_order=receiver.out_of_order,
        last_heard=now - c.last_heard if c.last_heard else None,
    )
