"""From options to the synchronous core: what a caller pinned, checked, and the parts of an engine put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..crypto.provider import Crypto
from ..engine import Engine
from ..errors import OptionError, SmolmixError
from ..exit.bundles import PREFIX_SIZE, TARGET_SIZE
from ..exit.link import ExitLink
from ..exit.none import NoExit
from ..exit.session import ExitSession
from ..mixnet.addresses import Recipient
from ..mixnet.base58 import base58_decode
from ..mixnet.client import MixnetClient
from ..mixnet.exits import ExitCandidate
from ..mixnet.gateway.link import GatewayLink, LinkConfig
from ..mixnet.gateway.session import GatewayConfig
from ..mixnet.pinned import parse_topology
from ..mixnet.topology import Topology
from ..mixnet.traffic import TrafficConfig
from ..netstack import StackConfig
from ..netstack.observer import Observer
from ..netstack.tcp.config import MIX_LATENESS, TcpConfig
from ..rand import RandomSource
from ..storage.identity import StoredIdentity
from .options import TunnelOptions

QUEUE_TARGET = 0.15  # s that a download may wait at the exit before all others: about what mixes add by chance
GAP_PATIENCE = 0.12  # s, more than what three mixes spread: servers take what many have overtaken for lost
# With default traffic something is always under way, and a gateway answers each packet: silence tells soon.
STEADY = GatewayConfig(busy_probe=2.5, busy_timeout=2.4)
PAIR_TIMEOUT = 100  # ms that the exit waits for the second half of a pair; its own 20 ms leave one in fifty alone


@dataclass(frozen=True)
class Pinned:
    """What the caller chose and nothing replaces; None: chosen from the directory."""

    gateway: bytes | None  # Ed25519 identity
    exit: Recipient | None
    topology: Topology | None

    @classmethod
    def of(cls, options: TunnelOptions) -> Pinned:
        """Raises `OptionError` for what cannot be read, and for what does not fit together."""
        exit_ = _recipient(options.preferred_ipr)
        if exit_ is not None and options.exit == "none":
            raise OptionError("exit", "preferredIpr names one, so it cannot be none")
        topology = _topology(options.topology, exit_, needs_exit=options.exit != "none")
        return cls(_identity(options.preferred_gateway), exit_, topology)


def make_engine(
    options: TunnelOptions,
    crypto: Crypto,
    rng: RandomSource,
    now: float,
    *,
    pinned: Pinned,
    identity: StoredIdentity,
    topology: Topology,
    exits: Sequence[ExitCandidate],
    observer: Observer | None,
    taken: Callable[[], Collection[Recipient]] = tuple,
) -> Engine:
    """A client with this identity that is about to open its gateway and the first of `exits`; without any of them one
    that has the mixnet alone. `taken`: see `ExitLink`."""
    keys = identity.keys
    traffic = TrafficConfig.switched(
        options.traffic_preset,
        disable_poisson=options.disable_poisson_traffic,
        disable_cover=options.disable_cover_traffic,
    )
    official = options.fingerprint == "official"
    session = STEADY if traffic.main_stream else GatewayConfig()
    gateway = GatewayLink(
        crypto,
        rng,
        keys.identity(crypto),
        topology,
        preferred=pinned.gateway,
        force_tls=options.force_tls,
        shared_keys=identity.shared_keys,
        timestamps=identity.timestamps,
        last=identity.last_gateway,
        config=LinkConfig(session=replace(session, register_apart=official)),
    )

    paired = options.tcp_segments == "paired"
    servers = options.primary_dns, options.fallback_dns
    resolvers = [(server.address, server.port if server.scheme == "udp" else None) for server in servers]

    def exit_session(versions: Sequence[int], limit: float, attempt: float) -> ExitSession:
        return ExitSession(
            rng,
            versions=versions,
            open_surbs=options.open_reply_surbs,
            data_surbs=options.data_reply_surbs,
            connect_timeout=limit,
            attempt_timeout=attempt,
            buffer_timeout=PAIR_TIMEOUT if paired else None,
            resolvers=resolvers,
        )

    exit_link: ExitLink | NoExit = NoExit()
    if options.exit != "none":
        limit = options.connect_timeout_ms / 1000
        pins = pinned.exit is not None
        exit_link = ExitLink(exits, exit_session, rng, pinned=pins, connect_timeout=limit, taken=taken)
    return Engine(
        rng,
        gateway=gateway,
        mixnet=MixnetClient(crypto, rng, keys, gateway.endpoint.identity, topology, traffic, now),
        exit_link=exit_link,
        stack_config=StackConfig(tcp=_tcp_config(options.tcp_buffer_size, paired=paired, official=official)),
        observer=observer,
        traffic_rate=None if options.traffic_rate == "auto" else options.traffic_rate,
        now=now,
    )


def _tcp_config(buffer_size: int, *, paired: bool, official: bool) -> TcpConfig:
    """`tcpBufferSize` is where windows begin; they grow with the path, and beyond the usual bound only if asked to.

    `paired`: the peer's packets are small enough for two of them to share one bundle of the exit, and have no
    timestamps: 1416 bytes in a reply instead of 1368. Its first window, counted in segments, is half as long.
    `official`: what shows of a connection is as in the official client: no timestamps, and windows stay as they begin.
    """
    usual = TcpConfig()
    return TcpConfig(
        receive_buffer=buffer_size,
        receive_buffer_max=buffer_size if official else max(buffer_size, usual.receive_buffer_max),
        send_buffer=max(buffer_size, usual.send_buffer),
        queue_target=QUEUE_TARGET,
        gap_patience=GAP_PATIENCE,
        lateness=MIX_LATENESS,
        receive_packet_max=TARGET_SIZE // 2 - PREFIX_SIZE if paired else usual.receive_packet_max,
        timestamps=not paired and not official,
        linux=not official,
    )


def _identity(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base58_decode(text, 32, "identity")
    except SmolmixError as error:
        raise OptionError("preferredGateway", error.message) from None


def _recipient(text: str | None) -> Recipient | None:
    if text is None:
        return None
    try:
        return Recipient.parse(text)
    except SmolmixError as error:
        raise OptionError("preferredIpr", error.message) from None


def _topology(document: Mapping[str, Any] | None, exit_: Recipient | None, *, needs_exit: bool) -> Topology | None:
    if document is None:
        return None
    if exit_ is None and needs_exit:
        raise OptionError("topology", "it names no exits: preferredIpr is needed with it")
    try:
        topology = parse_topology(document)
    except SmolmixError as error:
        raise OptionError("topology", error.message) from None
    if exit_ is not None and not topology.knows(exit_.gateway):
        raise OptionError("topology", "it lacks the gateway of preferredIpr")
    return topology
