"""A fixture that installs the tarball: a project with pinned tools, put together in build/consumers/ and built there."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from buildtools.common import BUILD
from buildtools.stamps import Stamp

FIXTURES = Path(__file__).parent / "fixtures"
FOLDER = BUILD / "consumers"
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
# Tools that would phone home, or ask.
ENVIRONMENT = {"CI": "1", "NEXT_TELEMETRY_DISABLED": "1", "PARCEL_WORKERS": "0", "NO_COLOR": "1"}
TOOL_SECONDS = 400


@dataclass(frozen=True)
class Consumer:
    """One project; `folder` is where it lies."""

    name: str
    folder: Path

    def tool(self, *command: str) -> str:
        """Run a tool of the project; what it said. Raises with that when it failed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def bin(self, name: str, *arguments: str) -> str:
        return self.tool(str(self.folder / "node_modules" / ".bin" / name), *arguments)

    @property
    def package(self) -> Path:
        return self.folder / "node_modules" / "smolmix-web"


def install(name: str, tarball: Path) -> Consumer:
    """The fixture of that name with the tarball installed; its tools are kept from run to run."""
    source, folder = FIXTURES / name, FOLDER / name
    consumer = Consumer(name, folder)
    tools = Stamp(f"consumer-{name}", [source / "package.json", source / "package-lock.json"])
    if not tools.current(folder / "package.json"):
        tools.clear()
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name != "node_modules":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "src").mkdir(exist_ok=True)
    shutil.copyfile(FIXTURES / "app.js", folder / "src" / "app.js")
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text('{ "private": true }\n')
    elif not tools.current():
        consumer.tool("npm", "ci", *QUIET)
        tools.write()
    consumer.tool("npm", "install", "--no-save", "--no-package-lock", "--prefer-offline", *QUIET, str(tarball))
    return consumer
