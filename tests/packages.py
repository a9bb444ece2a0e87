"""Our wheel and sdist as an index would have them, and virtual environments with chosen libraries in them, offline."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from buildtools.common import ROOT


def build(folder: Path) -> tuple[Path, Path]:
    """Wheel and sdist, made by the build backend that pyproject.toml names."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def extras() -> dict[str, list[str]]:
    """The requirements of each extra, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table: dict[str, list[str]] = project["optional-dependencies"]
    return table


def closure(requirements: list[Requirement]) -> set[str]:
    """Names of the installed distributions that they need, themselves included."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        environments = [{"extra": extra} for extra in ("", *requirement.extras)]
        if name in found or (requirement.marker and not any(map(requirement.marker.evaluate, environments))):
            continue
        found.add(name)
        for text in importlib.metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(map(needed.marker.evaluate, environments)):
                needed.marker = None
                waiting.append(needed)
    return found


class Environment:
    """A virtual environment without pip; the libraries are links to those of the interpreter that runs the tests."""

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(symlinks=True).create(folder)
        self.bin = folder / "bin"
        (self.packages,) = folder.glob("lib/python*/site-packages")

    def install(self, wheel: Path) -> None:
        """By pip, without what it depends on: nothing is fetched."""
        self._pip("install", "--no-index", "--no-deps", "--quiet", str(wheel))

    def check(self) -> None:
        """Fails unless everything that is required is there, in the range that is required."""
        self._pip("check")

    def _pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.bin / "python")]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def add(self, requirements: list[str]) -> None:
        """Libraries, and what they need."""
        for name in closure([Requirement(text) for text in requirements]):
            distribution = importlib.metadata.distribution(name)
            for top in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                place = self.packages / top
                if not place.exists():
                    place.symlink_to(Path(str(distribution.locate_file(top))))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment, from a folder that has nothing of ours."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.packages.parent,
            env={"PATH": str(self.bin), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
