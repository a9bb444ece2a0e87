"""The record as it is kept: everything needed to open it, except the key (docs/storage.md).

    magic 8 | version 1 | lock 1 | parameters | nonce 12 | sealed | checksum 32

    lock 1, the runtime's own key:  no parameters
    lock 2, a passphrase:           memory in KiB 4 | passes 4 | salt 16      (Argon2id 1.3, one lane)

`sealed` is AES-256-GCM of the plain identity, ciphertext then tag, with everything before the nonce as associated data.
The checksum is SHA-256 of everything before it. It guards against accidents, not against people, and so tells a
damaged record (set aside) from a wrong passphrase (refused, nothing is touched).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from ..errors import StorageError
from ..host.vault import Derivation

MAGIC = b"SMOLMIX\x1a"
VERSION = 1
LOCK_OWN_KEY, LOCK_PASSPHRASE = 1, 2
NONCE_LENGTH, TAG_LENGTH, SALT_LENGTH, CHECKSUM_LENGTH = 12, 16, 16, 32
MAX_RECORD = 65_536  # bytes

_HEAD = struct.Struct(">8sBB")
_PARAMETERS = struct.Struct(">II16s")


@dataclass(frozen=True)
class Envelope:
    """A record that is whole. `derivation` is None where the runtime's own key opens it."""

    derivation: Derivation | None
    nonce: bytes
    sealed: bytes

    @property
    def header(self) -> bytes:
        """The associated data of the seal."""
        return header(self.derivation)

    def to_bytes(self) -> bytes:
        body = self.header + self.nonce + self.sealed
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """`StorageError` code `store_foreign`, `store_newer` or `store_damaged`."""
        if len(data) < _HEAD.size:
            raise _damaged(f"only {len(data)} bytes")
        if len(data) > MAX_RECORD:
            raise _damaged(f"{len(data)} bytes, more than {MAX_RECORD}")
        magic, version, lock = _HEAD.unpack_from(data)
        if magic != MAGIC:
            raise StorageError("the stored record is not one of ours", code="store_foreign")
        if version > VERSION:
            raise StorageError(
                f"the stored record has version {version}, this is for {VERSION}: a newer release wrote it",
                code="store_newer",
            )
        # Before anything else of it is believed.
        if hashlib.sha256(data[:-CHECKSUM_LENGTH]).digest() != data[-CHECKSUM_LENGTH:]:
            raise _damaged("the checksum does not fit")
        at, derivation = _HEAD.size, None
        if lock == LOCK_PASSPHRASE:
            if len(data) < at + _PARAMETERS.size:
                raise _damaged("the parameters are cut off")
            memory, passes, salt = _PARAMETERS.unpack_from(data, at)
            at += _PARAMETERS.size
            derivation = Derivation(salt, memory, passes)
            if not derivation.acceptable:
                raise _damaged(f"Argon2id with {memory} KiB and {passes} passes is out of bounds")
        if version != VERSION or lock not in (LOCK_OWN_KEY, LOCK_PASSPHRASE):
            raise _damaged(f"version {version}, lock {lock}")
        nonce, sealed = data[at : at + NONCE_LENGTH], data[at + NONCE_LENGTH : -CHECKSUM_LENGTH]
        if len(sealed) < TAG_LENGTH:
            raise _damaged("the sealed part is cut off")
        return cls(derivation, nonce, sealed)


def header(derivation: Derivation | None) -> bytes:
    """Everything before the nonce."""
    if derivation is None:
        return _HEAD.pack(MAGIC, VERSION, LOCK_OWN_KEY)
    parameters = _PARAMETERS.pack(derivation.memory, derivation.passes, derivation.salt)
    return _HEAD.pack(MAGIC, VERSION, LOCK_PASSPHRASE) + parameters


def _damaged(what: str) -> StorageError:
    return StorageError(f"the stored record is damaged: {what}", code="store_damaged")
