"""A small, complete Nym network for one machine: directory, gateways, mix nodes, exits, and a world behind them.

For tests, demonstrations and measurements; CPython only. Start it with `python -m localnet`, or in a program:

    async with Network(NetworkConfig(seed=1)) as net: ...
"""

from .config import NetworkConfig
from .errors import ConfigError, LocalnetError
from .links import LinkRule, LinkSettings
from .network import Network

__all__ = ["ConfigError", "LinkRule", "LinkSettings", "LocalnetError", "Network", "NetworkConfig"]
