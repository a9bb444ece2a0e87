"""The store of one identity over a vault in memory: reuse, what is set aside, what is refused, what fails or hangs."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from smolmix_web.errors import OptionError, SmolmixError, StateError
from smolmix_web.host.vault import LOCK_PATIENCE, Derivation
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.storage.envelope import Envelope, header
from smolmix_web.storage.files import AesKey
from smolmix_web.storage.identity import Registration, StoredIdentity
from smolmix_web.storage.store import IO_TIMEOUT, IdentityStore, open_store
from tests.storage.memory_vault import Place, StorageTestHost
from tests.virtual_loop import virtual

KEYS = ClientKeys(bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 16)
REGISTRATION = Registration(bytes([4]) * 32, bytes([5]) * 32, "wss://gateway.test/", 1_800_000_000, 1_800_000_100)
IDENTITY = StoredIdentity(KEYS, (REGISTRATION,))
LATER = StoredIdentity(KEYS, (replace(REGISTRATION, authenticated_at=1_800_000_200),))


class Start:
    """Opens the store of `place`; collects its warnings."""

    def __init__(self, place: Place, passphrase: str | None = None) -> None:
        self.place = place
        self.passphrase = passphrase
        self.warnings: list[SmolmixError] = []
        self.store: IdentityStore | None = None

    async def open(self) -> IdentityStore | None:
        host = StorageTestHost(self.place)
        self.store = await open_store(host, "me", self.passphrase, self.warnings.append)
        return self.store

    async def found(self) -> StoredIdentity | None:
        store = await self.open()
        assert store is not None and self.place.holder is not None
        return store.identity

    async def keep(self, identity: StoredIdentity) -> None:
        assert self.store is not None
        self.store.keep(identity)
        await self.store.flush(60.0)

    async def end(self) -> None:
        assert self.store is not None
        self.store.close()

    @property
    def codes(self) -> list[str]:
        return [warning.code for warning in self.warnings]


async def stored(passphrase: str | None = None, identity: StoredIdentity = IDENTITY) -> Place:
    """A place with an identity in it."""
    start = Start(Place(), passphrase)
    assert await start.found() is None
    await start.keep(identity)
    await start.end()
    assert start.codes == [] and start.place.holder is None
    return start.place


@pytest.mark.parametrize("passphrase", [None, "sesame"])
@virtual
async def test_what_is_kept_is_found(passphrase: str | None) -> None:
    place = await stored(passphrase)
    start = Start(place, passphrase)
    assert await start.found() == IDENTITY
    await start.keep(IDENTITY)
    assert place.writes == 1, "nothing had changed"
    await start.keep(LATER)
    await start.end()
    assert place.writes == 2 and start.codes == []
    assert await Start(place, passphrase).found() == LATER
    assert len(place.derived) == (0 if passphrase is None else 3), "one derivation for each start"


@virtual
async def test_the_key_of_a_passphrase_is_made_before_the_tunnel_is_up() -> None:
    """Deriving takes long and stops a browser's worker: it must not fall into the set-up of the tunnel."""
    place = Place()
    start = Start(place, "sesame")
    assert await start.found() is None
    assert len(place.derived) == 1
    await start.keep(IDENTITY)
    assert len(place.derived) == 1
    place = Place(hangs={"passphrase_key"})
    start = Start(place, "sesame")
    assert await start.open() is None and start.codes == ["store_unavailable"]


@pytest.mark.parametrize("passphrase", [None, "sesame"])
@virtual
async def test_the_record_holds_no_secret_and_never_the_same_nonce(passphrase: str | None) -> None:
    place = await stored(passphrase)
    first = place.record
    assert first is not None
    start = Start(place, passphrase)
    await start.found()
    await start.keep(LATER)
    second = place.record
    assert second is not None
    assert Envelope.from_bytes(first).nonce != Envelope.from_bytes(second).nonce
    for secret in (KEYS.identity_seed, KEYS.encryption_secret, KEYS.ack_key, REGISTRATION.shared_key, b"gateway"):
        assert secret not in first + second


@virtual
async def test_changes_while_a_write_is_under_way_end_in_one_more() -> None:
    place = Place()
    start = Start(place)
    await start.found()
    assert start.store is not None
    for number in range(20):
        start.store.keep(StoredIdentity(KEYS, (replace(REGISTRATION, authenticated_at=number),)))
        await asyncio.sleep(0.002)
    await start.keep(LATER)
    await start.end()
    assert place.writes < 6
    assert await Start(place).found() == LATER


def damaged(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


def newer(record: bytes) -> bytes:
    body = record[:8] + b"\x02" + record[9:-32]
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (damaged, "store_damaged"),
        (lambda record: b"", "store_damaged"),
        (lambda record: record[:50], "store_damaged"),
        (lambda record: b"PK\x03\x04" + bytes(60), "store_foreign"),
        (newer, "store_newer"),
    ],
    ids=["flipped", "empty", "cut", "foreign", "newer"],
)
@pytest.mark.parametrize("passphrase", [None, "sesame"])
@virtual
async def test_set_aside_and_a_fresh_identity(passphrase: str | None, change: object, code: str) -> None:
    place = await stored(passphrase)
    assert place.record is not None and callable(change)
    place.record = unusable = change(place.record)
    start = Start(place, passphrase)
    assert await start.found() is None
    assert place.aside == [unusable] and place.record is None
    assert start.codes == [code]
    assert "set aside (aside)" in start.warnings[0].message and start.warnings[0].phase == "storage"
    await start.keep(LATER)
    await start.end()
    assert await Start(place, passphrase).found() == LATER


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["lost", "another"])
@virtual
async def test_a_record_of_another_key_is_foreign(key: bytes | None) -> None:
    place = await stored()
    place.key = key
    start = Start(place)
    assert await start.found() is None
    assert start.codes == ["store_foreign"] and len(place.aside) == 1
    await start.keep(LATER)
    await start.end()
    assert await Start(place).found() == LATER


