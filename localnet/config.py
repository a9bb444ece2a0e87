"""Every setting of a local network in one frozen table, checked when it is made.

Times are seconds, sizes bytes. The defaults give the network of the documentation: three layers of two mix
nodes, two entry gateways, two exits, no impairment on any link.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from .errors import ConfigError
from .links import LinkRule

LAYERS = 3
MAX_LINE = 1 << 22
"""Longest line between the main process and a worker."""
MAX_NODES_PER_GROUP = 50


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What `Network` is built from. `seed=None` draws one; the same seed gives the same keys."""

    seed: str | int | None = None
    host: str = "127.0.0.1"
    mixes_per_layer: int = 2
    gateways: int = 2
    exits: int = 2
    exit_versions: tuple[str, ...] = ("1.38.0",)
    """`build_version` each exit announces, repeated cyclically: from 1.37.0 clients try IPR v10 first."""

    announce: int = 0
    """Nodes that the directory lists in all; where the network has fewer, with such that do not exist."""

    directory_port: int = 0
    control_port: int = 0
    wss: bool = False
    """Also listen with TLS (certificate of the network's own CA) and announce `localhost` with a `wss_port`."""

    gateway_protocol: int = 6
    enforce_tickets: bool = False
    """Refuse the free claim, as a gateway with ticket enforcement does (gateway 6.2)."""
    free_allowance: int = 64 * 1024**3
    stored_messages: int = 1000
    """Messages kept per offline client; the oldest give way."""

    frame_version: int = 8
    """Frames the nodes write: 8 carries the key rotation on, 7 is what nodes write by default upstream."""
    max_delay: float = 10.0
    queue_frames: int = 4096
    """Frames waiting for one neighbour; more are dropped and counted."""
    delayed_packets: int = 20000
    """Packets one node holds for their delay; more are dropped and counted."""
    replay_tags: int = 200_000
    """Replay tags remembered per rotation; the oldest half is forgotten when they are full."""

    rotation: int = 41
    epoch_seconds: float = 3600.0
    validity_epochs: int = 24

    performance: str = "0.99"
    links: tuple[LinkRule, ...] = ()
    processes: int = 1
    """1: everything in this process. n > 1: mix nodes run in n - 1 processes of their own."""

    resolvers: tuple[str, ...] = ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9")
    """Addresses that answer DNS behind the exits, on port 53 over UDP and TCP."""
    exit_cover: bool = True
    """The exits' clients send loop cover packets, as real ones do."""
    exit_sources: bool = False
    """Servers see the exits at 127.0.1.1, 127.0.1.2 and so on, where the system has all of 127/8, as Linux does."""
    exit_options: dict[str, object] = field(default_factory=dict)
    """Settings handed to the exit service as they are."""
    ca_directory: str | None = None
    """Where `ca.pem` is written; None: a temporary directory that goes with the network."""

    def for_worker(self) -> dict[str, object]:
        """What a process with mix nodes needs of this, as JSON can carry it."""
        nodes = ("frame_version", "max_delay", "queue_frames", "delayed_packets", "replay_tags")
        clock = ("rotation", "epoch_seconds", "validity_epochs")
        plan = ("mixes_per_layer", "gateways", "exits", "processes")
        return {name: getattr(self, name) for name in (*nodes, *clock, *plan)}

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ConfigError(name, f"{value!r} is not a number from {low} to {high}")
            if field_types[name] == "int" and not isinstance(value, int):
                raise ConfigError(name, f"{value!r} is not a whole number")
        if self.host != "127.0.0.1":
            raise ConfigError("host", "a local network listens on 127.0.0.1 only")
        if not self.exit_versions:
            raise ConfigError("exit_versions", "at least one version")
        try:
            share = float(self.performance)
        except ValueError:
            share = -1.0
        if not 0.0 <= share <= 1.0:
            raise ConfigError("performance", f"{self.performance!r} is not a decimal from 0 to 1")


field_types = {f.name: str(f.type) for f in fields(NetworkConfig)}

_RANGES: tuple[tuple[str, float, float], ...] = (
    ("mixes_per_layer", 1, MAX_NODES_PER_GROUP),
    ("gateways", 1, MAX_NODES_PER_GROUP),
    ("exits", 0, MAX_NODES_PER_GROUP),
    ("announce", 0, 5000),
    ("directory_port", 0, 65535),
    ("control_port", 0, 65535),
    ("gateway_protocol", 1, 255),
    ("free_allowance", 0, 2**62),
    ("stored_messages", 0, 1_000_000),
    ("frame_version", 7, 8),
    ("max_delay", 0.0, 3600.0),
    ("queue_frames", 1, 1_000_000),
    ("delayed_packets", 1, 1_000_000),
    ("replay_tags", 2, 100_000_000),
    ("rotation", 0, 2**32 - 1000),
    ("epoch_seconds", 0.05, 1e7),
    # With one epoch per rotation the keys before and after would share a parity (sphinx 4.3).
    ("validity_epochs", 2, 10000),
    ("processes", 1, 16),
)
