"""URLs as a fetch meets them: what the URL Standard makes of them, what is refused, what is kept secret.

In a page the same tests meet the browser's parser. Many more cases: `url_cases.py`.
"""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import HttpError
from smolmix_web.http.url import join_url, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://EXAMPLE.com", "http://example.com/"),
        ("HTTPS://example.com:443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("https://example.com/a/../b/./c?x=<y>#z z", "https://example.com/b/c?x=%3Cy%3E#z%20z"),
        ("https://example.com/%2e%2E/a%2fb", "https://example.com/a%2fb"),
        ("https://example.com/a/..", "https://example.com/"),
        ("https://example.com/a/b/.", "https://example.com/a/b/"),
        ("https://example.com?q", "https://example.com/?q"),
        ("https://example.com#f", "https://example.com/#f"),
        ("https://example.com/?", "https://example.com/?"),
        ("https:///example.com/a", "https://example.com/a"),
        ("https:example.com/a", "https://example.com/a"),
        ("http:\\\\example.com\\a?\\", "http://example.com/a?\\"),
        (" \thttps://exa\nmple.com/\tb\n", "https://example.com/b"),
        ("http://127.1:8080/", "http://127.0.0.1:8080/"),
        ("http://0x7f.0.0.1/", "http://127.0.0.1/"),
        ("http://017700000001/", "http://127.0.0.1/"),
        ("http://3232235777/", "http://192.168.1.1/"),
        ("http://[2001:DB8::0:1]:80/", "http://[2001:db8::1]/"),
        ("http://m\u00fcnchen.de/\u00e4?\u00fc", "http://xn--mnchen-3ya.de/%C3%A4?%C3%BC"),
        ("http://ex%41mple.com/", "http://example.com/"),
        ("http://0xg/", "http://0xg/"),
        ("http://a_b.example.com./", "http://a_b.example.com./"),
        ("http://-a-.test/", "http://-a-.test/"),
        ("http://a!$&'()*+,;=`{}~\"b.test/", "http://a!$&'()*+,;=`{}~\"b.test/"),
        ("http://fa\u00df.de/", "http://xn--fa-hia.de/"),
        ("http://\u1e9e.test/", "http://xn--zca.test/"),
        ("http://a\u3002b\uff0ec\uff61d/", "http://a.b.c.d/"),
        ("http://\uff27\uff4f.com/", "http://go.com/"),
        ("http://\u2615.us/", "http://xn--53h.us/"),
        ("http://xn--a/", "http://xn--a/"),
        ("http://m%C3%BCnchen.de/", "http://xn--mnchen-3ya.de/"),
        ("http://\uff11.2/", "http://1.0.0.2/"),
        ("http://1.2.3.4./", "http://1.2.3.4/"),
        ("http://[::ffff:1.2.3.4]/", "http://[::ffff:102:304]/"),
        ("http://[1:0:0:2:0:0:0:3]/", "http://[1:0:0:2::3]/"),
        ("http://example.com:00080/", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:8\t0\n81/", "http://example.com:8081/"),
        ("https://example.com:65535/", "https://example.com:65535/"),
        ("http://example.com/^", "http://example.com/%5E"),
        ("http://example.com/?^`{}|", "http://example.com/?^`{}|"),
        ("http://" + "a" * 63 + ".test/", "http://" + "a" * 63 + ".test/"),
        ("http://example.com/'()*!$&+,;=:@", "http://example.com/'()*!$&+,;=:@"),
        ("http://example.com/?'", "http://example.com/?%27"),
        ("http://example.com/\ud800", "http://example.com/%EF%BF%BD"),
        ("http://example.com/\ud83d\ude00", "http://example.com/%F0%9F%98%80"),
    ],
)
def test_parse(text: str, expected: str) -> None:
    assert str(parse_url(text)) == expected
    assert str(parse_url(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "/path", "//example.com/", "ftp://example.com/", "ws://example.com/", "data:,x",
        "http://", "http:///", "https://:80/", "http://a b/",
        "http://example.com:99999/", "http://example.com:0/", "http://example.com:x/", "http://example.com:-1/",
        "http://example.com:\u0663/", "http://[::1/", "http://[::1]x/", "http://[fe80::1%25eth0]/", "http://[1.2.3.4]/",
        "http://1.2.3.4.5/", "http://256.1.1.1/", "http://1.2.3.08/", "http://4294967296/", "http://a.1/",
        "http://a..b/", "http://.a/", "http://a.test../", "http://./", "http://%zz/", "http://%00/", "http://%ff/",
        "http://example.com:65536/", "http://example.com:99999999999999999999/", "http://a%b/", "http://a\xa0b/",
        "http://\u00ad/", "http://a\u200db/", "http://xn--\u00fc/", "http://[::1]]/", "http://[]/", "http://[1::2::3]/",
        "http://0x100000000/", "http://a.0x1/", "http://" + "\u00e4" * 64 + "/", "javascript:alert(1)", "about:blank",
        "blob:http://a.test/x", "file:///etc/passwd", "foo://a.test/", "h ttp://a.test/", "1http://a.test/",
        "http://ex%2fample/", "http://" + "a" * 64 + ".com/", "http://" + ".".join(["a" * 60] * 5) + "/",
        "http://x/" + "a" * (2 << 20),
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_url(text)
    assert caught.value.code == "bad_url"
    assert len(caught.value.message) < 400


@pytest.mark.feature("Fetch", "credentials in a URL become an Authorization header")
@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("https://user:secret@a.test/p?q#f", b"user:secret"),
        ("https://user@a.test/p?q#f", b"user:"),
        ("https://:secret@a.test/p?q#f", b":secret"),
        ("https://us%65r:s%3ae%40cret@a.test/p?q#f", b"user:s:e@cret"),
        ("https://a@b:c:d@a.test/p?q#f", b"a@b:c:d"),
        ("https:\\\\us\ner:sec\tret@a.test\\p?q#f", b"user:secret"),
        ("https://\u00fc:\u20ac@a.test/p?q#f", "\u00fc:\u20ac".encode()),
        ("https://%ff:%00@a.test/p?q#f", b"\xff:\0"),
        ("https://@a.test/p?q#f", None),
        ("https://:@a.test/p?q#f", None),
        ("https://a.test/p?q#f", None),
    ],
)
def test_credentials(url: str, credentials: bytes | None) -> None:
    parsed = parse_url(url)
    expected = None if credentials is None else f"Basic {base64.b64encode(credentials).decode()}"
    assert parsed.authorization == expected
    assert (str(parsed), parsed.authority, parsed.target) == ("https://a.test/p?q#f", "a.test", "/p?q")
    assert "secret" not in repr(parsed) and "Basic" not in repr(parsed)
    assert parsed.origin == parse_url("https://a.test/").origin


