"""Keys of the network's nodes, all derived from one seed, and which Sphinx keys a node accepts at a moment.

The next rotation's key is announced one epoch before the change; the previous one stays valid one epoch after it
(sphinx 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.mixnet.rotation import rotation_byte
from smolmix_web.rand import SeededRandom

from .rotation import RotationClock


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
