"""A program's tunnel rests and goes on: the gateway's socket closes when nobody listens to it any more."""

from __future__ import annotations

import pytest

from tests.node.programs import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]


@pytest.mark.feature("Programs", "suspend and resume, again and again")
@pytest.mark.parametrize("runtime", ["Node.js 22", "Node.js 26"])
async def test_again_and_again(programs: Programs, runtime: str) -> None:
    """After an error, which costs so much memory that garbage is collected: Node.js then knows fewer listeners."""
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const tunnel = await api.getMixTunnel();
        const found = [];
        for (let round = 0; round < 4; round += 1) {
          const { code } = await caught(() => api.mixFetch("https://nowhere.test/"));
          await tunnel.suspend();
          await new Promise((done) => setTimeout(done, 200)); // the socket is closed meanwhile
          const { state } = tunnel.state;
          await tunnel.resume();
          found.push([code, state, await (await api.mixFetch("https://origin.test/text")).text()]);
        }
        await api.disconnectMixTunnel();
        return found;""",
        runtime=runtime,
    )
    assert got == [["dns_not_found", "suspended", "Hello from the origin.\n"]] * 4


@pytest.mark.feature("Programs", "a body that is a stream of Buffers")
async def test_a_stream_of_buffers(programs: Programs) -> None:
    got = await programs.value(
        """await api.setupMixTunnel(options);
        const { Readable } = await import("node:stream");
        const body = Readable.toWeb(Readable.from([Buffer.from("one, "), Buffer.from("two")]));
        const response = await api.mixFetch("https://origin.test/echo", { method: "POST", body, duplex: "half" });
        const { text } = await response.json();
        await api.disconnectMixTunnel();
        return text;"""
    )
    assert got == "one, two"
