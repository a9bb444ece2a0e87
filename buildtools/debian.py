"""Install Debian packages, where we are root on such a system."""

from __future__ import annotations

import os
import shutil

from .common import run, say


def may_install() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """`TaskError` when apt-get fails."""
    say(f"installing Debian packages: {', '.join(packages)}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run(["apt-get", "update", "-q"], env=env)
    run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=env)
