"""`Tunnel`: from options to a running engine, and what users do with it.

Set-up steps, each with its deadline: `storage` (the stored identity, where `clientId` asks for one), `directory`
(lists, topology, choice of exits), `gateway` (register, claim bandwidth), `exit` (addresses), then `ready`. The loss
of the gateway or the exit makes it `reconnecting` for as long as it takes, until the exit has shown that it knows us:
sockets live on through the loss of the gateway, and end with a typed error when their addresses are lost; what is
begun meanwhile waits, within its own time. What cannot heal makes it `failed`, with the error. Nothing is ever sent by
another way than the tunnel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..crypto import load_crypto
from ..crypto.provider import Crypto
from ..dial import Connected
from ..dns import Answer, DnsAnswer
from ..dns.message import prepare as prepare_dns
from ..dns.names import parse_address
from ..edge.deadline import Deadline
from ..edge.driver import Driver
from ..edge.peers import PeerNet
from ..edge.sockets import PING_TIMEOUT, Address, TcpOptions, UdpSocket, ping
from ..edge.tls import TlsOptions, check_roots
from ..edge.tls import prepare as prepare_tls
from ..engine import Engine
from ..errors import (
    AddressError,
    SmolmixError,
    StateError,
    StorageError,
    TunnelError,
    UsageError,
    down,
)
from ..host.base import Host, TimerHandle
from ..http import CookieJar, HttpRequest, HttpResponse
from ..http.timeouts import Timeouts
from ..mixnet.addresses import Recipient
from ..mixnet.exits import ExitCandidate
from ..mixnet.gateway.link import GatewayLink
from ..mixnet.keys import ClientKeys
from ..mixnet.topology import Topology
from ..netstack.observer import Observer
from ..storage.identity import StoredIdentity
from ..storage.store import IdentityStore, open_store
from ..websocket import MAX_MESSAGE, WebSocketConnection, WebSocketTimeouts
from ..websocket import connect as connect_websocket
from .assembly import Pinned, make_engine
from .asyncio_access import AsyncioAccess
from .directory_keeper import DirectoryKeeper
from .isolation import Common, Compartment, Compartments, check_key
from .options import TunnelOptions
from .peer_access import PeerAccess

SETUP_TIMEOUT = 90.0  # s for directory and gateway; the exit has its own option on top
READY_TIMEOUT = 90.0  # s that an operation waits for a tunnel that is reconnecting, unless it has less
REPEATS = 2  # times that the opening of a connection is begun anew because our addresses were lost meanwhile
CLOSE_TIMEOUT = 2.0  # s for saying goodbye to the exit,
FAREWELL = 0.15  # and before that for the ends of open connections, which would come too late behind it
MAX_ECHO = 65_536  # bytes; more fits no packet
WARM_UP_PAUSE = 0.02  # s in which what has come meanwhile is served
FLUSH_TIMEOUT = 1.0  # s for writing down what was learnt last

_ALIVE = ("connecting", "ready", "reconnecting", "suspended")
_WAITED_FOR = ("connecting", "reconnecting", "suspended")
_SLOWED = {
    "machine": "this machine is too slow for the usual traffic: fewer packets leave, real and dummy alike",
    "line": "the line to the gateway is too thin for the usual traffic: fewer packets leave, real and dummy alike",
}

OnChange = Callable[[dict[str, Any]], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Family:
    """What the tunnels of a pool have from it: cookies, which outlive each of them, and the exits of the others."""

    cookies: CookieJar  # of what is asked without an isolation key
    jar_of: Callable[[str], CookieJar] | None = None
    taken: Callable[[], Collection[Recipient]] = tuple


@dataclass(frozen=True)
class PingReply:
    """An answered echo request; `rtt` in seconds."""

    address: Address
    rtt: float


class Tunnel(AsyncioAccess, PeerAccess):
    """One tunnel with one identity, used once: `start`, use, `close`.

    `on_change(snapshot)` is called at every change of state, step or rate of traffic, and for every warning. Keys live
    in memory and go with the tunnel, unless the options are `persistent`.
    """

    def __init__(
        self,
        options: TunnelOptions,
        host: Host,
        *,
        on_change: OnChange | None = None,
        crypto: Crypto | None = None,
        observer: Observer | None = None,
        family: Family | None = None,
    ) -> None:
        """`crypto` replaces the option's provider; `observer` sees every IP packet of the tunnel, for captures;
        `family`: what it has of a pool."""
        self._options = options
        self._host = host
        self._on_change = on_change
        self._observer = observer
        self._crypto = crypto or load_crypto(options.crypto)
        self._pinned = Pinned.of(options)
        check_roots(options.ca_certificates, options.default_roots)
        self.state = "shutdown"
        self.step: str | None = None
        self.error: SmolmixError | None = None
        self.warnings: list[SmolmixError] = []  # what went wrong and was no reason to fail
        self._family = family or Family(CookieJar(host.unix_time))
        self.cookies = self._family.cookies  # of requests without an isolation key, gone with the tunnel
        self._started = False
        self._store: IdentityStore | None = None
        self._identity: StoredIdentity | None = None
        self._engine: Engine | None = None
        self._driver: Driver | None = None
        self._compartments: Compartments | None = None
        self._settled: asyncio.Future[None] | None = None
        wants_exit = options.exit != "none"
        self._plain = options.fingerprint == "official"
        self._directory = DirectoryKeeper(
            host, options.directory_urls, self._pinned, exits=wants_exit, taken=self._family.taken
        )
        self._troubles = (0, 0)
        self._traffic: dict[str, str | None] | None = None  # rate and reason, as told last
        self._waiters: set[asyncio.Future[None]] = set()
        self._suspended = False  # what was asked for last
        self._warming: TimerHandle | None = None

    # -- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect. Raises what made it fail; cancelling leaves nothing open."""
        if self._started:
            raise StateError("a tunnel starts once", phase="setup")
        self._started = True
        try:
            limit = SETUP_TIMEOUT + self._options.connect_timeout_ms / 1000
            async with Deadline(self._host, limit, "setup"):
                await self._set_up()
        except SmolmixError as error:
            self._fail(error)
            raise
        except BaseException:
            self._tear_down()
            self._change("shutdown")
            raise

    async def _set_up(self) -> None:
        await self._open_store()
        self._change("connecting", "directory")
        topology, exits = await self._directory.first()
        self._settled = asyncio.get_running_loop().create_future()
        self._engine = self._make_engine(topology, exits)
        self._driver = Driver(self._host, self._engine, self._engine_changed)
        common = Common(self._host, self._driver, self._options, self._anew)
        self._compartments = Compartments(common, self.cookies, self._family.jar_of)
        if self._suspended:
            self._engine.suspend(self._host.now())
        self._driver.start()
        await self._settled
        await self._flush_store()
        if self.error is not None:
            raise self.error
        self._directory.start(self._engine, self._driver.wake, self._warn)
        if self.state == "connecting":  # else the next poll has said it before
            self._change("ready")

    async def _open_store(self) -> None:
        options = self._options
        if not options.persistent:
            if options.storage_passphrase is not None or options.storage:
                given = "storage" if options.storage_passphrase is None else "storagePassphrase"
                self._warn(StorageError(f"{given} without clientId: nothing is stored", code="store_unused"))
            return
        self._change("connecting", "storage")
        self._store = await open_store(self._host, options.client_id, options.storage_passphrase, self._warn)
        self._identity = self._store.identity if self._store is not None else None

    def _make_engine(self, topology: Topology, exits: Sequence[ExitCandidate]) -> Engine:
        if self._identity is None:
            self._identity = StoredIdentity(ClientKeys.generate(self._host.rng))
        return make_engine(
            self._options,
            self._crypto,
            self._host.rng,
            self._host.now(),
            pinned=self._pinned,
            identity=self._identity,
            topology=topology,
            exits=exits,
            observer=self._observer,
            taken=self._family.taken,
        )

    def _engine_changed(self) -> None:
        """Called after every poll: cheap unless something happened."""
        engine, settled = self._engine, self._settled
        assert engine is not None and settled is not None
        troubles = (engine.wakes, engine.troubles)
        if troubles != self._troubles:
            # What we knew of the network may be too old.
            self._troubles = troubles
            self._directory.trouble()
        self._follow_traffic(engine)
        self._warm_up(engine)
        state, step = engine.state
        if state not in _WAITED_FOR:
            self._release()
        if state == self.state and step == self.step:
            return
        if self.step == "gateway" and step != "gateway" and state != "suspended":
            self._directory.network_back()  # it may be back as well
        self._keep_identity(engine.gateway)
        if state == "failed":
            assert engine.error is not None
            if not settled.done():
                settled.set_exception(engine.error)
            elif self.state in _ALIVE:
                self._fail(engine.error)
        elif not settled.done():
            if state == "ready":
                settled.set_result(None)
            else:
                self._change(state, step)
        elif self.state in _ALIVE:
            self._change(state, step)

    def _warm_up(self, engine: Engine) -> None:
        """What connects to the exit has left: while its answer is on the way, load what the first uses need. In every
        start alike: a hole in the traffic at the first use would tell of it."""
        if self._warming is not None or self._options.exit == "none":
            return
        mixnet = engine.mixnet
        if mixnet.statistics.packets_sent > 0 and mixnet.queue_length == 0:
            self._warming = self._host.call_later(0.0, self._prepare_dns)

    def _prepare_dns(self) -> None:
        prepare_dns()
        self._warming = self._host.call_later(WARM_UP_PAUSE, self._prepare_tls)

    def _prepare_tls(self) -> None:
        try:
            prepare_tls(self._options.ca_certificates, self._options.default_roots)
        except (SmolmixError, ImportError) as error:
            self._host.log(f"TLS: {error}")  # told again to whoever needs it

    def _follow_traffic(self, engine: Engine) -> None:
        """Another rate is told, and the first one that is lower than usual is warned of."""
        if engine.traffic == self._traffic:
            return
        before, self._traffic = self._traffic, engine.traffic
        self._host.log(f"traffic rate {engine.ladder.rate}")
        reason = engine.ladder.reason
        if reason in _SLOWED and not any(warning.reason == reason for warning in self.warnings):
            self._warn(TunnelError(_SLOWED[reason], code="traffic_slowed", phase="traffic", reason=reason))
        elif before is not None and self._on_change is not None:
            self._on_change(self.snapshot())

    def _keep_identity(self, gateway: GatewayLink) -> None:
        """What a gateway took us by is worth keeping, where anything is kept."""
        if self._store is not None and self._identity is not None and gateway.ready:
            endpoint, unix_time = gateway.endpoint, self._host.unix_time()
            self._identity = self._identity.updated(
                endpoint.identity, endpoint.url, gateway.shared_keys, gateway.timestamp, unix_time
            )
            self._store.keep(self._identity)

    async def _flush_store(self) -> None:
        if self._store is not None:
            await self._store.flush(FLUSH_TIMEOUT)

    async def close(self) -> None:
        """Say goodbye to the exit, close the gateway's connection. Idempotent."""
        if self.state in ("shutting_down", "shutdown"):
            return
        failed = self.state == "failed"
        self._change("shutting_down")
        engine, driver = self._engine, self._driver
        self._close_clients(TunnelError("the tunnel was closed", code="tunnel_down"))
        if engine is not None and driver is not None and not failed:
            if engine.has_flows:
                driver.wake()
                await asyncio.sleep(FAREWELL)
            engine.disconnect(self._host.now())
            driver.wake()
            until = self._host.now() + CLOSE_TIMEOUT
            while not engine.disconnected and self._host.now() < until:
                await asyncio.sleep(0.02)
        await self._flush_store()
        self._tear_down()
        self._change("shutdown")

    def network_changed(self, online: bool | None = True) -> None:
        """The machine came online: connections are tried at once instead of when their timers are due. Not `online`:
        the gateway must prove within seconds that it is there, or the tunnel is `reconnecting` and uses up no attempt
        and no time until it is online again. None: the network may be another one, so the gateway must prove itself
        too, and all goes on meanwhile. A page tells this by itself."""
        if self._engine is not None and self._driver is not None and self.state in _ALIVE:
            self._engine.network_changed(self._host.now(), online=online)
            self._driver.wake()
            if online and not self._suspended:
                self._directory.network_back()

    async def suspend(self) -> None:
        """The program rests: cover traffic stops, the gateway's connection is closed when this returns, and nobody is
        asked for anything until `resume`. The state is `suspended`. What is begun meanwhile waits within its own time,
        90 s at most, and time limits run on. Connections live on for as long as the exit keeps them, 60 s as a rule.
        During set-up, whose limit runs on too, requests to the directory that are under way come to their end."""
        if self.state not in _ALIVE:
            return
        self._suspended = True
        self._directory.suspend()
        if self._engine is not None and self._driver is not None:
            self._engine.suspend(self._host.now())
            self._driver.wake()
            while self._suspended and self.state in _ALIVE and self.state != "suspended":
                await self._wait_for_change()

    def resume(self) -> None:
        """Go on after `suspend`: the gateway is asked at once, with the same identity, and the directory where what is
        known of the network has become old. What has waited begins when the state is `ready`."""
        if not self._suspended:
            return
        self._suspended = False
        self._release()
        if self.state not in _ALIVE:
            return
        self._directory.resume()
        if self._engine is not None and self._driver is not None:
            self._engine.resume(self._host.now(), self._host.unix_time())
            self._driver.wake()

    def _fail(self, error: SmolmixError) -> None:
        self.error = error
        if self._engine is not None:
            self._engine.fail(error, self._host.now())
        self._tear_down()
        if self.state not in ("shutdown", "failed"):
            self._change("failed")

    def _tear_down(self) -> None:
        self._directory.close()
        error = self.error or TunnelError("the tunnel was closed", code="tunnel_down")
        self._close_clients(error)
        if self._driver is not None:
            self._driver.close()
        if self._engine is not None:
            self._engine.fail(error, self._host.now())  # whoever waits for a socket hears of it
        if self._warming is not None:
            self._warming.cancel()
        if self._store is not None:
            self._store.close()
        if self._settled is not None and not self._settled.done():
            self._settled.cancel()

    def _close_clients(self, error: SmolmixError) -> None:
        if self._compartments is not None:
            self._compartments.close(error)
        self._close_peers(error)
        if self._engine is not None:
            self._engine.peers.end_all(error)

    def _change(self, state: str, step: str | None = None) -> None:
        self.state, self.step = state, step
        self._host.log(f"tunnel {state}" + (f": {step}" if step else ""))
        self._release()
        if self._on_change is not None:
            self._on_change(self.snapshot())

    def _release(self) -> None:
        """Operations that wait may look again."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _warn(self, warning: SmolmixError) -> None:
        self.warnings.append(warning)
        self._host.warn(warning.message)
        if self._on_change is not None:
            self._on_change(self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        """State for users: `state`, `step`, `error`, `warnings`, `gateway`, `address`, `exit`, `addresses`,
        `traffic`."""
        engine = self._engine
        return {
            "state": self.state,
            "step": self.step,
            "error": self.error.to_dict() if self.error is not None else None,
            "warnings": [warning.to_dict() for warning in self.warnings],
            "gateway": engine.gateway.endpoint.name if engine is not None else None,
            "address": self.address if engine is not None and self.state in _ALIVE[1:] and self._driver else None,
            "exit": str(engine.exit.recipient) if engine is not None and engine.exit.recipient is not None else None,
            "addresses": [str(address) for address in engine.addresses] if engine is not None else [],
            "traffic": engine.traffic if engine is not None else None,
        }

    @property
    def exit(self) -> Recipient | None:
        """The exit that is used, or tried, now."""
        exit_ = self._engine.exit if self._engine is not None else None
        return exit_.recipient if exit_ is not None and exit_.started else None

    def keeps(self, isolation: str) -> bool:
        """Is anything remembered of this key?"""
        return self._compartments is not None and self._compartments.keeps(isolation)

    @property
    def busy(self) -> bool:
        """Something is under way, or a connection is open that does not wait for a next request."""
        engine, compartments = self._engine, self._compartments
        if engine is None or compartments is None:
            return False
        return compartments.busy or engine.open_flows > compartments.idle_connections

    @property
    def exit_version(self) -> int | None:
        """Version of the IP packet router protocol in use, once connected."""
        session = self._engine.exit.session if self._engine is not None else None
        connection = session.connection if session is not None else None
        return connection.version if connection is not None else None

    def statistics(self) -> dict[str, Any]:
        """Counters; empty before the tunnel is connecting to its gateway."""
        if self._engine is None or self._compartments is None or self._driver is None:
            return {}
        names = {f"dns_{name}": count for name, count in vars(self._compartments.dns_statistics).items()}
        waiting = {"inbox": {"frames": len(self._driver.inbox), **vars(self._driver.inbox.statistics)}}
        return {**self._engine.statistics(), **waiting, **names, "isolations": len(self._compartments)}

    async def refresh_topology(self) -> None:
        """Ask the directory now; it is asked regularly, and after losses, anyway (mixnet/refresh.py)."""
        await self._directory.refresh()

    # -- use ----------------------------------------------------------------------------------------

    def _net(self) -> Driver:
        """For what goes through the exit."""
        driver = self._mixnet()
        if self._options.exit == "none":
            raise StateError("the tunnel has no exit: its option exit is none", code="no_exit")
        return driver

    def _mixnet(self) -> Driver:
        """For what goes to other clients."""
        if self.state not in _ALIVE[1:] or self._driver is None:
            if self.error is not None:
                raise down(self.error, "the tunnel")
            raise StateError(f"the tunnel is not ready but {self.state}", code="tunnel_down")
        return self._driver

    async def _usable(self) -> Driver:
        """The network once it works: while the gateway or an exit is being found anew, operations wait and do not fail.
        The caller's own deadline counts, too."""
        driver, engine = self._net(), self._engine
        assert engine is not None
        # After a sleep the caller may be awake before our timers.
        engine.notice_sleep(self._host.now(), self._host.unix_time())
        if engine.state[0] == "ready":
            return driver
        self._engine_changed()
        driver.wake()
        async with Deadline(self._host, READY_TIMEOUT, "tunnel"):
            while engine.state[0] != "ready":
                engine.want(self._host.now())
                await self._wait_for_change()
                driver = self._net()
        return driver

    async def _wait_for_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def usable(self, isolation: str | None = None) -> None:
        """Returns when sockets may be opened: at once, unless the gateway or an exit is being found anew. Errors:
        `StateError`, `TunnelError`, `TimeoutExpired(phase="tunnel")`."""
        check_key(isolation)
        await self._usable()

    async def _anew(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do what may be done twice, such as asking for a name or opening a connection, once the tunnel is usable, and
        again where it failed because our addresses were lost meanwhile."""
        for repeats in range(REPEATS + 1):
            stack = (await self._usable()).stack
            try:
                return await operation()
            except SmolmixError:
                if repeats == REPEATS or self._engine is None or self._engine.has(stack):
                    raise
        raise AssertionError

    def _left(self, limit: float | None, begun: float) -> float | None:
        """What remains of a limit in seconds after waiting for the tunnel since `begun`."""
        return None if limit is None else max(0.001, limit - (self._host.now() - begun))

    @contextmanager
    def _own(self, isolation: str | None) -> Iterator[Compartment]:
        """The clients of an isolation key (isolation.py). Of a tunnel that is not up it raises what `_net` does."""
        key = check_key(isolation)
        self._net()
        assert self._compartments is not None
        with self._compartments.use(key) as own:
            yield own

    def jar(self, isolation: str | None = None) -> CookieJar:
        """The cookies of an isolation key."""
        if check_key(isolation) is None:
            return self.cookies
        with self._own(isolation) as own:
            return own.cookies

    async def fetch(self, request: HttpRequest | str, *, isolation: str | None = None, **fields: Any) -> HttpResponse:
        """HTTP over the tunnel, see `HttpClient.fetch`: `fetch(url, method="POST", body=b"...")`.

        `fields` are those of `HttpRequest`; given together with one, they replace its own. Requests of different
        `isolation` keys share no connection, no answer of a resolver, no cookie and nothing that is known of servers;
        None: the option's key. Further errors: `UsageError` (`bad_isolation`), `StateError` (`too_many_isolations`).
        """
        request = HttpRequest(request, **fields) if isinstance(request, str) else replace(request, **fields)
        total = (request.timeouts or self.timeouts).total if request.timeout is None else request.timeout
        begun = self._host.now()
        with self._own(isolation) as own:
            async with Deadline(self._host, total, "total"):
                await self._usable()
            if self._host.now() > begun:
                request = replace(request, timeout=self._left(total, begun))
            response = await own.http.fetch(request)
        response.timings.exit = self.snapshot()["exit"]
        return response

    @property
    def timeouts(self) -> Timeouts:
        """Those of the option; what a request gives goes over them."""
        return self._options.timeouts

    @property
    def websocket_timeouts(self) -> WebSocketTimeouts:
        return WebSocketTimeouts.over(self.timeouts)

    async def resolve(self, name: str, *, family: int | None = None, isolation: str | None = None) -> list[Address]:
        """Addresses of a name, asked through the tunnel. What one `isolation` has resolved no other finds cached."""
        with self._own(isolation) as own:

            def ask() -> Awaitable[list[Answer]]:
                return own.resolver.resolve(name, family=family)

            async with Deadline(self._host, self.timeouts.dns, "dns"):
                return [answer.address for answer in await self._anew(ask)]

    async def lookup(
        self,
        name: str,
        type: str = "A",
        *,
        timeout: float | None = None,
        server: str | None = None,
        fresh: bool = False,
        isolation: str | None = None,
    ) -> DnsAnswer:
        """Records of a name, asked through the tunnel, see `Resolver.lookup`; `timeout` by default the tunnel's."""
        limit = self.timeouts.dns if timeout is None else timeout
        begun = self._host.now()
        with self._own(isolation) as own:

            def ask() -> Awaitable[DnsAnswer]:
                left = self._left(limit, begun)
                return own.resolver.lookup(name, type, timeout=left, server=server, fresh=fresh)

            async with Deadline(self._host, limit, "dns"):
                return await self._anew(ask)

    def clear_dns_cache(self) -> None:
        """Forget what names were resolved, of all isolation keys."""
        if self._compartments is not None:
            self._compartments.clear_dns()

    async def connect_websocket(
        self,
        url: str,
        protocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        timeouts: WebSocketTimeouts | None = None,
        *,
        compression: bool = True,
        max_size: int = MAX_MESSAGE,
        isolation: str | None = None,
    ) -> WebSocketConnection:
        """Open a WebSocket over the tunnel: arguments and errors of `websocket.connect`; `isolation` as of `fetch`."""
        with self._own(isolation) as own:
            return await connect_websocket(
                self._net(),
                own.resolver,
                url,
                protocols,
                headers,
                timeouts or self.websocket_timeouts,
                connector=own.connector,
                compression=compression,
                max_size=max_size,
                turns=own.turns,
                plain=self._plain,
            )

    async def connect_tcp(
        self,
        host: str,
        port: int,
        *,
        tls: bool | TlsOptions = False,
        options: TcpOptions | None = None,
        family: int | None = None,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
    ) -> Connected:
        """A TCP connection, or TLS on it, to a name or address; `family` 4 or 6 takes only such addresses.

        `isolation` as of `resolve`: no connection is ever shared.

        Of `timeouts` count `dns`, `connect`, `tls` and `total`, up to the open connection. Errors: `DnsError`,
        `NetworkError` kinds, `TlsError`, `TimeoutExpired` with one of those phases.
        """
        if not 1 <= port <= 65535:
            raise UsageError(f"port {port} is not in 1..65535", code="bad_port", phase="connect")
        limits = timeouts or self.timeouts
        with self._own(isolation) as own:

            async def dial() -> Connected:
                dialer = own.connector.dialer
                addresses = await dialer.addresses(host, limits.dns, family)
                named = replace(options or TcpOptions(), name=host)
                stream = await dialer.tcp(addresses, port, limits.connect, named)
                if not tls:
                    return Connected(stream, local=stream.local, remote=stream.remote)
                return await dialer.tls(stream, host, limits.tls, tls if isinstance(tls, TlsOptions) else None)

            async with Deadline(self._host, limits.total, "total"):
                return await self._anew(dial)

    async def _addresses(self, host: str, family: int | None, isolation: str | None) -> list[Address]:
        with self._own(isolation) as own:
            return await self._anew(lambda: own.connector.dialer.addresses(host, self.timeouts.dns, family))

    def bind_udp(
        self,
        port: int = 0,
        *,
        address: str | None = None,
        family: int | None = None,
        receive_buffer: int | None = None,
        isolation: str | None = None,
    ) -> UdpSocket:
        """A UDP socket on the tunnel's addresses; port 0 picks a random one.

        `address` is one of the tunnel's, `0.0.0.0` (IPv4 only) or `::` (both families). `receive_buffer` in bytes.
        `isolation` chooses among the tunnels of a pool; a socket shares nothing anyway.
        Errors: `StateError`, `AddressError`, `NetworkError` (`address_in_use`, `no_ports`).
        """
        check_key(isolation)
        net = self._net()
        if address is not None:
            local = parse_address(address)
            if local is None or not (local.is_unspecified or local in net.stack.addresses):
                raise AddressError(f"{address!r} is not an address of the tunnel", phase="bind")
            if local.version == 4 or not local.is_unspecified:
                family = local.version
        return UdpSocket.bind(net, port, family=family, receive_buffer=receive_buffer)

    async def connect_udp(
        self,
        host: str,
        port: int,
        *,
        local_port: int = 0,
        family: int | None = None,
        receive_buffer: int | None = None,
        isolation: str | None = None,
    ) -> UdpSocket:
        """A UDP socket that speaks with one peer only, and hears of ICMP errors about it. `isolation` as ever."""
        if not 1 <= port <= 65535:
            raise UsageError(f"port {port} is not in 1..65535", code="bad_port", phase="udp")
        addresses = await self._addresses(host, family, isolation)
        socket = self.bind_udp(local_port, receive_buffer=receive_buffer)
        try:
            socket.connect(addresses[0], port)
        except BaseException:
            socket.close()
            raise
        return socket

    async def ping(
        self,
        host: str,
        *,
        timeout: float = PING_TIMEOUT,
        size: int = 32,
        family: int | None = None,
        isolation: str | None = None,
    ) -> PingReply:
        """Send an ICMP echo request with `size` random bytes; `timeout` in seconds, the look-up of the name aside.
        `isolation` as of `resolve`.

        Errors: `DnsError`; with phase `ping`: `TimeoutExpired`, `HostUnreachable`, `ConnectionRefused` (policy),
        `MessageTooLong`, `NetworkError`.
        """
        if size < 0:
            raise UsageError(f"size {size} is negative", code="bad_size", phase="ping")
        addresses = await self._addresses(host, family, isolation)
        payload = self._host.rng.bytes(min(size, MAX_ECHO))
        begun = self._host.now()

        async def echo() -> float:
            return await ping(self._net(), addresses[0], payload, timeout - (self._host.now() - begun))

        async with Deadline(self._host, timeout, "ping"):
            return PingReply(addresses[0], await self._anew(echo))

    # -- other clients, see peer_access.py --------------------------------------------------------------

    def _peer_net(self) -> PeerNet:
        driver = self._mixnet()
        assert self._engine is not None
        return PeerNet(driver, self._engine)

    async def _forwarding(self, timeout: float) -> PeerNet:
        net = self._peer_net()
        async with Deadline(self._host, timeout, "tunnel"):
            while not (net.engine.gateway.can_forward and net.engine.mixnet.usable):
                net.engine.want(self._host.now())
                net.wake()
                await self._wait_for_change()
                net = self._peer_net()
        return net
