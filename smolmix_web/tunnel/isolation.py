"""What one isolation key has alone, and the keys that a tunnel keeps.

All that a tunnel remembers of names and servers is remembered for one key: answers of resolvers and the connections to
them, open connections, what servers speak and how long they keep connections, cookies, the queue of WebSockets. Of TLS
there is nothing to keep apart: rustls makes each connection from a configuration of its own, so no session is resumed.

A key costs nothing before it is used. Those that lie idle are dropped, after a time or when there are too many; what is
under way under a key keeps it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..dns import DnsStatistics, Resolver
from ..dns.cache import DnsCache
from ..edge.driver import Driver
from ..errors import SmolmixError, StateError, UsageError
from ..host.base import Host, TimerHandle
from ..http import CookieJar, HttpClient
from ..http.body import Store
from ..http.connector import Anew, NetConnector
from ..http.doh import DnsOverHttps
from ..websocket import Turns
from .options import MAX_ISOLATION, TunnelOptions

MAX_KEYS = 128  # besides the default one
IDLE_SECONDS = 3600.0  # without use: then a key is forgotten
SLACK = 1.0  # s that a key may go sooner than that, or later
# Of a key's answers; those of the default key have the cache's usual bounds.
CACHED_ANSWERS, CACHED_BYTES = 256, 128 << 10


def check_key(key: Any) -> str | None:
    """A key as it was given; None: the tunnel's default one. Raises `UsageError(code="bad_isolation")`."""
    if key is None or (isinstance(key, str) and 1 <= len(key) <= MAX_ISOLATION):
        return key
    what = f"{len(key)} characters" if isinstance(key, str) else type(key).__name__
    text = f"isolation is a text of 1 to {MAX_ISOLATION} characters, not {what}"
    raise UsageError(text, code="bad_isolation", phase="isolation")


def too_many(count: int) -> StateError:
    text = f"{count} isolation keys are in use at once"
    return StateError(text, code="too_many_isolations", phase="isolation")


@dataclass(frozen=True)
class Common:
    """What all keys of a tunnel share: the way out, its bounds and counters."""

    host: Host
    driver: Driver
    options: TunnelOptions
    anew: Anew
    dns_statistics: DnsStatistics = field(default_factory=DnsStatistics)
    bodies: Store = field(default_factory=Store)


class Compartment:
    """The clients of one key."""

    def __init__(self, common: Common, cookies: CookieJar, cache: DnsCache) -> None:
        options, driver = common.options, common.driver
        keepalive, roots, defaults = options.tcp_keepalive_ms / 1000, options.ca_certificates, options.default_roots
        plain = options.fingerprint == "official"
        self.cookies = cookies
        self.turns = Turns()
        self.doh = DnsOverHttps(driver, extra_roots=roots, default_roots=defaults, keepalive=keepalive)
        self.resolver = Resolver(
            driver,
            options.primary_dns,
            options.fallback_dns,
            options.dns_timeout_ms / 1000,
            common.host.rng,
            cache=cache,
            statistics=common.dns_statistics,
            extra_roots=roots,
            default_roots=defaults,
            https=self.doh,
            plain=plain,
        )
        self.connector = NetConnector(
            driver, self.resolver, extra_roots=roots, default_roots=defaults, keepalive=keepalive, anew=common.anew
        )
        self.http = HttpClient(
            driver,
            connector=self.connector,
            timeouts=options.timeouts,
            max_redirects=options.max_redirects,
            max_decoded=options.max_decoded_bytes,
            cookie_jar=cookies,
            bodies=common.bodies,
            plain=plain,
        )
        self.uses = 0  # operations that have not come to their end or their answer
        self.used = 0.0  # when the last one did

    @property
    def busy(self) -> bool:
        """Something is under way that would be lost. Streams and WebSockets that are open need us no more."""
        return self.uses > 0 or self.http.busy

    def close(self, error: SmolmixError | None = None) -> None:
        for client in (self.http, self.resolver, self.doh):
            client.close(error)


class Compartments:
    """`use` a key; `close` at the end. `cookies`: those of the default key; `jar_of` another one, else a new jar."""

    def __init__(self, common: Common, cookies: CookieJar, jar_of: Callable[[str], CookieJar] | None = None) -> None:
        self._common = common
        self._host = common.host
        self._jar_of = jar_of or (lambda key: CookieJar(common.host.unix_time))
        self._name = common.options.isolation or ""
        self._default = Compartment(common, cookies, DnsCache())
        self._keyed: OrderedDict[str, Compartment] = OrderedDict()  # the one used last at the end
        self._timer: TimerHandle | None = None

    def __len__(self) -> int:
        """Keys besides the default one."""
        return len(self._keyed)

    @property
    def dns_statistics(self) -> DnsStatistics:
        """Of all keys."""
        return self._common.dns_statistics

    @contextmanager
    def use(self, key: str | None) -> Iterator[Compartment]:
        """The compartment of a key (`check_key`), kept at least for as long as this lasts.

        Raises `StateError(code="too_many_isolations")` where every key that is kept is in use.
        """
        own = self._of(key)
        own.uses += 1
        try:
            yield own
        finally:
            own.uses -= 1
            own.used = self._host.now()

    def keeps(self, key: str) -> bool:
        return key in self._keyed

    @property
    def busy(self) -> bool:
        return any(own.busy for own in self._all())

    @property
    def idle_connections(self) -> int:
        """Open for the next request, and for nobody now."""
        return sum(own.http.idle_count for own in self._all())

    def clear_dns(self) -> None:
        for own in self._all():
            own.resolver.clear_cache()

    def close(self, error: SmolmixError | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for own in self._all():
            own.close(error)

    # -- inside -----------------------------------------------------------------------------------------

    def _all(self) -> list[Compartment]:
        return [self._default, *self._keyed.values()]

    def _of(self, key: str | None) -> Compartment:
        if key is None or key == self._name:
            return self._default
        own = self._keyed.get(key)
        if own is None:
            self._make_room()
            own = self._keyed[key] = Compartment(
                self._common, self._jar_of(key), DnsCache(CACHED_ANSWERS, CACHED_BYTES)
            )
            if self._timer is None:
                self._arm(IDLE_SECONDS)
        self._keyed.move_to_end(key)
        return own

    def _make_room(self) -> None:
        """One less than the bound: the one that was used least recently goes."""
        if len(self._keyed) < MAX_KEYS:
            return
        for key, own in self._keyed.items():
            if not own.busy:
                self._drop(key)
                return
        raise too_many(MAX_KEYS)

    def _drop(self, key: str) -> None:
        self._keyed.pop(key).close()

    def _arm(self, delay: float) -> None:
        self._timer = self._host.call_later(delay, self._sweep)

    def _sweep(self) -> None:
        now, self._timer = self._host.now(), None
        for key, own in list(self._keyed.items()):
            if own.busy:
                own.used = now
            elif now - own.used > IDLE_SECONDS - SLACK:
                self._drop(key)
        if self._keyed:
            self._arm(max(SLACK, min(own.used for own in self._keyed.values()) + IDLE_SECONDS - now))
