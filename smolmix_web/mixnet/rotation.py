"""Key rotation numbers: the id of an epoch and the byte that travels with packets (sphinx 4.3)."""

from __future__ import annotations

ROTATION_UNKNOWN = 0
ROTATION_ODD = 1
ROTATION_EVEN = 2


def rotation_id(current_epoch: int, initial_epoch: int, validity_epochs: int) -> int:
    """The rotation in force at `current_epoch`; 0 before the initial one. `validity_epochs` is at least 1."""
    return max(0, current_epoch - initial_epoch) // validity_epochs


def rotation_byte(identifier: int) -> int:
    """The byte for a rotation id: 0 for the ids 0 and 2^32-1 (unknown), 1 for odd, 2 for even."""
    if identifier in (0, 0xFFFFFFFF):
        return ROTATION_UNKNOWN
    return ROTATION_ODD if identifier % 2 else ROTATION_EVEN
