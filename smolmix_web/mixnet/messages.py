"""What clients say to each other once the fragments are joined: plain, repliable, reply (sphinx 8).

Lists of SURBs are read in both forms, V1 (full keys) and V2 (seeds), and written as V2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ..errors import MessageError, UsageError
from ..sphinx.constants import MAX_HOPS, PAYLOAD_KEY, PAYLOAD_SEED
from ..sphinx.surb import SURB_BASE, ReplySurb
from .addresses import RECIPIENT_LENGTH, SENDER_TAG_LENGTH, Recipient
from .mix_packet import check_rotation

_PLAIN, _REPLIABLE, _REPLY = 0, 1, 2
_REPLY_DATA, _REPLY_SURB_REQUEST = 0, 1
_SURB_REQUEST_LENGTH = RECIPIENT_LENGTH + 4

_V1_HOPS = 4
_V1_SURB = SURB_BASE + _V1_HOPS * PAYLOAD_KEY  # 1164
_V1_COUNT = 4
_V2_HEADER = 4  # count u16, hops u8, rotation u8

MAX_SURBS = 65535  # in one V2 list
# Bytes of a repliable Data message besides SURBs and data: type, tag, content tag, list header (sphinx 8.2).
REPLIABLE_OVERHEAD = 1 + SENDER_TAG_LENGTH + 1 + _V2_HEADER
REPLY_OVERHEAD = 2
PLAIN_OVERHEAD = 1


class ContentKind(Enum):
    """What a repliable message is for. The values are the content tags of V1; V2 adds 3."""

    DATA = 0
    ADDITIONAL_SURBS = 1
    HEARTBEAT = 2


@dataclass(frozen=True, slots=True)
class PlainMessage:
    data: bytes


@dataclass(frozen=True, slots=True)
class RepliableMessage:
    """`data` is empty unless `kind` is DATA; `version` is that of the SURB list, 1 or 2."""

    sender_tag: bytes
    kind: ContentKind
    surbs: tuple[ReplySurb, ...]
    data: bytes = b""
    version: int = 2


@dataclass(frozen=True, slots=True)
class ReplyMessage:
    data: bytes


@dataclass(frozen=True, slots=True)
class SurbRequest:
    """The peer at `recipient` asks for `amount` more SURBs."""

    recipient: Recipient
    amount: int


class ReceivedMessage(NamedTuple):
    """What a client hands on. `sender_tag` names an anonymous sender one can reply to; `source` is who replied to us by
    a SURB of ours."""

    data: bytes
    sender_tag: bytes | None
    source: Recipient | None = None


Message = PlainMessage | RepliableMessage | ReplyMessage | SurbRequest


def surb_length(hops: int = 4) -> int:
    """Bytes of one SURB in a V2 list: 460 for 4 hops."""
    return SURB_BASE + PAYLOAD_SEED * hops


# -- writing ------------------------------------------------------------------------------------------


def encode_plain(data: bytes) -> bytes:
    return b"\x00" + data


def encode_repliable(sender_tag: bytes, kind: ContentKind, surbs: Sequence[ReplySurb], data: bytes = b"") -> bytes:
    """A repliable message with a V2 list; all `surbs` hold seeds and share hops and rotation.

    UsageError `bad_surbs` for a mixture or more than 65,535, `bad_message` for data with another kind than DATA.
    """
    if len(sender_tag) != SENDER_TAG_LENGTH:
        raise UsageError(f"a sender tag has {SENDER_TAG_LENGTH} bytes", code="bad_message")
    if data and kind is not ContentKind.DATA:
        raise UsageError("only Data carries application data", code="bad_message")
    return b"".join((b"\x01", sender_tag, bytes((kind.value + 3,)), encode_surbs(surbs), data))


def encode_surbs(surbs: Sequence[ReplySurb]) -> bytes:
    """A V2 list; see `encode_repliable`."""
    if not surbs:
        return bytes(_V2_HEADER)
    hops, rotation = surbs[0].hops, surbs[0].rotation
    if len(surbs) > MAX_SURBS:
        raise UsageError(f"{len(surbs)} SURBs do not fit in one list", code="bad_surbs")
    if any(not surb.uses_seeds or surb.hops != hops or surb.rotation != rotation for surb in surbs):
        raise UsageError("the SURBs of a list have seeds, and share hops and rotation", code="bad_surbs")
    return b"".join(
        (len(surbs).to_bytes(2, "big"), bytes((hops, rotation)), *[surb.to_bytes() for surb in surbs]),
    )


def encode_reply(data: bytes) -> bytes:
    """A reply with application data, which must not be empty."""
    if not data:
        raise UsageError("a reply must not be empty", code="bad_message")
    return b"\x02\x00" + data


def encode_surb_request(recipient: Recipient, amount: int) -> bytes:
    """Ask for `amount` more SURBs; `recipient` is the own address."""
    if not 1 <= amount <= 0xFFFFFFFF:
        raise UsageError("a SURB request asks for at least 1", code="bad_message")
    return b"".join((b"\x02\x01", recipient.to_bytes(), amount.to_bytes(4, "big")))


# -- reading ------------------------------------------------------------------------------------------


def decode_message(data: bytes) -> Message:
    """Parse a whole message; MessageError `bad_message` or `bad_surbs` names the field and its offset."""
    if not data:
        raise _bad("empty")
    kind = data[0]
    if kind == _PLAIN:
        return PlainMessage(data[1:])
    if kind == _REPLIABLE:
        return _decode_repliable(data)
    if kind == _REPLY:
        return _decode_reply(data)
    raise _bad(f"unknown type {kind} at offset 0")


def _decode_repliable(data: bytes) -> RepliableMessage:
    at = 1 + SENDER_TAG_LENGTH
    if len(data) <= at + 1:
        raise _bad(f"{len(data)} bytes, a repliable one has more than {at + 1}")
    tag = data[at]
    if tag > 5:
        raise _bad(f"unknown content tag {tag} at offset {at}")
    kind, version = ContentKind(tag % 3), 1 + tag // 3
    surbs, end = (_decode_surbs_v1 if version == 1 else _decode_surbs_v2)(data, at + 1)
    rest = data[end:]
    if rest and kind is not ContentKind.DATA:
        raise _bad(f"{len(rest)} bytes too many at offset {end}")
    return RepliableMessage(data[1:at], kind, surbs, rest, version)


def _decode_surbs_v1(data: bytes, at: int) -> tuple[tuple[ReplySurb, ...], int]:
    start = at + _V1_COUNT
    if len(data) < start:
        raise _bad_surbs(f"the count at offset {at} is cut off")
    return _cut_surbs(data, start, int.from_bytes(data[at:start], "big"), _V1_SURB, 0)


def _decode_surbs_v2(data: bytes, at: int) -> tuple[tuple[ReplySurb, ...], int]:
    start = at + _V2_HEADER
    if len(data) < start:
        raise _bad_surbs(f"the list header at offset {at} is cut off")
    count, hops, rotation = int.from_bytes(data[at : at + 2], "big"), data[at + 2], data[at + 3]
    if count == 0:
        return (), start
    if not 1 <= hops <= MAX_HOPS:
        raise _bad_surbs(f"{hops} hops at offset {at + 2}")
    check_rotation(rotation, f"SURB list: offset {at + 3}")
    return _cut_surbs(data, start, count, surb_length(hops), rotation)


def _cut_surbs(data: bytes, start: int, count: int, size: int, rotation: int) -> tuple[tuple[ReplySurb, ...], int]:
    end = start + count * size
    if len(data) < end:
        raise _bad_surbs(f"{count} of {size} bytes at offset {start}, only {len(data) - start} bytes are there")
    return tuple(ReplySurb.from_bytes(data[pos : pos + size], rotation) for pos in range(start, end, size)), end


def _decode_reply(data: bytes) -> ReplyMessage | SurbRequest:
    if len(data) < REPLY_OVERHEAD:
        raise _bad("the content tag of a reply at offset 1 is missing")
    tag, content = data[1], data[2:]
    if tag == _REPLY_DATA:
        if not content:
            raise _bad("a reply without data at offset 2")
        return ReplyMessage(content)
    if tag == _REPLY_SURB_REQUEST:
        if len(content) != _SURB_REQUEST_LENGTH:
            raise _bad(f"a SURB request of {len(content)} bytes at offset 2, {_SURB_REQUEST_LENGTH} expected")
        amount = int.from_bytes(content[RECIPIENT_LENGTH:], "big")
        return SurbRequest(Recipient.from_bytes(content[:RECIPIENT_LENGTH]), amount)
    raise _bad(f"unknown reply tag {tag} at offset 1")


def _bad(text: str) -> MessageError:
    return MessageError(f"message: {text}", code="bad_message")


def _bad_surbs(text: str) -> MessageError:
    return MessageError(f"SURB list: {text}", code="bad_surbs")
