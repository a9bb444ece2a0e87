"""Sphinx packets: header, payload and reply blocks, built and processed (docs/protocol/sphinx.md 2, 3, 8.1)."""

from .constants import DEFAULT_VERSION, EXPLICIT_KEYS_VERSION, KEY_SEEDS_VERSION, PacketSize
from .node import FinalHop, ForwardHop, process_packet
from .packet import Hop, build_packet
from .surb import ReplySurb, build_surb

__all__ = [
    "DEFAULT_VERSION",
    "EXPLICIT_KEYS_VERSION",
    "KEY_SEEDS_VERSION",
    "FinalHop",
    "ForwardHop",
    "Hop",
    "PacketSize",
    "ReplySurb",
    "build_packet",
    "build_surb",
    "process_packet",
]
