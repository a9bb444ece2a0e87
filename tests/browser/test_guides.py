"""The JavaScript examples that say what they print do so, one after the other, against the local network."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.page_session import ApiPage, Session
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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reader(session: Session) -> AsyncIterator[ApiPage]:
    """A page for all examples: some leave sockets open and cookies behind, as their readers' pages may."""
    page = await session.open()
    await page.set_up()
    yield page
    await page.page.context.close()


def test_there_are_some() -> None:
    assert len(CASES) >= 20


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.feature("Packaging", "the guides: every example runs")
@pytest.mark.parametrize("code", CASES)
async def test_example(reader: ApiPage, code: str) -> None:
    body = re.sub(r"^import .*$", "", local(code), flags=re.MULTILINE)
    printed = await reader.run(PRELUDE % (", ".join(EXPORTS), body), options=reader.options, timeout=150)
    assert printed == [local(line) for line in expected(code)]
    assert reader.recorder.others() == []
