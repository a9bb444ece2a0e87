"""Padding, chunking into fragments and sets, and the fragment header (sphinx 7, 5).

All fragments of a message have exactly `fragment_size` bytes (1611 in a regular packet). A set holds up to 255 of
them; longer messages are a chain of sets, linked by the ids in their first and last fragments.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import MessageError, UsageError
from ..rand import RandomSource
from ..sphinx.constants import REGULAR

UNLINKED_HEADER = 7
LINKED_HEADER = 10
MAX_SET = 255
MIN_FRAGMENT = LINKED_HEADER + 1
IDENTIFIER_LENGTH = 5

_TOP_BIT = 0x80000000
_ID_MASK = 0x7FFFFFFF
_END = b"\x01"


class FragmentIdentifier(NamedTuple):
    """Names one fragment of one sender; acks carry it. Set 0, position 0 stands for cover packets."""

    set_id: int
    position: int  # from 1

    def to_bytes(self) -> bytes:
        """5 bytes."""
        return self.set_id.to_bytes(4, "big") + bytes((self.position,))

    @classmethod
    def from_bytes(cls, data: bytes) -> FragmentIdentifier:
        """Inverse of `to_bytes`; MessageError `bad_fragment_id`."""
        if len(data) != IDENTIFIER_LENGTH:
            raise MessageError(f"fragment id: {len(data)} bytes, {IDENTIFIER_LENGTH} expected", code="bad_fragment_id")
        if data[0] & 0x80:
            raise MessageError("fragment id: the top bit at offset 0 is set", code="bad_fragment_id")
        return cls(int.from_bytes(data[:4], "big"), data[4])


COVER_IDENTIFIER = FragmentIdentifier(0, 0)


class Fragment(NamedTuple):
    """One piece of a set. `previous_set` only on the first, `next_set` only on the 255th of a set."""

    set_id: int
    total: int
    position: int  # from 1
    data: bytes
    previous_set: int | None = None
    next_set: int | None = None

    @property
    def identifier(self) -> FragmentIdentifier:
        return FragmentIdentifier(self.set_id, self.position)

    def header(self) -> bytes:
        """7 bytes, or 10 when the fragment is linked."""
        start = (self.set_id | _TOP_BIT).to_bytes(4, "big") + bytes((self.total, self.position))
        linked = self.previous_set if self.previous_set is not None else self.next_set
        return start + (b"\0" if linked is None else (linked | _TOP_BIT).to_bytes(4, "big"))

    def to_bytes(self) -> bytes:
        return self.header() + self.data

    @classmethod
    def from_bytes(cls, data: bytes) -> Fragment:
        """Inverse of `to_bytes`; MessageError `bad_fragment` names the field."""
        if len(data) < UNLINKED_HEADER:
            raise _bad(f"{len(data)} bytes, at least {UNLINKED_HEADER} expected")
        first = int.from_bytes(data[:4], "big")
        if not first & _TOP_BIT:
            raise _bad("the top bit of the set id at offset 0 is missing")
        set_id, total, position = first & _ID_MASK, data[4], data[5]
        if set_id == 0:
            raise _bad("set id 0 at offset 0")
        if not 1 <= position <= total:
            raise _bad(f"number {position} at offset 5 of {total} at offset 4")
        if data[6] == 0:
            return cls(set_id, total, position, data[UNLINKED_HEADER:])
        if len(data) < LINKED_HEADER:
            raise _bad(f"{len(data)} bytes, a linked one has at least {LINKED_HEADER}")
        link = int.from_bytes(data[6:10], "big")
        if not link & _TOP_BIT:
            raise _bad("the top bit of the linked set id at offset 6 is missing")
        linked = link & _ID_MASK
        if linked in (0, set_id):
            raise _bad("the linked set id at offset 6 is 0 or the own one")
        if position == 1:
            return cls(set_id, total, position, data[LINKED_HEADER:], previous_set=linked)
        if position == MAX_SET:
            return cls(set_id, total, position, data[LINKED_HEADER:], next_set=linked)
        raise _bad(f"number {position} of {total} cannot be linked")


def _bad(text: str) -> MessageError:
    return MessageError(f"fragment: {text}", code="bad_fragment")


# -- sizes ----------------------------------------------------------------------------------------


class FragmentPlan(NamedTuple):
    """How a message is cut: number of fragments and sets, and the zero bytes that fill the last fragment."""

    fragments: int
    sets: int
    unused: int


def plan_fragments(length: int, fragment_size: int = REGULAR.fragment) -> FragmentPlan:
    """The plan for `length` bytes, end marker included (`length` is at least 1; sphinx 7.1)."""
    if fragment_size < MIN_FRAGMENT:
        raise UsageError(f"a fragment has at least {MIN_FRAGMENT} bytes", code="bad_fragment_size")
    unlinked = fragment_size - UNLINKED_HEADER
    linked = fragment_size - LINKED_HEADER
    full = MAX_SET * unlinked
    if length <= full:
        fragments = max(1, -(-length // unlinked))
        return FragmentPlan(fragments, 1, fragments * unlinked - length)
    # The first and the last set lose 3 bytes to one link, the sets between them 6 to two.
    middle = max(0, -(-(length - 2 * (full - 3)) // (full - 6)))
    sets = 2 + middle
    rest = length - (full - 3) - middle * (full - 6)
    more = max(0, -(-(rest - linked) // unlinked))
    return FragmentPlan(MAX_SET * (sets - 1) + 1 + more, sets, linked + more * unlinked - rest)


def packets_needed(message_length: int, fragment_size: int = REGULAR.fragment) -> int:
    """Fragments, and so packets, for a message of `message_length` bytes (type byte included, marker not)."""
    return plan_fragments(message_length + 1, fragment_size).fragments


# -- padding ----------------------------------------------------------------------------------------


def pad_message(message: bytes, fragment_size: int = REGULAR.fragment) -> bytes:
    """`message || 0x01 || zeros`, filling the last fragment exactly."""
    return b"".join((message, _END, bytes(plan_fragments(len(message) + 1, fragment_size).unused)))


def unpad_message(padded: bytes) -> bytes:
    """Everything before the last byte 0x01; MessageError `bad_padding` when there is none."""
    end = padded.rfind(_END)
    if end < 0:
        raise MessageError("message: no end of the padding", code="bad_padding")
    return padded[:end]


# -- chunking -----------------------------------------------------------------------------------------


def split_message(rng: RandomSource, message: bytes, fragment_size: int = REGULAR.fragment) -> list[Fragment]:
    """Pad `message` (its type byte first) and cut it into fragments of `fragment_size` bytes, in order."""
    plan = plan_fragments(len(message) + 1, fragment_size)
    padded = b"".join((message, _END, bytes(plan.unused)))
    ids = _draw_ids(rng, plan.sets)
    fragments = []
    at = 0
    for index, set_id in enumerate(ids):
        previous = ids[index - 1] if index > 0 else None
        following = ids[index + 1] if index + 1 < plan.sets else None
        total = MAX_SET if following is not None else plan.fragments - MAX_SET * (plan.sets - 1)
        for position in range(1, total + 1):
            before = previous if position == 1 else None
            after = following if position == MAX_SET else None
            size = fragment_size - (UNLINKED_HEADER if before is None and after is None else LINKED_HEADER)
            fragments.append(Fragment(set_id, total, position, padded[at : at + size], before, after))
            at += size
    return fragments


def _draw_ids(rng: RandomSource, count: int) -> list[int]:
    """`count` different set ids, each uniform in 1 .. 2^31 - 1."""
    ids: dict[int, None] = {}
    while len(ids) < count:
        ids[rng.below(_ID_MASK) + 1] = None
    return list(ids)
