"""Open files: the need is known beforehand, what does not fit is refused with numbers, and nobody spins without any."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from localnet import LocalnetError, Network, NetworkConfig, capacity
from localnet.__main__ import main
from localnet.capacity import SPARE, ensure_capacity, files_needed

ROOT = Path(__file__).resolve().parents[2]


def limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    """The limits that were set."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(capacity.resource, "getrlimit", lambda what: made[-1] if made else (soft, hard))
    monkeypatch.setattr(capacity.resource, "setrlimit", lambda what, both: made.append(both))
    return made


def test_the_need_counts_both_ends_of_every_way() -> None:
    # 3 + 3 stations, 4 mixes in three layers; mixes listen once, stations for nodes and for clients.
    one = files_needed(NetworkConfig(mixes_per_layer=4, gateways=3, exits=3))
    ways = 6 * 4 + 4 * 4 + 4 * 4 + 4 * 6
    assert one == {0: 2 * ways + 6 * 2 + 12 + SPARE}
    two = files_needed(NetworkConfig(mixes_per_layer=4, gateways=3, exits=3, processes=2))
    assert two == {0: 6 * 4 * 2 + 6 * 2 + SPARE, 1: 2 * ways - 6 * 4 * 2 + 12 + SPARE}


def test_the_limit_is_raised_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = NetworkConfig()
    (needed,) = files_needed(config).values()
    for soft, hard, expected in (
        (256, 100_000, [(needed, 100_000)]),
        (256, needed, [(needed, needed)]),
        (needed, needed, []),
        (256, resource.RLIM_INFINITY, [(needed, resource.RLIM_INFINITY)]),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, []),
    ):
        with monkeypatch.context() as patch:
            made = limits(patch, soft, hard)
            ensure_capacity(config)
            assert made == expected


async def test_what_does_not_fit_is_refused_with_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = NetworkConfig(mixes_per_layer=50, gateways=50, exits=50)
    needed = files_needed(config)[0]
    assert needed > 30_000
    limits(monkeypatch, 1024, 20_000)
    with pytest.raises(LocalnetError, match=f"{needed} open files .* 20000") as caught:
        async with Network(config):
            pass
    assert caught.value.code == "too_many_files" and caught.value.phase == "setup"


def test_the_command_says_it_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    limits(monkeypatch, 1024, 2000)
    assert main(["--mixes", "50", "--gateways", "50", "--exits", "50"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("localnet: the network may need ")


STARVED = """
import asyncio, json, resource, socket, time
from localnet.http_server import HttpServer, text_response
from localnet.listening import Listener

async def main():
    reports = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["message"]))
    async def hello(request):
        return text_response("hello")
    server = HttpServer(hello)
    await server.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    kept = []
    try:
        while True:
            kept.append(socket.socket())
    except OSError:
        kept.pop().close()  # one is left, for our own end of a connection
    spent = time.process_time()
    refused = []
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            refused.append(await reader.read(1) == b"")
        except ConnectionError:
            refused.append(True)
        writer.close()
        await asyncio.sleep(0.02)
    spent = time.process_time() - spent
    for one in kept:
        one.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    answer = await reader.read()
    print(json.dumps([all(refused), Listener.refused, reports, spent, answer[-5:].decode()]))
asyncio.run(main())
"""


def test_a_listener_without_files_refuses_and_comes_back() -> None:
    command = [sys.executable, "-c", STARVED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    refused, count, reports, spent, answer = json.loads(done.stdout)
    assert (refused, count, reports, answer, done.stderr) == (True, 20, [], "hello", "")
    assert spent < 0.5
