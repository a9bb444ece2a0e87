"""The same inputs give the same bytes under every provider.

Each method is called with many seeded inputs and all results are hashed. The digests in tests/vectors/transcript.json
were made with `cryptography`; every runtime must arrive at them. `python tests/crypto/test_transcript.py` writes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError
from smolmix_web.rand import SeededRandom

DIGESTS = Path(__file__).parent.parent / "vectors" / "transcript.json"
CASES = 200
LENGTHS = (
    0,
    1,
    5,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    100,
    127,
    128,
    129,
    255,
    300,
    1023,
    1024,
    1025,
    1611,
    2065,
    2422,
)

Results = Iterable[bytes]


def attempt(call: Callable[[], bytes]) -> bytes:
    try:
        return call()
    except CryptoError as error:
        return b"refused: " + error.code.encode()


def text(rng: SeededRandom) -> bytes:
    return rng.bytes(rng.choice(LENGTHS))


def x25519(crypto: Crypto, rng: SeededRandom) -> Results:
    return [crypto.x25519_base(rng.bytes(32)), attempt(lambda: crypto.x25519(rng.bytes(32), rng.bytes(32)))]


def ed25519(crypto: Crypto, rng: SeededRandom) -> Results:
    seed, message = rng.bytes(32), text(rng)
    key, signature = crypto.ed25519_public(seed), crypto.ed25519_sign(seed, message)
    changed = bytearray(key + signature)
    changed[rng.below(96)] ^= 1 << rng.below(8)
    answers = (
        crypto.ed25519_verify(key, message, signature),
        crypto.ed25519_verify(key, message + b"\0", signature),
        crypto.ed25519_verify(bytes(changed[:32]), message, bytes(changed[32:])),
    )
    return [key, signature, bytes(answers)]


def aes128_ctr(crypto: Crypto, rng: SeededRandom) -> Results:
    iv = rng.choice([rng.bytes(16), bytes(16), b"\xff" * 16, bytes(8) + b"\xff" * 8])
    return [crypto.aes128_ctr(rng.bytes(16), iv, text(rng))]


def aes256_gcm_siv(crypto: Crypto, rng: SeededRandom) -> Results:
    key, nonce = rng.bytes(32), rng.bytes(12)
    sealed = crypto.aes256_gcm_siv_seal(key, nonce, text(rng))
    changed = bytearray(sealed)
    changed[rng.below(len(sealed))] ^= 1 << rng.below(8)
    opened = [sealed, bytes(changed), sealed[:-1], b""]
    return [sealed, *(attempt(partial(crypto.aes256_gcm_siv_open, key, nonce, data)) for data in opened)]


def chacha20(crypto: Crypto, rng: SeededRandom) -> Results:
    return [crypto.chacha20(rng.bytes(32), text(rng))]


def hashes(crypto: Crypto, rng: SeededRandom) -> Results:
    return [crypto.blake2b(rng.bytes(rng.below(65)), text(rng)), crypto.blake3(text(rng))]


def header_secrets(crypto: Crypto, rng: SeededRandom) -> Results:
    """Keys on the curve and on the twist, and now and then one of low order."""
    initial = rng.bytes(32)
    keys = []
    for _ in range(1 + rng.below(5)):
        kind = rng.below(12)
        keys.append(bytes((rng.below(2),)).ljust(32, b"\0") if kind == 0 else rng.bytes(32))
        if kind > 6:
            keys[-1] = crypto.x25519_base(keys[-1])

    def both() -> bytes:
        alpha, secrets = crypto.header_secrets(initial, keys)
        return alpha + b"".join(secrets)

    return [attempt(both), attempt(lambda: crypto.node_secret(initial, keys[0]))]


def keystreams(crypto: Crypto, rng: SeededRandom) -> Results:
    return crypto.keystreams([rng.bytes(16) for _ in range(rng.below(6))], rng.choice(LENGTHS))


def payload_keys(crypto: Crypto, rng: SeededRandom) -> Results:
    return crypto.payload_keys([rng.bytes(16) for _ in range(rng.below(6))])


def lioness(crypto: Crypto, rng: SeededRandom) -> Results:
    keys = [rng.bytes(192) for _ in range(rng.below(6))]
    block = rng.bytes(33) + text(rng)
    return [crypto.lioness_encrypt(keys, block), crypto.lioness_decrypt(keys, block)]


def fragments(crypto: Crypto, rng: SeededRandom) -> Results:
    private = rng.bytes(32)
    sealed = crypto.seal_fragment(rng.bytes(32), crypto.x25519_base(private), text(rng))
    return [
        sealed,
        crypto.open_fragment(private, sealed),
        attempt(lambda: crypto.open_fragment(private, rng.bytes(80))),
    ]


METHODS: list[Callable[[Crypto, SeededRandom], Results]] = [
    x25519,
    ed25519,
    aes128_ctr,
    aes256_gcm_siv,
    chacha20,
    hashes,
    header_secrets,
    keystreams,
    payload_keys,
    lioness,
    fragments,
]


def transcript(method: Callable[[Crypto, SeededRandom], Results], crypto: Crypto) -> str:
    rng = SeededRandom(f"transcript of {method.__name__}")
    total = hashlib.sha256()
    for _ in range(CASES):
        for result in method(crypto, rng):
            total.update(len(result).to_bytes(4, "big") + result)
    return total.hexdigest()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_transcript(crypto: Crypto, method: Callable[[Crypto, SeededRandom], Results]) -> None:
    assert transcript(method, crypto) == json.loads(DIGESTS.read_text())[method.__name__]


if __name__ == "__main__":
    from smolmix_web.crypto.pyca import PycaCrypto

    digests = {method.__name__: transcript(method, PycaCrypto()) for method in METHODS}
    DIGESTS.write_text(json.dumps(digests, indent=1) + "\n")
