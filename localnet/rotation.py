"""The clock of epochs and key rotations, shared by the directory and all nodes (sphinx 4.3, directory 3.2).

Unix time is an argument. Time can also be moved by hand: `advance` starts a later epoch at once, so a test need not
wait for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One moment of the clock."""

    number: int
    rotation: int
    started: float  # unix seconds
    in_rotation: int  # epochs since the rotation began
    last_of_rotation: bool


class RotationClock:
    """Epoch numbers from unix time: `initial_epoch` is where rotation 0 began."""

    INITIAL_EPOCH = 16

    def __init__(self, *, rotation: int, validity_epochs: int, epoch_seconds: float, unix_time: float) -> None:
        self.validity_epochs = validity_epochs
        self.epoch_seconds = epoch_seconds
        self.version = 0
        """Grows when the clock is moved by hand: what was worked out from it is stale then."""
        self._epoch = self.INITIAL_EPOCH + rotation * validity_epochs
        # Whole seconds: the directory's clients read a time stamp without fractions as well.
        self._started = float(math.floor(unix_time)) if epoch_seconds >= 60 else unix_time

    def at(self, unix_time: float) -> Epoch:
        """The epoch of a moment; time running backwards stays in the epoch it was in."""
        passed = max(0, math.floor((unix_time - self._started) / self.epoch_seconds))
        number = self._epoch + passed
        since = number - self.INITIAL_EPOCH
        rotation, in_rotation = divmod(since, self.validity_epochs)
        return Epoch(
            number=number,
            rotation=rotation,
            started=self._started + passed * self.epoch_seconds,
            in_rotation=in_rotation,
            last_of_rotation=in_rotation == self.validity_epochs - 1,
        )

    def advance(self, epochs: int, unix_time: float) -> Epoch:
        """Start the epoch `epochs` later now; 0 restarts the present one."""
        if epochs < 0:
            raise ValueError("the clock does not go back")
        self._epoch = self.at(unix_time).number + epochs
        self._started = unix_time
        self.version += 1
        return self.at(unix_time)

    def epochs_to_next_rotation(self, unix_time: float) -> int:
        return self.validity_epochs - self.at(unix_time).in_rotation

    def state(self) -> tuple[int, float]:
        """What `restore` needs to make another process's clock equal to this one."""
        return self._epoch, self._started

    def restore(self, state: tuple[int, float]) -> None:
        self._epoch, self._started = int(state[0]), float(state[1])
        self.version += 1
