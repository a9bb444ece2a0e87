"""Options `logger` and `logLevel`: what is said, and what is not."""

from __future__ import annotations

import json
import re

import pytest

from localnet import Network
from tests.node.programs import RUNTIMES, Programs, hosts_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]

# A life with secrets in it: fetching, failing, resolving, sockets.
LIFE = """
const secret = { clientId: "agent-perry", isolation: "doofenshmirtz", storagePassphrase: "platypus" };
secret.storage = new Map();
const tunnel = new api.MixTunnel({ ...options, ...secret, ...more });
await tunnel.setup();
const { address, state } = tunnel;
const response = await tunnel.fetch("https://origin.test/text?who=ferb"), { status } = response;
await response.text();
const codes = [];
for (const work of [() => tunnel.fetch("http://closed.test/"), () => tunnel.fetch("http://203.0.114.77/"),
  () => tunnel.resolve("nowhere.test"), () => tunnel.lookup("nowhere.test", { type: "MX" }),
  () => tunnel.webSocket("ws://closed.test/").opened(), () => tunnel.connectTcp("closed.test", 80),
  () => tunnel.fetch("https://wrong-name.test/")]) codes.push((await caught(work)).code);
await tunnel.disconnect();
"""


def secrets(network: Network, got: dict[str, list[str]]) -> list[str]:
    """What would tell who used it, for what, and by which nodes."""
    nodes = [*network.gateways, *(host.gateway for host in network.exits)]
    keys = [part for address in got["addresses"] for part in re.split(r"[.@]", address)]
    gateways = [node.identity_text for node in nodes]
    hosts = {place for host in hosts_of(network) for place in (host, host.rsplit(":", 1)[1])}
    said = [
        "agent-perry",
        "doofenshmirtz",
        "platypus",
        "ferb",
        "origin",
        "closed",
        "nowhere",
        "wrong-name",
        ".test",
        "203.0",
        "://",
    ]
    return [*keys, *gateways, *hosts, "127.0.0.1", *got["ips"], *said]


@pytest.mark.feature("Programs", "logger: states, warnings and errors with codes; nothing that identifies below debug")
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_nothing_identifies_below_debug(programs: Programs, network: Network, runtime: str) -> None:
    got = await programs.value(
        f"""const tell = async (logLevel) => {{
          const entries = [], more = {{ logLevel, logger: (entry) => entries.push(entry) }};
          {LIFE}
          return {{ entries, status, codes, addresses: [address, state.exit], ips: state.addresses }};
        }};
        return [await tell("info"), await tell("debug")];""",
        runtime=runtime,
    )
    info, debug = got
    assert info["status"] == 200 and len(info["codes"]) == 7
    text = json.dumps(info["entries"])
    assert [secret for secret in secrets(network, info) if secret in text] == []
    found = [secret for secret in secrets(network, debug) if secret in json.dumps(debug["entries"])]
    assert {"203.0", "nowhere", ".test"} <= set(found), "the search finds what is there"
    states = [(entry["state"], entry["step"]) for entry in info["entries"] if entry["state"]]
    steps = ["boot", "storage", "directory", "gateway", "exit"]
    assert states[:6] == [*(("connecting", step) for step in steps), ("ready", None)]
    assert states[-1] == ("shutdown", None)
    failed = [(entry["operation"], entry["code"]) for entry in info["entries"] if entry["operation"]]
    operations = ["fetch", "fetch", "resolve", "lookup", "websocket", "tcp", "fetch"]
    assert failed == list(zip(operations, info["codes"], strict=True))
    assert {entry["level"] for entry in info["entries"]} == {"info"}


@pytest.mark.feature(
    "Programs", "logger: an object with debug, info, warn and error; levels; what fails in it is nobody's"
)
async def test_levels_and_objects(programs: Programs) -> None:
    got = await programs.value(
        """const seen = {};
        const run = async (name, more) => {
          const lines = seen[name] = [];
          const logger = Object.fromEntries(["debug", "info", "warn", "error"]
            .map((level) => [level, (...given) => lines.push([level, ...given])]));
          const tunnel = new api.MixTunnel({ ...options, storagePassphrase: "unused", logger, ...more });
          await tunnel.setup();
          await tunnel.disconnect();
        };
        await run("usual", {});
        await run("debug", { debug: true });
        await run("warn", { debug: true, logLevel: "warn" });
        await run("silent", { logLevel: "silent" });
        for (const logger of [() => { throw new Error("no disk"); }, async () => { throw new Error("no disk"); }]) {
          const tunnel = new api.MixTunnel({ ...options, logger });
          await tunnel.setup();
          await tunnel.disconnect();
        }
        const failed = [];
        const nowhere = { directoryUrls: ["http://127.0.0.1:9/"], logger: (entry) => failed.push(entry) };
        const failing = new api.MixTunnel({ ...options, ...nowhere });
        await caught(() => failing.setup());
        const refused = [];
        for (const [name, value] of [["logger", 5], ["logger", { info() {} }], ["logLevel", "loud"], ["logLevel", 1]]) {
          const { code, message } = await caught(() => new api.MixTunnel({ [name]: value }));
          refused.push([code, message.startsWith(`option ${name}:`)]);
        }
        return { ...seen, failed: failed.filter(({ level }) => level !== "info"), refused };"""
    )
    warning = ["warn", "smolmix: warning: store_unused"]
    assert warning in got["usual"] and ["info", "smolmix: tunnel ready"] in got["usual"]
    assert {level for level, _ in got["usual"]} == {"info", "warn"}
    assert {level for level, _ in got["debug"]} == {"debug", "info", "warn"}
    assert any("storagePassphrase without clientId" in line for level, line in got["debug"] if level == "debug")
    assert (got["warn"], got["silent"]) == ([warning], [])
    (error,) = got["failed"]
    assert (error["level"], error["state"], error["code"], error["phase"]) == (
        "error",
        "failed",
        "unreachable",
        "directory",
    )
    assert got["refused"] == [["bad_option", True]] * 4


async def test_the_console_is_told_of_warnings_alone(programs: Programs) -> None:
    """Without a logger; `debug: true` tells everything there."""
    body = """await api.setupMixTunnel({ ...options, storagePassphrase: "unused", ...args });
        await api.disconnectMixTunnel();"""
    quiet = await programs.run(body, {})
    assert (quiet.code, quiet.out, quiet.errors) == (0, "", "smolmix: warning: store_unused\n")
    failing = await programs.run(
        "return caught(() => api.setupMixTunnel({ ...options, directoryUrls: ['http://127.0.0.1:9/'] }));"
    )
    assert (failing.code, failing.value["code"], failing.out, failing.errors) == (0, "unreachable", "", "")
    loud = await programs.run(body, {"debug": True})
    assert "smolmix: tunnel ready" in loud.out and "storagePassphrase without clientId" in loud.out


@pytest.mark.feature("Programs", "logger: of auto and of the node entry too")
@pytest.mark.parametrize("entry", ["smolmix-web/auto", "smolmix-web/node"])
async def test_every_entry(programs: Programs, entry: str) -> None:
    got = await programs.value(
        """const told = [], all = { ...options, logger: ({ message }) => told.push(message) };
        if (api.configure) api.configure(all);
        else await api.setupMixTunnel(all);
        await (await api.mixFetch("https://origin.test/text")).text();
        await (api.closeMixTunnel ?? api.disconnectMixTunnel)();
        return told;""",
        entry=entry,
    )
    assert "tunnel ready" in got and "tunnel connecting: gateway" in got
