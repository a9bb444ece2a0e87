"""Lazy set-up: the virtual environment and node_modules, both from lock files, skipped when current."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .common import (
    BUILD,
    NODE_MODULES,
    PYTHON,
    REQUIREMENTS,
    ROOT,
    VENV,
    TaskError,
    build_lock,
    run,
    say,
    tool_environment,
)
from .stamps import Stamp

THIS_PYTHON = "{} {}".format(*sys.version_info)
UV = "0.13.9"  # resolves pyproject.toml into the lock files; not needed to use them


def ensure_venv() -> None:
    """`.venv` holds exactly what requirements/dev.lock pins; an existing one is upgraded in place."""
    lock = REQUIREMENTS / "dev.lock"
    with build_lock("setup"):
        stamp = Stamp("requirements", [lock, THIS_PYTHON], folder=VENV)
        if stamp.current(PYTHON) and _works():
            return
        if not _works():
            say("making .venv")
            _create_venv()
        say("installing Python packages from requirements/dev.lock")
        stamp.clear()
        install_locked(PYTHON, lock)
        stamp.write()


def install_locked(python: Path, lock: Path) -> None:
    """Exactly what a lock file pins, into the environment of `python`."""
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
         "--only-binary=:all:", "--require-hashes", "-r", lock])  # fmt: skip


def _works() -> bool:
    if not PYTHON.exists():
        return False
    probe = "import pip, sys; print(*sys.version_info[:2])"
    done = subprocess.run([str(PYTHON), "-c", probe], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == THIS_PYTHON


def _create_venv() -> None:
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError as error:
        raise TaskError(
            "this python3 cannot make virtual environments: install its venv package (Debian: python3-venv)"
        ) from error
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(VENV)


def ensure_node() -> None:
    """`node_modules` holds exactly what package-lock.json pins; no install scripts are run."""
    with build_lock("setup"):
        stamp = Stamp("packages", [ROOT / "package.json", ROOT / "package-lock.json"], folder=NODE_MODULES)
        if stamp.current(NODE_MODULES / ".package-lock.json"):
            return
        if shutil.which("npm") is None:
            raise TaskError("npm is not installed: install Node.js 20 or newer with npm")
        say("installing npm packages from package-lock.json")
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        stamp.write()


def lock_dependencies() -> None:
    """Resolve pyproject.toml and package.json anew into the lock files."""
    folder = BUILD / "lock-venv"
    run([sys.executable, "-m", "venv", folder])
    run([folder / "bin" / "pip", "install", "--quiet", f"uv=={UV}"])
    common: list[str | Path] = [folder / "bin" / "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes",
              "--no-emit-index-url", "--no-header", "--no-annotate", "pyproject.toml"]  # fmt: skip
    names = ("dev", "pyodide", "pyodide-test", "pyodide-guest")
    dev, runtime, tests, guest = (REQUIREMENTS / f"{name}.lock" for name in names)
    run([*common, "--python-version", "3.11", "--all-extras", "--group", "dev", "-o", dev])
    # In the browser rtls needs no system roots (wassima), and nothing there is Windows (colorama).
    browser = [*common, "--python-version", "3.14", "-c", dev, "--no-emit-package", "wassima"]
    run([*browser, "-o", runtime])
    run([*browser, "--no-emit-package", "colorama", "--group", "pyodide-test", "-o", tests])
    run([*browser, "--no-emit-package", "colorama", "--group", "pyodide-guest", "-o", guest])
    alone = common[: common.index("pyproject.toml")]  # a group without the package's own libraries
    run([*alone, "--python-version", "3.11", "--group", "docs", "-o", REQUIREMENTS / "docs.lock"])
    for place in (ROOT, ROOT / "buildtools" / "site"):
        npm = ["npm", "install", "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved"]
        run(npm, cwd=place)


def locked_packages(lock: Path) -> dict[str, str]:
    """Name to stanza (requirement line with its hashes) of a requirements lock file."""
    parts = re.split(r"(?m)^(?=[A-Za-z0-9._-]+==)", lock.read_text())
    return {part.split("==", 1)[0]: part for part in parts if "==" in part}


def download_wheels(lock: Path, folder: Path, *, platform: str, names: set[str]) -> None:
    """Fetch the locked wheels of `names` for another platform than this one into `folder`, hashes checked."""
    wanted = "".join(stanza for name, stanza in sorted(locked_packages(lock).items()) if name in names)
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "requirements.txt"
    listing.write_text(wanted)
    run([PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
         "--require-hashes", "--only-binary=:all:", "--python-version", "3.14", "--implementation", "cp",
         "--abi", "cp314", "--abi", "abi3", "--abi", "none", "--platform", platform, "-d", folder, "-r", listing],
        env=tool_environment())  # fmt: skip
    listing.unlink()
