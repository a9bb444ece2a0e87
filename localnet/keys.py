"""Keys of the network's nodes, all derived from one seed, and which Sphinx keys a node accepts at a moment.

The next rotation's key is announced one epoch before the change; the previous one stays valid one epoch after it
(sphinx 4.3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from smolmix_web.crypto import hashes
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.errors import CryptoError
from smolmix_web.mixnet.rotation import rotation_byte
from smolmix_web.rand import SeededRandom

from .rotation import RotationClock

_SHA256 = SHA256()


class NodeCrypto(PycaCrypto):
    """The CPython provider, tuned for nodes, which see thousands of packets a second under few keys.

    Their private keys and ciphers are kept prepared (preparing one costs as much as using it), and HKDF is native.
    """

    _KEPT = 256

    def __init__(self) -> None:
        super().__init__()
        self._prepared: OrderedDict[bytes, X25519PrivateKey] = OrderedDict()
        self._ciphers: OrderedDict[bytes, AESGCMSIV] = OrderedDict()

    def node_secret(self, private_key: bytes, alpha: bytes) -> bytes:
        key = self._prepared.get(private_key)
        if key is None:
            if len(private_key) != 32:
                raise CryptoError("node_secret: a private key has 32 bytes", code="bad_length")
            key = self._prepared[private_key] = X25519PrivateKey.from_private_bytes(private_key)
            if len(self._prepared) > self._KEPT:
                self._prepared.popitem(last=False)
        try:
            shared = key.exchange(X25519PublicKey.from_public_bytes(alpha))
        except ValueError as error:
            code = "low_order_point" if len(alpha) == 32 else "bad_length"
            raise CryptoError(f"node_secret: {error}", code=code) from None
        return HKDF(_SHA256, hashes.EXPANDED_SECRET_LENGTH, None, hashes.EXPANSION_INFO).derive(shared)

    def payload_keys(self, seeds: Sequence[bytes]) -> list[bytes]:
        salt, info = hashes.PAYLOAD_KEY_SALT, hashes.PAYLOAD_KEY_INFO
        return [HKDF(_SHA256, hashes.PAYLOAD_KEY_LENGTH, salt, info).derive(seed) for seed in seeds]

    def _siv(self, key: bytes, nonce: bytes) -> AESGCMSIV:  # type: ignore[override]
        cipher = self._ciphers.get(key)
        if cipher is None or len(nonce) != 12:
            cipher = super()._siv(key, nonce)
            self._ciphers[key] = cipher
            if len(self._ciphers) > self._KEPT:
                self._ciphers.popitem(last=False)
        return cipher


@dataclass(frozen=True)
class Identity:
    """Who a node is: its number in the directory, its name here, its Ed25519 pair."""

    node_id: int
    name: str
    seed: bytes
    public_key: bytes


class KeyRing:
    """A node's identity and its Sphinx key of every rotation."""

    def __init__(self, crypto: PycaCrypto, network_seed: str, node_id: int, name: str, clock: RotationClock) -> None:
        self._crypto = crypto
        self._seed = f"{network_seed}/{name}"
        self._clock = clock
        identity_seed = SeededRandom(f"{self._seed}/identity").bytes(32)
        self.identity = Identity(node_id, name, identity_seed, crypto.ed25519_public(identity_seed))
        self._secrets: dict[int, bytes] = {}
        self._usable: list[tuple[int, int, bytes]] = []
        self._usable_from = self._usable_until = 0.0
        self._usable_version = -1

    def secret(self, rotation: int) -> bytes:
        """The X25519 secret of a rotation."""
        secret = self._secrets.get(rotation)
        if secret is None:
            secret = self._secrets[rotation] = SeededRandom(f"{self._seed}/sphinx/{rotation}").bytes(32)
        return secret

    def public_key(self, rotation: int) -> bytes:
        return self._crypto.x25519_base(self.secret(rotation))

    def usable(self, unix_time: float) -> list[tuple[int, int, bytes]]:
        """(rotation, its byte, secret) of each key valid now: the current one, then at most one neighbour."""
        if self._usable_version == self._clock.version and self._usable_from <= unix_time < self._usable_until:
            return self._usable
        epoch = self._clock.at(unix_time)
        rotations = [epoch.rotation]
        if epoch.in_rotation == 0 and epoch.rotation > 0:
            rotations.append(epoch.rotation - 1)
        if epoch.last_of_rotation:
            rotations.append(epoch.rotation + 1)
        self._usable = [(rotation, rotation_byte(rotation), self.secret(rotation)) for rotation in rotations]
        self._secrets = {rotation: secret for rotation, _, secret in self._usable}
        self._usable_from, self._usable_until = epoch.started, epoch.started + self._clock.epoch_seconds
        self._usable_version = self._clock.version
        return self._usable

    def announced(self, unix_time: float) -> int | None:
        """The next rotation's id while its key is announced beforehand."""
        epoch = self._clock.at(unix_time)
        return epoch.rotation + 1 if epoch.last_of_rotation else None
