"""The guard of the worker's thread: what its sockets may reach, and what may not be asked for at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildtools.common import ROOT
from tests.node.programs import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(100)]


@pytest.mark.feature("Programs", "sockets, look-ups, UDP and processes of the worker's thread are stopped")
async def test_what_a_thread_may_reach(programs: Programs) -> None:
    wires = (ROOT / "javascript" / "node" / "worker" / "wires.js").as_uri()
    got = await programs.value(
        """const http = await import("node:http");
        const { Worker } = await import("node:worker_threads");
        let reached = 0;
        const servers = [0, 1].map(() => http.createServer((request, response) => response.end("yes")));
        for (const server of servers) {
          server.on("connection", () => { if (server === servers[1]) reached += 1; });
          await new Promise((up) => server.listen(0, "127.0.0.1", up));
        }
        const [allowed, other] = servers.map((server) => `http://127.0.0.1:${server.address().port}/`);
        const thread = new Worker(new URL(args.thread), { workerData: { allowed, other, wires: args.wires } });
        const told = await new Promise((done, fail) => thread.once("message", done).once("error", fail));
        await thread.terminate();
        for (const server of servers) { server.closeAllConnections(); server.close(); }
        return { ...told, reached };""",
        {"thread": (Path(__file__).parent / "thread.mjs").as_uri(), "wires": wires},
    )
    told = got["told"]
    assert told.pop("allowed") == "came" and got["reached"] == 0
    assert {name: how for name, how in told.items() if how != "stopped"} == {"WebSocket": "failed"}
    assert got["stopped"] >= len(told)
