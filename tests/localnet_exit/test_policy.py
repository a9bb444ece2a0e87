"""The exit policy: grammar, order, port 0, and what counts as the internet (ipr.md 5.4)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from localnet.errors import ConfigError
from localnet.exit.config import ExitConfig
from localnet.exit.policy import DEFAULT_POLICY, ExitPolicy, is_global


@pytest.mark.parametrize(
    "address",
    [
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.9",
        "198.18.0.1",
        "198.19.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:1.2.3.4",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:1::3",
        "2002::1",
        "2001:db8::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
    ],
)
def test_not_the_internet(address: str) -> None:
    assert not is_global(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "100.63.0.1",
        "100.128.0.1",
        "192.0.0.9",
        "192.0.0.10",
        "192.0.1.1",
        "203.0.114.10",
        "198.17.0.1",
        "198.20.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "64:ff9b::1",
        "101::1",
        "2001:1::1",
        "2001:1::2",
        "2001:3::1",
        "2001:4:112::1",
        "2001:20::1",
        "2001:3f::1",
        "2001:200::1",
        "2003::1",
        "2606:4700::1111",
        "2a0e:6a80:114::a",
    ],
)
def test_the_internet(address: str) -> None:
    assert is_global(ip_address(address))


def test_first_match_wins_and_none_means_refused() -> None:
    policy = ExitPolicy.parse(
        """
        # comment

        ExitPolicy reject 1.2.3.0/24:25   # not this one
        ExitPolicy accept 1.2.0.0/255.255.0.0:20-25
        ExitPolicy accept6 [2606:4700::]/32:443
        ExitPolicy reject6 2606:4701::1:80
        ExitPolicy accept *6:80
        """
    )
    one = IPv4Address("1.2.3.4")
    assert [policy.allows(one, port) for port in (19, 20, 24, 25, 26)] == [False, True, True, False, False]
    assert policy.allows(IPv4Address("1.2.4.4"), 25)
    assert not policy.allows(IPv4Address("1.3.0.1"), 22)
    assert policy.allows(IPv6Address("2606:4700::1"), 443)
    assert not policy.allows(IPv6Address("2606:4701::1"), 80)
    assert policy.allows(IPv6Address("2606:4701::2"), 80)
    assert not policy.allows(one, 80), "*6 says nothing about IPv4"


def test_port_0_follows_the_first_rule_of_the_address() -> None:
    policy = ExitPolicy.parse("ExitPolicy reject 1.0.0.0/8:25\nExitPolicy accept *:443\nExitPolicy reject *:*")
    assert not policy.allows(IPv4Address("1.1.1.1"), 0)
    assert policy.allows(IPv4Address("2.1.1.1"), 0)


def test_default_policy() -> None:
    policy = ExitPolicy.parse(DEFAULT_POLICY)
    host = IPv4Address("203.0.114.10")
    assert all(policy.allows(host, port) for port in (22, 53, 80, 443, 8443, 50000, 65535))
    assert not any(policy.allows(host, port) for port in (1, 25, 119, 3000, 49999))
    assert ExitPolicy.accept_all().allows(host, 25)
    assert ExitPolicy.accept_all().allows(IPv6Address("2a0e::1"), 0)


@pytest.mark.parametrize(
    "line",
    [
        "ExitPolicy accept",
        "Policy accept *:*",
        "ExitPolicy maybe *:*",
        "ExitPolicy accept *",
        "ExitPolicy accept 1.2.3:80",
        "ExitPolicy accept 1.2.3.4/33:80",
        "ExitPolicy accept *:0-5",
        "ExitPolicy accept *:9-5",
        "ExitPolicy accept *:65536",
        "ExitPolicy accept *:http",
        "ExitPolicy accept *:",
        "ExitPolicy accept *:80 443",
    ],
)
def test_bad_lines_are_named(line: str) -> None:
    with pytest.raises(ConfigError, match="policy: line 2: "):
        ExitPolicy.parse("ExitPolicy accept *:80\n" + line)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tun", True),
        ("versions", (7,)),
        ("versions", ()),
        ("mtu", 100),
        ("mtu", "1420"),
        ("buffer_timeout_ms", 0),
        ("inactivity_timeout", 0),
        ("policy", "nonsense"),
        ("firewall", "nonsense"),
        ("build_version", "new"),
        ("no_such_setting", 1),
    ],
)
def test_bad_settings_are_named(setting: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        ExitConfig.from_mapping({setting: value})
    assert caught.value.setting == setting


def test_settings_from_json() -> None:
    assert ExitConfig.from_mapping({"versions": [9], "mtu": 1280}) == ExitConfig(versions=(9,), mtu=1280)


@pytest.mark.parametrize(
    ("build", "versions"),
    [("1.38.0", (8, 9, 10)), ("1.37.0-rc.1", (8, 9, 10)), ("1.36.9", (8, 9)), ("1.30.0", (8, 9)), ("1.29.0", (8,))],
)
def test_the_build_version_decides_what_is_spoken(build: str, versions: tuple[int, ...]) -> None:
    assert ExitConfig.from_mapping({"build_version": build}).versions == versions
    assert ExitConfig.from_mapping({"build_version": build, "versions": [9]}).versions == (9,)
