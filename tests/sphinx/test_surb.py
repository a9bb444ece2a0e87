"""Reply SURBs: built, written, read, used; both forms and all route lengths."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import SphinxError, UsageError
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, ReplySurb, build_surb, process_packet
from smolmix_web.sphinx import constants as c
from smolmix_web.sphinx.surb import SURB_BASE

DESTINATION = bytes(range(32))


def make(crypto, hops=4, version=259, rotation=1, seed=0):
    rng = SeededRandom(f"surb {seed}")
    secrets = [rng.bytes(32) for _ in range(hops)]
    route = [Hop(rng.bytes(32), crypto.x25519_base(secret)) for secret in secrets]
    return secrets, route, build_surb(crypto, rng, route, [3] * hops, DESTINATION, rotation, version=version)


@settings(max_examples=15)
@given(hops=st.integers(1, 5), version=st.sampled_from([258, 259]), seed=st.integers(0, 1000))
def test_a_reply_travels_the_route(crypto, hops, version, seed):
    secrets, route, surb = make(crypto, hops, version, seed=seed)
    again = ReplySurb.from_bytes(surb.to_bytes(), surb.rotation)
    assert again == surb
    assert (again.hops, again.uses_seeds, again.first_hop) == (hops, version == 259, route[0].address)
    plaintext = SeededRandom(seed).bytes(2048)
    packet = again.apply(crypto, plaintext)
    assert len(packet) == 2413
    assert packet[:348] == surb.header
    for at, secret in enumerate(secrets[:-1]):
        hop = process_packet(crypto, secret, packet)
        assert isinstance(hop, ForwardHop)
        assert (hop.next_address, hop.delay_ns, hop.version) == (route[at + 1].address, 3, version)
        packet = hop.packet
    final = process_packet(crypto, secrets[-1], packet)
    assert isinstance(final, FinalHop)
    assert (final.destination, final.identifier, final.message) == (DESTINATION, bytes(16), plaintext)


def test_lengths(crypto):
    assert [len(make(crypto, hops)[2].to_bytes()) for hops in (1, 2, 3, 4, 5)] == [412, 428, 444, 460, 476]
    assert len(make(crypto, 4, 258)[2].to_bytes()) == 1164


def test_other_packet_sizes(crypto):
    secrets, _, surb = make(crypto, 1)
    packet = surb.apply(crypto, bytes(8192), c.EXTENDED8.payload)
    assert len(packet) == c.EXTENDED8.wire
    assert process_packet(crypto, secrets[0], packet).message == bytes(8192)


def test_keys_are_fresh_and_the_digest_is_blake3(crypto):
    rng = SeededRandom("fresh")
    _, route, _ = make(crypto)
    surbs = [build_surb(crypto, rng, route, [0] * 4, DESTINATION, 2) for _ in range(3)]
    assert len({surb.encryption_key for surb in surbs}) == len({surb.header for surb in surbs}) == 3
    assert surbs[0].key_digest(crypto) == crypto.blake3(surbs[0].encryption_key)
    fixed = ReplySurb(b"\x42" * 16, bytes(348), bytes(32), bytes(64))
    assert fixed.key_digest(crypto).hex() == "a1c1d9a33b8870aa7f571b6fa60ab31f667aa28b219a49ba4907e3d7cac90dfa"


def test_read_at_every_length(crypto):
    good = {SURB_BASE + 16 * hops for hops in range(1, 6)} | {SURB_BASE + 192 * hops for hops in range(1, 6)}
    data = SeededRandom("lengths").bytes(SURB_BASE + 192 * 6)
    for length in range(len(data) + 1):
        if length in good:
            assert ReplySurb.from_bytes(data[:length]).to_bytes() == data[:length]
        else:
            with pytest.raises(SphinxError) as caught:
                ReplySurb.from_bytes(data[:length])
            assert caught.value.code == "bad_surb"


def test_the_plaintext_must_fill_the_packet(crypto):
    _, _, surb = make(crypto)
    for length in (0, 2047, 2049):
        with pytest.raises(UsageError):
            surb.apply(crypto, bytes(length))


def test_repr_keeps_secrets(crypto):
    _, _, surb = make(crypto)
    assert repr(surb) == "ReplySurb(hops=4, seeds=True, rotation=1)"
    assert surb.encryption_key.hex() not in repr(surb)


def test_unsupported_version(crypto):
    with pytest.raises(SphinxError) as caught:
        make(crypto, version=257)
    assert caught.value.code == "unsupported_version"
