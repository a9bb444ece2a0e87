"""Two clients of CPython on a local network: messages, streams, the same address after a restart, the command line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import pytest

from localnet import Network
from smolmix_web.edge.peers import PeerStream
from smolmix_web.errors import StateError
from smolmix_web.rand import SeededRandom

from .tunnels import get, open_tunnel

pytestmark = pytest.mark.timeout(110)


async def read_all(stream: PeerStream) -> bytes:
    got = bytearray()
    while piece := await stream.read():
        got += piece
    return bytes(got)


@pytest.mark.feature("Streams", "two Python clients on a local network, 200 kB each way")
async def test_messages_and_a_stream(localnet: Network) -> None:
    data = SeededRandom("peers").bytes(200_000)
    async with open_tunnel(localnet, exit="none") as a, open_tunnel(localnet, exit="none") as b:
        incoming = b.messages
        sent = a.messages.send(b.address, b"hello")
        message = await incoming.receive(30)
        await sent.delivered(30)
        assert message.data == b"hello" and message.sender_tag is not None
        incoming.reply(message.sender_tag, b"hello yourself")
        assert (await a.messages.receive(30)).source == b.address

        with b.listen() as listener:
            dialed = await a.open_stream(b.address)

            async def serve() -> str:
                stream = await listener.accept(30)
                digest = hashlib.sha256(await read_all(stream)).hexdigest()
                await stream.write(data)
                await stream.finished(60)
                return digest

            serving = asyncio.create_task(serve())
            await dialed.write(data)
            await dialed.send_eof()
            assert await read_all(dialed) == data
            assert await serving == hashlib.sha256(data).hexdigest()
            await dialed.finished(60)
        with pytest.raises(StateError):
            await a.fetch("http://http.test/text")
    assert localnet.violations() == {}


async def test_beside_an_exit_on_one_identity(localnet: Network) -> None:
    async with open_tunnel(localnet) as a, open_tunnel(localnet) as b:
        listener = b.listen()
        dialed = await a.open_stream(b.address)
        accepted = await listener.accept(30)
        await dialed.write(bytes(100_000))
        (status, body), got = await asyncio.gather(
            get(a, "https://origin.test/bytes/50000"), accepted.read_exactly(100_000)
        )
        assert (status, len(body), got) == (200, 50_000, bytes(100_000))


@pytest.mark.feature("Streams", "clientId keeps the address over restarts")
async def test_a_stored_identity_is_found_again_under_its_address(
    localnet: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with open_tunnel(localnet, exit="none") as caller:
        addresses = []
        for number in range(2):
            async with open_tunnel(localnet, exit="none", clientId="callee") as tunnel:
                addresses.append(tunnel.address)
                incoming = tunnel.messages
                caller.messages.send(addresses[0], b"%d" % number)
                assert (await incoming.receive(30)).data == b"%d" % number
        assert addresses[0] == addresses[1]


async def smolmix(network: Network, *arguments: str) -> asyncio.subprocess.Process:
    tunnel = ["--directory", network.directory_url, "--no-tls", "--no-poisson", "--ca", str(network.ca_path), "--quiet"]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "smolmix_web",
        *arguments,
        *tunnel,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process, stdin: bytes = b"") -> tuple[int | None, bytes, str]:
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, out, err.decode()


@pytest.mark.feature("Streams", "command line: listen, send, stream, stream --listen")
async def test_the_command_line(localnet: Network) -> None:
    listener = await smolmix(localnet, "listen", "--count", "2")
    assert listener.stdout is not None
    address = (await asyncio.wait_for(listener.stdout.readline(), 30)).decode().strip()
    code, out, err = await ended(await smolmix(localnet, "send", address, "first", "--json"))
    assert code == 0 and json.loads(out)["delivered"] is True, err
    code, _, err = await ended(await smolmix(localnet, "send", address, "zweite ä", "--surbs", "0"))
    assert code == 0, err
    code, out, err = await ended(listener)
    assert (code, out.decode().splitlines()) == (0, ["first", "zweite ä"]), err

    data = SeededRandom("command line").bytes(300_000)
    callee = await smolmix(localnet, "stream", "--listen")
    assert callee.stderr is not None
    address = (await asyncio.wait_for(callee.stderr.readline(), 30)).decode().strip()
    caller = await smolmix(localnet, "stream", address)
    results = await asyncio.gather(ended(caller, data), ended(callee, b"from the one who was called"))
    assert [result[0] for result in results] == [0, 0], results
    assert results[1][1] == data and results[0][1] == b"from the one who was called"

    for arguments, name in ((("stream",), "usage"), (("send", "nonsense", "x"), "bad_recipient")):
        code, _, err = await ended(await smolmix(localnet, *arguments))
        assert code != 0 and name in err and len(err.splitlines()) == 1
