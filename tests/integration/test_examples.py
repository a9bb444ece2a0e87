"""The examples in examples/python run, each as a program of its own, against a local network."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from localnet import Network
from localnet.origin import body_bytes

pytestmark = pytest.mark.timeout(120)

FOLDER = Path(__file__).parents[2] / "examples" / "python"


async def run(network: Network, name: str, *arguments: str) -> list[str]:
    """The lines it printed."""
    environment = {
        **os.environ,
        "SMOLMIX_LOCALNET": json.dumps(network.describe()),
        "PYTHONPATH": str(FOLDER.parents[1]),
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FOLDER / name), *arguments, stdout=pipe, stderr=pipe, env=environment
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


CASES: dict[str, tuple[list[str], list[str]]] = {
    "udp.py": (["origin.test"], [r"mixnet: \['203.0.114.10'\] in \d+ ms from 1.1.1.1"]),
    "tcp.py": (
        ["https://origin.test/text"],
        [r"mixnet: TLSv1.3 with 203.0.114.10 in \d+ ms", r"mixnet: HTTP/1.\d 200 OK, our address is .*"],
    ),
    "websocket.py": (
        ["wss://ws.test/"],
        [
            r"mixnet: open in \d+ ms",
            *(rf"mixnet: '{text}' in \d+ ms" for text in ("hello", "through", "the mixnet")),
            "mixnet: closed with code 1000",
        ],
    ),
    "tcp_download.py": (
        ["origin.test", "/bytes/5000,/bytes/20000"],
        [
            r"origin.test: \['203.0.114.10'\] in \d+ ms",
            r"/bytes/5000: 200, 5000 bytes on a new connection in .*",
            f"/bytes/5000: sha256 {hashlib.sha256(body_bytes(5000)).hexdigest()}",
            r"/bytes/20000: 200, 20000 bytes on a kept connection in .*",
            f"/bytes/20000: sha256 {hashlib.sha256(body_bytes(20000)).hexdigest()}",
        ],
    ),
    "httpx_client.py": (["https://origin.test/bytes/5000"], [r"HTTP/\S+ 200, 5000 bytes, \d+ ms"] * 3),
    "requests_session.py": (["https://origin.test/bytes/5000"], [r"200, 5000 bytes in \d+ ms"] * 2),
    "patched.py": (["https://origin.test/text"], [r"through the tunnel: socket, asyncio, .*guard", "200 23 bytes"]),
}


def test_none_is_left_out() -> None:
    assert CASES.keys() == {path.name for path in FOLDER.glob("*.py")} - {"network.py"}


@pytest.mark.feature("Python", "the examples of the reference, and more, with --ipr")
@pytest.mark.parametrize("name", CASES)
async def test_example(localnet: Network, name: str) -> None:
    arguments, expected = CASES[name]
    exits = [one["address"] for one in localnet.describe()["exits"]]
    lines = await run(localnet, name, "--ipr", exits[-1], *arguments)
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line
    assert localnet.violations() == {}
