"""What the examples share: the flag --ipr, the network to use, a stopwatch, and the clear net for comparison.

The environment variable SMOLMIX_LOCALNET names a local network: what `python3 build.py localnet --json` prints, or a
file that holds it. Then the clear net is left out: the names of a local network exist behind its exits only.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any


def arguments(description: str | None, **positional: str) -> argparse.Namespace:
    """The command line: `--ipr`, and arguments with a default."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--ipr", metavar="ADDRESS", help="Nym address of the exit; default: drawn by weight")
    for name, default in positional.items():
        parser.add_argument(name, nargs="?", default=default, help=f"default: {default}")
    return parser.parse_args()


def local_network() -> dict[str, Any] | None:
    given = os.environ.get("SMOLMIX_LOCALNET")
    if not given:
        return None
    described: dict[str, Any] = json.loads(given if given.startswith("{") else Path(given).read_text())
    return described


def options(ipr: str | None) -> dict[str, Any]:
    """For `open_tunnel` and `BlockingTunnel`."""
    chosen: dict[str, Any] = {"preferred_ipr": ipr, "verbose": True}
    network = local_network()
    if network is not None:
        chosen |= {
            "directory_urls": [network["directory"]],
            "force_tls": False,
            "ca_certificates": Path(network["ca"]).read_text(),
            "disable_poisson_traffic": True,
        }
    return chosen


class Stopwatch:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def ms(self) -> int:
        return round((time.monotonic() - self._begun) * 1000)
