"""Crypto provider of the browser: libsodium and noble behind the module `smolmix_crypto` (javascript/worker/crypto).

Python and JavaScript share one bytearray: inputs are written one after another from its start, the function is called
with their lengths, outputs are read from its start. A call of any size then costs a few microseconds of border
crossing. Single HMAC-SHA256 and BLAKE2b stay in Python (`hashes`), where hashlib is compiled code.

JavaScript wipes its own copies of secrets and the inputs in the shared buffer. Outputs stay there until the next
call: they become immutable Python `bytes` anyway, which nothing can wipe.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ..errors import CryptoError
from . import hashes, onion

_DONE = 0
_ROOM = 65536  # bytes kept for the exchange; larger inputs get a buffer for one call
_FRAGMENT_KEY = 32


class _Exchange:
    """The one buffer that Python and the JavaScript module share."""

    def __init__(self) -> None:
        import smolmix_crypto  # type: ignore[import-not-found, unused-ignore]

        self.js: Any = smolmix_crypto
        self._proxy: Any = None
        self._room = memoryview(b"")
        self._attach(_ROOM)
        parameters = (hashes.EXPANSION_INFO, hashes.PAYLOAD_KEY_SALT, hashes.PAYLOAD_KEY_INFO)
        self.send(*parameters)
        self.js.setParameters(*map(len, parameters))

    def _attach(self, size: int) -> None:
        from pyodide.ffi import create_proxy  # type: ignore[import-not-found, unused-ignore]

        self.js.detach()
        if self._proxy is not None:
            self._proxy.destroy()
        buffer = bytearray(size)
        self._proxy = create_proxy(buffer)
        self.js.attach(self._proxy)
        self._room = memoryview(buffer)

    def send(self, *parts: bytes, answer: int = 0) -> None:
        """Writes the inputs and makes sure that `answer` bytes fit as well."""
        data = b"".join(parts)
        size = len(data)
        need = max(size, answer)
        if need > len(self._room):
            self._attach(need)
        elif len(self._room) > _ROOM >= need:
            self._attach(_ROOM)
        self._room[:size] = data

    def take(self, start: int, end: int) -> bytes:
        return self._room[start:end].tobytes()


@functools.cache
def _exchange() -> _Exchange:
    return _Exchange()


class BrowserCrypto:
    """See `crypto.provider.Crypto` for the contract of each method."""

    name = "browser"

    def __init__(self) -> None:
        exchange = _exchange()
        self._send = exchange.send
        self._take = exchange.take
        # Looking a JavaScript function up costs about as much as calling it.
        js = exchange.js
        self._js = js
        self._x25519 = js.x25519
        self._x25519_base = js.x25519Base
        self._aes_ctr = js.aesCtr
        self._siv_seal = js.sivSeal
        self._siv_open = js.sivOpen
        self._blake3 = js.blake3
        self._sphinx_header = js.sphinxHeader
        self._sphinx_packet = js.sphinxPacket
        self._header_secrets = js.headerSecrets
        self._node_secret = js.nodeSecret
        self._keystreams = js.keystreams
        self._payload_keys = js.payloadKeys
        self._lioness = js.lioness
        self._seal_fragment = js.sealFragment
        self._open_fragment = js.openFragment

    # -- curves -------------------------------------------------------------------------------------

    def x25519(self, scalar: bytes, point: bytes) -> bytes:
        if len(scalar) != 32 or len(point) != 32:
            raise CryptoError("x25519: scalar and point are 32 bytes each", code="bad_length")
        self._send(scalar, point)
        if self._x25519() != _DONE:
            raise CryptoError("x25519: the point has low order", code="low_order_point")
        return self._take(0, 32)

    def x25519_base(self, scalar: bytes) -> bytes:
        if len(scalar) != 32:
            raise CryptoError("x25519_base: the scalar is 32 bytes", code="bad_length")
        self._send(scalar)
        self._x25519_base()
        return self._take(0, 32)

    def ed25519_public(self, seed: bytes) -> bytes:
        self._send(_seed(seed))
        self._js.ed25519Public()
        return self._take(0, 32)

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes:
        self._send(_seed(seed), message, answer=64)
        self._js.ed25519Sign(len(message))
        return self._take(0, 64)

    def ed25519_verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if len(public_key) != 32 or len(signature) != 64:
            return False
        self._send(public_key, signature, message)
        return bool(self._js.ed25519Verify(len(message)) == _DONE)

    # -- ciphers and hashes -------------------------------------------------------------------------

    def aes128_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        if len(key) != 16 or len(iv) != 16:
            raise CryptoError("aes128_ctr: key and iv are 16 bytes each", code="bad_length")
        self._send(key, iv, data)
        self._aes_ctr(len(data))
        return self._take(0, len(data))

    def aes256_gcm_siv_seal(self, key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
        _check_siv(key, nonce)
        self._send(key, nonce, plaintext)
        self._siv_seal(len(plaintext))
        return self._take(0, len(plaintext) + 16)

    def aes256_gcm_siv_open(self, key: bytes, nonce: bytes, sealed: bytes) -> bytes:
        _check_siv(key, nonce)
        self._send(key, nonce, sealed)
        if self._siv_open(len(sealed)) != _DONE:
            raise CryptoError("aes256_gcm_siv: the tag does not check", code="bad_tag")
        return self._take(0, len(sealed) - 16)

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        if len(key) != 32:
            raise CryptoError("chacha20: key is 32 bytes", code="bad_length")
        self._send(key, data)
        self._js.chacha20(len(data))
        return self._take(0, len(data))

    def blake2b(self, key: bytes, data: bytes) -> bytes:
        return hashes.blake2b_keyed(key, data)

    def blake3(self, data: bytes) -> bytes:
        self._send(data, answer=32)
        self._blake3(len(data))
        return self._take(0, 32)

    # -- batches ----------------------------------------------------------------------------------

    def sphinx_header(
        self, initial_secret: bytes, public_keys: Sequence[bytes], routing: bytes, explicit_keys: bool
    ) -> tuple[bytes, bytes]:
        hops = len(public_keys)
        hashes.check_route(initial_secret, public_keys)
        onion.check_routing(public_keys, routing)
        end = onion.HEADER + hops * (hashes.PAYLOAD_KEY_LENGTH if explicit_keys else hashes.PAYLOAD_SEED_LENGTH)
        self._send(initial_secret, *public_keys, routing, answer=end)
        _check_route_code(self._sphinx_header(hops, explicit_keys))
        return self._take(0, onion.HEADER), self._take(onion.HEADER, end)

    def sphinx_packet(
        self, initial_secret: bytes, public_keys: Sequence[bytes], routing: bytes, payload: bytes, explicit_keys: bool
    ) -> bytes:
        hashes.check_route(initial_secret, public_keys)
        onion.check_routing(public_keys, routing)
        hashes.check_lioness((), payload)
        size = len(payload)
        self._send(initial_secret, *public_keys, routing, payload)
        _check_route_code(self._sphinx_packet(len(public_keys), size, explicit_keys))
        return self._take(0, onion.HEADER + size)

    def header_secrets(self, initial_secret: bytes, public_keys: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        hashes.check_route(initial_secret, public_keys)
        self._send(initial_secret, *public_keys)
        _check_route_code(self._header_secrets(len(public_keys)))
        size = hashes.EXPANDED_SECRET_LENGTH
        answer = self._take(0, 32 + size * len(public_keys))
        return answer[:32], [answer[start : start + size] for start in range(32, len(answer), size)]

    def node_secret(self, private_key: bytes, alpha: bytes) -> bytes:
        if len(private_key) != 32 or len(alpha) != 32:
            raise CryptoError("node_secret: key and alpha are 32 bytes each", code="bad_length")
        self._send(private_key, alpha)
        if self._node_secret() != _DONE:
            raise CryptoError("node_secret: alpha has low order", code="low_order_point")
        return self._take(0, hashes.EXPANDED_SECRET_LENGTH)

    def keystreams(self, keys: Sequence[bytes], length: int) -> list[bytes]:
        hashes.check_keystream_keys(keys)
        total = len(keys) * length
        self._send(*keys, answer=total)
        self._keystreams(len(keys), length)
        answer = self._take(0, total)
        return [answer[i * length : (i + 1) * length] for i in range(len(keys))]

    def payload_keys(self, seeds: Sequence[bytes]) -> list[bytes]:
        hashes.check_seeds(seeds)
        size = hashes.PAYLOAD_KEY_LENGTH
        total = size * len(seeds)
        self._send(*seeds, answer=total)
        self._payload_keys(len(seeds))
        answer = self._take(0, total)
        return [answer[start : start + size] for start in range(0, total, size)]

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        return self._apply_lioness(keys, block, 0)

    def lioness_decrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        return self._apply_lioness(keys, block, 1)

    def _apply_lioness(self, keys: Sequence[bytes], block: bytes, decrypt: int) -> bytes:
        hashes.check_lioness(keys, block)
        self._send(*keys, block)
        self._lioness(len(keys), len(block), decrypt)
        return self._take(0, len(block))

    def seal_fragment(self, ephemeral_secret: bytes, recipient_key: bytes, plaintext: bytes) -> bytes:
        if len(ephemeral_secret) != 32 or len(recipient_key) != 32:
            raise CryptoError("seal_fragment: keys are 32 bytes each", code="bad_length")
        self._send(ephemeral_secret, recipient_key, plaintext)
        if self._seal_fragment(len(plaintext)) != _DONE:
            raise CryptoError("seal_fragment: the recipient's key has low order", code="low_order_point")
        return self._take(0, _FRAGMENT_KEY + len(plaintext))

    def open_fragment(self, private_key: bytes, sealed: bytes) -> bytes:
        if len(private_key) != 32:
            raise CryptoError("open_fragment: the key is 32 bytes", code="bad_length")
        if len(sealed) < _FRAGMENT_KEY:
            raise CryptoError("sealed fragment: shorter than its 32-byte key", code="bad_length")
        self._send(private_key, sealed)
        if self._open_fragment(len(sealed) - _FRAGMENT_KEY) != _DONE:
            raise CryptoError("sealed fragment: its key has low order", code="low_order_point")
        return self._take(0, len(sealed) - _FRAGMENT_KEY)


def _check_route_code(code: int) -> None:
    if code != _DONE:
        raise CryptoError(f"route: the key of hop {code - 1} has low order", code="low_order_point")


def _seed(seed: bytes) -> bytes:
    if len(seed) != 32:
        raise CryptoError("ed25519 seed: 32 bytes are needed", code="bad_length")
    return seed


def _check_siv(key: bytes, nonce: bytes) -> None:
    if len(key) != 32 or len(nonce) != 12:
        raise CryptoError("aes256_gcm_siv: key is 32 bytes, nonce 12", code="bad_length")
