"""Subresource Integrity: the body is held back until a hash of it fits (W3C SRI 3.3)."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from binascii import Error
from collections import deque
from collections.abc import Iterator

from ..errors import HttpError
from .response import HttpResponse

MAX_HELD = 64 << 20  # bytes of a body, decoded
ALGORITHMS = ("sha256", "sha384", "sha512")  # the strongest last

_URL_SAFE = str.maketrans("-_", "+/")


def parse_integrity(text: str) -> tuple[str, frozenset[bytes]] | None:
    """The strongest algorithm named, and the digests given for it; None where nothing has to be checked.

    Options after `?` and algorithms that are not known are passed over. A digest that cannot be one never fits.
    """
    found: dict[str, set[bytes]] = {}
    for token in text.split():
        algorithm, _, value = token.partition("?")[0].partition("-")
        algorithm = algorithm.lower()
        if algorithm in ALGORITHMS:
            found.setdefault(algorithm, set()).add(_digest(value))
    if not found:
        return None
    strongest = max(found, key=ALGORITHMS.index)
    return strongest, frozenset(found[strongest])


def _digest(value: str) -> bytes:
    """The bytes of a digest in base64 of either alphabet; none where it is not base64."""
    try:
        return b64decode(value.translate(_URL_SAFE), validate=True)
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
        raise HttpError(
            f"{response.url}: the body does not have the {algorithm} digest that was asked for",
            code="integrity_mismatch",
            phase="body",
        )
    response.replay(_drained(held))


def _drained(chunks: deque[bytes]) -> Iterator[bytes]:
    while chunks:
        yield chunks.popleft()
