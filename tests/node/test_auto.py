"""`smolmix-web/auto`: the first use opens the tunnel."""

from __future__ import annotations

import pytest

from tests.node.programs import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]


@pytest.mark.feature("Programs", "auto: many first uses open one tunnel, and it is opened again after closing")
async def test_many_first_uses(programs: Programs) -> None:
    got = await programs.value(
        """const seen = { connecting: 0, steps: [], timings: 0 };
        api.mixEvents.addEventListener("state", ({ detail }) => {
          if (detail.state === "connecting" && detail.step === "boot") seen.connecting += 1;
        });
        api.mixEvents.addEventListener("progress", ({ detail }) => seen.steps.push(detail.step));
        api.mixEvents.addEventListener("timing", () => { seen.timings += 1; });
        api.configure(options);
        const socket = new api.MixWebSocket("wss://ws.test/");
        const [response, name] = await Promise.all([api.mixFetch("https://origin.test/text"),
          api.mixDNS("origin.test"), socket.opened()]);
        const text = await response.text();
        const tcp = new api.TCPSocket("echo.test", 50007);
        await tcp.opened;
        await tcp.close();
        const late = await caught(() => api.configure({}));
        await socket.close();
        await api.closeMixTunnel();
        const { connecting } = seen;
        api.configure(options);
        const again = (await api.mixFetch("https://origin.test/text")).status;
        await api.closeMixTunnel();
        return { text, name, late: late.code, again, connecting, both: seen.connecting,
          steps: [...new Set(seen.steps)], timings: seen.timings };""",
        entry="smolmix-web/auto",
    )
    assert got.pop("steps") == ["boot", "directory", "gateway", "exit"]
    assert got.pop("timings") == 2
    assert got == {
        "text": "Hello from the origin.\n",
        "name": "203.0.114.10",
        "late": "already_set_up",
        "again": 200,
        "connecting": 1,
        "both": 2,
    }


async def test_a_tunnel_that_cannot_be_opened(programs: Programs) -> None:
    """Whoever uses it is told why; the next use tries again."""
    got = await programs.value(
        """api.configure({ ...options, directoryUrls: ["http://127.0.0.1:9/"] });
        const first = await caught(() => api.mixFetch("https://origin.test/text"));
        const socket = new api.MixWebSocket("wss://ws.test/");
        const second = await caught(() => socket.opened());
        await api.closeMixTunnel();
        api.configure(options);
        const response = await api.mixFetch("https://origin.test/text");
        return [first.code, second.code, response.status];""",
        entry="smolmix-web/auto",
    )
    assert got == ["unreachable", "unreachable", 200]


async def test_the_other_entries_keep_their_rule(programs: Programs) -> None:
    got = await programs.value('return (await caught(() => api.mixFetch("https://origin.test/"))).code;')
    assert got == "tunnel_down"
