"""The examples of the documentation that are programs: each runs by itself, ends, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildtools.common import ROOT
from tests.examples import expected, for_node, local
from tests.node.programs import Programs

pytestmark = pytest.mark.timeout(200)
ON_THE_NETWORK = pytest.mark.asyncio(loop_scope="session")

CASES = for_node()
# Where an example has the real network, here is the local one.
HERE = (
    (r"setupMixTunnel\(\)", "setupMixTunnel(options)"),
    (r"configure\(\{", "configure({ ...options,"),
    (r'checkout: "\.\./smolmix-web"', "checkout"),
)
SLOW = "warning: traffic_slowed"  # where an example has the usual traffic; true while others work here
PRELUDE = """const { options, args: checkout } = JSON.parse(process.env.SMOLMIX_TEST);
"""


@ON_THE_NETWORK
@pytest.mark.feature("Programs", "the guides: every example runs")
@pytest.mark.parametrize("name", CASES)
async def test_example(programs: Programs, tmp_path: Path, name: str) -> None:
    roots = tmp_path / "roots.pem"  # of servers, for what Node.js itself checks
    roots.write_text(programs.options["caCertificates"])
    code = local(CASES[name])
    for pattern, ours in HERE:
        code = re.sub(pattern, ours, code)
    ended = await programs.run_whole(PRELUDE + code, str(ROOT), NODE_EXTRA_CA_CERTS=str(roots))
    complaints = [line for line in ended.errors.splitlines() if SLOW not in line]
    assert (ended.code, complaints) == (0, []), ended
    if '"node:test"' in code:  # prints its own report
        assert re.search(r"(?m)^\S+ pass [1-9]", ended.out) and re.search(r"(?m)^\S+ fail 0$", ended.out), ended.out
    else:
        assert ended.out.splitlines() == expected(code)


def test_they_print_something() -> None:
    assert len(CASES) >= 5 and sum(bool(expected(code)) for code in CASES.values()) >= 3


@ON_THE_NETWORK
async def test_an_example_that_fails_is_seen(programs: Programs) -> None:
    """By its code, its output or its silence."""
    broken = await programs.run_whole('import { nothing } from "smolmix-web/node";\nconsole.log(nothing);')
    assert broken.code != 0 and "nothing" in broken.errors
