"""`startLocalnet`, and the examples that use it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from buildtools.common import PYTHON, ROOT
from tests.node.programs import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]


@pytest.mark.feature("Programs", "a local network started from JavaScript")
async def test_a_network(programs: Programs) -> None:
    got = await programs.value(
        """const network = await api.startLocalnet({ ...args, args: ["--exits", "1"] });
        await api.setupMixTunnel({ ...network.options, disablePoissonTraffic: true, disableCoverTraffic: true });
        const { status } = await api.mixFetch("https://origin.test/text");
        await api.disconnectMixTunnel();
        await network[Symbol.asyncDispose]();
        return [status, network.ca.startsWith("-----BEGIN"), network.endpoints.exits.length];""",
        {"checkout": str(ROOT), "python": str(PYTHON)},
        entry="smolmix-web/node",
    )
    assert got == [200, True, 1]


async def test_what_is_missing_is_named(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "localnet").mkdir()
    (tmp_path / "localnet" / "__init__.py").touch()
    (tmp_path / "localnet" / "__main__.py").write_text("raise SystemExit('no port is free')")
    got = await programs.value(
        """const told = [];
        for (const where of args) told.push(await caught(() => api.startLocalnet(where)));
        return told.map(({ code, message }) => [code, message]);""",
        [
            {"checkout": "/nowhere"},
            {"checkout": str(tmp_path)},
            {"checkout": str(tmp_path), "python": "/nowhere/python"},
            {"checkout": str(tmp_path), "python": str(PYTHON)},
        ],
        entry="smolmix-web/node",
    )
    assert {code for code, _ in got} == {"localnet_missing"}
    named = ["SMOLMIX_CHECKOUT", "build.py setup", "/nowhere/python", "no port is free"]
    assert [word for word, (_, message) in zip(named, got, strict=True) if word not in message] == []


RUNNERS = {
    "bot.test.js": ("--test",),
    "bot.vitest.test.js": ("node_modules/vitest/vitest.mjs", "run"),
    "bot.jest.test.js": ("--experimental-vm-modules", "node_modules/jest/bin/jest.js"),
}


@pytest.mark.parametrize("file", RUNNERS)
async def test_the_examples(programs: Programs, project: Path, libraries: Path, file: str) -> None:
    """With the test runner of Node.js, with Vitest and with Jest."""
    for name in ("bot.js", file):
        (project / name).write_bytes((ROOT / "examples" / "node" / name).read_bytes())
    node = programs.command("Node.js 22", project / file)[0]
    process = await asyncio.create_subprocess_exec(
        node, *RUNNERS[file], file, cwd=project, env={**os.environ, "SMOLMIX_CHECKOUT": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
