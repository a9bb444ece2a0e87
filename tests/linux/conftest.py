"""Our stack against the kernel's, through a TUN device in a network namespace that each test makes for itself.

Left out with one line where that is not possible (no root, no /dev/net/tun). Packets are delayed, lost and so on in
user space (pump.py). What takes long carries the mark `long`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from tests.linux.namespace import Namespace, missing  # noqa: E402
from tests.linux.network import Network  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes more than a few seconds; only when the group is asked for by name")


@functools.cache
def unavailable() -> str | None:
    """Why these tests cannot run here."""
    reason = missing()
    if reason is None:
        try:
            Namespace().close()
        except OSError as error:
            reason = f"no network namespace: {error}"
    return reason


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if (reason := unavailable()) is not None:
        terminalreporter.write_line(f"skipped the tests against the Linux kernel: {reason}")


@pytest.fixture(scope="session", autouse=True)
def kernel_network() -> None:
    if (reason := unavailable()) is not None:
        pytest.skip(reason)


@pytest.fixture
def network() -> Iterator[Callable[..., Network]]:
    """Makes networks that are taken down after the test."""
    made: list[Network] = []

    def make(*args: Any, **options: Any) -> Network:
        made.append(Network(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
