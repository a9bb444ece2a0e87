"""Where a program's sockets go, seen below every runtime: the `fetch` and `WebSocket` of Deno and Bun are no sockets of
`node:net`, so no spy in JavaScript sees them. This one stands before the system's own functions."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from buildtools.common import build_lock
from localnet import Network
from tests.node.programs import FOLDER, RUNTIMES, Programs, hosts_of
from tests.node.test_runtimes import EVERYTHING

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]
SOURCE = Path(__file__).parent / "wires.c"


@pytest.fixture(scope="module")
def library() -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    path = FOLDER / f"wires-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    with build_lock("node-wires"):
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".new")
            command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(beside), str(SOURCE), "-ldl"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            beside.replace(path)
    return path


async def watched(programs: Programs, library: Path, body: str, args: object, runtime: str) -> tuple[object, set[str]]:
    record = programs.project / "wires.txt"
    record.write_text("")
    # Deno asks for a newer Deno by itself: that is no program's doing.
    watch = {"LD_PRELOAD": str(library), "SMOLMIX_WIRES": str(record), "DENO_NO_UPDATE_CHECK": "1"}
    value = await programs.value(body, args, runtime=runtime, **watch)
    return value, set(record.read_text().splitlines())


@pytest.mark.feature("Programs", "nothing connects but to directory and gateway, seen below Node.js, Deno and Bun")
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_where_its_sockets_go(programs: Programs, network: Network, library: Path, runtime: str) -> None:
    value, places = await watched(programs, library, EVERYTHING, None, runtime)
    assert isinstance(value, dict) and value["status"] == 200
    hosts = hosts_of(network)
    addresses = {host.rsplit(":", 1)[0] for host in hosts}
    allowed = {f"connect {host}" for host in hosts} | {f"lookup {address}" for address in addresses}
    assert places <= allowed, places - allowed
    assert f"connect {network.directory_url.split('/')[2]}" in places
    assert len([place for place in places if place.startswith("connect ")]) == 2, "the directory and one gateway"


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_it_would_be_seen(programs: Programs, library: Path, runtime: str) -> None:
    """Each way out of a program, taken on purpose."""
    ports, places = await watched(
        programs,
        library,
        """const http = await import("node:http"), net = await import("node:net"), dgram = await import("node:dgram");
        const { default: process } = await import("node:process");
        const servers = [];
        for (const answer of [0, 1, 2]) {
          const server = http.createServer((request, response) => response.end("yes"));
          await new Promise((up) => server.listen(0, "127.0.0.1", up));
          servers.push(server);
        }
        const [one, two, three] = servers.map((server) => server.address().port);
        await (await fetch(`http://127.0.0.1:${one}/`)).text();
        const web = new WebSocket(`ws://127.0.0.1:${two}/`);
        await new Promise((done) => { web.onerror = web.onclose = done; });
        const socket = net.connect(three, "127.0.0.1");
        await new Promise((done) => socket.once("connect", done));
        socket.destroy();
        const udp = dgram.createSocket("udp4");
        await new Promise((done) => udp.send("x", 9, "127.0.0.1", done));
        udp.close();
        for (const server of servers) { server.closeAllConnections?.(); server.close(); }
        await new Promise((done) => setTimeout(done, 50));
        console.log("result: " + JSON.stringify([one, two, three]));
        process.exit(0);""",
        None,
        runtime,
    )
    assert isinstance(ports, list)
    assert {f"connect 127.0.0.1:{port}" for port in ports} <= places, places
    assert any(place.endswith(" 127.0.0.1:9") for place in places), places
