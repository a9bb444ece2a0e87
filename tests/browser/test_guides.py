"""The JavaScript examples that say what they print do so, each alone in a page, against the local network."""

from __future__ import annotations

import re

import pytest

from tests.browser.page_session import ApiPage
from tests.examples import examples, expected, for_node, local, pages_with

pytestmark = pytest.mark.timeout(180)

# Names that are used without an import, and what is printed.
PRELUDE = """
const options = args.options, printed = [];
const console = { log: (...values) => printed.push(values.map(String).join(" ")) };
const { %s } = api;
{ %s }
return printed;
"""
EXPORTS = (
    "MixTunnel", "MixWebSocket", "createMixFetch", "getMixTunnel", "getTunnelState", "mixFetch", "setupMixTunnel",
)  # fmt: skip


# Those that say what they print; a bundler's configuration is none. Programs run in tests/node.
CASES = [
    pytest.param(code, id=f"{page}-{number}")
    for page, path in pages_with("js").items()
    for number, code in enumerate(examples(path, "js"))
    if expected(code) and f"{page}-{number}" not in for_node()
]


def test_there_are_some() -> None:
    assert len(CASES) >= 20


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.feature("Packaging", "the guides: every example runs")
@pytest.mark.parametrize("code", CASES)
async def test_example(shared: ApiPage, code: str) -> None:
    body = re.sub(r"^import .*$", "", local(code), flags=re.MULTILINE)
    printed = await shared.run(PRELUDE % (", ".join(EXPORTS), body), options=shared.options, timeout=150)
    assert printed == [local(line) for line in expected(code)]
    assert shared.recorder.others() == []
