"""Ten minutes of bad days with both clients (bench/soak.py): nothing hangs, nothing is wrong, memory stays flat."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from buildtools.common import DIST, ROOT

MINUTES = 10
GROWTH = 12.0  # MB beyond the end of the first minute


@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 400)
def test_ten_minutes_of_soak() -> None:
    assert (DIST / "worker.js").exists(), "dist/ is missing: run `python3 build.py build` first"
    command = [sys.executable, "-m", "bench.soak", "--minutes", str(MINUTES), "--json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MINUTES * 60 + 300, check=False)
    assert run.stdout, run.stderr[-3000:]
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["operations"]["hung"] == 0 and report["operations"]["wrong"] == 0, run.stderr[-3000:]
    assert run.returncode == 0 and report["ok"], run.stderr[-3000:]
    assert {row["client"] for row in report["minutes"]} == {"cpython", "chromium", "network"}
    happened = {incident["what"] for incident in report["incidents"]}
    assert {"gateway_cut", "exit_restart", "key_rotation"} <= happened
    for client in ("cpython", "chromium"):
        memory = report["memory"][client]
        assert memory["end_mb"] <= memory["warm_mb"] + GROWTH, f"{client}: {memory}"
