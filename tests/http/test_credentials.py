"""What the client adds by itself to a hop: the credentials of its URL, and the cookies of its jar."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import HttpError, SmolmixError, TimeoutExpired
from smolmix_web.http import CookieJar, HttpClient, HttpRequest, Timeouts
from smolmix_web.http.public_suffix import PublicSuffixes, parse_public_suffixes
from tests.http2_server import Http2Connector, Http2Server
from tests.http_server import Answer, HttpServer, PipeConnector, Request
from tests.virtual_loop import virtual

BASIC = f"Basic {base64.b64encode(b'user:secret').decode()}"


async def suffixes() -> PublicSuffixes:
    return parse_public_suffixes("test")


class World:
    """A server for all origins, and a client with a jar."""

    def __init__(self, answer: Callable[[Request], Answer], load: Any = suffixes, **options: Any) -> None:
        self.server = HttpServer(answer)
        self.connector = PipeConnector(self.server.serve)
        self.jar = CookieJar(lambda: 1_700_000_000.0, load)
        self.client = HttpClient(LoopClock(), connector=self.connector, cookie_jar=self.jar, **options)

    async def get(self, url: str, **more: Any) -> str:
        """Fetch; returns the final URL."""
        response = await self.client.fetch(HttpRequest(url, **more))
        await response.read()
        return response.url

    def sent(self, name: str) -> list[str | None]:
        """A header of all requests so far, then forgotten."""
        found = [request.headers.get(name) for request in self.server.requests]
        self.server.requests.clear()
        return found


def moved(**places: str) -> Callable[[Request], Answer]:
    """Redirects by path, without the slash."""

    def answer(request: Request) -> Answer:
        place = places.get(request.target.strip("/"))
        return Answer(body=b"here") if place is None else Answer(302, [("Location", place)])

    return answer


# -- credentials in a URL ----------------------------------------------------------------------------


@pytest.mark.feature("Fetch", "credentials in a URL never leave as anything but an Authorization header")
def test_credentials_of_the_url() -> None:
    @virtual
    async def run() -> None:
        world = World(moved(same="/end", other="http://b.test/same", back="http://a.test/end"))
        assert await world.get("http://user:secret@a.test/x?y#z") == "http://a.test/x?y#z"
        (request,) = world.server.requests
        assert request.target == "/x?y" and request.headers["host"] == "a.test"
        assert "referer" not in request.headers and "secret" not in str({**request.headers, "authorization": ""})
        assert world.sent("authorization") == [BASIC]
        assert await world.get("http://user:secret@a.test/same") == "http://a.test/end"
        assert world.sent("authorization") == [BASIC, BASIC]
        assert await world.get("http://user:secret@a.test/other") == "http://b.test/end"
        assert world.sent("authorization") == [BASIC, None, None]
        # One connection for each origin, with credentials or without.
        assert world.connector.origins == ["http://a.test", "http://b.test"]

    run()


@virtual
async def test_the_callers_authorization_wins() -> None:
    world = World(moved(same="/end"))
    await world.get("http://user:secret@a.test/same", headers={"authorization": "Bearer own"})
    assert world.sent("authorization") == ["Bearer own", "Bearer own"]


@virtual
async def test_credentials_in_a_location() -> None:
    world = World(moved(same="http://user:secret@a.test/end", other="http://user:secret@b.test/"))
    assert await world.get("http://a.test/same") == "http://a.test/end"
    assert world.sent("authorization") == [None, BASIC]
    with pytest.raises(HttpError) as caught:
        await world.get("http://a.test/other")
    assert (caught.value.code, caught.value.phase) == ("bad_redirect", "redirect")
    assert "secret" not in caught.value.message
    assert world.client.connection_count == 0


@virtual
async def test_no_error_shows_credentials() -> None:
    world = World(
        moved(a="/b", b="/a", bad="http://user:secret@a b/", ftp="ftp://user:secret@x/", down="http://c.test/")
    )
    for url, more in (
        ("http://user:secret@a.test/a", {}),
        ("http://user:secret@a.test/a", {"redirect": "error"}),
        ("http://user:secret@a.test/bad", {}),
        ("http://user:secret@a.test/ftp", {}),
        ("https://user:secret@a.test/down", {}),
        ("http://user:secret@a.test/", {"integrity": "sha256-x"}),
        ("http://user:secret@a.test:0/", {}),
    ):
        with pytest.raises(SmolmixError) as caught:
            await world.get(url, **more)
        assert "secret" not in str(caught.value.to_dict()) and "secret" not in repr(caught.value), url


# -- the jar -----------------------------------------------------------------------------------------


@pytest.mark.feature("Fetch", 'cookies: "jar" sends and stores them, "omit" neither')
def test_the_jar_is_used_by_those_who_ask() -> None:
    @virtual
    async def run() -> None:
        world = World(lambda r: Answer(headers=[("Set-Cookie", "a=1"), ("Set-Cookie", f"seen={r.target[1:]}")]))
        await world.get("http://a.test/first")
        assert len(world.jar) == 0
        await world.get("http://a.test/second", cookies="jar")
        await world.get("http://a.test/third", cookies="omit")
        await world.get("http://a.test/fourth", cookies="jar")
        await world.get("http://a.test/fifth", cookies="jar")
        await world.get("http://b.test/", cookies="jar")
        assert world.sent("cookie") == [None, None, None, "a=1; seen=second", "a=1; seen=fourth", None]

    run()


@pytest.mark.feature("Fetch", "cookies: those of redirects are stored and sent at once")
def test_cookies_of_redirects() -> None:
    @virtual
    async def run() -> None:
        def answer(request: Request) -> Answer:
            hop = request.target[1:]
            cookies = [("Set-Cookie", f"{hop}=1; Domain=a.test"), ("Set-Cookie", f"own-{hop}=1")]
            places = {"one": "/two", "two": "http://sub.a.test/three", "three": "http://b.test/four"}
            return Answer(302, [*cookies, ("Location", places[hop])]) if hop in places else Answer(body=b"end")

        world = World(answer)
        assert await world.get("http://a.test/one", cookies="jar") == "http://b.test/four"
        both = "one=1; own-one=1; two=1; own-two=1"
        assert world.sent("cookie") == [None, "one=1; own-one=1", "one=1; two=1", None]
        with pytest.raises(HttpError):
            await world.get("http://a.test/one", cookies="jar", redirect="error")
        assert world.sent("cookie") == [f"{both}; three=1"]
        world.jar.clear()
        await world.get("http://a.test/one", cookies="jar", redirect="manual")
        assert {cookie["name"] for cookie in world.jar.export()} == {"one", "own-one"}

    run()


@pytest.mark.feature("Fetch", "cookies: a Cookie header of the caller replaces the jar's, and stays with its origin")
def test_the_callers_cookie_wins() -> None:
    @virtual
    async def run() -> None:
        world = World(moved(same="/end", other="http://b.test/end"))
        await world.jar.load([{"name": "jar", "value": host, "domain": f"{host}.test"} for host in "ab"])
        own = {"cookies": "jar", "headers": {"Cookie": "own=1"}}
        await world.get("http://a.test/same", **own)
        assert world.sent("cookie") == ["own=1", "own=1"]
        await world.get("http://a.test/other", **own)
        assert world.sent("cookie") == ["own=1", "jar=b"]
        await world.get("http://a.test/other", headers={"Cookie": "own=1"})
        assert world.sent("cookie") == ["own=1", None]

    run()


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_octets_come_back_as_they_came(protocol: str) -> None:
    value = "\u00c3\u00a9\u00ff\u0080"

    def answer(_: Request) -> Answer:
        return Answer(headers=[("Set-Cookie", f"a={value}")])

    @virtual
    async def run() -> None:
        world = World(answer)
        if protocol == "HTTP/2":
            world.server = Http2Server(answer)  # type: ignore[assignment]
            world.client = HttpClient(LoopClock(), connector=Http2Connector(world.server.serve), cookie_jar=world.jar)
        await world.get("https://a.test/", cookies="jar")
        await world.get("https://a.test/", cookies="jar", headers={"X-Own": value})
        assert world.server.requests[1].headers["x-own"] == value
        assert world.sent("cookie") == [None, f"a={value}"]

    run()


@virtual
async def test_without_the_list_of_public_suffixes_nothing_is_sent() -> None:
    async def missing() -> PublicSuffixes:
        raise HttpError("not there", code="no_public_suffixes", phase="request")

    world = World(lambda _: Answer(), missing)
    with pytest.raises(HttpError) as caught:
        await world.get("http://a.test/", cookies="jar")
    assert caught.value.code == "no_public_suffixes"
    assert not world.connector.near
    await world.get("http://a.test/")

    async def never() -> PublicSuffixes:
        await asyncio.sleep(10_000)
        raise AssertionError

    world = World(lambda _: Answer(), never, timeouts=Timeouts(request=7))
    with pytest.raises(TimeoutExpired) as expired:
        await world.get("http://a.test/", cookies="jar")
    assert expired.value.code == "request_timeout" and not world.connector.near


@virtual
async def test_the_list_is_loaded_once_for_many() -> None:
    loads = 0

    async def slow() -> PublicSuffixes:
        nonlocal loads
        loads += 1
        await asyncio.sleep(3)
        return await suffixes()

    world = World(lambda _: Answer(headers=[("Set-Cookie", "a=1")]), slow)
    await asyncio.gather(*(world.get("http://a.test/", cookies="jar") for _ in range(20)))
    assert loads == 1 and len(world.jar) == 1
