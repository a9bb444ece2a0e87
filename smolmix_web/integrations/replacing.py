"""What `patch` keeps in mind, in every runtime: what it has put in the place of what, to put it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Patched:
    """What `patch` did: the `names` of what now goes through `tunnel`, which blocks."""

    names: tuple[str, ...]
    tunnel: Any


class Replacements:
    """Undone in the order in which they were not made."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return bool(self._undo)

    def put(self, owner: Any, name: str, value: Any) -> None:
        had, old = name in vars(owner), getattr(owner, name)

        def back() -> None:
            if had:
                setattr(owner, name, old)
            else:
                delattr(owner, name)  # it was inherited

        setattr(owner, name, value)
        self._undo.append(back)

    def afterwards(self, call: Callable[[], None]) -> None:
        """The last thing of all."""
        self._undo.insert(0, call)

    def then(self, call: Callable[[], None]) -> None:
        """In its turn."""
        self._undo.append(call)

    def revert(self) -> None:
        while self._undo:
            self._undo.pop()()
