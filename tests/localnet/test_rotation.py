from __future__ import annotations

import pytest

from localnet.keys import KeyRing
from localnet.rotation import RotationClock
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.rotation import rotation_id

START = 1_790_000_000.0


@pytest.fixture
def clock() -> RotationClock:
    return RotationClock(rotation=41, validity_epochs=3, epoch_seconds=10.0, unix_time=START)


def test_epochs_and_rotations_follow_from_time(clock: RotationClock) -> None:
    for epochs in range(8):
        epoch = clock.at(START + epochs * 10 + 9.9)
        assert epoch.number == 16 + 41 * 3 + epochs
        assert epoch.rotation == 41 + epochs // 3 == rotation_id(epoch.number, clock.INITIAL_EPOCH, 3)
        assert epoch.started == START + epochs * 10
        assert epoch.in_rotation == epochs % 3
        assert epoch.last_of_rotation is (epochs % 3 == 2)


def test_time_before_the_start_is_the_first_epoch(clock: RotationClock) -> None:
    assert clock.at(START - 1000) == clock.at(START)


def test_advancing_by_hand(clock: RotationClock) -> None:
    epoch = clock.advance(clock.epochs_to_next_rotation(START + 12), START + 12)
    assert (epoch.rotation, epoch.in_rotation, epoch.started) == (42, 0, START + 12)
    assert clock.at(START + 22).in_rotation == 1
    with pytest.raises(ValueError):
        clock.advance(-1, START)


def test_state_makes_clocks_equal(clock: RotationClock) -> None:
    other = RotationClock(rotation=0, validity_epochs=3, epoch_seconds=10.0, unix_time=0)
    clock.advance(5, START + 3)
    other.restore(clock.state())
    assert other.at(START + 99) == clock.at(START + 99)


def test_a_node_keeps_the_old_key_one_epoch_and_announces_the_next_one_before(clock: RotationClock) -> None:
    ring = KeyRing(PycaCrypto(), "seed", 1, "mix1a", clock)
    rotations = [[rotation for rotation, _, _ in ring.usable(START + 10 * epoch)] for epoch in range(5)]
    assert rotations == [[41, 40], [41], [41, 42], [42, 41], [42]]
    assert [ring.announced(START + 10 * epoch) for epoch in range(4)] == [None, None, 42, None]
    assert [byte for _, byte, _ in ring.usable(START + 30)] == [2, 1]
    assert ring.usable(START + 30)[0][2] == ring.secret(42)


def test_a_clock_moved_by_hand_changes_the_keys_at_once(clock: RotationClock) -> None:
    ring = KeyRing(PycaCrypto(), "seed", 1, "mix1a", clock)
    assert ring.usable(START)[0][0] == 41
    clock.advance(3, START + 0.5)
    assert [rotation for rotation, _, _ in ring.usable(START + 0.5)] == [42, 41]


def test_keys_depend_on_seed_name_and_rotation(clock: RotationClock) -> None:
    crypto = PycaCrypto()
    rings = [KeyRing(crypto, seed, 1, name, clock) for seed, name in (("s", "a"), ("s", "a"), ("s", "b"), ("t", "a"))]
    assert rings[0].secret(41) == rings[1].secret(41) and rings[0].identity == rings[1].identity
    assert len({ring.secret(41) for ring in rings} | {rings[0].secret(42)}) == 4
    assert len({ring.identity.public_key for ring in rings}) == 3
    assert rings[0].public_key(41) == crypto.x25519_base(rings[0].secret(41))
