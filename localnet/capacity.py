"""What a network needs of the machine: open files, counted beforehand, and refused where there are not so many.

A connection between two nodes stays once a packet has used it, and packets take every way in time. So the need is that
of all ways at once: an end in the process of either node.
"""

from __future__ import annotations

import resource
from collections import Counter

from .config import LAYERS, NetworkConfig
from .errors import LocalnetError
from .plan import NodePlan, plan

SPARE = 512  # files of the interpreter, the world's servers, clients, and flows of the exits


def files_needed(config: NetworkConfig) -> Counter[int]:
    """By process, as `plan` numbers them."""
    nodes = plan(config)
    stations: list[list[NodePlan]] = [[node for node in nodes if node.layer == layer] for layer in range(LAYERS + 1)]
    needed: Counter[int] = Counter()
    for node in nodes:
        needed[node.process] += 1 if node.layer else 2 + config.wss
    for number, before in enumerate(stations):
        after = stations[(number + 1) % len(stations)]
        for node in before:
            needed[node.process] += len(after)
        for node in after:
            needed[node.process] += len(before)
    for process in range(config.processes):
        needed[process] += SPARE
    return needed


def ensure_capacity(config: NetworkConfig) -> None:
    """Let this process, and those that it starts, open as many files as the system allows. `LocalnetError`
    `too_many_files` where that is less than the network needs."""
    ((process, needed),) = files_needed(config).most_common(1)
    allowed = raise_limit(needed)
    if needed > allowed:
        raise LocalnetError(
            f"the network may need {needed} open files in {'a further' if process else 'the main'} process, "
            f"the system allows {allowed}: take fewer nodes, more processes, or a higher limit (`ulimit -n`)",
            code="too_many_files",
            phase="setup",
        )


def raise_limit(wanted: int) -> int:
    """The number of files that may be open, after raising it to what is wanted as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError):  # some systems allow less than they say
            return soft
    return max(limit, soft)
