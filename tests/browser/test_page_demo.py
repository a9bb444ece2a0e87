"""The demo command as a user runs it, with the standard traffic; and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from buildtools.common import DIST, ROOT
from buildtools.engines import ENGINES, missing
from demo.check import Expected, Report, judge
from demo.recorder import Allowed
from localnet.origin import body_sha256

pytestmark = pytest.mark.timeout(120)


async def demo(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "demo.run",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("engine", ENGINES)
async def test_once_with_json(tmp_path: Path, engine: str) -> None:
    """In each engine that this machine has."""
    reason = missing(engine)
    if reason is not None:
        pytest.skip(reason)
    picture = tmp_path / "page.png"
    process = await demo("--once", "--json", "--engine", engine, "--dist", str(DIST), "--screenshot", str(picture))
    output, errors = await process.communicate()
    lines = output.decode().splitlines()
    assert process.returncode == 0, output.decode() + errors.decode()
    facts = json.loads(lines[-1])
    assert list(facts) == ["engine", "state", "setup_ms", "fetch", "dns", "websocket", "sphinx", "other_requests"]
    assert (facts["engine"], facts["state"], facts["other_requests"]) == (engine, "ready", [])
    fetch = facts["fetch"]
    assert fetch["url"].startswith("https://origin.test/") and fetch["status"] == 200 and fetch["tls"] == "TLSv1.3"
    assert fetch["bytes"] >= 100_000
    assert fetch["sha256"] == fetch["sha256_expected"] == body_sha256(fetch["bytes"], "demo")
    assert facts["dns"] == {"name": "origin.test", "address": "203.0.114.10"}
    assert facts["websocket"]["sent"] == facts["websocket"]["echoed"] != ""
    assert facts["sphinx"]["sent"] > 20 and facts["sphinx"]["received"] > fetch["bytes"] // 2000
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert any("mixFetch" in line for line in lines[:-1])


async def test_it_serves_until_it_is_interrupted() -> None:
    process = await demo("--dist", str(DIST))
    assert process.stdout is not None
    async with asyncio.timeout(100):
        while b"the page is at " not in (line := await process.stdout.readline()):
            assert line, "it ended"
        url = line.split(b"the page is at ")[1].split()[0].decode()
        page = await asyncio.to_thread(lambda: urlopen(url, timeout=10).read())
        assert b"smolmix-web" in page
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert errors == b""


async def test_without_a_build_it_says_what_to_do(tmp_path: Path) -> None:
    process = await demo("--once", "--dist", str(tmp_path))
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().splitlines() == [
        f"demo: {tmp_path / 'index.js'} is missing: run `python3 build.py build` first"
    ]


# -- what is judged -------------------------------------------------------------------------------------

EXPECTED = Expected("https://o.test/", "ab", 5, "o.test", ("203.0.114.10",))
GOOD: dict[str, Any] = {
    "state": "ready",
    "setup_ms": 1,
    "fetch": {"status": 200, "bytes": 5, "sha256": "ab", "tls": "TLSv1.3", "ms": 1},
    "dns": {"name": "o.test", "address": "203.0.114.10"},
    "websocket": {"sent": "x", "echoed": "x"},
    "statistics": {"packets_sent": 1, "bodies_received": 1},
}


def failures(**changes: Any) -> list[str]:
    outcome = {name: {**value} if isinstance(value, dict) else value for name, value in GOOD.items()}
    for path, value in changes.items():
        where, _, name = path.partition("__")
        if name:
            outcome[where][name] = value
        else:
            outcome[where] = value
    report = Report()
    judge(report, outcome, EXPECTED)
    return report.failures


def test_a_good_run_has_no_failures() -> None:
    assert failures() == []


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("state", "failed", "state"),
        ("fetch__status", 500, "status"),
        ("fetch__bytes", 4, "bytes"),
        ("fetch__sha256", "cd", "SHA-256"),
        ("fetch__tls", None, "TLS"),
        ("dns__address", "203.0.114.11", "address"),
        ("websocket__echoed", "y", "WebSocket"),
        ("statistics__packets_sent", 0, "sent"),
        ("statistics__bodies_received", None, "received"),
        ("fetch", None, "status"),
    ],
)
def test_each_fact_is_judged(path: str, value: Any, word: str) -> None:
    assert any(word in failure for failure in failures(**{path: value}))


def test_a_step_that_failed_is_named() -> None:
    error = {"message": "no answer", "code": "dns_timeout", "phase": "dns"}
    assert failures(error=error, step="dns") == ["step dns: no answer, code dns_timeout, phase dns"]


def test_kinds_of_requests() -> None:
    allowed = Allowed("http://127.0.0.1:80", ("http://127.0.0.1:8000/api/",), ("ws://127.0.0.1:9000",))
    urls = {
        "http://127.0.0.1:80/index.html": "site",
        "blob:http://127.0.0.1:80/1234": "site",
        "http://127.0.0.1:8000/api/v1/x": "directory",
        "ws://127.0.0.1:9000/": "gateway",
        "ws://127.0.0.1:9000": "gateway",
        "http://127.0.0.1:8/index.html": None,
        "http://127.0.0.1:8000/other": None,
        "ws://127.0.0.1:90001/": None,
        "https://o.test/": None,
    }
    assert {url: allowed.kind(url) for url in urls} == urls
    assert Counter(urls.values())[None] == 4
