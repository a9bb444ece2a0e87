"""Where a program's sockets go, seen below every runtime: the `fetch` and `WebSocket` of Deno and Bun are no sockets of
`node:net`, so no spy in JavaScript sees them. The kernel does: what it is asked for is traced."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildtools import debian
from localnet import Network
from tests.node.programs import RUNTIMES, Programs, hosts_of
from tests.node.test_runtimes import EVERYTHING

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
# A call with an Internet address, as strace writes it.
CALL = re.compile(r"(connect|send\w+)\(.*?sin6?_port=htons\((\d+)\).*?inet_(?:addr\(|pton\(AF_INET6, )\"([^\"]+)\"")


@pytest.fixture(scope="module")
def strace() -> str:
    if shutil.which("strace") is None and debian.may_install():
        debian.install("strace")
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not here")
    if subprocess.run([path, "-f", "--seccomp-bpf", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("nobody may trace here")
    return path


def places_in(record: Path) -> Iterator[str]:
    for line in record.read_text(errors="replace").splitlines():
        found = CALL.search(line)
        if found is not None:
            call, port, address = found.groups()
            where = f"[{address}]" if ":" in address else address
            yield f"{'connect' if call == 'connect' else 'send'} {where}:{port}"


async def watched(programs: Programs, strace: str, body: str, runtime: str) -> tuple[object, set[str]]:
    record = programs.project / "wires.txt"
    below = (strace, "-f", "--seccomp-bpf", "-qq", "-s", "0", "-v", "-e", CALLS, "-o", str(record))
    # Deno asks for a newer Deno by itself: that is no program's doing.
    value = await replace(programs, below=below).value(body, None, runtime=runtime, DENO_NO_UPDATE_CHECK="1")
    return value, set(places_in(record))


@pytest.mark.feature("Programs", "nothing connects but to directory and gateway, seen below Node.js, Deno and Bun")
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_where_its_sockets_go(programs: Programs, network: Network, strace: str, runtime: str) -> None:
    value, places = await watched(programs, strace, EVERYTHING, runtime)
    assert isinstance(value, dict) and value["status"] == 200
    allowed = {f"connect {host}" for host in hosts_of(network)}
    assert places <= allowed, places - allowed
    assert f"connect {network.directory_url.split('/')[2]}" in places
    assert len(places) == 2, "the directory and one gateway"


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_it_would_be_seen(programs: Programs, strace: str, runtime: str) -> None:
    """Each way out of a program, taken on purpose."""
    ports, places = await watched(
        programs,
        strace,
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
        runtime,
    )
    assert isinstance(ports, list)
    assert {*(f"connect 127.0.0.1:{port}" for port in ports)} <= places
    assert places & {"send 127.0.0.1:9", "connect 127.0.0.1:9"}
