"""The decision of one redirect, as a table from the Fetch standard."""

from __future__ import annotations

import pytest

from smolmix_web.errors import HttpError
from smolmix_web.http.connection import ResponseHead
from smolmix_web.http.redirects import is_redirect, next_request
from smolmix_web.http.url import parse_url

HEADERS = [
    ("Accept", "*/*"),
    ("Authorization", "secret"),
    ("Cookie", "c=1"),
    ("Content-Type", "text/plain"),
    ("X-Own", "1"),
]


def head(status: int, *locations: str) -> ResponseHead:
    return ResponseHead(status, "", [("location", location) for location in locations], "1.1")


@pytest.mark.feature("Fetch", "redirects: method and body by status")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_method_and_body(status: int, method: str) -> None:
    body = b"data" if method in ("POST", "PUT") else None
    following = next_request(head(status, "/next"), method, parse_url("https://a.test/"), HEADERS, body)
    becomes_get = (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD"))
    assert following.method == ("GET" if becomes_get else method)
    assert following.body == (None if becomes_get else body)
    assert ("Content-Type", "text/plain") not in following.headers or not becomes_get
    assert ("Authorization", "secret") in following.headers


@pytest.mark.feature("Fetch", "redirects: Authorization and the caller's Cookie stay with their origin")
@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("https://a.test/x", True),
        ("https://a.test:443/x", True),
        ("https://a.test:8443/x", False),
        ("https://b.test/x", False),
        ("https://sub.a.test/x", False),
        ("//b.test", False),
    ],
)
def test_credentials_stay_with_their_origin(target: str, kept: bool) -> None:
    following = next_request(head(307, target), "GET", parse_url("https://a.test/"), HEADERS, None)
    names = {name for name, _ in following.headers}
    assert ("Authorization" in names, "Cookie" in names) == (kept, kept)
    assert "X-Own" in names


@pytest.mark.feature("Fetch", "credentials in a URL stay with their origin")
def test_credentials_of_the_url() -> None:
    url = parse_url("https://user:pw@a.test/")
    for location, authorization in (
        ("/next", url.authorization),
        ("https://a.test/next", url.authorization),
        ("https://other:one@a.test/", parse_url("https://other:one@a.test/").authorization),
        ("https://b.test/", None),
        ("//a.test:81/", None),
    ):
        following = next_request(head(302, location), "GET", url, [], None)
        assert following.url.authorization == authorization
        assert not following.headers
    for location in ("https://user:pw@b.test/", "https://:x@a.test:81/"):
        with pytest.raises(HttpError) as caught:
            next_request(head(302, location), "GET", url, [], None)
        assert caught.value.code == "bad_redirect"
        assert "pw" not in caught.value.message


@pytest.mark.feature("Fetch", "redirects: fragments are inherited")
def test_fragment_is_inherited() -> None:
    url = parse_url("https://a.test/#part")
    assert str(next_request(head(301, "/b"), "GET", url, [], None).url) == "https://a.test/b#part"
    assert str(next_request(head(301, "/b#own"), "GET", url, [], None).url) == "https://a.test/b#own"


