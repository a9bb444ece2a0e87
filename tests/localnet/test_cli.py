"""`python -m localnet`: its options, its output, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from localnet import ConfigError
from localnet.__main__ import config_from, main, parser

ROOT = Path(__file__).resolve().parents[2]


async def start(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "localnet",
        *options,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_prints_json_serves_and_ends_on_a_signal(ending: signal.Signals, tmp_path: Path) -> None:
    process = await start("--json", "--seed", "x", "--mixes", "1", "--processes", "2", "--ca-dir", str(tmp_path))
    assert process.stdout is not None
    async with asyncio.timeout(20):
        endpoints = json.loads(await process.stdout.readline())
    assert endpoints["mixes"] == ["mix1a", "mix2a", "mix3a"] and endpoints["seed"] == "x"
    assert len(endpoints["gateways"]) == len(endpoints["exits"]) == 2
    assert Path(endpoints["ca"]) == tmp_path / "ca.pem" and "BEGIN CERTIFICATE" in Path(endpoints["ca"]).read_text()

    def rewarded() -> dict[str, list[int]]:
        with urllib.request.urlopen(endpoints["directory"] + "v1/nym-nodes/rewarded-set", timeout=5) as response:
            found: dict[str, list[int]] = json.load(response)
            return found

    assert len((await asyncio.to_thread(rewarded))["layer1"]) == 1
    process.send_signal(ending)
    async with asyncio.timeout(20):
        _, errors = await process.communicate()
    assert process.returncode == 0 and errors == b""


async def test_prints_plain_lines_and_ends_by_itself() -> None:
    process = await start("--seconds", "0.2", "--exits", "1", "--exit-version", "1.36.0")
    async with asyncio.timeout(20):
        output, errors = await process.communicate()
    text = output.decode()
    assert process.returncode == 0 and errors == b""
    assert "directory  http://127.0.0.1:" in text and "origin.test" in text
    assert text.count("exit       exit") == 1 and "1.36.0" in text


def test_options_become_settings() -> None:
    options = ["--mixes", "3", "--latency-ms", "20", "--loss", "0.01", "--gateway-protocol", "5"]
    config = config_from(parser().parse_args([*options, "--link", "client->*:latency=0.05,loss=0.1"]))
    assert (config.mixes_per_layer, config.gateway_protocol) == (3, 5)
    assert [(rule.pattern, dict(rule.settings)) for rule in config.links] == [
        ("*", {"latency": 0.02, "loss": 0.01}),
        ("client->*", {"latency": 0.05, "loss": 0.1}),
    ]
    assert config_from(parser().parse_args([])).links == ()


@pytest.mark.parametrize("text", ["latency=1", "x:latency", "x:speed=1", "x:loss=2", ":loss=0.1"])
def test_bad_links_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config_from(parser().parse_args(["--link", text]))


def test_bad_settings_end_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mixes", "0"]) == 2
    assert capsys.readouterr().err == "localnet: mixes_per_layer: 0 is not a number from 1 to 50\n"
