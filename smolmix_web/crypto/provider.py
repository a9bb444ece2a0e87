"""The narrow interface to all cryptography: single primitives, and batches that cost one border crossing.

Providers: `pyca` (packages `cryptography`, `pynacl` and `blake3`) and `browser` (libsodium and noble through
JavaScript). Both give the same bytes for the same inputs. Lengths are bytes; every wrong length and every
failed check raises `CryptoError`. Keys and secrets are raw `bytes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Crypto(Protocol):
    """What the rooms above may ask for. Sphinx section numbers refer to docs/protocol notes."""

    name: str

    # -- curves ---------------------------------------------------------------------------------
    def x25519(self, scalar: bytes, point: bytes) -> bytes:
        """RFC 7748 X25519, scalar clamped inside; 32 bytes. Code `low_order_point` on a zero result."""
        ...

    def x25519_base(self, scalar: bytes) -> bytes:
        """Public key of a 32-byte secret: X25519(scalar, 9)."""
        ...

    def ed25519_public(self, seed: bytes) -> bytes:
        """Public key (32) of an RFC 8032 seed (32)."""
        ...

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes:
        """Signature (64)."""
        ...

    def ed25519_verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """True if the signature holds; a bad key or length is False, never an exception.

        Strict: S below l, key and R canonical and not of small order, and the equation exact, without the cofactor.
        """
        ...

    # -- ciphers and hashes ---------------------------------------------------------------------
    def aes128_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """AES-128-CTR with a 16-byte key and 16-byte initial counter block; same length as `data`."""
        ...

    def aes256_gcm_siv_seal(self, key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
        """RFC 8452, 32-byte key, 12-byte nonce, empty AAD; ciphertext then 16-byte tag."""
        ...

    def aes256_gcm_siv_open(self, key: bytes, nonce: bytes, sealed: bytes) -> bytes:
        """Inverse of `aes256_gcm_siv_seal`; `CryptoError` code `bad_tag` when it does not check."""
        ...

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        """XOR with the original ChaCha20 keystream: 32-byte key, zero nonce, counter from 0."""
        ...

    def blake2b(self, key: bytes, data: bytes) -> bytes:
        """BLAKE2b keyed with up to 64 bytes, 32-byte digest."""
        ...

    def blake3(self, data: bytes) -> bytes:
        """Plain unkeyed BLAKE3, 32-byte digest."""
        ...

    # -- batches: one crossing each ---------------------------------------------------------------
    def sphinx_header(
        self, initial_secret: bytes, public_keys: Sequence[bytes], routing: bytes, explicit_keys: bool
    ) -> tuple[bytes, bytes]:
        """The header (348) of a route of 1 to 5 hops, and its key material (sphinx 2.4 to 2.8).

        `routing`: the plain block (44) of each hop that forwards, then the final one (52 and the padding), in route
        order; see `onion.routing_length`. Key material: each hop's payload key (192) if `explicit_keys`, else the seed
        of it (16). Code `low_order_point` for a key of no use.
        """
        ...

    def sphinx_packet(
        self, initial_secret: bytes, public_keys: Sequence[bytes], routing: bytes, payload: bytes, explicit_keys: bool
    ) -> bytes:
        """The header as above, and `payload` (at least 33) under one LIONESS layer per hop (sphinx 2.9)."""
        ...

    def header_secrets(self, initial_secret: bytes, public_keys: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        """Sender side of a Sphinx header, versions 258 and 259 (sphinx 2.4, 2.7).

        `initial_secret`: 32 bytes; `public_keys`: 1 to 5 node keys in route order.
        Returns alpha_0 (32) and each hop's expanded shared secret (288), in route order.
        """
        ...

    def node_secret(self, private_key: bytes, alpha: bytes) -> bytes:
        """Node side: the expanded shared secret (288) of X25519(private_key, alpha) (sphinx 2.4)."""
        ...

    def keystreams(self, keys: Sequence[bytes], length: int) -> list[bytes]:
        """AES-128-CTR keystream of `length` bytes with zero IV for each 16-byte key (sphinx 2.6)."""
        ...

    def payload_keys(self, seeds: Sequence[bytes]) -> list[bytes]:
        """Payload key (192) of each 16-byte seed, at most 5 (sphinx 2.5)."""
        ...

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        """All LIONESS layers of a payload: `keys` (192 each) in route order, the last one applied first."""
        ...

    def lioness_decrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        """Inverse: `keys` in route order, the first one removed first."""
        ...

    def seal_fragment(self, ephemeral_secret: bytes, recipient_key: bytes, plaintext: bytes) -> bytes:
        """End-to-end layer (sphinx 6.1): X25519(ephemeral, 9) (32) then AES-128-CTR of `plaintext`."""
        ...

    def open_fragment(self, private_key: bytes, sealed: bytes) -> bytes:
        """Inverse of `seal_fragment` with the recipient's X25519 secret; no integrity of its own."""
        ...