@pytest.mark.feature("Fetch", "redirects: bytes beyond ASCII in a Location are percent-encoded one by one")
@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (b"/\xe4?\xfc#\xf6", "https://a.test/%E4?%FC#%F6"),
        ("/\u00e4?\u20ac".encode(), "https://a.test/%C3%A4?%E2%82%AC"),
        (b"/\xff\xfe\x80%e4%", "https://a.test/%FF%FE%80%e4%"),
        ("https://m\u00fcnchen.test/x".encode(), "https://xn--mnchen-3ya.test/x"),
        ("//\uff11.\uff12/".encode(), "https://1.0.0.2/"),
    ],
)
def test_bytes_beyond_ascii_in_a_location(location: bytes, expected: str) -> None:
    following = next_request(head(301, location.decode("latin-1")), "GET", parse_url("https://a.test/"), [], None)
    assert str(following.url) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https:/path", "https://a.test/path"),
        ("https:path", "https://a.test/x/path"),
        ("HTTPS:", "https://a.test/x/y?q"),
        ("https:?r", "https://a.test/x/y?r"),
        ("#part", "https://a.test/x/y?q#part"),
        ("?", "https://a.test/x/y?"),
        ("\\\\b.test\\x", "https://b.test/x"),
        ("/a b\tc", "https://a.test/a%20bc"),
        ("\x01/x\x02", "https://a.test/x"),
        ("//-b_.test.:443/", "https://-b_.test./"),
        ("https://0x7f.1:8443", "https://127.0.0.1:8443/"),
        ("<https://b.test/>", "https://a.test/x/%3Chttps://b.test/%3E"),
    ],
)
def test_references(location: str, expected: str) -> None:
    assert str(next_request(head(302, location), "GET", parse_url("https://a.test/x/y?q"), [], None).url) == expected


@pytest.mark.feature("Fetch", "redirects: other schemes refused")
@pytest.mark.parametrize(
    "location",
    [
        "ftp://a.test/", "https://u:p@b.test/", "https://", "javascript:alert(1)", "data:,x", "blob:https://a.test/x",
        "about:blank", "file:///x", "wss://a.test/", "mailto:x@y", "foo:bar", "//", "https://a.test:0/", "//a..b/",
        "https://a.test:65536/", "//[::1%25eth0]/", "//m\xfcnchen.test/", "//" + "a" * 64 + "/", "//a%00b/",
    ],
)  # fmt: skip
def test_bad_locations(location: str) -> None:
    with pytest.raises(HttpError) as caught:
        next_request(head(302, location), "GET", parse_url("https://a.test/"), [], None)
    assert (caught.value.code, caught.value.phase) == ("bad_redirect", "redirect")


def test_two_different_locations() -> None:
    with pytest.raises(HttpError):
        next_request(head(302, "/a", "/b"), "GET", parse_url("https://a.test/"), [], None)
    assert is_redirect(head(302, "", "/a"))
    with pytest.raises(HttpError):
        next_request(head(302, "", "/a"), "GET", parse_url("https://a.test/"), [], None)
    assert next_request(head(302, "/a", "/a"), "GET", parse_url("https://a.test/"), [], None).url.path == "/a"


@pytest.mark.feature("Fetch", "redirects: https to http refused by default")
def test_never_from_https_to_http_unless_allowed() -> None:
    url = parse_url("https://a.test/")
    with pytest.raises(HttpError) as caught:
        next_request(head(302, "http://a.test/"), "GET", url, [], None)
    assert caught.value.code == "insecure_redirect"
    assert next_request(head(302, "http://a.test/"), "GET", url, [], None, allow_insecure=True).url.scheme == "http"
    assert next_request(head(302, "https://b.test/"), "GET", parse_url("http://a.test/"), [], None).url.secure


@pytest.mark.feature("Fetch", "redirects: a streamed body is not sent twice")
def test_a_stream_cannot_be_sent_twice() -> None:
    async def stream():  # type: ignore[no-untyped-def]
        yield b""

    for status in (301, 302, 307, 308):
        with pytest.raises(HttpError) as caught:
            next_request(head(status, "/b"), "PUT", parse_url("https://a.test/"), [], stream())
        assert caught.value.code == "body_not_replayable"
    assert next_request(head(303, "/b"), "PUT", parse_url("https://a.test/"), [], stream()).body is None


def test_what_is_a_redirect() -> None:
    assert is_redirect(head(302, "/a"))
    assert not is_redirect(head(302))
    assert not is_redirect(head(302, ""))
    assert not is_redirect(head(302, "", ""))
    assert not is_redirect(head(300, "/a"))
    assert not is_redirect(head(304, "/a"))
    assert not is_redirect(head(200, "/a"))
