"""Which destinations an exit serves: the policy text and the list of networks that are not the internet
(docs/protocol/ipr.md 5.4).

    ExitPolicy accept|reject|accept6|reject6 <address>[/<mask>]:<ports>     # comment

The first rule that matches decides; none means refused. Port 0 stands for "no ports" (ICMP) and matches a rule by its
address alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from ..errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_POLICY = """
# A reduced port list in the shape of the public policy; data for tests, not an opinion.
ExitPolicy reject 25.0.0.0/8:*
ExitPolicy accept *:20-22
ExitPolicy accept *:43
ExitPolicy accept *:53
ExitPolicy accept *:79-81
ExitPolicy accept *:88
ExitPolicy accept *:110
ExitPolicy accept *:123
ExitPolicy accept *:143
ExitPolicy accept *:443
ExitPolicy accept *:465
ExitPolicy accept *:587
ExitPolicy accept *:853
ExitPolicy accept *:993
ExitPolicy accept *:995
ExitPolicy accept *:5222-5223
ExitPolicy accept *:8080
ExitPolicy accept *:8443
ExitPolicy accept *:8883
ExitPolicy accept *:9418
ExitPolicy accept *:50000-65535
ExitPolicy reject *:*
"""


def _parse(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part) for part in text.split())


_NOT_GLOBAL = _parse(
    "0.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 192.0.0.0/24 "
    "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 198.18.0.0/15 240.0.0.0/4 "
    "::/128 ::1/128 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 2001::/23 2002::/16 2001:db8::/32 fc00::/7 fe80::/10"
)
_GLOBAL_AFTER_ALL = _parse(
    "192.0.0.9/32 192.0.0.10/32 2001:1::1/128 2001:1::2/128 2001:3::/32 2001:4:112::/48 2001:20::/27"
)


def is_global(address: Address) -> bool:
    """Whether the exit takes the address for a part of the internet. Multicast counts as such."""
    return not _within(address, _NOT_GLOBAL) or _within(address, _GLOBAL_AFTER_ALL)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True)
class Rule:
    accept: bool
    networks: tuple[Network, ...]
    first_port: int
    last_port: int

    def matches(self, address: Address, port: int) -> bool:
        return _within(address, self.networks) and (port == 0 or self.first_port <= port <= self.last_port)


_ALL4, _ALL6 = ip_network("0.0.0.0/0"), ip_network("::/0")
_WILDCARDS: dict[str, tuple[Network, ...]] = {"*": (_ALL4, _ALL6), "*4": (_ALL4,), "*6": (_ALL6,)}
_ACTIONS = {"accept": True, "accept6": True, "reject": False, "reject6": False}


class ExitPolicy:
    """An ordered list of rules."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    @classmethod
    def parse(cls, text: str, setting: str = "policy") -> ExitPolicy:
        """Raises `ConfigError` that names the line."""
        rules = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if words:
                try:
                    rules.append(_rule(words))
                except ValueError as error:
                    raise ConfigError(setting, f"line {number}: {error}") from None
        return cls(tuple(rules))

    @classmethod
    def accept_all(cls) -> ExitPolicy:
        return cls((Rule(True, _WILDCARDS["*"], 0, 65535),))

    def allows(self, address: Address, port: int) -> bool:
        """`port` 0 where the protocol has none."""
        return next((rule.accept for rule in self.rules if rule.matches(address, port)), False)


def _rule(words: list[str]) -> Rule:
    if len(words) != 3 or words[0] != "ExitPolicy":
        raise ValueError("expected 'ExitPolicy <action> <address>:<ports>'")
    action, pattern = words[1:]
    if action not in _ACTIONS:
        raise ValueError(f"unknown action {action!r}")
    address, colon, ports = pattern.rpartition(":")
    if not colon:
        raise ValueError(f"no port in {pattern!r}")
    return Rule(_ACTIONS[action], _networks(address), *_ports(ports))


def _networks(text: str) -> tuple[Network, ...]:
    if text in _WILDCARDS:
        return _WILDCARDS[text]
    host, slash, mask = text.partition("/")
    return (ip_network(host.removeprefix("[").removesuffix("]") + slash + mask, strict=False),)


def _ports(text: str) -> tuple[int, int]:
    if text == "*":
        return 1, 65535
    if text == "0":
        return 0, 0
    first, dash, last = text.partition("-")
    if not all(part.isascii() and part.isdigit() for part in ((first, last) if dash else (first,))):
        raise ValueError(f"bad ports {text!r}")
    low, high = int(first), int(last if dash else first)
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"bad ports {text!r}")
    return low, high
