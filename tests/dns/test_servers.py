"""How resolvers are named: every form, back into text, and what is refused."""

from __future__ import annotations

import pytest

from smolmix_web.dns import parse_server
from smolmix_web.errors import OptionError

FORMS = {
    "8.8.8.8:53": ("udp", "8.8.8.8", 53, None, "", "8.8.8.8:53"),
    "[2001:db8::1]:5353": ("udp", "2001:db8::1", 5353, None, "", "[2001:db8::1]:5353"),
    "udp://8.8.8.8": ("udp", "8.8.8.8", 53, None, "", "8.8.8.8:53"),
    "tcp://8.8.8.8/": ("tcp", "8.8.8.8", 53, None, "", "tcp://8.8.8.8"),
    "tls://1.1.1.1": ("tls", "1.1.1.1", 853, None, "", "tls://1.1.1.1"),
    "tls://1.1.1.1#Cloudflare-DNS.com": (
        "tls", "1.1.1.1", 853, "cloudflare-dns.com", "", "tls://1.1.1.1#cloudflare-dns.com",
    ),
    "tls://[2001:db8::1]:8853#dns.test": ("tls", "2001:db8::1", 8853, "dns.test", "", "tls://[2001:db8::1]:8853#dns.test"),
    "https://1.1.1.1": ("https", "1.1.1.1", 443, None, "/dns-query", "https://1.1.1.1/dns-query"),
    "https://1.1.1.1/dns-query{?dns}": ("https", "1.1.1.1", 443, None, "/dns-query", "https://1.1.1.1/dns-query"),
    "https://1.1.1.1:8443/q#dns.test": ("https", "1.1.1.1", 8443, "dns.test", "/q", "https://1.1.1.1:8443/q#dns.test"),
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_forms(text: str) -> None:
    server = parse_server("primaryDns", text)
    found = (server.scheme, str(server.address), server.port, server.name, server.path, str(server))
    assert found == FORMS[text] and parse_server("x", str(server)) == server
    assert server.encrypted == (server.scheme in ("tls", "https"))


def test_urls_of_https_servers() -> None:
    assert parse_server("x", "https://1.1.1.1").url == "https://1.1.1.1/dns-query"
    assert parse_server("x", "https://1.1.1.1#dns.test").url == "https://dns.test/dns-query"
    assert parse_server("x", "https://[2001:db8::1]:8443").url == "https://[2001:db8::1]:8443/dns-query"


@pytest.mark.feature("DNS", "A resolver is given by address: nothing is resolved outside the tunnel")
@pytest.mark.parametrize(
    "text",
    [
        "", "8.8.8.8", "8.8.8.8:0", "8.8.8.8:65536", "dns.example:53", "tls://dns.example", "https://dns.example/q",
        "ftp://8.8.8.8", "TLS//8.8.8.8", "tls://8.8.8.8/path", "udp://8.8.8.8#name", "tls://8.8.8.8#a b",
        "tls://8.8.8.8#", "https://user@8.8.8.8/", "https://8.8.8.8/a b", "8.8.8.8:53 ", "tls://2001:db8::1",
        "tls://8.8.8.8:853:853", "tls://[fe80::1%eth0]",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_server("fallbackDns", text)
    assert caught.value.option == "fallbackDns"
