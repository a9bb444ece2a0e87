"""What can be set on a stack: bounds on everything that a peer could make grow, and the TCP defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from .tcp.config import TcpConfig


@dataclass(frozen=True, slots=True)
class StackConfig:
    tcp: TcpConfig = field(default_factory=TcpConfig)
    max_connections: int = 4096  # the oldest in TIME-WAIT gives way
    buffer_growth: int = (
        64 * 1024 * 1024
    )  # bytes that all send and receive buffers may grow by, beyond their beginnings
    max_pending_syns: int = 256  # SYNs for which `on_syn` has not decided
    pending_syn_timeout: float = 75.0
    ephemeral_ports: tuple[int, int] = (32_768, 65_535)  # inclusive (RFC 6056 3.2)
    max_control_packets: int = 512  # RST, ICMP waiting for `poll`
    udp_receive_datagrams: int = 512  # per socket
    udp_receive_bytes: int = 256 * 1024
    udp_output_bytes: int = 256 * 1024  # all sockets together, waiting for `poll`
    echo_reply: bool = True
    echo_rate: float = 20.0  # replies per second, and the burst
    error_rate: float = 20.0  # ICMP errors per second, and the burst
    reset_rate: float = 200.0  # RSTs to unknown segments per second, and the burst
    udp_unreachable: bool = False  # answer datagrams for closed ports; each answer costs a packet
    max_pings: int = 64
    reassembly_datagrams: int = 16
    reassembly_bytes: int = 256 * 1024
    reassembly_timeout: float = 30.0
    path_mtu_entries: int = 128