@virtual
async def test_sealed_nonsense_is_damaged() -> None:
    place = Place(key=bytes(32))
    sealed = await AesKey(bytes(32)).seal(bytes(12), IDENTITY.to_bytes() + b"?", header(None))
    place.record = Envelope(None, bytes(12), sealed).to_bytes()
    start = Start(place)
    assert await start.found() is None
    assert start.codes == ["store_damaged"] and len(place.aside) == 1


@pytest.mark.parametrize("given", [None, "Sesame"], ids=["missing", "wrong"])
@virtual
async def test_a_passphrase_that_does_not_open_is_refused_and_nothing_touched(given: str | None) -> None:
    place = await stored("sesame")
    before = place.record
    for _ in range(3):
        start = Start(place, given)
        with pytest.raises(OptionError) as raised:
            await start.open()
        assert raised.value.option == "storagePassphrase"
        assert "sesame" not in raised.value.message.lower()
        assert place.holder is None and start.codes == []
    assert place.record == before and place.aside == [] and place.writes == 1
    assert await Start(place, "sesame").found() == IDENTITY


@virtual
async def test_a_passphrase_that_is_new_seals_the_record_anew() -> None:
    place = await stored()
    start = Start(place, "sesame")
    assert await start.found() == IDENTITY
    await start.keep(IDENTITY)
    await start.end()
    assert place.record is not None and Envelope.from_bytes(place.record).derivation is not None
    with pytest.raises(OptionError):
        await Start(place).open()
    assert await Start(place, "sesame").found() == IDENTITY


@virtual
async def test_cheap_parameters_of_an_old_record_are_replaced() -> None:
    place = Place()
    host = StorageTestHost(place)
    old = Derivation(bytes(16), 19_456, 2)
    key = await (await host.open_vault("me")).passphrase_key("sesame", old)
    place.holder = None
    place.record = Envelope(old, bytes(12), await key.seal(bytes(12), IDENTITY.to_bytes(), header(old))).to_bytes()
    start = Start(place, "sesame")
    assert await start.found() == IDENTITY
    await start.keep(IDENTITY)
    await start.end()
    now = Envelope.from_bytes(place.record).derivation
    assert now is not None and (now.memory, now.passes) == (65_536, 3) and now.salt != old.salt
    assert await Start(place, "sesame").found() == IDENTITY


@virtual
async def test_the_costs_of_a_record_cannot_be_lowered_unnoticed() -> None:
    """The parameters are under the seal: with others in their place the tag does not check."""
    place = await stored("sesame")
    assert place.record is not None
    envelope = Envelope.from_bytes(place.record)
    assert envelope.derivation is not None
    place.record = replace(envelope, derivation=replace(envelope.derivation, passes=1)).to_bytes()
    with pytest.raises(OptionError):
        await Start(place, "sesame").open()


@pytest.mark.parametrize("method", ["open_vault", "read", "own_key"])
@pytest.mark.parametrize("fault", ["fails", "hangs"])
@virtual
async def test_a_place_that_cannot_be_read_costs_a_warning(method: str, fault: str) -> None:
    place = await stored()
    before = place.record
    getattr(place, fault).add(method)
    began = asyncio.get_running_loop().time()
    start = Start(place)
    assert await start.open() is None
    assert start.codes == ["store_unavailable"] and start.warnings[0].phase == "storage"
    assert asyncio.get_running_loop().time() - began < LOCK_PATIENCE + IO_TIMEOUT + 0.1
    assert place.holder is None
    assert place.record == before and place.aside == []


@pytest.mark.parametrize("fault", ["fails", "hangs"])
@virtual
async def test_what_cannot_be_set_aside_is_not_written_over(fault: str) -> None:
    place = await stored()
    assert place.record is not None
    place.record = unusable = damaged(place.record)
    getattr(place, fault).add("set_aside")
    start = Start(place)
    assert await start.open() is None
    assert start.codes == ["store_unavailable"] and place.record == unusable and place.holder is None


@pytest.mark.parametrize("method", ["write", "own_key"])
@pytest.mark.parametrize("fault", ["fails", "hangs"])
@virtual
async def test_a_write_that_fails_warns_once_and_the_next_change_tries_again(method: str, fault: str) -> None:
    place = Place()
    start = Start(place)
    await start.found()
    getattr(place, fault).add(method)
    await start.keep(IDENTITY)
    await start.keep(LATER)
    assert start.codes == ["store_unavailable"] and place.record is None
    getattr(place, fault).clear()
    await start.keep(LATER)
    await start.end()
    assert start.codes == ["store_unavailable"]
    assert await Start(place).found() == LATER


@virtual
async def test_flush_and_close_do_not_wait_for_a_place_that_hangs() -> None:
    place = Place()
    start = Start(place)
    await start.found()
    place.hangs.add("write")
    assert start.store is not None
    start.store.keep(IDENTITY)
    began = asyncio.get_running_loop().time()
    await start.store.flush(1.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0)
    start.store.close()
    start.store.close()
    start.store.keep(LATER)
    await asyncio.sleep(10)
    assert place.holder is None and place.writes == 0 and start.codes == []


@virtual
async def test_one_tunnel_at_a_time() -> None:
    place = await stored()
    first = Start(place)
    await first.found()
    second = Start(place)
    with pytest.raises(StateError) as raised:
        await second.open()
    assert raised.value.code == "client_id_in_use" and second.codes == []
    await first.end()
    assert await second.found() == IDENTITY
