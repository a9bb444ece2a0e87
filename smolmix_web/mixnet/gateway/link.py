"""Keeps one gateway connection alive: opens it, loses it, opens it again, changes the gateway when one fails for good.

Without I/O. The owner opens and closes sockets as `take_command` says and reports what happens to the present one;
everything else is here: back-off with jitter, the same shared key again, a new registration where the gateway forgot
us, another gateway where the present one refuses or stays away and the user pinned none. Until it was ready once it has
`setup_limit`; from then on it goes on trying, however long that takes, unless the pinned gateway refuses for good.

    connecting -> ready -> waiting -> connecting -> ready ...
              \\-> waiting -> connecting ...      \\-> failed (`error`)

`suspend` leads from each of them but `failed` to `suspended`, where nothing is tried, and `resume` to `connecting`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ...crypto.provider import Crypto
from ...errors import DirectoryError, GatewayError, SmolmixError
from ...rand import RandomSource
from ..keys import IdentityKeys
from ..mix_packet import MixPacket
from ..pace import Pace
from ..topology import GatewayEndpoint, Topology
from .session import GatewayConfig, GatewayCounters, GatewaySession, GatewayState

# Another try at the same gateway cannot help against these,
_FINAL = frozenset({"authentication_refused", "bandwidth_refused", "gateway_too_old", "registration_refused"})
# nor soon against this: a text of its own before anything was asked of it.
_REFUSALS = _FINAL | {"gateway_refused"}


class LinkState(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    READY = "ready"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    FAILED = "failed"


@dataclass(frozen=True)
class LinkConfig:
    """Times in seconds."""

    session: GatewayConfig = field(default_factory=GatewayConfig)
    backoff_first: float = 0.5
    backoff_max: float = 30.0
    setup_limit: float = 60.0  # until the first time ready
    stay: float = 35.0  # a gateway that was lost gets this long to return, for the sake of what is open
    backoff_stay: float = 4.0  # longest back-off meanwhile: the exit forgets us after 60 s
    duplicate_wait: float = 3.0  # after a refusal that may be for the sake of our own old connection
    max_malformed: int = 3  # answers in a row that cannot be read, after which a gateway counts as refusing
    max_gateways: int = 5  # different ones tried during one set-up, or in one round of an outage
    patience: float = 4.0  # see pace.py


@dataclass(frozen=True)
class OpenSocket:
    """Open this WebSocket; it replaces the one before, of which nothing is reported any more."""

    url: str


@dataclass(frozen=True)
class CloseSocket:
    """Close the present socket; nothing is reported of it any more."""


Command = OpenSocket | CloseSocket


class GatewayLink:
    """See the module. `preferred`: the pinned gateway's identity (32), or None to draw one of `topology`."""

    def __init__(
        self,
        crypto: Crypto,
        rng: RandomSource,
        identity: IdentityKeys,
        topology: Topology,
        *,
        preferred: bytes | None = None,
        force_tls: bool = True,
        config: LinkConfig | None = None,
        shared_keys: Mapping[bytes, bytes] | None = None,
        timestamps: Mapping[bytes, int] | None = None,
        last: bytes | None = None,
    ) -> None:
        """`DirectoryError` when no gateway, or not the preferred one, can be reached by the rules.

        What an earlier link of the same identity knew: `shared_keys` by gateway, the Unix second of the newest
        authentication request by gateway, and `last`, the gateway to begin with if it can be reached (not pinned).
        """
        self._crypto = crypto
        self._rng = rng
        self._identity = identity
        self._topology = topology
        self._preferred = preferred
        self._force_tls = force_tls
        self._config = config or LinkConfig()
        self.shared_keys: dict[bytes, bytes] = dict(shared_keys or {})
        self.endpoint: GatewayEndpoint = self._first_gateway(last)
        self.state = LinkState.IDLE
        self.error: GatewayError | None = None  # final
        self.last_error: GatewayError | None = None
        self.losses = 0  # how often a ready connection ended
        self.counters = GatewayCounters()  # of all sessions before the present one
        self._session: GatewaySession | None = None
        self._commands: deque[Command] = deque()
        self._bodies: list[bytes] = []
        self._timestamps: dict[bytes, int] = dict(timestamps or {})
        self._tried: list[bytes] = []  # gateways, during this set-up or outage
        self._lost_at = float("-inf")  # when this outage, or the search for another gateway, began
        config = self._config
        self._pace = Pace(rng, first=config.backoff_first, longest=config.backoff_max, patience=config.patience)
        self._lag = 0.0
        self._begun = 0.0  # the present attempt
        self._not_before = float("-inf")  # the next one, whoever waits
        self._rounds = 0  # of gateways tried in vain
        self._malformed = 0  # attempts in a row that ended so
        self._retry_at: float | None = None
        self._give_up_at = float("inf")
        self._ever_ready = False
        self._doubted = False  # the shared key, since the last time ready: it was refused once
        self._offline_since: float | None = None

    def _first_gateway(self, last: bytes | None) -> GatewayEndpoint:
        if self._preferred is None and last is not None:
            try:
                return self._topology.gateway_endpoint(last, force_tls=self._force_tls)
            except DirectoryError:
                pass  # it left the network: draw another
        return self._topology.pick_gateway(self._rng, self._preferred, force_tls=self._force_tls)

    # -- the owner's side ---------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin to connect; a `OpenSocket` command waits."""
        if self.state is LinkState.IDLE:
            self._give_up_at = now + self._config.setup_limit
            self._connect(now)

    def take_command(self) -> Command | None:
        """What the owner must do with its socket next, in order; None when nothing."""
        return self._commands.popleft() if self._commands else None

    @property
    def ready(self) -> bool:
        return self.state is LinkState.READY

    @property
    def timestamp(self) -> int:
        """Unix second of the newest authentication request to the present gateway; 0 when there was none."""
        if self._session is not None:
            return self._session.timestamp
        return self._timestamps.get(self.endpoint.identity, 0)

    @property
    def can_forward(self) -> bool:
        return self._session is not None and self._session.can_forward

    @property
    def answers(self) -> int:
        """Packets of the present connection that the gateway has answered."""
        return self._session.answers if self._session is not None else 0

    @property
    def trip(self) -> float | None:
        """Shortest seconds to an answer while the present connection was set up; None when there is none."""
        return self._session.trip if self._session is not None else None

    @property
    def bandwidth(self) -> int:
        """Bytes left by the gateway's word; 0 while there is no connection."""
        return self._session.bandwidth if self._session is not None else 0

    def forward(self, packet: MixPacket) -> bytes:
        """See `GatewaySession.forward`; only while `can_forward`."""
        assert self._session is not None
        return self._session.forward(packet)

    def take_bodies(self) -> list[bytes]:
        bodies, self._bodies = self._bodies, []
        if self._session is not None:
            bodies += self._session.take_bodies()
        return bodies

    def set_topology(self, topology: Topology, now: float) -> None:
        """A new snapshot. A gateway that is not in it any more is of no use: nothing finds its way to us through it."""
        self._topology = topology
        if self.state is LinkState.READY and self._left_network:
            self.abandon(now, "it left the network")

    @property
    def _left_network(self) -> bool:
        return self._preferred is None and not self._topology.knows(self.endpoint.identity)

    def retry_now(self, now: float) -> None:
        """The network came back, or the machine woke up: do not wait for the back-off, and trust no old connection."""
        if self._offline_since is not None:
            # What failed without a network was nobody's fault.
            away, self._offline_since = now - self._offline_since, None
            self._give_up_at += away
            self._lost_at += away
            self._pace.reset()
            if self.state is LinkState.CONNECTING:
                self.abandon(now, "begun without a network")
        if self.state is LinkState.WAITING:
            self._retry_at = now
        elif self._session is not None:
            self._session.probe()

    def doubt(self, now: float) -> None:
        """The machine may be in another network, or its page comes back from being frozen: whoever is there proves it
        with an answer; a connection that lives stays."""
        if self.state is LinkState.WAITING:
            self.want(now)
        elif self._session is not None:
            self._session.probe()

    def suspend(self) -> None:
        """Close the connection and try nothing until `resume`. It is no loss: the gateway may be asked at once."""
        if self.state not in (LinkState.SUSPENDED, LinkState.FAILED):
            if self._session is not None:
                self._leave(self._session)
                self._commands.append(CloseSocket())
            self._retry_at = None
            self.state = LinkState.SUSPENDED

    def resume(self, now: float) -> None:
        """Connect at once. The gateway gets the time that it would get had it been lost just now."""
        if self.state is LinkState.SUSPENDED:
            self._lost_at = now
            self._tried, self._rounds = [], 0
            self._give_up_at = float("inf") if self._ever_ready else now + self._config.setup_limit
            self._pace.reset()
            self._connect(now)

    def went_offline(self, now: float) -> None:
        """The host says that there is no network. A connection that lives all the same (a gateway on this machine)
        stays; nothing is tried but now and then, and no time for trying is used up, until `retry_now`."""
        if self._offline_since is not None:
            return
        self._offline_since = now
        if self.state is LinkState.WAITING:
            self._retry_at = now + self._backoff_offline()
        elif self._session is not None:
            self._session.probe()

    def want(self, now: float) -> None:
        """Somebody waits for the tunnel: the next attempt is made soon, and one that lasts is begun anew."""
        soon = self._pace.want(now)
        if self.state is LinkState.WAITING and self._offline_since is None:
            assert self._retry_at is not None
            self._retry_at = min(self._retry_at, max(soon, self._not_before))

    def abandon(self, now: float, reason: str) -> None:
        """Give the present connection up as lost, whatever its socket says."""
        if self._session is not None:
            self._session.closed(now, reason)
            self._follow(now)

    def all_counters(self) -> GatewayCounters:
        """Counters of all connections together."""
        total = GatewayCounters(**vars(self.counters))
        if self._session is not None:
            _add(total, self._session.counters)
        return total

    # -- what happens to the socket -----------------------------------------------------------------

    def opened(self, now: float) -> None:
        if self._session is not None:
            self._session.opened(now)

    def receive(self, frame: bytes | str, now: float, unix_time: float) -> None:
        if self._session is not None:
            self._session.receive(frame, now, unix_time)
            self._follow(now)

    def closed(self, now: float, reason: str) -> None:
        if self._session is not None:
            self._session.closed(now, reason)
            self._follow(now, socket_open=False)

    # -- time -----------------------------------------------------------------------------------------

    def poll(self, now: float, unix_time: float, lag: float = 0.0) -> list[bytes | str]:
        """Messages for the present socket; runs all deadlines. `lag`: see `GatewaySession.poll`."""
        self._lag = lag
        if self.state is LinkState.WAITING:
            if now >= self._give_up_at and self._offline_since is None:
                assert self.last_error is not None
                self._fail(self.last_error)
            elif self._retry_at is not None and now >= self._retry_at:
                self._connect(now)
        elif (until := self._impatient_at()) is not None and now >= until:
            self._pace.impatient()
            self.abandon(now, "begun anew")
            if self._session is None and self.error is None:
                self._connect(now)
        if self._session is None:
            return []
        frames = self._session.poll(now, unix_time, lag)
        self._follow(now)
        return frames

    def next_deadline(self) -> float | None:
        if self._commands:
            return float("-inf")
        if self.state is LinkState.WAITING:
            assert self._retry_at is not None
            return self._retry_at if self._offline_since is not None else min(self._retry_at, self._give_up_at)
        if self._session is None:
            return None
        times = (self._session.next_deadline(), self._impatient_at())
        return min((time for time in times if time is not None), default=None)

    def _impatient_at(self) -> float | None:
        """When to begin the present attempt anew."""
        if self.state is not LinkState.CONNECTING or not self._ever_ready:
            return None
        until = self._pace.until(self._begun)
        return None if until is None else until + self._lag

    # -- inside -----------------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        identity = self.endpoint.identity
        if identity not in self._tried:
            self._tried.append(identity)
        self._pace.failures += 1
        self._begun = now
        self._retry_at = None
        self._session = GatewaySession(
            self._crypto,
            self._rng,
            self._identity,
            identity,
            self.shared_keys.get(identity),
            config=self._config.session,
            after_timestamp=self._timestamps.get(identity, 0),
        )
        self._session.connecting(now)
        self.state = LinkState.CONNECTING
        self._commands.append(OpenSocket(self.endpoint.url))

    def _follow(self, now: float, *, socket_open: bool = True) -> None:
        """Draw the consequences of what the session became."""
        session = self._session
        assert session is not None
        if session.ready and self.state is LinkState.CONNECTING:
            assert session.shared_key is not None
            self.shared_keys[self.endpoint.identity] = session.shared_key
            self.state = LinkState.READY
            self._ever_ready = True
            self._doubted = False
            self._tried, self._rounds = [], 0
            self._give_up_at = float("inf")
            self._pace.reset()
        elif session.error is not None:
            self._lost(session, now, socket_open)
        elif session.registered and session.state is GatewayState.CLOSED:  # and authenticates on another connection
            assert session.shared_key is not None
            self.shared_keys[self.endpoint.identity] = session.shared_key
            self._leave(session)
            self._commands.append(CloseSocket())
            self._connect(now)

    def _lost(self, session: GatewaySession, now: float, socket_open: bool) -> None:
        error = session.error
        assert error is not None
        self.last_error = error
        identity = self.endpoint.identity
        self._leave(session)
        if socket_open:
            self._commands.append(CloseSocket())
        if self.state is LinkState.READY:
            self.losses += 1
            self._lost_at = now
        self.state = LinkState.WAITING
        if self._offline_since is not None:
            self._retry_at = now + self._backoff_offline()
            return
        if error.code == "authentication_refused" and identity in self.shared_keys and not self._doubted:
            # Perhaps our own connection of before still lives there (gateway 4.2): ask again when it must be gone.
            self._doubted = True
            self._retry_at = self._not_before = now + self._config.duplicate_wait
            return
        if error.code in ("not_registered", "authentication_refused") and identity in self.shared_keys:
            # The gateway forgot us (its refusals are English, not codes): the same identity registers anew, at once.
            del self.shared_keys[identity]
            self._retry_at = now
            return
        self._malformed = self._malformed + 1 if error.code == "gateway_malformed" else 0
        refused = error.code in _REFUSALS or self._malformed >= self._config.max_malformed
        staying = not (refused or self._left_network) and now < self._lost_at + self._config.stay
        if self._preferred is not None:
            # A gateway that had us and now answers nonsense, or has no time, may be starting up.
            if error.code in _FINAL or (refused and not self._ever_ready):
                self._fail(error)
                return
        elif not staying and not self._choose_another():
            self._fail(error)
            return
        self._retry_at = self._pace.again(now, self._config.backoff_stay if staying else None)

    def _leave(self, session: GatewaySession) -> None:
        identity = self.endpoint.identity
        # What had arrived is still ours.
        self._bodies += session.take_bodies()
        _add(self.counters, session.counters)
        self._timestamps[identity] = max(session.timestamp, self._timestamps.get(identity, 0))
        self._session = None

    def _choose_another(self) -> bool:
        """Move to a gateway not tried yet; False when none is left and waiting longer makes no sense."""
        if len(self._tried) < self._config.max_gateways:
            try:
                self.endpoint = self._topology.pick_gateway(self._rng, force_tls=self._force_tls, exclude=self._tried)
            except DirectoryError:
                pass
            else:
                self._pace.failures = 2 * self._rounds
                return True
        # All were tried. Once connected, an outage may be our own: begin the round again, more slowly.
        if not self._ever_ready:
            return False
        self._tried = []
        self._rounds += 1
        return True

    def _backoff_offline(self) -> float:
        """Hosts are wrong now and then about being offline."""
        return self._config.backoff_max * (0.5 + 0.5 * self._rng.uniform())

    def _fail(self, error: SmolmixError) -> None:
        assert isinstance(error, GatewayError)
        self.error = error if self._preferred is None else _with_advice(error)
        self.state = LinkState.FAILED
        self._retry_at = None


def _with_advice(error: GatewayError) -> GatewayError:
    """The user chose this gateway, so only the user can choose another one."""
    if error.code != "bandwidth_refused":
        return error
    message = f"{error.message}. The option preferredGateway pins it: name another one, or leave the option out"
    return GatewayError(message, code=error.code, phase=error.phase, reason=error.reason)


def _add(total: GatewayCounters, more: GatewayCounters) -> None:
    for name, value in vars(more).items():
        setattr(total, name, getattr(total, name) + value)
