"""A TCP/IP stack in pure Python: synchronous, time passed in, one object per end (`Stack`).

stack.py        packets in and out, the public face
core.py         what the layers share; scheduler.py what goes out next; config.py, statistics.py
tcp/            segment codec, state table, connection, listeners; sender (state and timer, recovery, output), receiver,
                congestion control, timestamps, delivery rate, what connections share (cache.py)
datagrams.py    UDP layer (udp.py: codec, socket); control.py: ICMP layer (icmp.py: codec, ping.py)
observer.py pcap.py tcp/info.py   what can be watched, a capture file, the state of a connection
ipv4.py ipv6.py reassembly.py checksum.py addresses.py identifiers.py
"""

from .addresses import Endpoint, IpAddress
from .config import StackConfig
from .icmp import Echo, ErrorKind
from .observer import Observer, Observers
from .pcap import PcapWriter
from .ping import Ping
from .stack import Stack
from .statistics import StackStatistics
from .tcp.config import TcpConfig
from .tcp.connection import TcpConnection
from .tcp.info import TcpInfo
from .tcp.listener import SynRequest, TcpListener
from .tcp.states import State
from .udp import UdpSocket

__all__ = [
    "Echo",
    "Endpoint",
    "ErrorKind",
    "IpAddress",
    "Observer",
    "Observers",
    "PcapWriter",
    "Ping",
    "Stack",
    "StackConfig",
    "StackStatistics",
    "State",
    "SynRequest",
    "TcpConfig",
    "TcpConnection",
    "TcpInfo",
    "TcpListener",
    "UdpSocket",
]
