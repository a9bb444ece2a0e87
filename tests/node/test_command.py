"""The command of the npm package: options, output and exit codes as the Python command has them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from localnet import Network
from localnet.origin import body_bytes
from tests.node.programs import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]


class Command:
    def __init__(self, programs: Programs, network: Network, folder: Path) -> None:
        cli = programs.project / "node_modules" / "smolmix-web" / "dist" / "node" / "cli.js"
        self._begin = programs.command("Node.js 22", cli)
        ca = folder / "ca.pem"
        ca.write_text(network.ca_pem)
        self._tunnel = ["--directory", network.directory_url, "--no-tls", "--no-poisson", "--no-cover", "--ca", str(ca)]

    async def start(self, *words: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        environment = {**os.environ, "NO_COLOR": "1"}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._begin, *words, env=environment, stdin=stdin, stdout=pipe, stderr=pipe
        )

    async def run(self, words: Sequence[str], *, tunnel: bool = True, stdin: bytes = b"") -> tuple[int, bytes, str]:
        process = await self.start(*words, *(self._tunnel if tunnel else ()), stdin=asyncio.subprocess.PIPE)
        async with asyncio.timeout(100):
            out, errors = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out, errors.decode()

    async def proxy(self, *words: str) -> tuple[asyncio.subprocess.Process, int]:
        process = await self.start("proxy", "--socks", "127.0.0.1:0", "--json", "--quiet", *words, *self._tunnel)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = json.loads(await process.stdout.readline())
        return process, int(line["listening"]["socks"].rpartition(":")[2])


@pytest.fixture
def command(programs: Programs, network: Network, tmp_path: Path) -> Command:
    return Command(programs, network, tmp_path)


@pytest.mark.feature("Programs", "npx smolmix-web fetch")
async def test_fetch(command: Command, tmp_path: Path) -> None:
    code, out, errors = await command.run(["fetch", "https://origin.test/bytes/100000?seed=2"])
    assert (code, out) == (0, body_bytes(100_000, 2))
    assert errors.splitlines()[0] == "tunnel connecting: boot" and "tunnel ready" in errors
    target = tmp_path / "body"
    words = ["fetch", "https://origin.test/upload", "-d", "hello", "-H", "X-A: b", "--json", "--quiet", "-o"]
    code, out, errors = await command.run([*words, str(target)])
    assert (code, errors) == (0, "")
    result = json.loads(out)
    assert json.loads(target.read_text())["length"] == 5
    assert result["status"] == 200 and result["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert {"url", "reason", "headers", "bytes", "tls", "ms", "setup_ms"} <= set(result) and "text" not in result


@pytest.mark.feature("Programs", "npx smolmix-web dns and ws")
async def test_dns_and_ws(command: Command) -> None:
    code, out, _ = await command.run(["dns", "origin.test", "--family", "4"])
    assert (code, out) == (0, b"203.0.114.10\n")
    code, out, _ = await command.run(["dns", "zone.test", "--type", "mx", "--json"])
    assert code == 0 and json.loads(out)["records"][0]["exchange"] == "mail.zone.test"
    code, out, _ = await command.run(["ws", "wss://ws.test/"], stdin=b"one\ntwo\n")
    assert (code, out) == (0, b"one\ntwo\n")
    code, out, _ = await command.run(["ws", "wss://ws.test/", "-m", "three", "--json"])
    assert code == 0 and json.loads(out)["received"] == ["three"] and json.loads(out)["close"] == [1000, ""]


FAILURES: list[tuple[list[str], int, str]] = [
    (["fetch", "http://closed.test/"], 1, "connect_refused"),
    (["dns", "nowhere.test"], 1, "dns_not_found"),
    (["fetch", "http://origin.test/", "-H", "nonsense"], 2, "bad_header"),
    (["fetch", "http://origin.test/delay/60", "--timeout", "8"], 1, "timeout"),
]


@pytest.mark.parametrize(("words", "code", "named"), FAILURES)
async def test_failures(command: Command, words: list[str], code: int, named: str) -> None:
    got, out, errors = await command.run([*words, "--json", "--quiet"])
    assert got == code and json.loads(out)["error"]["code"] == named
    assert len(errors.splitlines()) == 1 and errors.startswith(f"smolmix-web: {named}")


WRONG: list[list[str]] = [
    [],
    ["nothing"],
    ["fetch"],
    ["fetch", "a", "b"],
    ["dns", "x", "--nothing"],
    ["fetch", "http://x/", "--timeout", "soon"],
    ["fetch", "http://x/", "--traffic-rate", "7"],
    ["proxy", "--socks", "0.0.0.0:0", "--directory", "http://127.0.0.1:9/"],
]


@pytest.mark.parametrize("words", WRONG)
async def test_a_wrong_command_line(command: Command, words: list[str]) -> None:
    code, out, errors = await command.run([*words], tunnel=False)
    assert (code, out) == (2, b"") and errors.startswith("smolmix-web: ") and "Error:" not in errors


async def test_help(command: Command) -> None:
    for words in (["--help"], ["fetch", "-h"]):
        code, out, errors = await command.run(words, tunnel=False)
        assert (code, errors) == (0, "") and b"exit codes: 0 done" in out


@pytest.mark.feature("Programs", "npx smolmix-web proxy: SOCKS5 for other programs")
async def test_a_proxy(command: Command) -> None:
    process, port = await command.proxy()

    async def curl(*words: str) -> tuple[int, bytes]:
        asked = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--max-time", "60", "--socks5-hostname", f"127.0.0.1:{port}", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asked.communicate()
        assert asked.returncode is not None
        return asked.returncode, out

    answers = await asyncio.gather(*(curl(f"http://origin.test/bytes/40000?seed={seed}") for seed in range(4)))
    assert answers == [(0, body_bytes(40_000, seed)) for seed in range(4)]
    assert (await curl("http://[2a0e:6a80:114::a]/text"))[1] == b"Hello from the origin.\n"
    assert (await curl("http://closed.test/"))[0] == 97  # CURLE_PROXY: the proxy's answer
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        out, errors = await process.communicate()
    counters = json.loads(out)
    assert (process.returncode, errors) == (0, b"")
    assert (counters["connections"], counters["failed"]) == (6, 1) and counters["received"] > 160_000


async def test_a_proxy_with_credentials(command: Command, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("user:pass:word\n")
    process, port = await command.proxy("--credentials-file", str(credentials))

    async def talk(*steps: tuple[bytes, int]) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for sent, size in steps:
            writer.write(sent)
            answers.append(await reader.read(size))
        writer.close()
        return answers

    login = b"\x01\x04user\x09pass:word"
    ask = b"\x05\x01\x00\x03\x0borigin.test\x00\x50"
    assert await talk((b"\x05\x01\x00", 2)) == [b"\x05\xff"]
    assert await talk((b"\x05\x01\x02", 2), (b"\x01\x04user\x05wrong", 2)) == [b"\x05\x02", b"\x01\x01"]
    # What comes with the request, before its answer, is kept.
    request = ask + b"GET /text HTTP/1.0\r\nHost: origin.test\r\n\r\n"
    greeted, let_in, granted, answer = await talk((b"\x05\x01\x02", 2), (login, 2), (request, 10), (b"", 15))
    assert (greeted, let_in, granted[:2], answer) == (b"\x05\x02", b"\x01\x00", b"\x05\x00", b"HTTP/1.1 200 OK")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        await process.communicate()
    assert process.returncode == 0


async def test_interrupted(command: Command) -> None:
    words = ["fetch", "https://origin.test/bytes/50000000", "--json"]
    process = await command.start(*words, *command._tunnel)
    assert process.stderr is not None
    while b"ready" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    assert (process.returncode, out) == (130, b"")
