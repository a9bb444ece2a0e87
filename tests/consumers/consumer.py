"""A fixture that installs the tarball: a project with pinned tools, put together and built in build/consumers/."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
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


def install(name: str, tarball: Path, build: Callable[[Consumer], object] = lambda consumer: None) -> Consumer:
    """The fixture of that name with the tarball installed, and built; anew when something of it has changed."""
    source, folder = FIXTURES / name, FOLDER / name
    consumer = Consumer(name, folder)
    tools = Stamp(f"consumer-tools-{name}", [source / "package.json", source / "package-lock.json"])
    built = Stamp(f"consumer-{name}", [tarball, source, FIXTURES / "app.js", inspect.getsource(build)])
    if built.current(consumer.package):
        return consumer
    built.clear()
    keep = "node_modules" if tools.current(folder / "node_modules") else ""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name != keep:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "src").mkdir(exist_ok=True)
    shutil.copyfile(FIXTURES / "app.js", folder / "src" / "app.js")
    if not keep and (folder / "package-lock.json").exists():
        consumer.tool("npm", "ci", *QUIET)
        tools.write()
    unpack(tarball, consumer.package)
    build(consumer)
    built.write()
    return consumer


def unpack(tarball: Path, folder: Path) -> None:
    """As npm installs a package that has no dependencies and no scripts."""
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(tarball) as archive:
        for entry in archive.getmembers():
            source = archive.extractfile(entry)
            assert source is not None and entry.name.startswith("package/"), entry.name
            target = folder / entry.name.removeprefix("package/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read())