@pytest.mark.parametrize(
    "text",
    [
        "https://user:secret@a b/", "https://user:secret@a.test:0/", "https://user:secret@",
        "ftp://user:secret@a.test/", "https:user:secret@[x]/", "https:\\\\user:secret@a..b",
        "ht\ntps://user:secret@a..b/", "  https://u:secret@/", "https://user:secret/more@a.test/",
        "https://user:secret?more@a.test/", "https://user:secret#more@a.test/", "user:secret@a.test",
        "//user:secret@a.test/", "ws://user:secret@a b/", "https://u:secret\n@a b/",
    ],
)  # fmt: skip
def test_no_error_shows_credentials(text: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_url(text, ("http", "https", "ws"))
    assert caught.value.code == "bad_url"
    assert "secret" not in str(caught.value.to_dict())


def test_of_a_base_no_credentials_are_inherited() -> None:
    base = parse_url("https://user:secret@a.test/x")
    for reference in ("y", "", "//a.test/y", "https://a.test/y"):
        assert join_url(base, reference).authorization is None


def test_not_text() -> None:
    with pytest.raises(HttpError):
        parse_url(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        # RFC 3986 5.4 against http://a/b/c/d;p?q
        ("g:h", None), ("g", "http://a/b/c/g"), ("./g", "http://a/b/c/g"), ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"), ("//g", "http://g/"), ("?y", "http://a/b/c/d;p?y"), ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q#s"), ("g#s", "http://a/b/c/g#s"), ("g?y#s", "http://a/b/c/g?y#s"),
        (";x", "http://a/b/c/;x"), ("g;x", "http://a/b/c/g;x"), ("", "http://a/b/c/d;p?q"), (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"), ("..", "http://a/b/"), ("../", "http://a/b/"), ("../g", "http://a/b/g"),
        ("../..", "http://a/"), ("../../g", "http://a/g"), ("../../../g", "http://a/g"), ("/./g", "http://a/g"),
        ("/../g", "http://a/g"), ("g.", "http://a/b/c/g."), ("..g", "http://a/b/c/..g"), ("./../g", "http://a/b/g"),
        ("g/../h", "http://a/b/c/h"), ("g?y/../x", "http://a/b/c/g?y/../x"), ("http:g", "http://a/b/c/g"),
        ("https:g", "https://g/"), ("\\x", "http://a/x"), ("\\\\x", "http://x/"), ("http://x/y", "http://x/y"),
        ("mailto:x", None), ("http://u:p@x/", "http://x/"), ("//", None), ("http:/g", "http://a/g"), ("http:",
        "http://a/b/c/d;p?q"),
        ("http:?y", "http://a/b/c/d;p?y"), ("http:#s", "http://a/b/c/d;p?q#s"), ("HTTP:\\g", "http://a/g"),
        ("http:\\\\g", "http://g/"),
        ("https:/g", "https://g/"), ("///g", "http://g/"), ("/\\g", "http://g/"), ("ws://g/", None), ("ws:g", None),
        ("g\t\n/\rh", "http://a/b/c/g/h"),
        (" g ", "http://a/b/c/g"), ("\x00g", "http://a/b/c/g"), ("%2e%2E/g", "http://a/b/g"), ("//1.2/",
        "http://1.0.0.2/"), ("//-g", "http://-g/"),
        ("data:,x", None), ("javascript:x", None), ("about:blank", None), ("blob:http://a/x", None), ("file:///x",
        None), ("a:80", None),
    ],
)  # fmt: skip
def test_join(reference: str, expected: str | None) -> None:
    base = parse_url("http://a/b/c/d;p?q")
    if expected is None:
        with pytest.raises(HttpError):
            join_url(base, reference)
    else:
        assert str(join_url(base, reference)) == expected


def test_parts() -> None:
    url = parse_url("https://[2001:db8::1]:8443/a?b#c")
    assert (url.authority, url.target, url.secure) == ("[2001:db8::1]:8443", "/a?b", True)
    assert str(url.address) == "2001:db8::1"
    assert url.origin == ("https", "2001:db8::1", 8443)
    assert parse_url("wss://a/", ("ws", "wss")).port == 443
    dotted = parse_url("https://a.test.:8443/")
    assert (dotted.host, dotted.authority) == ("a.test.", "a.test.:8443")
    assert dotted.origin != parse_url("https://a.test:8443/").origin


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for candidate in (text, "http://" + text, "http://h/" + text):
        try:
            url = parse_url(candidate)
        except HttpError:
            continue
        assert str(url).isascii()
        assert not set(url.target) & set(" \r\n\t\0")
        assert parse_url(str(url)) == replace(url, authorization=None)


@given(st.text(max_size=40))
def test_any_reference_is_joined_or_refused(text: str) -> None:
    try:
        url = join_url(parse_url("http://a/b/c?d"), text)
    except HttpError:
        return
    assert parse_url(str(url)) == replace(url, authorization=None)
