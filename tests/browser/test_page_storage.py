"""A stored identity in a browser: kept over page loads, sealed in IndexedDB, one tab at a time, never in the way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from buildtools.common import DIST
from localnet.gateway import Gateway
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.storage.envelope import Envelope
from smolmix_web.storage.files import derive
from smolmix_web.storage.identity import StoredIdentity
from tests.browser.page_session import ApiPage, PageFailure, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# Everything in IndexedDB, by database, store and key. Keys of WebCrypto come as what a script can learn of them.
DUMP = """const ask = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
const show = async (value) => {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  if (!(value instanceof CryptoKey)) return { other: JSON.stringify(value) };
  const exported = await caught(() => crypto.subtle.exportKey("raw", value));
  return { key: value.algorithm, extractable: value.extractable, exported: exported?.name ?? "yes" };
};
const dump = {};
for (const { name } of await indexedDB.databases()) {
  const database = await ask(indexedDB.open(name));
  for (const store of database.objectStoreNames) {
    const objects = database.transaction(store).objectStore(store);
    const [keys, values] = await Promise.all([ask(objects.getAllKeys()), ask(objects.getAll())]);
    for (const n in keys) dump[[name, store, JSON.stringify(keys[n])].join(" ")] = await show(values[n]);
  }
  database.close();
}
return dump;"""

# Puts what a function makes of the record in its place.
CHANGE = """const ask = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
const database = await ask(indexedDB.open("smolmix-web"));
const records = database.transaction("records", "readwrite").objectStore("records");
const record = await ask(records.get("me"));
await ask(records.put((%s)(record), "me"));
database.close();"""

RECORD, KEY = 'smolmix-web records "me"', 'smolmix-web keys "me"'

Connect = Callable[..., Awaitable[bytes]]


@pytest.fixture
def gateway(session: Session) -> Gateway:
    return session.net.gateways[0]


@pytest.fixture
def connect(gateway: Gateway) -> Connect:
    """Sets a tunnel of the client id `me` up; the client's identity as the gateway knows it."""

    async def set_up(page: ApiPage, **options: Any) -> bytes:
        # A page ends faster than its socket: let the gateway notice before looking who is new. In a test of two pages
        # the other one stays.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while gateway.active:
                    await asyncio.sleep(0.02)
        before = set(gateway.active)
        await page.set_up(**{"clientId": "me", **options})
        (identity,) = set(gateway.active) - before
        return identity

    return set_up


@pytest_asyncio.fixture(loop_scope="session")
async def again(fresh: ApiPage, session: Session) -> AsyncIterator[ApiPage]:
    """Another page in the same browser profile."""
    opened = ApiPage(await fresh.page.context.new_page(), fresh.options, fresh.recorder)
    await opened.page.goto(f"{session.site.url}/index.html")
    yield opened


async def warnings(page: ApiPage) -> list[str]:
    return [warning["code"] for warning in (await page.run("return api.getTunnelState()"))["warnings"]]


async def test_without_a_client_id_nothing_is_stored(fresh: ApiPage, session: Session) -> None:
    await fresh.set_up()
    assert await warnings(fresh) == []
    await fresh.run("await api.disconnectMixTunnel()")
    assert await fresh.run(DUMP) == {}
    await fresh.set_up(storagePassphrase="sesame")
    assert await warnings(fresh) == ["store_unused"]
    assert await fresh.run(DUMP) == {}


async def test_the_address_outlives_page_loads(
    fresh: ApiPage, again: ApiPage, session: Session, gateway: Gateway, connect: Connect
) -> None:
    first = await connect(fresh)
    registered = gateway.counters["registered"]
    await fresh.page.reload()
    assert await connect(fresh, preferredGateway=None) == first, "also the same gateway, without being told"
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200
    await fresh.run("await api.disconnectMixTunnel()")
    assert await connect(fresh, preferredGateway=None) == first
    await fresh.page.close()
    assert await connect(again, preferredGateway=None) == first
    assert await warnings(again) == []
    assert gateway.counters["registered"] == registered
    await again.run("await api.disconnectMixTunnel()")
    assert await connect(again, clientId="other") != first


