"""What a request asks for itself: integrity of the body, how many redirects are followed."""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode

from .case import Fails, FetchCase, Read

BODY = b"hello"


def _digest(algorithm: str, body: bytes = BODY) -> str:
    return b64encode(hashlib.new(algorithm, body).digest()).decode()


_256, _384, _512 = (_digest(algorithm) for algorithm in ("sha256", "sha384", "sha512"))
_WRONG, _WRONG_512 = _digest("sha256", b"other"), _digest("sha512", b"other")
_URL_SAFE = urlsafe_b64encode(hashlib.sha512(BODY).digest()).decode()

_READ = {
    "a digest that fits": f"sha256-{_256}",
    "sha384": f"sha384-{_384}",
    "sha512": f"sha512-{_512}",
    "no padding": f"sha256-{_256.rstrip('=')}",
    "no padding where two are due": f"sha512-{_512.rstrip('=')}",
    "one padding where two are due": f"sha512-{_512.rstrip('=')}=",
    "padding beyond measure": f"sha256-{_256}===",
    "the alphabet of URLs": f"sha512-{_URL_SAFE}",
    "a dash within the name": f"sha-256-{_256}",
    "an option": f"sha256-{_256}?type=text",
    "an option without padding before it": f"sha256-{_256.rstrip('=')}?x",
    "an option of nothing": f"sha256-{_256}?",
    "no algorithm that is known": "md5-abc sha1-abc sha2567-abc",
    "one known, which fits": f"md5-abc sha256-{_256}",
    "the strongest counts": f"sha512-{_512} sha256-{_WRONG}",
    "one of two": f"sha256-{_WRONG} sha256-{_256}",
    "white space of every kind": f"\tsha256-{_WRONG}\n\f\v\r sha256-{_256} ",
    "a comma is no separator": f"sha256-{_WRONG},sha256-{_WRONG}",
    "no value": "sha256-",
    "no dash": "sha256",
    "no value of the stronger": f"sha512- sha256-{_256}",
    "what is no base64": "sha256-!!!",
    "what is no base64 of the stronger": f"sha512-!!! sha256-{_256}",
    "a dot at the end": f"sha256-{_WRONG}.",
    "quotes": f"'sha256-{_WRONG}'",
    "a no-break space before it": f"\u00a0sha256-{_WRONG}",
    "nothing": "",
    "blanks": "  ",
}
_REFUSED = {
    "a digest of something else": f"sha256-{_WRONG}",
    "something else with an option": f"sha256-{_WRONG}?x",
    "something else with a dash within the name": f"sha-256-{_WRONG}",
    "something else beside an unknown one": f"md5-abc sha256-{_WRONG}",
    "the strongest is wrong": f"sha512-{_WRONG_512} sha256-{_256}",
    "of another length": "sha256-abcd",
    "of another length and stronger": f"sha512-abcd sha256-{_256}",
    "padding alone": "sha256-=",
    "padding first": f"sha256-={_256}",
    "more behind the padding": f"sha256-{_256}xyz",
    "one character": "sha256-A",
    "two dashes": f"sha256--{_256}",
    "of another algorithm": f"sha256-{_384}",
    "a vertical tab before it": f"\vsha256-{_WRONG}",
    "a signature": f"ed25519-{_256}",
    "a signature beside a digest that fits": f"ed25519-abcd sha256-{_256}",
}

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + BODY


def _hops(count: int) -> list[list[bytes]]:
    hop = b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n"
    return [*([hop % n] for n in range(1, count + 1)), [_ANSWER]]


CASES = [
    *(FetchCase(name, "integrity", [[_ANSWER]], Read(BODY), init={"integrity": text}) for name, text in _READ.items()),
    *(
        FetchCase(name, "integrity", [[_ANSWER]], Fails("integrity_mismatch"), init={"integrity": text})
        for name, text in _REFUSED.items()
    ),
    FetchCase(
        "capitals",
        "integrity",
        [[_ANSWER]],
        Read(BODY),
        ours=Fails("integrity_mismatch"),
        why="Chromium passes over algorithms in capitals; a body that does not fit must not pass unchecked.",
        init={"integrity": f"SHA256-{_WRONG}"},
    ),
    FetchCase("20 redirects", "redirects in a row", _hops(20), Read(BODY, target="/20"), requests=21),
    FetchCase("21 redirects", "redirects in a row", _hops(21), Fails("too_many_redirects"), requests=21),
]
