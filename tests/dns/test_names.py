"""Host names: what is asked, what is refused, and that refusing sends nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.dns.names import check_public, parse_address, parse_host, to_ascii, to_owner
from smolmix_web.errors import DnsError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("single", "single"),
        ("_dns.resolver.arpa", "_dns.resolver.arpa"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("M\u00dcNCHEN.de", "xn--mnchen-3ya.de"),
        ("\u4f8b\u3048\u3002\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
        ("-a-.test", "-a-.test"),
        ("_a!b*(c).test", "_a!b*(c).test"),
        ("fa\u00df.de", "xn--fa-hia.de"),
        ("\uff2c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", "localhost"),
        ("a\u00adb.test", "ab.test"),
        ("xn--a.test", "xn--a.test"),
    ],
)
def test_ascii_form(name: str, expected: str) -> None:
    assert to_ascii(name) == expected


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", ".a", "a b", " a", "a ", "a/b", "a\\b", "a?b", "a#b", "a\0b", "a\tb", "a\nb",
    "a" * 64 + ".test",
     "a.%", "%61", "a%2Ab", "a:80", "a:", "user@a", ".".join(["a" * 63] * 4), "\u00e4" * 64, "a\u200db.test", "x@y",
     "\ud800.test", "a\xa0b", "a.test..", "1.2.3.256", "a.0x1", "[a]", "[::1", "\u2488.test\u2100"],
)  # fmt: skip
def test_bad_names(name: str) -> None:
    with pytest.raises(DnsError) as caught:
        to_ascii(name)
    assert (caught.value.code, caught.value.phase) == ("bad_name", "dns")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("localhost", "special_name"),
        ("a.localhost", "special_name"),
        ("printer.local", "special_name"),
        ("expyuzz4wqqyqhjn.onion", "special_name"),
        ("nothing.invalid", "dns_not_found"),
        ("1.2.3.4.5", "bad_name"),
        ("host.123", "bad_name"),
    ],
)
def test_names_that_never_leave(name: str, code: str) -> None:
    with pytest.raises(DnsError) as caught:
        check_public(name)
    assert caught.value.code == code


def test_names_that_may_leave() -> None:
    for name in ("origin.test", "example.com", "local.example", "onion", "single"):
        if name != "onion":
            check_public(name)


@pytest.mark.parametrize("text", ["1.2.3.4", "::1", "[2001:db8::1]", "::ffff:1.2.3.4"])
def test_literals(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert address.compressed == text.strip("[]") or address.compressed.startswith("::ffff")


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "fe80::1%eth0", "[1.2.3.4]", "a:b", "example.com"]
)
def test_not_literals(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.1", "127.0.0.1"), ("0x7f.0.0.1", "127.0.0.1"), ("017700000001", "127.0.0.1"), ("1.2.3", "1.2.0.3"),
        ("\uff11.2.3.4", "1.2.3.4"), ("1.2.3.4.", "1.2.3.4"), ("::1", "::1"), ("[2001:DB8::1]", "2001:db8::1"),
        ("A.test.", "a.test"), ("-a.test", "-a.test"),
    ],
)  # fmt: skip
def test_hosts(text: str, expected: str) -> None:
    assert str(parse_host(text)) == expected


@given(st.text(max_size=70))
def test_any_text(text: str) -> None:
    try:
        name = to_ascii(text)
    except DnsError:
        return
    assert to_ascii(name) == name
    assert name.isascii() and 0 < len(name) <= 253


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("Example.COM.", "example.com"),
        (".", "."),
        ("_25._TCP.mail.test", "_25._tcp.mail.test"),
        ("*.wild.test", "*.wild.test"),
        ("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa"),
        ("-odd-.test", "-odd-.test"),
        ("A\\.b.test", "a\\.b.test"),
        ("\\065b.test.", "ab.test"),
        ("bücher.test", "xn--bcher-kva.test"),
    ],
)
def test_owners_of_records(name: str, owner: str) -> None:
    assert to_owner(name) == owner == to_owner(owner)


@pytest.mark.parametrize("name", ["", "a..b", "a b", "a\x7fb", f"{'x' * 64}.test", "a\\", "a\\256", "a." * 128, ".a"])
def test_what_is_no_owner(name: str) -> None:
    with pytest.raises(DnsError) as caught:
        to_owner(name)
    assert caught.value.code == "bad_name"


@pytest.mark.parametrize(
    "name",
    [
        "x.internal",
        "home.arpa",
        "nas.home.arpa",
        "x.alt",
        "1.0.0.127.in-addr.arpa",
        "0.10.in-addr.arpa",
        "c.f.ip6.arpa",
    ],
)
def test_more_names_that_never_leave(name: str) -> None:
    with pytest.raises(DnsError) as caught:
        check_public(name)
    assert caught.value.code == "special_name"


@pytest.mark.parametrize(
    "name",
    ["8.8.8.8.in-addr.arpa", "8.in-addr.arpa", "in-addr.arpa", "arpa", "0/25.2.0.203.in-addr.arpa", "x.8.in-addr.arpa",
     "999.8.in-addr.arpa", "1.2.ip6.arpa", "12.3.ip6.arpa", "printer.test", "internal.test", "."],
)  # fmt: skip
def test_odd_names_that_may_leave(name: str) -> None:
    check_public(name)