def all_bytes(dump: dict[str, Any]) -> str:
    """All of it as text, byte strings in every usual way to write them."""
    parts = []
    for value in dump.values():
        parts.append(repr(value))
        if "bytes" in value:
            raw = bytes(value["bytes"])
            parts += [raw.decode("latin-1"), raw.hex(), base64.b64encode(raw).decode()]
    return "\n".join(parts)


def spellings(secret: bytes) -> list[str]:
    """How a secret might stand there."""
    numbers = ", ".join(str(byte) for byte in secret)
    # Base64 of the secret alone, and inside longer bytes, where it may begin at any of three places.
    encoded = [base64.b64encode(secret[start:]).decode()[:16] for start in range(3)]
    return [secret.decode("latin-1"), secret.hex(), numbers, numbers.replace(" ", ""), *encoded]


async def test_indexeddb_holds_sealed_bytes_and_a_key_that_no_script_can_read(
    fresh: ApiPage, gateway: Gateway, connect: Connect
) -> None:
    identity = await connect(fresh)
    client = gateway.clients.get(identity)
    assert client is not None
    dump = await fresh.run(DUMP)
    assert set(dump) == {RECORD, KEY}
    assert dump[KEY]["key"] == {"name": "AES-GCM", "length": 256}
    assert (dump[KEY]["extractable"], dump[KEY]["exported"]) == (False, "InvalidAccessError")
    assert Envelope.from_bytes(bytes(dump[RECORD]["bytes"])).derivation is None
    for secret in (client.shared_key, identity, gateway.identity.public):
        for spelling in spellings(secret):
            assert spelling not in all_bytes(dump)


async def test_a_passphrase(fresh: ApiPage, session: Session, gateway: Gateway, connect: Connect) -> None:
    """The record is the one that CPython reads, too: opened here, its secrets are known and are nowhere in the dump."""
    identity = await connect(fresh, storagePassphrase="größer")
    client = gateway.clients.get(identity)
    assert client is not None
    dump = await fresh.run(DUMP)
    assert set(dump) == {RECORD}, "no key beside it"
    envelope = Envelope.from_bytes(bytes(dump[RECORD]["bytes"]))
    assert envelope.derivation is not None
    key = derive("größer", envelope.derivation)
    stored = StoredIdentity.from_bytes(AESGCM(key).decrypt(envelope.nonce, envelope.sealed, envelope.header))
    keys = stored.keys
    assert keys.identity(PycaCrypto()).public == identity
    assert stored.shared_keys == {gateway.identity.public: client.shared_key}
    text = all_bytes(dump)
    for secret in (keys.identity_seed, keys.encryption_secret, keys.ack_key, client.shared_key, key):
        for spelling in spellings(secret):
            assert spelling not in text

    await fresh.run("await api.disconnectMixTunnel()")
    for wrong in ("grösser", None):
        with pytest.raises(PageFailure) as failure:
            await connect(fresh, storagePassphrase=wrong)
        assert (failure.value.kind, failure.value.option) == ("OptionError", "storagePassphrase")
    assert await fresh.run(DUMP) == dump, "refused and nothing touched"
    assert await connect(fresh, storagePassphrase="größer") == identity


