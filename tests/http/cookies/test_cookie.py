"""Set-Cookie headers as RFC 6265bis 5.6 reads them, and which requests a cookie fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.http.cookies.cookie import (
    LONG_AGO,
    MAX_AGE,
    Cookie,
    SetCookie,
    bad_flags,
    default_path,
    domain_matches,
    parse_set_cookie,
    path_matches,
)
from smolmix_web.http.url import parse_url

NOW = 1_700_000_000.0
FUTURE = "Fri, 01 Dec 2023 00:00:00 GMT"  # 1701388800


@pytest.mark.feature("Fetch", "cookies: Set-Cookie parsed by RFC 6265bis")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", SetCookie("a", "b")),
        ("  a \t=  b  ", SetCookie("a", "b")),
        ("a=b=c; x", SetCookie("a", "b=c")),
        ('a="b c", d', SetCookie("a", '"b c", d')),
        ("a=", SetCookie("a", "")),
        ("=b", SetCookie("", "b")),
        ("b", SetCookie("", "b")),
        ("a=\u00e9", SetCookie("a", "\u00e9")),
        ("a=b;", SetCookie("a", "b")),
        ("a=b;;; ;Secure", SetCookie("a", "b", secure=True)),
        ("a=b; SECURE=no; httponly", SetCookie("a", "b", secure=True, http_only=True)),
        ("a=b; Domain=.A.Test; PATH = /x ", SetCookie("a", "b", domain="a.test", path="/x")),
        ("a=b; domain=..a.test", SetCookie("a", "b", domain=".a.test")),
        ("a=b; domain=x.test; domain=", SetCookie("a", "b", domain="")),
        ("a=b; path=x", SetCookie("a", "b")),
        ("a=b; path=/x; path", SetCookie("a", "b")),
        ("a=b; path=/1; path=/2", SetCookie("a", "b", path="/2")),
        (f"a=b; expires={FUTURE}", SetCookie("a", "b", expires=1701388800.0)),
        (f"a=b; expires={FUTURE}; expires=soon", SetCookie("a", "b", expires=1701388800.0)),
        ("a=b; expires=Sat, 01 Jan 2050 00:00:00 GMT", SetCookie("a", "b", expires=NOW + MAX_AGE)),
        ("a=b; expires=Thu, 01 Jan 1970 00:00:00 GMT", SetCookie("a", "b", expires=0.0)),
        ("a=b; max-age=60", SetCookie("a", "b", expires=NOW + 60)),
        (f"a=b; max-age=60; expires={FUTURE}", SetCookie("a", "b", expires=NOW + 60)),
        ("a=b; max-age=00000000000000000060", SetCookie("a", "b", expires=NOW + 60)),
        ("a=b; max-age=" + "9" * 1000, SetCookie("a", "b", expires=NOW + MAX_AGE)),
        ("a=b; max-age=0", SetCookie("a", "b", expires=LONG_AGO)),
        ("a=b; max-age=-5", SetCookie("a", "b", expires=LONG_AGO)),
        ("a=b; max-age=", SetCookie("a", "b")),
        ("a=b; max-age=1.5", SetCookie("a", "b")),
        ("a=b; max-age=+5", SetCookie("a", "b")),
        ("a=b; max-age=\u0661", SetCookie("a", "b")),
        ("a=b; SameSite=strict", SetCookie("a", "b", same_site="Strict")),
        ("a=b; SameSite=LAX", SetCookie("a", "b", same_site="Lax")),
        ("a=b; SameSite=none", SetCookie("a", "b", same_site="None")),
        ("a=b; SameSite=Lax; SameSite=other", SetCookie("a", "b")),
        ("a=b; Partitioned; Priority=High", SetCookie("a", "b")),
        ("a=b; path=/" + "x" * 1023, SetCookie("a", "b", path="/" + "x" * 1023)),
        ("a=b; path=/" + "x" * 1024, SetCookie("a", "b")),
        ("a=b; domain=a.test; domain=" + "x" * 1025, SetCookie("a", "b", domain="a.test")),
        ("a=" + "b" * 4095, SetCookie("a", "b" * 4095)),
        ("a=b\tc", SetCookie("a", "b\tc")),
    ],
)
def test_set_cookie(text: str, expected: SetCookie) -> None:
    assert parse_set_cookie(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", ";", "=", " = ; Secure", "; a=b", "a=" + "b" * 4096, "b" * 4097, "a=b\x00", "a=b\x01", "a=b; path=/\x7f",
        "a=b\nc=d", "__Secure-x", "=__host-x", "==", "=a=b", "__HOST-x; Secure; Path=/",
    ],
)  # fmt: skip
def test_ignored(text: str) -> None:
    assert parse_set_cookie(text, NOW) is None


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_any_header_is_read_or_ignored(text: str) -> None:
    for value in (text, f"a=b; {text}", f"a=b; max-age={text}", f"a=b; expires={text}"):
        found = parse_set_cookie(value, NOW)
        assert found is None or found.name or found.value


@pytest.mark.feature("Fetch", "cookies: the prefixes __Host- and __Secure-, SameSite=None only with Secure")
@pytest.mark.parametrize(
    ("cookie", "fine"),
    [
        (Cookie("a", "", "a.test"), True),
        (Cookie("__Secure-a", "", "a.test"), False),
        (Cookie("__SECURE-a", "", "a.test"), False),
        (Cookie("__Secure-a", "", "a.test", secure=True, host_only=False, path="/x"), True),
        (Cookie("__Host-a", "", "a.test", secure=True), True),
        (Cookie("__host-a", "", "a.test"), False),
        (Cookie("__Host-a", "", "a.test", secure=True, host_only=False), False),
        (Cookie("__Host-a", "", "a.test", secure=True, path="/x"), False),
        (Cookie("__Hostess", "", "a.test"), True),
        (Cookie("a", "", "a.test", same_site="None"), False),
        (Cookie("a", "", "a.test", same_site="None", secure=True), True),
        (Cookie("a", "", "a.test", same_site="Strict"), True),
    ],
)
def test_flags(cookie: Cookie, fine: bool) -> None:
    assert (bad_flags(cookie) is None) == fine
    if cookie.name == "__Host-a":
        assert bad_flags(cookie, path_given=False) is not None


@pytest.mark.feature("Fetch", "cookies: default path and path match")
@pytest.mark.parametrize(
    ("path", "prefix", "matches"),
    [
        ("/", "/", True), ("/x", "/", True), ("/x", "/x", True), ("/x/y", "/x", True), ("/x/y", "/x/", True),
        ("/xy", "/x", False), ("/x", "/x/", False), ("/X", "/x", False), ("/", "/x", False),
    ],
)  # fmt: skip
def test_paths(path: str, prefix: str, matches: bool) -> None:
    assert path_matches(path, prefix) == matches


@pytest.mark.parametrize(
    ("path", "folder"), [("/", "/"), ("/x", "/"), ("/x/", "/x"), ("/x/y", "/x"), ("/x/y/z", "/x/y")]
)
def test_default_path(path: str, folder: str) -> None:
    assert default_path(path) == folder


@pytest.mark.feature("Fetch", "cookies: domain match; an address matches itself alone")
@pytest.mark.parametrize(
    ("host", "domain", "matches"),
    [
        ("a.test", "a.test", True), ("x.a.test", "a.test", True), ("x.y.a.test", "a.test", True),
        ("xa.test", "a.test", False), ("a.test", "x.a.test", False), ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "2.1", False), ("2001:db8::1", "2001:db8::1", True),
    ],
)  # fmt: skip
def test_domains(host: str, domain: str, matches: bool) -> None:
    assert domain_matches(host, domain) == matches


def test_which_requests_a_cookie_fits() -> None:
    cookie = Cookie("a", "b", "a.test", "/x")
    assert cookie.fits(parse_url("http://a.test/x/y")) and cookie.fits(parse_url("https://A.test:8443/x"))
    assert not cookie.fits(parse_url("http://sub.a.test/x")) and not cookie.fits(parse_url("http://a.test/"))
    wide = Cookie("a", "b", "a.test", host_only=False, secure=True)
    assert wide.fits(parse_url("https://sub.a.test/")) and not wide.fits(parse_url("http://sub.a.test/"))
