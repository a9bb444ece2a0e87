"""The jar: what is stored, what is sent, what has to go, and how it is carried over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import HttpError, SmolmixError, UsageError
from smolmix_web.http.cookies import CookieJar
from smolmix_web.http.cookies.jar import PER_DOMAIN, TOTAL
from smolmix_web.http.public_suffix import PublicSuffixes, parse_public_suffixes
from smolmix_web.http.url import parse_url
from tests.virtual_loop import run_virtual, virtual

SUFFIXES = parse_public_suffixes("// a comment\ntest\nco.test\n*.wild.test\n!own.wild.test\nhosting.test\n")
HOME = "https://a.test/"


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A jar with a clock of its own; texts instead of parsed URLs."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.jar = CookieJar(self.clock, self._load)
        run_virtual(self.jar.prepare())

    async def _load(self) -> PublicSuffixes:
        return SUFFIXES

    def set(self, url: str, *values: str) -> None:
        self.jar.take(parse_url(url), values)

    def sent(self, url: str = HOME) -> str | None:
        return self.jar.header(parse_url(url))

    def load(self, cookies: Any) -> int:
        return run_virtual(self.jar.load(cookies))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.feature("Fetch", "cookies: stored and sent again, host-only or for a domain")
def test_host_only_and_domain(world: World) -> None:
    assert world.sent() is None
    world.set(HOME, "host=1", "wide=2; Domain=a.test", "dotted=3; Domain=.A.TEST")
    assert world.sent() == "host=1; wide=2; dotted=3"
    assert world.sent("https://sub.a.test/") == "wide=2; dotted=3"
    assert world.sent("https://b.test/") is None
    world.set("https://sub.a.test/", "up=4; Domain=a.test")
    assert world.sent("https://other.a.test/") == "wide=2; dotted=3; up=4"


@pytest.mark.parametrize(
    ("url", "value"),
    [
        (HOME, "a=b; Domain=b.test"),
        (HOME, "a=b; Domain=sub.a.test"),
        (HOME, "a=b; Domain=a.test."),
        (HOME, "a=b; Domain=\u00e4.test"),
        ("https://192.0.2.1/", "a=b; Domain=2.1"),
        ("https://ba.test/", "a=b; Domain=a.test"),
    ],
)
def test_foreign_domains(world: World, url: str, value: str) -> None:
    world.set(url, value)
    assert len(world.jar) == 0


def test_a_final_dot_is_another_host(world: World) -> None:
    world.set("https://a.test./", "own=1", "wide=2; Domain=a.test.", "other=3; Domain=a.test", "all=4; Domain=test.")
    assert world.sent("https://a.test./") == "own=1; wide=2"
    assert world.sent("https://b.a.test./") == "wide=2"
    assert world.sent() is None and world.sent("https://b.test./") is None


def test_hosts_of_imported_cookies_are_read_as_those_of_urls(world: World) -> None:
    spelled = {
        "B\u00fccher.TEST.": "xn--bcher-kva.test",
        "0x7f.1": "127.0.0.1",
        "[::0001]": "::1",
        "-a_.test": "-a_.test",
    }
    for number, (domain, host) in enumerate(spelled.items()):
        assert world.load([{"name": f"c{number}", "value": "v", "domain": domain}]) == 1
        assert world.jar.export()[-1]["domain"] == host
    assert world.sent("https://b\u00fccher.test/") == "c0=v" and world.sent("http://127.1/") == "c1=v"


@pytest.mark.feature("Fetch", "cookies: refused for public suffixes")
def test_public_suffixes(world: World) -> None:
    world.set(HOME, "a=b; Domain=test")
    world.set("https://x.co.test/", "a=b; Domain=co.test")
    world.set("https://a.b.wild.test/", "a=b; Domain=b.wild.test")
    world.set("https://x.unlisted/", "a=b; Domain=unlisted")
    assert len(world.jar) == 0
    world.set("https://x.y.co.test/", "a=b; Domain=y.co.test")
    world.set("https://x.own.wild.test/", "a=b; Domain=own.wild.test")
    assert len(world.jar) == 2
    # A site may live on a suffix: then the cookie is its own alone.
    world.set("https://hosting.test/", "own=1; Domain=hosting.test")
    assert world.sent("https://hosting.test/") == "own=1"
    assert world.sent("https://user.hosting.test/") is None


def test_addresses(world: World) -> None:
    for url in ("https://192.0.2.1/", "https://[2001:db8::1]/"):
        world.set(url, "a=b; Domain=192.0.2.1", "c=d")
    assert world.sent("https://192.0.2.1/") == "a=b; c=d"
    assert world.sent("https://[2001:DB8:0::1]:8443/") == "c=d"


@pytest.mark.feature("Fetch", "cookies: Secure only from and to https")
def test_secure(world: World) -> None:
    world.set("http://a.test/", "a=plain; Secure")
    assert len(world.jar) == 0
    world.set(HOME, "a=safe; Secure; Domain=a.test; Path=/x", "s=1; Secure; HttpOnly; SameSite=Strict")
    assert world.sent("https://a.test/x") == "a=safe; s=1"
    assert world.sent("http://a.test/x") is None
    # What came over https is neither replaced nor hidden from http, on whichever side of it the domain lies.
    world.set("http://a.test/", "a=evil; Domain=a.test; Path=/x", "a=evil; Path=/x/y")
    world.set("http://sub.a.test/", "a=evil; Path=/x", "a=evil; Domain=a.test; Path=/x")
    assert world.sent("https://sub.a.test/x/y") == "a=safe"
    world.set("http://a.test/", "a=elsewhere; Path=/")
    assert world.sent("http://a.test/x") == "a=elsewhere"


def test_prefixes(world: World) -> None:
    world.set("http://a.test/", "__Secure-a=1; Secure", "__Host-a=1; Secure; Path=/")
    world.set(HOME, "__Secure-b=1", "__Host-b=1; Secure", "__Host-c=1; Secure; Path=/; Domain=a.test")
    assert len(world.jar) == 0
    world.set(HOME, "__Secure-d=1; Secure; Domain=a.test", "__Host-d=2; Secure; Path=/")
    assert world.sent() == "__Secure-d=1; __Host-d=2"
    assert world.sent("https://sub.a.test/") == "__Secure-d=1"


@pytest.mark.feature("Fetch", "cookies: longer paths and older cookies first in the Cookie header")
def test_order(world: World) -> None:
    for index, value in enumerate(["a=1; Path=/", "b=2; Path=/x/y", "c=3; Path=/x", "d=4; Path=/"]):
        world.clock.now += 1
        world.set("https://a.test/x/y", value)
        assert len(world.jar) == index + 1
    assert world.sent("https://a.test/x/y") == "b=2; c=3; a=1; d=4"
    world.clock.now += 1
    world.set(HOME, "a=new; Path=/")  # keeps the time at which it was made
    assert world.sent("https://a.test/x/y") == "b=2; c=3; a=new; d=4"
    assert world.sent("https://a.test/x") == "c=3; a=new; d=4"


def test_what_replaces_what(world: World) -> None:
    world.set("https://a.test/x/", "a=1", "a=2; Path=/", "a=3; Path=/; Domain=a.test", "A=4", "nameless", "=other")
    assert world.sent("https://a.test/x/") == "a=1; A=4; other; a=2; a=3"
    world.set("https://a.test/x/z", "a=5")
    assert world.sent("https://a.test/x/") == "a=5; A=4; other; a=2; a=3"


@pytest.mark.feature("Fetch", "cookies: Max-Age and Expires, removal by a date in the past")
def test_life(world: World) -> None:
    world.set(HOME, "short=1; Max-Age=10", "date=2; Expires=Tue, 14 Nov 2023 22:15:00 GMT", "session=3")
    assert world.sent() == "short=1; date=2; session=3"
    world.clock.now += 9.9
    assert world.sent() == "short=1; date=2; session=3"
    world.clock.now += 0.1
    assert world.sent() == "date=2; session=3"
    world.clock.now += 90
    assert world.sent() == "session=3"
    world.set(HOME, "session=; Max-Age=0", "never=1; Expires=Thu, 01 Jan 1970 00:00:01 GMT")
    assert world.sent() is None and len(world.jar) == 0
    world.set(HOME, "long=1; Max-Age=999999999")
    world.clock.now += 400 * 86_400
    assert world.sent() is None


@pytest.mark.feature("Fetch", "cookies: bounds for each domain and in all, with the order of eviction")
def test_bound_of_a_domain(world: World) -> None:
    world.set("https://b.test/", "oldest=1")
    for index in range(PER_DOMAIN):
        world.clock.now += 1
        world.set("https://a.test/p", f"c{index}=1; Path=/p{index}" + ("; Secure" if index % 2 else ""))
    world.clock.now += 1
    assert world.sent("https://a.test/p0") == "c0=1"  # used last
    world.clock.now += 1
    world.set(HOME, "one=more; Secure", "two=more; Secure")
    names = {cookie["name"] for cookie in world.jar.export()}
    assert len(world.jar) == PER_DOMAIN + 1 and {"oldest", "c0", "c1", "one", "two"} <= names
    # Those that are not secure went first, and of them the ones that were not used for longest.
    assert not {"c2", "c4"} & names and "c6" in names


def test_bound_of_the_jar(world: World) -> None:
    domains = TOTAL // 100
    for index in range(TOTAL):
        world.clock.now += 0.01
        world.set(f"https://d{index % domains}.test/", f"c{index}=1")
    assert len(world.jar) == TOTAL
    world.set("https://new.test/", "x=1", "y=2; Max-Age=0", "z=3")
    names = {cookie["name"] for cookie in world.jar.export()}
    assert len(world.jar) == TOTAL and {"x", "z", "c2"} <= names and not {"c0", "c1"} & names


def test_a_bound_is_reached_by_the_living_only(world: World) -> None:
    for index in range(PER_DOMAIN):
        world.set(HOME, f"c{index}=1; Max-Age=10")
    world.clock.now += 10
    world.set(HOME, "new=1")
    assert world.sent() == "new=1" and len(world.jar) == 1


@pytest.mark.feature("Fetch", "cookies: export and import")
def test_export_and_load(world: World) -> None:
    world.set("https://a.test/x/y", "a=\u00e9=1; Secure; HttpOnly; SameSite=None; Max-Age=100; Domain=a.test", "b")
    (first, second) = world.jar.export()
    now = world.clock.now
    assert first == {
        "name": "a", "value": "\u00e9=1", "domain": "a.test", "path": "/x", "hostOnly": False, "secure": True,
        "httpOnly": True, "sameSite": "None", "expires": now + 100, "created": now, "used": now,
    }  # fmt: skip
    assert (second["name"], second["value"], second["hostOnly"], second["expires"]) == ("", "b", True, None)
    other = World()
    assert other.load(json.loads(json.dumps(world.jar.export()))) == 2
    assert other.jar.export() == world.jar.export()
    assert other.sent("https://a.test/x/") == world.sent("https://a.test/x/") == "a=\u00e9=1; b"
    other.clock.now += 100
    assert other.load(world.jar.export()) == 1  # the other one has expired meanwhile
    wide = {"name": "n", "value": "v", "hostOnly": False}
    assert other.load([{**wide, "domain": "a.test"}, {**wide, "domain": "co.test"}]) == 1  # the list may have changed
    other.jar.clear()
    assert len(other.jar) == 0 and other.sent("https://a.test/x/") is None
    assert other.load([{"name": "n", "value": "v", "domain": "B.Test"}]) == 1
    assert other.sent("https://b.test/any") == "n=v" and other.sent("https://x.b.test/") is None
    assert other.load([{"name": "n", "value": "v", "domain": "[2001:db8::1]", "created": 1, "expires": 1e12}]) == 1
    assert other.sent("https://[2001:db8::1]/") == "n=v"


GOOD = {"name": "n", "value": "v", "domain": "a.test"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": None}, "name"), ({"value": 5}, "value"), ({"domain": "a b"}, "domain"), ({"domain": ""}, "domain"),
        ({"name": "a=b"}, "name"), ({"name": "a;b"}, "name"), ({"name": " a"}, "name"), ({"value": "a;b"}, "value"),
        ({"value": "a\nSet: b"}, "value"), ({"value": "\u20ac"}, "value"), ({"value": "x" * 4096}, "4096"),
        ({"name": "", "value": ""}, "empty"), ({"name": "", "value": "a=b"}, "without a name"),
        ({"path": "x"}, "path"), ({"path": "/" * 1025}, "path"), ({"path": "/;"}, "path"), ({"path": 1}, "path"),
        ({"hostOnly": 1}, "hostOnly"), ({"secure": "yes"}, "secure"), ({"sameSite": "lax"}, "sameSite"),
        ({"sameSite": "None"}, "SameSite"), ({"expires": "soon"}, "expires"), ({"expires": float("nan")}, "expires"),
        ({"expires": True}, "expires"), ({"expires": 10**400}, "expires"), ({"created": "x"}, "created"),
        ({"used": float("inf")}, "used"), ({"hostonly": True}, "hostonly"), ({"name": "__Host-a"}, "__Host-"),
        ({"domain": "192.0.2.1", "hostOnly": False}, "address"),
    ],
)  # fmt: skip
def test_load_refuses(world: World, change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        world.load([{**GOOD, "path": None, "expires": None}, {**GOOD, **change}])
    assert caught.value.code == "bad_cookie"
    assert "cookie 1" in caught.value.message and says in caught.value.message
    assert len(world.jar) == 0  # all or none


@pytest.mark.parametrize("cookies", [None, 5, "text", {"name": "a"}, [5], [None], [GOOD] * 10_001])
def test_load_refuses_what_is_no_list_of_cookies(world: World, cookies: Any) -> None:
    with pytest.raises(UsageError) as caught:
        world.load(cookies)
    assert caught.value.code == "bad_cookie"


_value = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
_fields = ["name", "value", "domain", "path", "hostOnly", "secure", "httpOnly", "sameSite", "expires", "created", "x"]


@given(st.lists(st.dictionaries(st.sampled_from(_fields), _value, max_size=8) | _value, max_size=4))
def test_any_list_is_loaded_whole_or_refused_with_a_type(cookies: list[Any]) -> None:
    world = World()
    try:
        world.load(cookies)
    except SmolmixError:
        assert len(world.jar) == 0
    json.dumps(world.jar.export(), allow_nan=False)


@given(st.lists(st.text(alphabet="ab=;, /.-ABDEHOPSTdeomainpthsecurxgxy01\u00e4", max_size=40), max_size=12))
def test_what_is_stored_can_be_carried_over(values: list[str]) -> None:
    world, other = World(), World()
    world.set("https://sub.a.test/x/y", *values, *(f"n={value}; Domain=a.test" for value in values))
    world.set("https://192.0.2.1/", *values, *(f"n={value}; Domain=192.0.2.1" for value in values))
    other.load(world.jar.export())
    assert other.jar.export() == world.jar.export()
    assert other.sent("https://sub.a.test/x/y") == world.sent("https://sub.a.test/x/y")


@virtual
async def test_the_list_is_read_once_and_again_after_a_failure() -> None:
    calls = 0

    async def load() -> PublicSuffixes:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise HttpError("not there", code="no_public_suffixes", phase="request")
        return SUFFIXES

    jar = CookieJar(Clock(), load)
    with pytest.raises(HttpError):
        await jar.prepare()
    await jar.prepare()
    await jar.prepare()
    assert calls == 2
