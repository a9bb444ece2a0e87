"""The table of options: names, defaults and ranges of the official client, refusals by name."""

from __future__ import annotations

from typing import Any

import pytest

from smolmix_web.dns import parse_server
from smolmix_web.errors import OptionError
from smolmix_web.http.timeouts import Timeouts
from smolmix_web.tunnel.options import TunnelOptions, option_table

# docs/protocol/ipr.md 6.3
OFFICIAL: dict[str, Any] = {
    "clientId": "smolmix-wasm",
    "preferredIpr": None,
    "preferredGateway": None,
    "forceTls": True,
    "disablePoissonTraffic": False,
    "disableCoverTraffic": False,
    "openReplySurbs": 10,
    "dataReplySurbs": 2,
    "primaryDns": parse_server("primaryDns", "8.8.8.8:53"),
    "fallbackDns": parse_server("fallbackDns", "1.1.1.1:53"),
    "storagePassphrase": None,
    "connectTimeoutMs": 60_000,
    "dnsTimeoutMs": 30_000,
    "tcpKeepaliveMs": 10_000,
    "tcpBufferSize": 65_535,
    "maxRedirects": 20,
    "debug": False,
}


def test_all_options_of_the_official_client_with_their_defaults() -> None:
    defaults = {row["name"]: row["default"] for row in option_table()}
    assert {name: defaults[name] for name in OFFICIAL} == OFFICIAL


def test_given_values_arrive_and_none_means_not_given() -> None:
    options = TunnelOptions.from_mapping(
        {
            "maxRedirects": 3.0,
            "primaryDns": "[2001:db8::1]:5353",
            "clientId": None,
            "directoryUrls": ["https://d.test/api", " HTTP://B\u00fccher.test:080/a/../b/"],
        }
    )
    assert options.max_redirects == 3 and isinstance(options.max_redirects, int)
    assert options.primary_dns == parse_server("primaryDns", "udp://[2001:db8::1]:5353")
    assert options.client_id == "smolmix-wasm"
    assert options.directory_urls == ("https://d.test/api/", "http://xn--bcher-kva.test/b/")


@pytest.mark.feature("DNS", "A resolver that is asked in secret has a fallback that is, too")
def test_the_fallback_goes_the_way_of_the_primary() -> None:
    def fallback(**given: str) -> str:
        return str(TunnelOptions.from_mapping(given).fallback_dns)

    assert fallback() == fallback(primaryDns="9.9.9.9:53") == "1.1.1.1:53"
    assert fallback(primaryDns="tcp://9.9.9.9") == "tcp://1.1.1.1"
    assert fallback(primaryDns="tls://9.9.9.9#dns.quad9.net") == "tls://1.1.1.1#cloudflare-dns.com"
    assert fallback(primaryDns="https://9.9.9.9/dns-query") == "https://1.1.1.1/dns-query#cloudflare-dns.com"
    assert fallback(primaryDns="tls://9.9.9.9", fallbackDns="1.0.0.1:53") == "1.0.0.1:53"  # whoever says so, means it


def test_only_a_client_id_that_is_given_makes_the_identity_persistent() -> None:
    name = OFFICIAL["clientId"]
    assert not TunnelOptions.from_mapping({}).persistent
    assert not TunnelOptions.from_mapping({"clientId": None, "storagePassphrase": "x"}).persistent
    given = TunnelOptions.from_mapping({"clientId": name})
    assert given.persistent and given.client_id == name
    assert "persistent" not in {row["name"] for row in option_table()}
    with pytest.raises(OptionError):
        TunnelOptions.from_mapping({"persistent": True})


def test_a_place_of_ones_own_is_for_javascript_alone() -> None:
    assert TunnelOptions.from_mapping({"storage": True}).storage
    assert not TunnelOptions.from_keywords({"storage": False}).storage
    with pytest.raises(OptionError, match="storage: it is for JavaScript alone"):
        TunnelOptions.from_keywords({"storage": True})


def test_the_passphrase_is_in_no_repr() -> None:
    assert "sesame" not in repr(TunnelOptions.from_mapping({"storagePassphrase": "sesame"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forceTLS", True),
        ("", 1),
        ("forceTls", 1),
        ("debug", "true"),
        ("maxRedirects", True),
        ("maxRedirects", 1.5),
        ("maxRedirects", -1),
        ("maxRedirects", 51),
        ("connectTimeoutMs", float("nan")),
        ("connectTimeoutMs", float("inf")),
        ("connectTimeoutMs", "60000"),
        ("tcpBufferSize", 10),
        ("tcpSegments", "half"),
        ("clientId", ""),
        ("clientId", 7),
        ("primaryDns", "8.8.8.8"),
        ("primaryDns", "8.8.8.8:0"),
        ("primaryDns", "8.8.8.8:65536"),
        ("primaryDns", "dns.example:53"),
        ("primaryDns", ["8.8.8.8", 53]),
        ("directoryUrls", "https://d.test/"),
        ("directoryUrls", []),
        ("directoryUrls", ["https://d.test/?q"]),
        ("directoryUrls", ["https://d.test/?"]),
        ("directoryUrls", ["https://d.test/#f"]),
        ("directoryUrls", ["https://u:p@d.test/"]),
        ("directoryUrls", ["https://d.test:0/"]),
        ("directoryUrls", ["wss://d.test/"]),
        ("directoryUrls", ["d.test"]),
        ("directoryUrls", [5]),
        ("directoryUrls", ["javascript:alert(1)"]),
        ("caCertificates", 5),
        ("caCertificates", ["text"]),
        ("crypto", "openssl"),
        ("trafficPreset", "medium"),
        ("topology", "{"),
        ("topology", []),
    ],
)
def test_a_bad_option_is_refused_with_its_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError) as raised:
        TunnelOptions.from_mapping({name: value})
    assert raised.value.option == name
    assert raised.value.to_dict()["option"] == name
    assert raised.value.code == "bad_option" and raised.value.phase == "setup"


@pytest.mark.feature("Python", "options in Python's spelling")
def test_names_of_python() -> None:
    limits = Timeouts(connect=5.0)
    options = TunnelOptions.from_keywords({"force_tls": False, "primary_dns": "9.9.9.9:53", "timeouts": limits})
    assert (options.force_tls, options.primary_dns, options.timeouts) == (
        False,
        parse_server("primaryDns", "9.9.9.9:53"),
        limits,
    )
    assert TunnelOptions.from_keywords({}) == TunnelOptions.from_mapping({})
    for name in ("forceTls", "persistent", "nonsense"):
        with pytest.raises(OptionError) as raised:
            TunnelOptions.from_keywords({name: True})
        assert raised.value.option == name
