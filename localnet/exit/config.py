"""Settings of a local exit, and the faults that tests switch on and off while it runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.exit.messages import V8, V9, V10, VERSIONS, BuildInfo, ConnectReason

from ..errors import ConfigError
from .policy import DEFAULT_POLICY, ExitPolicy
from .pool import FIRST, LAST


@dataclass(frozen=True)
class ExitConfig:
    """Times in seconds unless the name says otherwise. Defaults are those of the real exit (ipr.md 5)."""

    versions: tuple[int, ...] = VERSIONS
    build_version: str = "1.38.0"
    mtu: int = 1420
    policy: str = DEFAULT_POLICY
    open_proxy: bool = False
    """Accept every destination that is globally routable."""
    allow_local_ips: bool = False
    """Do not insist on globally routable destinations."""
    firewall: str | None = None
    """A second policy, of the host: what it refuses gets ICMP port unreachable instead of an Info message."""
    inactivity_timeout: float = 60.0
    sweep_interval: float = 10.0
    announce_timeout: bool = True
    """Send UnrequestedDisconnect to a client that timed out; the real exit forgets it silently."""
    announce_mismatch: bool = True
    """Answer an unknown version with Info/VersionMismatch; the real exit drops it silently."""
    buffer_timeout_ms: int = 20
    max_clients: int = 1024
    last_address: int = LAST
    """Highest number of the address pool: 10.0.255.254 by default."""
    control_retransmissions: int = 10
    data_retransmissions: int = 0
    dial_timeout: float = 10.0
    source: str | None = None
    """The address that TCP servers of IPv4 see; None: as the system has it."""
    udp_idle: float = 60.0
    max_flows: int = 1024
    """TCP and UDP flows of one client, each."""
    echo_delay: float = 0.01
    """After which an address of the map answers an ICMP echo."""
    relay_buffer: int = 524_288
    """Bytes of a TCP flow that wait in the exit, per direction."""
    tun: bool = False

    def __post_init__(self) -> None:
        if self.tun:
            raise ConfigError("tun", "a TUN device is not supported; the exit terminates flows in user space")
        if not self.versions or any(version not in VERSIONS for version in self.versions):
            raise ConfigError("versions", f"{self.versions} are not out of {VERSIONS}")
        for name, low, high in (
            ("mtu", 576, 65535),
            ("buffer_timeout_ms", 1, 1000),
            ("max_clients", 1, 65533),
            ("last_address", FIRST, LAST),
            ("max_flows", 1, 65535),
            ("relay_buffer", 65_536, 1 << 24),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(name, f"{value!r} is not a whole number in {low}..{high}")
        for name in ("inactivity_timeout", "sweep_interval", "dial_timeout", "udp_idle"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
                raise ConfigError(name, f"{value!r} is not a positive number of seconds")
        ExitPolicy.parse(self.policy)
        if self.firewall is not None:
            ExitPolicy.parse(self.firewall, "firewall")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> ExitConfig:
        """From settings by name; `ConfigError` for unknown ones. Without `versions`, those of a node of that
        `build_version`: 10 from 1.37.0 on, 9 from 1.30.0 on (ipr.md 2.1)."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(name, "unknown setting of an exit")
        settings = dict(values)
        versions, build = settings.get("versions"), settings.get("build_version")
        if isinstance(versions, (list, tuple)):
            settings["versions"] = tuple(versions)
        elif versions is None and build is not None:
            settings["versions"] = _versions_of(build)
        return cls(**settings)  # type: ignore[arg-type]

    def build_information(self) -> BuildInfo:
        return BuildInfo(
            binary_name="localnet-exit",
            build_timestamp="2026-01-01T00:00:00Z",
            build_version=self.build_version,
            commit_sha="0" * 40,
            commit_timestamp="2026-01-01T00:00:00Z",
            commit_branch="main",
            rustc_version="none",
            rustc_channel="none",
            cargo_profile="release",
            cargo_triple="none",
        )


def _versions_of(build: object) -> tuple[int, ...]:
    match = (
        re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})\.[0-9]{1,6}(?:[-+].*)?", build) if isinstance(build, str) else None
    )
    if match is None:
        raise ConfigError("build_version", f"{build!r} is not a semantic version")
    release = int(match[1]), int(match[2])
    return (V8, V9, V10) if release >= (1, 37) else (V8, V9) if release >= (1, 30) else (V8,)


@dataclass
class ExitFaults:
    """What goes wrong on purpose; may change at any time. Probabilities are 0 to 1, times in seconds."""

    refuse_connect: ConnectReason | None = None
    refuse_text: str = ""  # with reason OTHER
    ignore_connect: bool = False
    mute: bool = False  # swallow every request
    drop: float = 0.0  # of replies
    duplicate: float = 0.0
    delay: float = 0.0  # of every reply
    jitter: float = 0.0  # up to this much more, so that replies overtake each other
    drop_uplink: float = 0.0  # of packets from clients
    malformed: str | None = None  # every reply is broken in this way, see malformed.py
    black_holes: set[IPv4Address | IPv6Address] = field(default_factory=set)  # nothing to these comes back
