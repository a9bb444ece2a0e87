"""The wake-up of javascript/worker/host.js, in Node: never early, once for each setting, the newest alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from buildtools.common import ROOT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")

RUN = """
import { createAlarm } from "./javascript/worker/host.js";
const fired = [];
const alarm = createAlarm(() => fired.push(performance.now()));
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const found = {};
for (const [name, settings] of Object.entries(JSON.parse(process.argv[1]))) {
  fired.length = 0;
  const begun = performance.now();
  for (const setting of settings) {
    if (setting < 0) await pause(-setting);
    else alarm.set(setting);
  }
  await pause(150);
  found[name] = fired.map((time) => time - begun);
}
alarm.set(20);
alarm.close();
fired.length = 0;
await pause(60);
found.closed = fired;
process.stdout.write(JSON.stringify(found));
"""

# Settings in ms; below zero a pause.
CASES = {
    "soon": [0],
    "short": [1.5],
    "long": [30.2],
    "earlier": [60, 10],
    "later": [5, 40],
    "soon, later": [0, 40],
    "short, later": [2, 40],
    "twice": [0, -50, 10],
}


def test_a_wake_up() -> None:
    assert NODE is not None
    command = [NODE, "--input-type=module", "--eval", RUN, json.dumps(CASES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, list[Any]] = json.loads(done.stdout)
    assert found.pop("closed") == []
    for name, times in found.items():
        last = CASES[name][-1]
        begun = -sum(setting for setting in CASES[name] if setting < 0)
        assert len(times) == (2 if name == "twice" else 1), (name, times)
        assert times[-1] >= begun + last, (name, times)
