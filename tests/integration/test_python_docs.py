"""The examples of docs/python.md, peer-to-peer.md and isolation.md run, in order, against a local network."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import smolmix_web.cpython
from localnet import Network
from smolmix_web.cpython import open_pool, open_tunnel
from smolmix_web.integrations import blocking

pytestmark = pytest.mark.timeout(150)

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
PEERS = PAGE.with_name("peer-to-peer.md")
ISOLATION = PAGE.with_name("isolation.md")
README = PAGE.parents[1] / "README.md"
# Names of the documentation -> of the local network.
NAMES = {
    "nowhere.example.com": "nowhere.test",
    "closed.example.com": "closed.test",
    "expired.example.com": "expired.test",
    "echo.example.com": "echo.test",
    "ws.example.com": "ws.test",
    "example.com": "origin.test",
}


def examples(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def local(text: str) -> str:
    for name, ours in NAMES.items():
        text = text.replace(name, ours)
    return text


def expected(code: str) -> list[str]:
    """What it says it prints: `# -> text`, at the end of a line or as one of its own."""
    return re.findall(r"# -> (.*)$", code, re.MULTILINE)


async def run(code: str, names: dict[str, Any]) -> list[str]:
    """The lines it printed."""
    printed: list[str] = []

    def show(*values: object, **_: Any) -> None:
        printed.append(" ".join(map(str, values)))

    # The loop runs already.
    code = code.replace("asyncio.run(main())", "await main()")
    compiled = compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names["print"] = show
    result = eval(compiled, names)
    if inspect.iscoroutine(result):
        await result
    return printed


@pytest.mark.feature("Python", "fetch, streams, sockets, DNS, ping and errors as documented")
async def test_every_example(localnet: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "directory_urls": [localnet.directory_url],
        "force_tls": False,
        "ca_certificates": localnet.ca_pem,
        "disable_poisson_traffic": True,
    }
    for module in (smolmix_web.cpython, blocking):
        monkeypatch.setattr(module, "open_tunnel", functools.partial(open_tunnel, **options))
    monkeypatch.setattr(smolmix_web.cpython, "open_pool", functools.partial(open_pool, **options))
    whole, *parts = map(local, examples(PAGE))
    for program in (whole, *map(local, examples(README)), *examples(PEERS)):
        assert await run(program, {}) == expected(program)
    assert len(parts) >= 8
    async with open_tunnel(**options) as tunnel:
        names: dict[str, Any] = {"tunnel": tunnel}
        for part in (*parts, *map(local, examples(ISOLATION))):
            assert await run(part, names) == expected(part), part
    assert localnet.violations() == {}
