"""Isolation keys of one tunnel, from one IP stack to another in virtual time: what servers and resolvers see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import dns.message
import dns.rrset
import pytest
import trustme

from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import OptionError, StateError, UsageError
from smolmix_web.http import CookieJar, HttpRequest
from smolmix_web.netstack import Endpoint
from smolmix_web.rand import SeededRandom
from smolmix_web.tunnel.isolation import (
    CACHED_ANSWERS,
    IDLE_SECONDS,
    MAX_KEYS,
    Common,
    Compartment,
    Compartments,
    check_key,
)
from smolmix_web.tunnel.options import MAX_ISOLATION, TunnelOptions
from tests.http2_server import Http2Server
from tests.http_server import Answer, HttpServer, Request
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import virtual
from tests.wire import Wire

T = TypeVar("T")
AUTHORITY = trustme.CA()
WEB = "192.0.2.80"


async def at_once(operation: Callable[[], Awaitable[T]]) -> T:
    return await operation()


class World:
    """A name server and a web server that note what they see, and the keys of a client."""

    def __init__(self, *, alpn: tuple[str, ...] = ("http/1.1",), **options: Any) -> None:
        self.wire = Wire(0.05)
        self.questions: list[str] = []
        self.resumed: list[bool] = []  # of each TLS connection: from a session that was there before
        self.web = HttpServer(self._answer)
        self.web2 = Http2Server(self._answer)
        self.body = b"small"
        self.context = server_context(AUTHORITY.issue_cert("origin.test", WEB), alpn=alpn)
        self.wire.udp(53, self._names)
        self.wire.listen(80, self.web.serve)
        self.wire.listen(443, self._secure)
        net = self.wire.client
        given = {"primaryDns": "192.0.2.1:53", "caCertificates": AUTHORITY.cert_pem.bytes().decode(), **options}
        self.now = net.now
        host: Any = SimpleNamespace(
            now=net.now,
            call_later=net.call_later,
            rng=SeededRandom("host"),
            unix_time=lambda: 1_700_000_000 + net.now(),
        )
        self.own = CookieJar(host.unix_time)
        chosen = TunnelOptions.from_mapping(given)
        self.common = Common(host, net, chosen, at_once)  # type: ignore[arg-type]
        self.keys = Compartments(self.common, self.own)

    def _names(self, data: bytes, source: Endpoint) -> list[bytes]:
        query = dns.message.from_wire(data)
        self.questions.append(str(query.question[0].name).lower())
        answer = dns.message.make_response(query, recursion_available=True)
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 600, "IN", "A", WEB))
        return [answer.to_wire()]

    def _answer(self, request: Request) -> Answer:
        if request.target == "/login":
            return Answer(headers=[("Set-Cookie", "session=1"), ("Content-Length", "0")])
        return Answer(body=request.headers.get("cookie", "").encode() if request.target == "/cookie" else self.body)

    async def _secure(self, stream: TcpStream) -> None:
        tls = TlsServer(stream, self.context)
        await tls.handshake()
        self.resumed.append(bool(tls.object.session_reused))
        server = self.web2 if tls.object.selected_alpn_protocol() == "h2" else self.web
        await server.serve(tls)  # type: ignore[arg-type]

    async def get(self, key: str | None, path: str = "/", *, scheme: str = "https", **fields: Any) -> bytes:
        with self.keys.use(key) as own:
            response = await own.http.fetch(HttpRequest(f"{scheme}://origin.test{path}", **fields))
        return await response.read()

    @property
    def connections(self) -> int:
        """That the web servers have accepted."""
        return self.web.connections + len(self.web2.sessions)


@pytest.mark.feature("Isolation", "Keys share no connection, no DNS answer and no TLS session; one key does share")
@pytest.mark.parametrize("alpn", [("http/1.1",), ("h2", "http/1.1")])
def test_what_a_server_sees(alpn: tuple[str, ...]) -> None:
    @virtual
    async def run() -> None:
        world = World(alpn=alpn)
        for count, key in enumerate((None, "alice", "bob"), 1):
            for _ in range(3):
                assert await world.get(key) == b"small"
            assert world.connections == count, "one for each key, and the same again for the same key"
            assert world.questions == ["origin.test."] * count
        assert world.resumed == [False] * 3
        await asyncio.gather(*(world.get(key) for key in ("alice", "bob", "carol", "alice")))
        assert len(world.questions) == 4, "of these only one was new"

    run()


@pytest.mark.feature("Isolation", "TLS sessions are never resumed, although servers offer tickets")
@virtual
async def test_no_session_is_resumed() -> None:
    world = World()
    for _ in range(3):
        await world.get("alice")
        await asyncio.sleep(90)  # the connection is given up
    assert world.resumed == [False] * 3
    assert world.context.session_stats()["accept_good"] == 3
    assert world.context.num_tickets == 2, "the server would have resumed"


@pytest.mark.feature("Isolation", "A question that is under way for one key is asked again for another")
@virtual
async def test_questions_under_way() -> None:
    world = World()

    async def ask(key: str) -> None:
        with world.keys.use(key) as own:
            await own.resolver.resolve("origin.test", family=4)

    await asyncio.gather(*(ask(key) for key in ("alice", "bob", "alice")))
    assert len(world.questions) == 2


@pytest.mark.feature("Isolation", "Each key has a cookie jar of its own")
@virtual
async def test_cookies() -> None:
    world = World()
    await world.get("alice", "/login", cookies="jar")
    assert await world.get("alice", "/cookie", cookies="jar") == b"session=1"
    for other in ("bob", None):
        assert await world.get(other, "/cookie", cookies="jar") == b""
    await world.get(None, "/login", cookies="jar")
    assert len(world.own) == 1, "the tunnel's own jar is that of no key"


@pytest.mark.feature("Isolation", "What was learnt of a server under one key is not known under another")
@virtual
async def test_facts_about_servers() -> None:
    world = World(alpn=("h2", "http/1.1"))
    await world.get("alice")
    with world.keys.use("alice") as alice, world.keys.use("bob") as bob:
        assert ("https", "origin.test", 443) in alice.http._pool._known
        assert not bob.http._pool._known


@pytest.mark.feature("Isolation", "The option `isolation` is the key of what is asked without one")
@virtual
async def test_the_default_key() -> None:
    world = World(isolation="alice")
    await world.get(None)
    await world.get("alice")
    assert (world.connections, len(world.keys)) == (1, 0)
    await world.get("bob")
    assert (world.connections, len(world.keys)) == (2, 1)


def opened(world: World) -> dict[str, Compartment]:
    return dict(world.keys._keyed)


@pytest.mark.feature("Isolation", "The keys that are kept have a bound; the one unused for longest goes first")
@virtual
async def test_the_bound() -> None:
    world = World()
    await world.get("first", scheme="http")
    for number in range(MAX_KEYS):
        with world.keys.use(f"key {number}"):
            pass
        with world.keys.use("key 0"):
            pass
    assert len(world.keys) == MAX_KEYS and "first" not in opened(world)
    await asyncio.sleep(1)
    assert world.wire.client.open_connections() == 0, "its idle connection was closed with it"
    with world.keys.use("one more"):
        assert "key 0" in opened(world) and "key 1" not in opened(world)


@pytest.mark.feature("Isolation", "More keys in use at once than are kept: a typed error; nothing under way is lost")
@virtual
async def test_all_in_use() -> None:
    world = World()
    world.body = bytes(2_000_000)
    slow = asyncio.create_task(world.get("slow", scheme="http"))
    await asyncio.sleep(0.5)
    held = [world.keys.use(f"key {number}") for number in range(MAX_KEYS - 1)]
    for one in held:
        one.__enter__()
    with pytest.raises(StateError) as raised, world.keys.use("one more"):
        pass
    assert (raised.value.code, raised.value.phase, raised.value.retryable) == ("too_many_isolations", "isolation", True)
    for one in held:
        one.__exit__(None, None, None)
    for number in range(MAX_KEYS):
        with world.keys.use(f"other {number}"):
            assert "slow" in opened(world)
    assert len(await slow) == 2_000_000


@pytest.mark.feature("Isolation", "A key that lies idle is forgotten, with its cookies; one in use is not")
@virtual
async def test_idle_keys() -> None:
    world = World()
    await world.get("alice", "/login", cookies="jar", scheme="http")
    await asyncio.sleep(IDLE_SECONDS / 2)
    with world.keys.use("bob"):
        await asyncio.sleep(IDLE_SECONDS / 2 + 1)
        assert set(opened(world)) == {"bob"}
        await asyncio.sleep(2 * IDLE_SECONDS)
        assert set(opened(world)) == {"bob"}
    assert await world.get("alice", "/cookie", cookies="jar", scheme="http") == b""
    await asyncio.sleep(2 * IDLE_SECONDS)
    assert opened(world) == {} and world.keys._timer is None


@virtual
async def test_answers_of_a_key_have_a_bound() -> None:
    world = World()
    with world.keys.use("alice") as own:
        for number in range(CACHED_ANSWERS + 10):
            await own.resolver.resolve(f"n{number}.test", family=4)
        assert len(own.resolver._cache) == CACHED_ANSWERS


@virtual
async def test_closing_ends_what_all_keys_have() -> None:
    world = World()
    for key in (None, "alice"):
        await world.get(key)
    world.keys.close()
    await asyncio.sleep(100)
    assert not world.wire.client.stack.connections
    with pytest.raises(StateError):
        await world.get("alice")


@pytest.mark.feature("Isolation", "What is no key is refused")
def test_what_is_no_key() -> None:
    assert check_key("a" * MAX_ISOLATION) and check_key("\0") and check_key(None) is None
    for bad in ("", "a" * (MAX_ISOLATION + 1), 7, b"alice", ["alice"], True):
        with pytest.raises(UsageError) as raised:
            check_key(bad)
        assert (raised.value.code, raised.value.phase) == ("bad_isolation", "isolation")
    for bad in ("", "a" * (MAX_ISOLATION + 1), 7):
        with pytest.raises(OptionError):
            TunnelOptions.from_mapping({"isolation": bad})
