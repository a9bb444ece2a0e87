"""Subresource Integrity: the body is held back until a hash of it fits (W3C SRI 3.3)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from binascii import Error
from collections import deque
from collections.abc import Iterator

from ..errors import HttpError
from .response import HttpResponse

MAX_HELD = 64 << 20  # bytes of a body, decoded
ALGORITHMS = ("sha256", "sha384", "sha512")  # the strongest last
_KEY = "ed25519"
_TOKEN = re.compile(r"(sha-?(?:256|384|512)|ed25519)-([A-Za-z0-9+/_=-]+)(?:\?.*)?", re.IGNORECASE)
_SPACE = re.compile(r"[\t\n\v\f\r ]+")
_ALPHABET = str.maketrans("-_", "+/")


def parse_integrity(text: str) -> tuple[str, frozenset[bytes]] | None:
    """The strongest algorithm named, and the digests given for it; None where nothing has to be checked.

    As browsers read it: padding may be missing, the alphabet is either; what follows `?`, and tokens that are none, are
    passed over. A digest that is base64 of something else never fits, nor does any body where a key (`ed25519-`) is
    named, because signatures are not checked here.
    """
    found: dict[str, set[bytes]] = {}
    for token in filter(None, map(_TOKEN.fullmatch, _SPACE.split(text))):
        algorithm = token[1].lower().replace("-", "")
        found.setdefault(algorithm, set()).add(_digest(token[2]))
    if not found:
        return None
    if _KEY in found:
        return _KEY, frozenset()
    strongest = max(found, key=ALGORITHMS.index)
    return strongest, frozenset(found[strongest])


def _digest(value: str) -> bytes:
    """The bytes of a digest; none where it is not base64."""
    value = value.translate(_ALPHABET).rstrip("=")
    try:
        return b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (Error, ValueError):
        return b""


async def check_integrity(response: HttpResponse, text: str) -> None:
    """Read the body, and have it ready to be read again when it is the one that was named.

    Raises `HttpError` with the code `integrity_mismatch`, or `body_too_large` beyond `MAX_HELD`, and what reading
    raises; the connection is free then.
    """
    expected = parse_integrity(text)
    if expected is None:
        return
    algorithm, digests = expected
    mismatch = HttpError(
        f"{response.url}: the body does not have the {algorithm} digest that was asked for"
        if digests
        else f"{response.url}: signatures ({algorithm}) cannot be checked",
        code="integrity_mismatch",
        phase="body",
    )
    if not digests:
        response.abort(mismatch)
        raise mismatch
    hasher = hashlib.new(algorithm)
    held: deque[bytes] = deque()
    size = 0
    async for chunk in response:
        hasher.update(chunk)
        held.append(chunk)
        size += len(chunk)
        if size > MAX_HELD:
            error = HttpError(
                f"{response.url}: the body is longer than {MAX_HELD} bytes, too long to check its integrity",
                code="body_too_large",
                phase="body",
            )
            response.abort(error)
            raise error
    if hasher.digest() not in digests:
        raise mismatch
    response.replay(_drained(held))


def _drained(chunks: deque[bytes]) -> Iterator[bytes]:
    while chunks:
        yield chunks.popleft()
