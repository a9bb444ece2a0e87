"""What can be set on a TCP connection. Seconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from .congestion import CongestionFactory, PathModel

# Three mixes delay each packet by 15 ms on average, each on its own: one in a hundred pairs is this far out of order.
MIX_LATENESS = 0.1


@dataclass(frozen=True, slots=True)
class TcpConfig:
    name: str | None = None  # what the application calls the peer, for people to read
    send_buffer: int = 4 * 1024 * 1024  # where automatic sizing ends
    send_buffer_initial: int = 128 * 1024  # to begin with; not above send_buffer
    receive_buffer: int = 64 * 1024  # to begin with
    receive_buffer_max: int = 4 * 1024 * 1024  # where automatic sizing ends; not below receive_buffer
    nodelay: bool = True  # False: Nagle (RFC 9293 3.7.4)
    sack: bool = True
    timestamps: bool = True  # RFC 7323 3
    linux: bool = True  # the SYN and IPv4 identifications of a Linux kernel; False: of smoltcp
    paws_tolerance: int = 30_000  # ticks of the peer's clock (timestamps.py)
    initial_rto: float = 3.0
    min_rto: float = 1.0
    max_rto: float = 60.0
    syn_retries: int = 5  # retransmissions of a SYN or SYN-ACK
    retries: int = 12  # retransmissions of one segment, probes included
    user_timeout: float = 180.0  # without progress on data in flight (RFC 9293 3.8.3)
    ack_delay: float = 0.05
    ack_every: int = 2  # full-sized segments
    ack_bulk_after: int = 64 * 1024  # bytes received until ACKs are thinned out
    ack_every_max: int = 8
    ack_delay_max: float = 0.2
    ack_gap_interval: float = 0.05
    gap_patience: float = 0.0  # s in which a hole may fill before the peer is told; 0: told at once (RFC 5681 4.2)
    queue_target: float = 0.0  # s that a download may wait in a queue on its way to us (queue_limit.py); 0: no matter
    keepalive: float | None = None  # idle time before the first probe, and between probes
    keepalive_probes: int = 6
    time_wait: float = 30.0  # where no round trip is known; else from it (connection.py)
    time_wait_min: float = 10.0
    time_wait_max: float = 60.0
    fin_wait_2: float = 60.0  # once the application has released the connection
    close_timeout: float = 240.0  # for the peer to take what was queued at `close`, and the FIN, however it answers
    close_rate: int = 1024  # bytes per second that it may be slow by, beyond that
    challenge_ack_interval: float = 0.5  # RFC 5961 7
    receive_packet_max: int = 0xFFFF  # bytes of an IP packet that the peer may fill, if the path takes more
    min_mss: int = 64  # a peer that announces less is not believed
    initial_window_segments: int = 10
    dup_thresh: int = 3
    lateness: float = 0.0  # s that packets of this path overtake each other by, known before any was seen
    rack: bool = True  # loss detection by time (rack.py); False: by count (RFC 6675)
    tail_probes: int = 3  # in a row, before the timeout (RFC 8985 7.3 has one, for less loss); 0 for none
    tail_probe_samples: int = 4  # round trips measured before the first one
    peer_ack_delay: float = 0.2  # that a probe of a single segment allows for (RFC 8985 7.2, WCDelAckT)
    congestion: CongestionFactory = PathModel

    def announced_mss(self, path_mss: int, version: int) -> int:
        """What a SYN tells the peer (RFC 9293 3.7.1): the path's, or what `receive_packet_max` leaves for text."""
        headers = 40 if version == 4 else 60
        return min(path_mss, max(self.receive_packet_max - headers, self.min_mss))
