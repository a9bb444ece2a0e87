"""What a caller may put into a request."""

from __future__ import annotations

import pytest

from smolmix_web.errors import HttpError
from smolmix_web.http.headers import DEFAULTS, check_headers, forbidden, get_all, with_credentials, with_defaults


@pytest.mark.feature("Fetch", "default request headers in one table, the caller wins")
def test_defaults_and_the_caller_wins() -> None:
    assert with_defaults([], "gzip") == [*DEFAULTS, ("Accept-Encoding", "gzip")]
    assert [name for name, _ in DEFAULTS] == ["User-Agent", "Accept", "Accept-Language"]
    own = check_headers({"user-agent": "mine", "ACCEPT": "text/html", "accept-language": "de", "X-A": "1"})
    assert with_defaults(own, "gzip") == [("Accept-Encoding", "gzip"), *own]


def test_the_defaults_are_sent_as_they_stand() -> None:
    """They pass the checks of a caller's own, so nothing in the table can break a request."""
    assert check_headers(DEFAULTS) == list(DEFAULTS)


def test_credentials_of_url_and_jar_give_way_to_the_callers() -> None:
    assert with_credentials([("X", "y")], "Basic eA==", "a=1") == [
        ("X", "y"), ("Authorization", "Basic eA=="), ("Cookie", "a=1"),
    ]  # fmt: skip
    own = [("authorization", "Bearer z"), ("COOKIE", "b=2")]
    assert with_credentials(own, "Basic eA==", "a=1") == own
    assert with_credentials([], None, None) == []


def test_order_and_repetition_are_kept() -> None:
    given = [("B", "1"), ("a", " 2\t"), ("b", "")]
    assert check_headers(given) == [("B", "1"), ("a", "2"), ("b", "")]
    assert get_all(check_headers(given), "b") == ["1", ""]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Host", "x", "forbidden_header"),
        ("transfer-ENCODING", "chunked", "forbidden_header"),
        ("Content-Length", "1", "forbidden_header"),
        ("Connection", "close", "forbidden_header"),
        ("Upgrade", "h2c", "forbidden_header"),
        ("Sec-Fetch-Site", "none", "forbidden_header"),
        ("X\nY", "x", "bad_header"),
        ("X Y", "x", "bad_header"),
        ("", "x", "bad_header"),
        ("X:", "x", "bad_header"),
        ("\u00e4", "x", "bad_header"),
        ("X", "a\r\nEvil: 1", "bad_header"),
        ("X", "a\0b", "bad_header"),
        ("X", "\u20ac", "bad_header"),
        ("X", 5, "bad_header"),
        (5, "x", "bad_header"),
    ],
)
def test_refused(name: object, value: object, code: str) -> None:
    with pytest.raises(HttpError) as caught:
        check_headers([(name, value)])  # type: ignore[list-item]
    assert caught.value.code == code


def test_bounds() -> None:
    with pytest.raises(HttpError):
        check_headers([("X", "y")] * 300)
    with pytest.raises(HttpError):
        check_headers([("X", "y" * 70_000)])
    with pytest.raises(HttpError):
        check_headers(["no pair"])  # type: ignore[list-item]


@pytest.mark.feature("Fetch", "forbidden request headers by one rule, in a page and in Python")
def test_what_nobody_may_set() -> None:
    names = (
        "Accept-Charset accept-encoding Access-Control-Request-Headers Access-Control-Request-Method Connection "
        "Content-Length Cookie2 Date DNT Expect Host Keep-Alive Set-Cookie TE Trailer Transfer-Encoding Upgrade Via "
        "Proxy- Proxy-Authorization proxy-x Sec- Sec-WebSocket-Key SEC-CH-UA HTTP2-Settings"
    )
    assert [name for name in names.split() if not forbidden(name, "x")] == []
    assert not forbidden("Access-Control-Request-Method", "PUT", "OPTIONS") and forbidden("Host", "x", "OPTIONS")
    methods = ["TRACE", "get,trace", " Connect\t", "x, TRACK ,y"]
    overrides = ["X-HTTP-Method", "x-http-method-override", "X-Method-Override"]
    assert all(forbidden(name, method) for name in overrides for method in methods)


def test_what_everybody_may_set() -> None:
    names = (
        "Cookie Origin Referer User-Agent Accept Accept-Language Authorization Range Priority Pragma Cache-Control "
        "Secure Sec Proxy Dnt2 Datetime Set-Cookie2 Referrer Hosts X-Forwarded-For If-None-Match "
        "Access-Control-Request-Private-Network"
    )
    assert [name for name in names.split() if forbidden(name, "TRACE")] == []
    for name in ("X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override"):
        assert not any(forbidden(name, method) for method in ("PUT", "traces", '"TRACE"', "", ",", "tra ce"))
    assert not forbidden("X-HTTP-Methods", "TRACE")