async def test_one_tab_at_a_time(fresh: ApiPage, again: ApiPage, connect: Connect) -> None:
    identity = await connect(fresh)
    with pytest.raises(PageFailure) as failure:
        await again.set_up(clientId="me")
    assert (failure.value.code, failure.value.kind, failure.value.phase) == ("client_id_in_use", "StateError", "setup")
    got = await fresh.run("return (await caught(() => new api.MixTunnel(args.options).setup())).code",
                          options={**fresh.options, "clientId": "me"})  # fmt: skip
    assert got == "client_id_in_use", "nor a second tunnel in the same page"
    await again.set_up()
    await again.run("await api.disconnectMixTunnel()")
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200
    await fresh.run("await api.disconnectMixTunnel()")
    assert await connect(again) == identity


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("(record) => record.slice(0, -1)", "store_damaged"),
        ("(record) => record.with(20, record[20] ^ 1)", "store_damaged"),
        ("(record) => ({ an: 'object' })", "store_damaged"),
        ("(record) => new TextEncoder().encode('something else altogether')", "store_foreign"),
        ("(record) => record.with(8, 2)", "store_newer"),
    ],
)
async def test_what_cannot_be_used_is_set_aside(
    fresh: ApiPage, gateway: Gateway, connect: Connect, engine: str, change: str, code: str
) -> None:
    first = await connect(fresh)
    await fresh.run("await api.disconnectMixTunnel()")
    await fresh.run(CHANGE % change)
    second = await connect(fresh)
    assert second != first and await warnings(fresh) == [code]
    # The console has the code, whoever looks at the state the place; WebKit's driver tells of no console.
    if engine != "webkit":
        assert [line for line in fresh.console if line.startswith("warning: smolmix:") and code in line] != []
    told = await fresh.run("return (await api.getTunnelState()).warnings[0].message")
    assert "set aside (smolmix-web/aside/me/" in told
    assert len([name for name in await fresh.run(DUMP) if name.startswith("smolmix-web aside")]) == 1
    await fresh.run("await api.disconnectMixTunnel()")
    assert await connect(fresh) == second and await warnings(fresh) == []


async def test_at_most_three_are_kept_aside(fresh: ApiPage, connect: Connect) -> None:
    await connect(fresh)
    await fresh.run("await api.disconnectMixTunnel()")
    await fresh.run(CHANGE % "(record) => record.slice(0, 9)")
    await fresh.run(
        """const database = await new Promise((resolve) => {
          const request = indexedDB.open("smolmix-web");
          request.onsuccess = () => resolve(request.result);
        });
        const aside = database.transaction("aside", "readwrite").objectStore("aside");
        for (const place of [["me", 1], ["me", 2], ["me", 4e9], ["mf", 1]]) aside.put(new Uint8Array(1), place);
        database.close();"""
    )
    await connect(fresh)
    kept = [name for name in await fresh.run(DUMP) if name.startswith("smolmix-web aside")]
    assert kept == [
        f"smolmix-web aside {key}" for key in ('["me",2]', '["me",4000000000]', '["me",4000000001]', '["mf",1]')
    ]


async def test_a_database_of_that_name_by_somebody_else_is_no_obstacle(fresh: ApiPage, connect: Connect) -> None:
    await fresh.run(
        """await new Promise((resolve, reject) => {
          const request = indexedDB.open("smolmix-web", 7);
          request.onupgradeneeded = () => request.result.createObjectStore("theirs").put("their value", "their key");
          request.onsuccess = () => { request.result.close(); resolve(); };
          request.onerror = reject;
        });"""
    )
    first = await connect(fresh)
    await fresh.run("await api.disconnectMixTunnel()")
    assert await connect(fresh) == first and await warnings(fresh) == []
    assert (await fresh.run(DUMP))['smolmix-web theirs "their key"'] == {"other": '"their value"'}


async def test_a_database_that_is_blocked_costs_a_warning(fresh: ApiPage, connect: Connect) -> None:
    """Another tab holds an old database open and does not let go: the tunnel goes on in memory after its deadline."""
    await fresh.run(
        """window.held = await new Promise((resolve) => {
          const request = indexedDB.open("smolmix-web", 1);
          request.onupgradeneeded = () => request.result.createObjectStore("records");
          request.onsuccess = () => resolve(request.result);
        });"""
    )
    await connect(fresh)
    assert await warnings(fresh) == ["store_unavailable"]
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200


@pytest.mark.parametrize("missing", ["indexedDB", "locks"])
async def test_a_browser_that_stores_nothing_costs_a_warning(fresh: ApiPage, connect: Connect, missing: str) -> None:
    owner = "self" if missing == "indexedDB" else "navigator"
    denial = f'Object.defineProperty({owner}, "{missing}", {{ get() {{ return undefined; }} }});\n'
    body = denial + (DIST / "pyodide" / "pyodide.mjs").read_text()
    script = "text/javascript"
    await fresh.page.route("**/pyodide/pyodide.mjs", lambda route: route.fulfill(body=body, content_type=script))
    await connect(fresh)
    assert await warnings(fresh) == ["store_unavailable"]
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200
    assert await fresh.run(DUMP) == {}
