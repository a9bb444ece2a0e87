"""Base58 with the Bitcoin alphabet and no checksum, for values of known length (sphinx 1.3)."""

from __future__ import annotations

from functools import lru_cache

from ..errors import MessageError

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def base58_encode(data: bytes) -> str:
    """Text of `data`; every leading zero byte is one `1`. Meant for keys and tags: the cost is quadratic."""
    number = int.from_bytes(data, "big")
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


@lru_cache(maxsize=1024)
def name_of(identity: bytes) -> str:
    """A node's, which is asked for again and again."""
    return base58_encode(identity)


def base58_decode(text: str, length: int, what: str = "value") -> bytes:
    """The `length` bytes that `text` stands for; MessageError `bad_base58` naming `what` for anything else.

    Text that is too long for `length` bytes is refused before any arithmetic.
    """
    if len(text) > length * 138 // 100 + 1:
        raise MessageError(f"{what}: {len(text)} characters are too many for {length} bytes", code="bad_base58")
    number = 0
    for position, letter in enumerate(text):
        value = _VALUES.get(letter)
        if value is None:
            raise MessageError(f"{what}: not a base58 character at position {position}", code="bad_base58")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    size = zeros + (number.bit_length() + 7) // 8
    if size != length:
        raise MessageError(f"{what}: {size} bytes, {length} expected", code="bad_base58")
    return number.to_bytes(length, "big")
