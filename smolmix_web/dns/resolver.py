"""A stub resolver on the tunnel: two servers, a cache, one query per question, and records of many types.

The fallback server is asked as soon as the primary has failed or stayed silent for a third of its time; the first good
answer wins. How a question travels stands in `datagram.py` (UDP), `stream.py` (TCP, TLS) and `http/doh.py` (HTTPS).
Addresses are given as the servers give them, private ones too: it is the exit that refuses to go there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from ..edge.deadline import Deadline
from ..edge.sockets import Address, Net, lag_of
from ..errors import DnsError, HttpError, NetworkError, SmolmixError, StateError, TimeoutExpired, TlsError
from ..rand import RandomSource
from .cache import DnsCache, Entry
from .datagram import DatagramExchange
from .message import EdnsRefused, Question, Reply, decode_reply, encode_query
from .names import bad_name, check_public, parse_address, parse_host, to_owner
from .records import AAAARecord, ARecord, Record, type_name, type_number
from .servers import ServerAddress, parse_server
from .statistics import DnsStatistics
from .stream import StreamExchange

MAX_CHAIN = 8  # questions asked because servers left out the end of a CNAME chain
MAX_WAYS = 16  # servers whose connections and habits are remembered
HEDGE = 1 / 3  # of the time of an attempt, then the fallback is asked too
OTHER_FAMILY = 0.5  # s that addresses of one family wait for those of the other
WITHOUT_EDNS = 3600.0  # s that a server is asked without EDNS, once it refused a question for it

HttpsExchange = Callable[[ServerAddress, bytes], Awaitable[tuple[bytes, int]]]
"""Posts a query to a DNS over HTTPS server: the answer, and the seconds it has been in HTTP caches."""

# What one family lacks says nothing about the other: some servers say that a name does not exist when only an address
# of this family does not (RFC 4074 4.2).
_LACKS = ("dns_no_data", "dns_not_found")
_A, _AAAA, _PTR = type_number("A"), type_number("AAAA"), type_number("PTR")


class Answer(NamedTuple):
    """An address and the seconds for which it may be kept."""

    address: Address
    ttl: float


@dataclass(frozen=True)
class DnsAnswer:
    """Records of `name`, at least one, of one type.

    `canonical_name` is where CNAMEs led. `ttl` in seconds is for the whole. `server` is the one that answered, "" for
    an address literal; `authenticated` is its word that it checked signatures (DNSSEC), worth as much as the server
    and the way to it.
    """

    name: str
    type: str
    records: tuple[Record, ...]
    canonical_name: str
    ttl: int
    server: str
    from_cache: bool
    authenticated: bool

    def to_dict(self) -> dict[str, Any]:
        """For a page."""
        return {
            "name": self.name,
            "type": self.type,
            "records": [record.to_dict() for record in self.records],
            "canonicalName": self.canonical_name,
            "ttl": self.ttl,
            "server": self.server,
            "fromCache": self.from_cache,
            "authenticated": self.authenticated,
        }


class _Key(NamedTuple):
    question: Question
    server: str  # "" unless the caller named one


@dataclass
class _Lookup:
    task: asyncio.Task[Entry]
    waiters: int = 0


class Resolver:
    """Resolves names through the tunnel, and never in any other way."""

    def __init__(
        self,
        net: Net,
        primary: ServerAddress | tuple[str, int],
        fallback: ServerAddress | tuple[str, int] | None,
        timeout: float,
        rng: RandomSource,
        *,
        cache: DnsCache | None = None,
        statistics: DnsStatistics | None = None,
        extra_roots: Sequence[str] = (),
        default_roots: bool = True,
        https: HttpsExchange | None = None,
        plain: bool = False,
    ) -> None:
        """An address literal with a port is a server asked over UDP. `timeout` in seconds is for one server.

        The roots are for DNS over TLS; `https` carries DNS over HTTPS. `statistics` may count for several resolvers.
        `plain`: questions as the official client asks them, without EDNS, with names as they are, and for IPv6 only
        where there is no IPv4.
        """
        self._net = net
        self._servers = [_server("primaryDns", primary)]
        if fallback is not None and fallback != primary:
            self._servers.append(_server("fallbackDns", fallback))
        self._timeout = timeout
        self._rng = rng
        self._cache = DnsCache() if cache is None else cache
        self._cleared = 0
        self._extra_roots = tuple(extra_roots)
        self._default_roots = default_roots
        self._https = https
        self._plain = plain
        self._lookups: dict[_Key, _Lookup] = {}
        self._datagrams: OrderedDict[ServerAddress, DatagramExchange] = OrderedDict()
        self._streams: OrderedDict[ServerAddress, StreamExchange] = OrderedDict()
        self._without_edns: OrderedDict[ServerAddress, float] = OrderedDict()  # until when
        self._closed: SmolmixError | None = None
        self.statistics = statistics or DnsStatistics()

    async def resolve(self, name: str, *, family: int | None = None) -> list[Answer]:
        """Addresses of `name`, at least one. `family` 4 or 6; None: IPv4 before IPv6.

        Both families are asked for at once where the tunnel has both; else IPv6 only where there is no IPv4. An address
        literal is its own answer. Errors: `DnsError` with codes `bad_name`, `special_name`, `dns_not_found`,
        `dns_no_data`, `dns_servfail`, `dns_refused`, `dns_malformed`, `dns_unreachable`, `dns_untrusted`,
        `dns_timeout`.
        """
        host = parse_host(name)
        if not isinstance(host, str):
            if family not in (None, host.version):
                raise DnsError(f"{name} is not an IPv{family} address", code="dns_no_data", phase="dns")
            return [Answer(host, 0.0)]
        check_public(host)
        owner = to_owner(host)
        if family is not None:
            return await self._addresses(owner, _AAAA if family == 6 else _A)
        if not self._plain and {address.version for address in self._net.stack.addresses} == {4, 6}:
            return await self._both_families(owner)
        try:
            return await self._addresses(owner, _A)
        except DnsError as error:
            if error.code not in _LACKS:
                raise
            lacks = error
        try:
            return await self._addresses(owner, _AAAA)
        except DnsError as error:
            raise _telling([lacks, error]) from None

    async def lookup(
        self,
        name: str,
        type: str = "A",
        *,
        timeout: float | None = None,
        server: str | None = None,
        fresh: bool = False,
    ) -> DnsAnswer:
        """Records of one type: A, AAAA, CNAME, MX, TXT, NS, SOA, SRV, PTR, HTTPS or CAA.

        `name` may have any labels; for PTR it may be an address literal. `timeout` in seconds is for everything.
        `server` in a form of `servers.py` is asked instead of the resolver's own. `fresh` ignores what is cached.

        Errors as of `resolve`, and `bad_type`, `OptionError` for `server`, `TimeoutExpired(dns_timeout)`.
        """
        number = type_number(type)
        host = parse_host(name) if number in (_A, _AAAA) else parse_address(name) or name
        if not isinstance(host, str):
            if number in (_A, _AAAA):
                return _literal_answer(name, host, number)
            if number != _PTR:
                raise bad_name(name, f"is an address and has no {type.upper()} records")
            host = host.reverse_pointer
        owner = to_owner(host)
        check_public(owner)
        chosen = parse_server("server", server) if server is not None else None
        async with Deadline(self._net, timeout, "dns"):
            entry, from_cache = await self._entry(Question(owner, number), chosen, fresh)
        age = self._net.now() - entry.stored if from_cache else 0.0
        return DnsAnswer(
            owner,
            type_name(number),
            tuple(record.aged(age) for record in entry.records) if age else entry.records,
            entry.canonical,
            max(0, round(entry.expires - entry.stored - age)),
            entry.source,
            from_cache,
            entry.authenticated,
        )

    def clear_cache(self) -> None:
        """Forget all answers; those under way are not kept either."""
        self._cache.clear()
        self._cleared += 1

    def close(self, error: SmolmixError | None = None) -> None:
        """End connections and questions; later ones fail with `error` too."""
        self._closed = error or StateError("the resolver is closed", code="closed", phase="dns")
        for stream in self._streams.values():
            stream.close(self._closed)
        for lookup in self._lookups.values():
            lookup.task.cancel()
        self.clear_cache()

    # -- questions shared ---------------------------------------------------------------------------

    async def _addresses(self, name: str, rdtype: int) -> list[Answer]:
        entry, _ = await self._entry(Question(name, rdtype))
        left = entry.expires - self._net.now()
        return [Answer(record.address, left) for record in entry.records if isinstance(record, (ARecord, AAAARecord))]

    async def _both_families(self, name: str) -> list[Answer]:
        """Asked in one turn of the loop, so that both datagrams travel to the exit in one message."""
        tasks = [asyncio.create_task(self._addresses(name, rdtype)) for rdtype in (_A, _AAAA)]
        try:
            done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            found = not next(iter(done)).exception()
            if waiting:
                await asyncio.wait(waiting, timeout=OTHER_FAMILY if found else None)
        finally:
            for task in tasks:
                task.cancel()
                task.add_done_callback(_seen)
        answers: list[Answer] = []
        errors: list[Any] = []
        for task in tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is None:
                    answers += task.result()
                else:
                    errors.append(error)
        if answers:
            return answers
        raise _telling(errors)

    async def _entry(
        self, question: Question, server: ServerAddress | None = None, fresh: bool = False
    ) -> tuple[Entry, bool]:
        """From the cache, from a query under way, or from a new one. The last waiter to leave cancels the query."""
        if self._closed is not None:
            raise self._closed
        key = _Key(question, str(server) if server is not None else "")
        entry = None if fresh else self._cache.get(*question, self._net.now(), key.server)
        if entry is not None:
            self.statistics.cache_hits += 1
            return _checked(question, entry), True
        lookup = self._lookups.get(key)
        if lookup is None:
            servers = self._servers if server is None else [server]
            lookup = self._lookups[key] = _Lookup(asyncio.create_task(self._look_up(key, servers)))
            lookup.task.add_done_callback(partial(self._finished, key))
        lookup.waiters += 1
        try:
            entry = await asyncio.shield(lookup.task)
        except asyncio.CancelledError:
            if self._closed is not None and lookup.task.cancelled():
                raise self._closed from None
            raise
        finally:
            lookup.waiters -= 1
            if lookup.waiters == 0 and not lookup.task.done():
                lookup.task.cancel()
                if self._lookups.get(key) is lookup:
                    del self._lookups[key]
        return _checked(question, entry), False

    def _finished(self, key: _Key, task: asyncio.Task[Any]) -> None:
        lookup = self._lookups.get(key)
        if lookup is not None and lookup.task is task:
            del self._lookups[key]
        _seen(task)  # every waiter may have left

    async def _look_up(self, key: _Key, servers: Sequence[ServerAddress]) -> Entry:
        """Ask, following CNAMEs the server did not follow; fill the cache."""
        (name, rdtype), cleared = key.question, self._cleared
        asked, ttl, authenticated = name, float("inf"), True
        seen = {name}
        while True:
            reply, server = await self._ask(Question(asked, rdtype), servers)
            ttl = min(ttl, reply.ttl)
            authenticated = authenticated and reply.authenticated
            if reply.follow is None:
                break
            asked = reply.follow
            check_public(asked)
            if asked in seen or len(seen) == MAX_CHAIN:
                raise DnsError(
                    f"{name}: the CNAMEs lead in a circle, or over more than {MAX_CHAIN} names",
                    code="dns_malformed",
                    phase="dns",
                )
            seen.add(asked)
        now = self._net.now()
        entry = Entry(
            reply.records, reply.code, now, now + ttl, reply.canonical, str(server), authenticated, reply.size
        )
        if cleared == self._cleared:
            self._cache.put(name, rdtype, entry, key.server)
        return entry

    # -- servers ------------------------------------------------------------------------------------

    async def _ask(self, question: Question, servers: Sequence[ServerAddress]) -> tuple[Reply, ServerAddress]:
        """The first good answer of the primary and, if need be, the fallback server."""
        waiting = list(servers)
        running: dict[asyncio.Task[Reply], ServerAddress] = {}
        first_error: SmolmixError | None = None
        try:
            while waiting or running:
                if waiting:
                    server = waiting.pop(0)
                    running[asyncio.create_task(self._attempt(server, question))] = server
                patience = self._timeout * HEDGE if waiting else None
                done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                answered = [task for task in running if task in done and task.exception() is None]
                if answered:
                    return answered[0].result(), running[answered[0]]
                for task in done:
                    del running[task]
                    error = task.exception()
                    if not isinstance(error, (DnsError, NetworkError)):
                        assert error is not None
                        raise error
                    if first_error is None or first_error.code == "dns_timeout":
                        first_error = error
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_seen)
        assert first_error is not None
        raise first_error

    async def _attempt(self, server: ServerAddress, question: Question) -> Reply:
        name = question.name
        try:
            async with Deadline(self._net, self._timeout, "dns", lag=lambda: lag_of(self._net)):
                return await self._one_way(server, question)
        except TimeoutExpired as error:
            message = f"{name}: no answer from {server} within {self._timeout:g} s"
            raise DnsError(message, code="dns_timeout", phase="dns") from error
        except NetworkError as error:
            raise DnsError(f"{name}: {server}: {error.message}", code="dns_unreachable", phase="dns") from error
        except TlsError as error:
            message = f"{name}: {server}: {error.message}"
            raise DnsError(message, code="dns_untrusted", phase="dns", reason=error.reason) from error
        except HttpError as error:
            raise DnsError(f"{name}: {server}: {error.message}", code="dns_malformed", phase="dns") from error

    async def _one_way(self, server: ServerAddress, question: Question) -> Reply:
        if self._plain or self._without_edns.get(server, 0.0) > self._net.now():
            return await self._carried(server, question, edns=False)
        try:
            return await self._carried(server, question, edns=True)
        except EdnsRefused:
            self.statistics.without_edns += 1
        reply = await self._carried(server, question, edns=False)
        self._without_edns[server] = self._net.now() + WITHOUT_EDNS
        self._without_edns.move_to_end(server)
        if len(self._without_edns) > MAX_WAYS:
            self._without_edns.popitem(last=False)
        return reply

    async def _carried(self, server: ServerAddress, question: Question, *, edns: bool) -> Reply:
        if server.scheme == "https":
            return await self._over_https(server, question, edns)
        if server.scheme == "udp":
            reply = await self._datagram(server).ask(question, edns=edns)
            if not reply.truncated:
                return reply
            self.statistics.tcp += 1
        reply = await self._stream(server).ask(question, edns=edns)
        if reply.truncated:
            raise DnsError(f"{question.name}: truncated over TCP", code="dns_malformed", phase="dns")
        return reply

    async def _over_https(self, server: ServerAddress, question: Question, edns: bool) -> Reply:
        if self._https is None:
            raise DnsError(f"{server}: DNS over HTTPS is not available here", code="dns_unreachable", phase="dns")
        self.statistics.queries += 1
        # The same query has the same bytes, as HTTP caches would have it (RFC 8484 4.1).
        data, age = await self._https(server, encode_query(*question, 0, edns=edns, padded=True))
        reply = decode_reply(data, question, {0: question.name})
        if reply is None or reply.truncated:
            raise DnsError(f"{question.name}: the answer does not fit the question", code="dns_malformed", phase="dns")
        return reply.aged(age)

    def _datagram(self, server: ServerAddress) -> DatagramExchange:
        way = self._datagrams.get(server)
        if way is None:
            way = self._datagrams[server] = DatagramExchange(
                self._net, server, self._rng, self.statistics, folds=self._plain
            )
        self._datagrams.move_to_end(server)
        if len(self._datagrams) > MAX_WAYS:
            self._datagrams.popitem(last=False)
        return way

    def _stream(self, server: ServerAddress) -> StreamExchange:
        way = self._streams.get(server)
        if way is None:
            way = self._streams[server] = StreamExchange(
                self._net,
                server,
                self._rng,
                self.statistics,
                timeout=self._timeout,
                extra_roots=self._extra_roots,
                default_roots=self._default_roots,
            )
        self._streams.move_to_end(server)
        idle = [old for old, stream in self._streams.items() if not stream.busy and old != server]
        for old in idle[: max(0, len(self._streams) - MAX_WAYS)]:
            self._streams.pop(old).close()
        return way


def _server(option: str, value: ServerAddress | tuple[str, int]) -> ServerAddress:
    if isinstance(value, ServerAddress):
        return value
    host = f"[{value[0]}]" if ":" in value[0] else value[0]
    return parse_server(option, f"{host}:{value[1]}")


def _literal_answer(name: str, literal: Address, rdtype: int) -> DnsAnswer:
    if rdtype != (_A if literal.version == 4 else _AAAA):
        raise DnsError(f"{name} has no address of this family", code="dns_no_data", phase="dns")
    text = str(literal)
    record = ARecord(text, 0, literal) if literal.version == 4 else AAAARecord(text, 0, literal)
    return DnsAnswer(text, record.type, (record,), text, 0, "", False, False)


def _checked(question: Question, entry: Entry) -> Entry:
    if entry.code is None:
        return entry
    what = "does not exist" if entry.code == "dns_not_found" else f"has no {type_name(question.rdtype)} records"
    raise DnsError(f"{question.name} {what}", code=entry.code, phase="dns")


def _telling(errors: Sequence[Any]) -> BaseException:
    """Of the errors of both families: what may pass, before "does not exist", before "not of this family"."""
    codes = ["dns_no_data", "dns_not_found"]
    chosen: BaseException = max(errors, key=lambda error: codes.index(error.code) if error.code in codes else 2)
    return chosen


def _seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


__all__ = ["Answer", "DnsAnswer", "DnsStatistics", "HttpsExchange", "Resolver"]
