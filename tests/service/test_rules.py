"""The rules of the Service Worker without a browser: CORS, Referer, headers, the order of requests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.mark.feature(
    "Whole pages", "CORS check, preflight, exposed headers, Referrer Policy, priority: by the standards"
)
def test_rules() -> None:
    script = Path(__file__).with_name("rules.mjs")
    done = subprocess.run(["node", "--test", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
