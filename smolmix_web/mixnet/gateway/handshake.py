"""Registration with a gateway: the four-message key agreement, both roles (gateway.md 3.3).

    1  C->G   IDC 32 | X 32 | salt 16
    2  G->C   Y 32 | AEAD(k, nG, Sig(idG, Y | X)) 80 | nG 12
    3  C->G   AEAD(k, nC, Sig(idC, X | Y)) 80 | nC 12
    4  G->C   01

k = HKDF-BLAKE3(salt, X25519(x, Y)), an AES-256-GCM-SIV key. Decrypting and verifying the peer's signature
confirms both the key and the peer. Pure byte machines: versions and envelopes are the session's business.
"""

from __future__ import annotations

from ...crypto.hashes import hkdf_blake3
from ...crypto.provider import Crypto
from ...errors import CryptoError, GatewayError
from ...rand import RandomSource
from ..keys import IdentityKeys

SALT_LENGTH = 16
NONCE_LENGTH = 12
SEALED_SIGNATURE_LENGTH = 64 + 16
INIT_LENGTH = 32 + 32 + SALT_LENGTH  # message 1
MATERIALS_LENGTH = SEALED_SIGNATURE_LENGTH + NONCE_LENGTH  # message 3, and the tail of message 2
ANSWER_LENGTH = 32 + MATERIALS_LENGTH  # message 2
CONFIRMED = b"\x01"  # message 4


def _refuse(problem: str) -> GatewayError:
    return GatewayError(f"registration: {problem}", code="registration_refused", phase="gateway")


def derive_shared_key(crypto: Crypto, secret: bytes, peer: bytes, salt: bytes) -> bytes:
    """The 32-byte key shared by client and gateway from one side's ephemeral secret and the other's public key."""
    try:
        agreed = crypto.x25519(secret, peer)
    except CryptoError as error:
        raise _refuse(f"ephemeral key of the peer: {error.message}") from None
    return hkdf_blake3(crypto.blake3, salt, agreed, b"", 32)


def _seal_signature(crypto: Crypto, key: bytes, nonce: bytes, identity: IdentityKeys, own: bytes, peer: bytes) -> bytes:
    signature = crypto.ed25519_sign(identity.seed, own + peer)
    return crypto.aes256_gcm_siv_seal(key, nonce, signature) + nonce


def _check_signature(
    crypto: Crypto, key: bytes, materials: bytes, signer: bytes, own: bytes, peer: bytes, who: str
) -> None:
    """`own` and `peer` as the signer sees them."""
    sealed, nonce = materials[:SEALED_SIGNATURE_LENGTH], materials[SEALED_SIGNATURE_LENGTH:]
    try:
        signature = crypto.aes256_gcm_siv_open(key, nonce, sealed)
    except CryptoError:
        raise _refuse(f"the signature of the {who} does not decrypt") from None
    if not crypto.ed25519_verify(signer, own + peer, signature):
        raise _refuse(f"the signature of the {who} does not verify")


class ClientHandshake:
    """The registering side. Call `init`, then `answer`, then `finish`; the key is `shared_key` after `answer`."""

    def __init__(self, crypto: Crypto, rng: RandomSource, identity: IdentityKeys, gateway_identity: bytes) -> None:
        self._crypto = crypto
        self._rng = rng
        self._identity = identity
        self._gateway_identity = gateway_identity
        self._secret = rng.bytes(32)
        self._public = crypto.x25519_base(self._secret)
        self._salt = rng.bytes(SALT_LENGTH)
        self.shared_key: bytes | None = None

    def init(self) -> bytes:
        """Message 1 (80 bytes)."""
        return self._identity.public + self._public + self._salt

    def answer(self, message: bytes) -> bytes:
        """Check message 2, derive the key, return message 3 (92 bytes). Raises `GatewayError`."""
        if len(message) != ANSWER_LENGTH:
            raise _refuse(f"message 2 has {len(message)} bytes, expected {ANSWER_LENGTH}")
        peer = message[:32]
        key = derive_shared_key(self._crypto, self._secret, peer, self._salt)
        _check_signature(self._crypto, key, message[32:], self._gateway_identity, peer, self._public, "gateway")
        self.shared_key = key
        return _seal_signature(self._crypto, key, self._rng.bytes(NONCE_LENGTH), self._identity, self._public, peer)

    def finish(self, message: bytes) -> bytes:
        """Check message 4 and return the shared key (32 bytes). Raises `GatewayError`."""
        if self.shared_key is None:
            raise _refuse("message 4 before message 2")
        if message != CONFIRMED:
            raise _refuse(f"message 4 is {message[:8].hex() or 'empty'}, expected 01")
        return self.shared_key


class GatewayHandshake:
    """The gateway's side. `answer` takes message 1, `finish` message 3; then the client is registered."""

    def __init__(self, crypto: Crypto, rng: RandomSource, identity: IdentityKeys) -> None:
        self._crypto = crypto
        self._rng = rng
        self._identity = identity
        self._secret = rng.bytes(32)
        self._public = crypto.x25519_base(self._secret)
        self._peer = b""
        self.client_identity: bytes | None = None
        self.shared_key: bytes | None = None

    def answer(self, message: bytes) -> bytes:
        """Check message 1, return message 2 (124 bytes). Raises `GatewayError`."""
        if len(message) != INIT_LENGTH:
            raise _refuse(f"message 1 has {len(message)} bytes, expected {INIT_LENGTH}")
        self.client_identity, self._peer, salt = message[:32], message[32:64], message[64:]
        self.shared_key = derive_shared_key(self._crypto, self._secret, self._peer, salt)
        return self._public + _seal_signature(
            self._crypto, self.shared_key, self._rng.bytes(NONCE_LENGTH), self._identity, self._public, self._peer
        )

    def finish(self, message: bytes) -> bytes:
        """Check message 3, return message 4; then `shared_key` is to be stored under `client_identity`.

        Raises `GatewayError`.
        """
        if self.client_identity is None or self.shared_key is None:
            raise _refuse("message 3 before message 1")
        if len(message) != MATERIALS_LENGTH:
            raise _refuse(f"message 3 has {len(message)} bytes, expected {MATERIALS_LENGTH}")
        _check_signature(
            self._crypto, self.shared_key, message, self.client_identity, self._peer, self._public, "client"
        )
        return CONFIRMED
