"""Option `storage`: the identity in a place of the program's own."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from tests.node.programs import RUNTIMES, Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]

# `use(storage, options)` sets a tunnel up and closes it: its address, its warnings, and how long the set-up took.
USE = """const use = async (storage, more = {}) => {
  const tunnel = new api.MixTunnel({ ...options, clientId: "me", storage, logLevel: "silent", ...more });
  const began = performance.now();
  await tunnel.setup();
  const took = performance.now() - began, { address } = tunnel;
  const warnings = tunnel.state.warnings.map(({ code }) => code);
  await tunnel.disconnect();
  return { address, warnings, took };
};
const place = new Map();
"""


@pytest.mark.feature("Programs", "storage: the identity in a place of the program's own, here a Map")
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_map(programs: Programs, runtime: str) -> None:
    got = await programs.value(
        USE
        + """const first = await use(place), kept = [...place];
        const again = await use(place), other = await use(new Map());
        return { same: first.address === again.address, fresh: first.address !== other.address, kept,
          warnings: [...first.warnings, ...again.warnings], parts: first.address.split(/[.@]/) };""",
        runtime=runtime,
    )
    kept = dict(got.pop("kept"))
    assert list(kept) == ["smolmix-web/me/key", "smolmix-web/me/identity"]
    assert len(b64decode(kept["smolmix-web/me/key"])) == 32
    record = b64decode(kept["smolmix-web/me/identity"])
    assert record.startswith(b"SMOLMIX\x1a\x01\x01")
    assert [part for part in got.pop("parts") if part.encode() in record] == []
    assert got == {"same": True, "fresh": True, "warnings": []}
    assert not programs.home.exists(), "nothing is kept anywhere else"


@pytest.mark.feature("Programs", "storage: functions that give promises, and a passphrase")
async def test_promises_and_a_passphrase(programs: Programs) -> None:
    got = await programs.value(
        USE
        + """const later = (work) => new Promise((done) => setTimeout(() => done(work()), 20));
        const slow = { get: (key) => later(() => place.get(key) ?? null),
          set: (key, text) => later(() => void place.set(key, text)),
          delete: (key) => later(() => place.delete(key)) };
        const sealed = { storagePassphrase: "sesame" };
        const first = await use(slow, sealed), again = await use(slow, sealed);
        const wrong = await caught(() => use(slow, { storagePassphrase: "Sesame" }));
        return { same: first.address === again.address, keys: [...place.keys()], wrong: [wrong.code],
          lock: atob(place.get("smolmix-web/me/identity")).charCodeAt(9) };"""
    )
    assert got == {"same": True, "keys": ["smolmix-web/me/identity"], "wrong": ["bad_option"], "lock": 2}


BROKEN = {
    "get throws": "{ ...good, get() { throw new Error('no such place'); } }",
    "get rejects with nothing": "{ ...good, get: () => Promise.reject() }",
    "get throws what is no text": "{ ...good, get() { throw { toString() { throw 1; } }; } }",
    "get hangs": "{ ...good, get: () => new Promise(() => {}) }",
    "get gives a number": "{ ...good, get: () => 7 }",
    "get gives too much": "{ ...good, get: () => 'A'.repeat(2 ** 20 + 1) }",
    "set throws": "{ ...good, set() { throw new Error('full'); } }",
    "set hangs": "{ ...good, set: () => new Promise(() => {}) }",
}


@pytest.mark.feature("Programs", "storage: functions that throw, hang or give rubbish cost a warning, never the tunnel")
@pytest.mark.parametrize("how", BROKEN)
async def test_a_place_that_does_not_work(programs: Programs, how: str) -> None:
    got = await programs.value(
        USE
        + f"""const call = (name) => [name, (...given) => place[name](...given)];
        const good = Object.fromEntries(["get", "set", "delete"].map(call));
        const broken = {BROKEN[how]};
        const tunnel = new api.MixTunnel({{ ...options, clientId: "me", storage: broken, logLevel: "silent" }});
        const began = performance.now();
        await tunnel.setup();
        const took = performance.now() - began, {{ status }} = await tunnel.fetch("https://origin.test/text");
        for (let turn = 0; turn < 100 && !tunnel.state.warnings.length; turn += 1) {{
          await new Promise((done) => setTimeout(done, 100));
        }}
        const warnings = tunnel.state.warnings.map(({{ code, phase }}) => [code, phase]);
        await tunnel.disconnect();
        return {{ status, warnings, prompt: took < 15_000 }};"""
    )
    assert got == {"status": 200, "warnings": [["store_unavailable", "storage"]], "prompt": True}


@pytest.mark.feature("Programs", "storage: text that is no record is set aside")
@pytest.mark.parametrize("damage", ["text.slice(0, -8)", "'not base64!'", "''", "text.replace('U01P', 'U01Q')"])
async def test_a_damaged_record(programs: Programs, damage: str) -> None:
    got = await programs.value(
        USE
        + f"""const name = "smolmix-web/me/identity", first = await use(place), seen = [];
        for (let round = 0; round < 4; round += 1) {{
          const text = place.get(name), bad = {damage};
          place.set(name, bad);
          const {{ warnings }} = await use(place);
          seen.push([warnings, place.get("smolmix-web/me/aside-1") === bad]);
        }}
        const last = await use(place);
        const keys = [...place.keys()].sort();
        return {{ seen, keys, fresh: last.address !== first.address, quiet: last.warnings }};"""
    )
    code = "store_foreign" if "U01Q" in damage else "store_damaged"
    assert [seen for seen in got.pop("seen") if seen != [[code], True]] == []
    assert got.pop("keys") == [
        f"smolmix-web/me/{part}" for part in ("aside-1", "aside-2", "aside-3", "identity", "key")
    ]
    assert got == {"fresh": True, "quiet": []}


@pytest.mark.feature("Programs", "storage: one tunnel at a time, and a place that is free again")
async def test_one_at_a_time(programs: Programs) -> None:
    got = await programs.value(
        """const storage = new Map();
        const [one, two, other] = [{ clientId: "me" }, { clientId: "me" }, { clientId: "you" }]
          .map((more) => new api.MixTunnel({ ...options, storage, ...more }));
        await one.setup();
        const { address } = one;
        const refused = await caught(() => two.setup());
        await other.setup();
        await one.disconnect();
        await two.setup();
        const codes = [refused.code, two.state.state, other.state.state, two.address === address];
        await Promise.all([two.disconnect(), other.disconnect()]);
        return codes;"""
    )
    assert got == ["client_id_in_use", "ready", "ready", True]


@pytest.mark.parametrize("wrong", ["5", '"memory"', "true", "{ get() {}, set() {} }", "[]"])
async def test_what_is_no_place(programs: Programs, wrong: str) -> None:
    got = await programs.value(
        f"""const seen = [caught(() => new api.MixTunnel({{ storage: {wrong} }})),
          caught(() => new api.MixTunnelPool({{ storage: new Map(), ...options }}).setup())];
        return (await Promise.all(seen)).map(({{ code, name }}) => [code, name]);"""
    )
    assert got == [["bad_option", "TypeError"]] * 2


async def test_without_a_client_id_nothing_is_kept(programs: Programs) -> None:
    got: Any = await programs.value(
        USE + "const { warnings } = await use(place, { clientId: undefined }); return [warnings, place.size];"
    )
    assert got == [["store_unused"], 0]


@pytest.mark.feature("Programs", "storage: of auto and of the node entry too")
@pytest.mark.parametrize("entry", ["smolmix-web/auto", "smolmix-web/node"])
async def test_every_entry(programs: Programs, entry: str) -> None:
    got = await programs.value(
        """const storage = new Map(), all = { ...options, clientId: "me", storage };
        const open = () => (api.configure(all), api.openMixTunnel());
        const set = api.configure ? open : () => api.setupMixTunnel(all).then(api.getMixTunnel);
        const close = () => (api.closeMixTunnel ?? api.disconnectMixTunnel)();
        const seen = [];
        for (let round = 0; round < 2; round += 1) {
          seen.push((await set()).address);
          await close();
        }
        return [seen[0] === seen[1], storage.size];""",
        entry=entry,
    )
    assert got == [True, 2]
