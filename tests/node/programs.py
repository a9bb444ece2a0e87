"""Programs of JavaScript in a runtime of npm's, with the package installed beside them, on a local network.

A test gives the body of an async function: `api` is the module that it asks for, `options` those of a tunnel, `args`
the test's arguments. What it returns comes back as JSON. Whatever else the program writes is looked at too: nothing is
expected.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildtools.common import BUILD, build_lock
from buildtools.npm import ensure_package
from buildtools.stamps import Stamp
from localnet import Network
from tests.consumers.consumer import unpack

HERE = Path(__file__).parent
FOLDER = BUILD / "node"
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
PROGRAM_SECONDS = 100
RESULT = "result: "
SPY = HERE / "spy.mjs"

# Command of a runtime: below node_modules of the folder runtimes/, and what stands before the program.
RUNTIMES = {
    "Node.js 22": ("node-oldest/bin/node", ()),
    "Node.js 26": ("node-newest/bin/node", ()),
    "Deno": ("@deno/linux-x64-glibc/deno", ("run", "--quiet", "--allow-all", "--no-lock", "--node-modules-dir=manual")),
    "Bun": ("@oven/bun-linux-x64/bin/bun", ("run",)),
}

WRAPPER = """
import * as api from "ENTRY";
const { options, args } = JSON.parse(process.env.SMOLMIX_TEST);
const sha256 = async (bytes) => Buffer.from(await crypto.subtle.digest("SHA-256", bytes))
  .toString("hex");
const caught = async (work) => {
  try {
    await work();
  } catch ({ name, code = null, reason = null, message }) {
    return { name, code, reason, message };
  }
  return null;
};
const value = await (async () => { BODY })();
console.log("RESULT" + JSON.stringify(value ?? null));
"""


def modules(name: str) -> Path:
    """node_modules of one of the folders here, from its lock file; where they cannot be had the test is skipped."""
    source, folder = HERE / name, FOLDER / name
    stamp = Stamp(f"node-{name}", [source / "package.json", source / "package-lock.json"])
    with build_lock(f"node-{name}"):
        if not stamp.current(folder / "node_modules"):
            install(source, folder, stamp)
    return folder / "node_modules"


def install(source: Path, folder: Path, stamp: Stamp) -> None:
    stamp.clear()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    done = subprocess.run(["npm", "ci", *QUIET], cwd=folder, capture_output=True, text=True, timeout=400)
    if done.returncode:
        shutil.rmtree(folder)
        pytest.skip(f"npm does not give what tests/node/{source.name} names: {done.stderr.strip().splitlines()[-1:]}")
    stamp.write()


def write_project(folder: Path) -> None:
    """A program's folder, with the package installed."""
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
    unpack(ensure_package(), folder / "node_modules" / "smolmix-web")


def hosts_of(network: Network) -> set[str]:
    """Host and port of whoever a tunnel may connect to."""
    gateways = [*network.gateways, *(service.gateway for service in network.exits)]
    return {url.split("/")[2] for url in (network.directory_url, *(gateway.url for gateway in gateways))}


@dataclass
class Ended:
    """How a program ended; seconds since it began."""

    code: int
    value: Any
    out: str
    errors: str
    seconds: float


@dataclass
class Programs:
    """Runs programs. `project`: the folder whose `node_modules` has the package."""

    project: Path
    options: dict[str, Any]
    home: Path
    below: tuple[str, ...] = ()  # a command that runs the runtime
    _count: int = 0

    def write(self, program: str) -> Path:
        self._count += 1
        path = self.project / f"program{self._count}.mjs"
        path.write_text(program)
        return path

    def command(self, runtime: str, program: Path) -> list[str]:
        name, before = RUNTIMES[runtime]
        path = modules("runtimes") / name
        if not path.exists():
            pytest.skip(f"{runtime} is not there for this machine")
        return [*self.below, str(path), *before, str(program)]

    async def start(
        self, body: str, args: Any = None, *, entry: str = "smolmix-web", **how: str
    ) -> asyncio.subprocess.Process:
        program = WRAPPER.replace("ENTRY", entry).replace("BODY", body).replace("RESULT", RESULT)
        return await self._start(program, args, **how)

    async def _start(
        self, program: str, args: Any = None, *, runtime: str = "Node.js 22", **env: str
    ) -> asyncio.subprocess.Process:
        told = json.dumps({"options": self.options, "args": args})
        return await asyncio.create_subprocess_exec(
            *self.command(runtime, self.write(program)),
            cwd=self.project,
            env={**os.environ, "XDG_DATA_HOME": str(self.home), "SMOLMIX_TEST": told, "NO_COLOR": "1", **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, body: str, args: Any = None, **how: str) -> Ended:
        """The program to its end."""
        return await self._end(self.start(body, args, **how))

    async def run_whole(self, program: str, args: Any = None, **how: str) -> Ended:
        """A program that has its imports itself."""
        return await self._end(self._start(program, args, **how))

    async def _end(self, starting: Awaitable[asyncio.subprocess.Process]) -> Ended:
        began = asyncio.get_running_loop().time()
        process = await starting
        try:
            async with asyncio.timeout(PROGRAM_SECONDS):
                out, errors = await process.communicate()
        except BaseException:
            process.kill()
            raise
        code = process.returncode
        assert code is not None
        value, rest = None, []
        for line in out.decode().splitlines():
            if line.startswith(RESULT):
                value = json.loads(line.removeprefix(RESULT))
            else:
                rest.append(line)
        seconds = asyncio.get_running_loop().time() - began
        return Ended(code, value, "\n".join(rest), errors.decode(), seconds)

    async def value(self, body: str, args: Any = None, **how: str) -> Any:
        """What the program returns; it has to end well, by itself and without another word."""
        ended = await self.run(body, args, **how)
        assert (ended.code, ended.out, ended.errors) == (0, "", ""), ended
        return ended.value

    async def spied(self, body: str, args: Any = None, **how: str) -> tuple[Any, list[list[str]]]:
        """The same, and each place that a socket or a look-up of the program asked for: [thread, kind, what]."""
        record = self.project / f"spied{self._count}.jsonl"
        record.write_text("")
        how |= {"NODE_OPTIONS": f"--import={SPY.as_uri()}", "SMOLMIX_SPY": str(record)}
        value = await self.value(body, args, **how)
        return value, [json.loads(line) for line in record.read_text().splitlines()]
