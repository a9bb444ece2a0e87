"""The Python examples of all pages run against a local network, those of a page in order, and print what they say."""

from __future__ import annotations

import ast
import functools
import inspect
from typing import Any

import pytest

import smolmix_web.cpython
from localnet import Network
from smolmix_web.cpython import open_pool, open_tunnel
from smolmix_web.integrations import blocking
from tests.examples import examples, expected, local, needs_pyodide, pages_with

pytestmark = pytest.mark.timeout(150)

# A program, then parts that share names and a tunnel, with those of a second page. Elsewhere each block is a program.
CHAPTER, SEQUEL = "docs/python.md", "docs/isolation.md"
ELSEWHERE = {"docs/pyodide.md", "localnet/README.md"}  # in tests/browser; what a test of ours looks like


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
    pages = pages_with("python")
    whole, *parts = map(local, examples(pages[CHAPTER], "python"))
    others = [path for name, path in pages.items() if name not in {CHAPTER, SEQUEL, *ELSEWHERE}]
    programs = [local(code) for path in others for code in examples(path, "python") if not needs_pyodide(code)]
    assert len(programs) >= 7
    for program in (whole, *programs):
        assert await run(program, {}) == expected(program), program
    assert len(parts) >= 8
    async with open_tunnel(**options) as tunnel:
        names: dict[str, Any] = {"tunnel": tunnel}
        for part in (*parts, *map(local, examples(pages[SEQUEL], "python"))):
            assert await run(part, names) == expected(part), part
    assert localnet.violations() == {}
