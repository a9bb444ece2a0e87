"""What a caller may put into a request."""

from __future__ import annotations

import pytest

from smolmix_web.errors import HttpError
from smolmix_web.http.headers import USER_AGENT, check_headers, get_all, with_defaults


def test_defaults_are_neutral_and_the_caller_wins() -> None:
    assert with_defaults([], "gzip") == [("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Encoding", "gzip")]
    own = check_headers({"user-agent": "mine", "ACCEPT": "text/html", "X-A": "1"})
    assert with_defaults(own, "gzip") == [("Accept-Encoding", "gzip"), *own]


def test_order_and_repetition_are_kept() -> None:
    given = [("B", "1"), ("a", " 2\t"), ("b", "")]
    assert check_headers(given) == [("B", "1"), ("a", "2"), ("b", "")]
    assert get_all(check_headers(given), "b") == ["1", ""]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Host", "x", "forbidden_header"),
        ("transfer-ENCODING", "chunked", "forbidden_header"),
        ("Content-Length", "1", "forbidden_header"),
        ("Connection", "close", "forbidden_header"),
        ("Upgrade", "h2c", "forbidden_header"),
        ("X\nY", "x", "bad_header"),
        ("X Y", "x", "bad_header"),
        ("", "x", "bad_header"),
        ("X:", "x", "bad_header"),
        ("\u00e4", "x", "bad_header"),
        ("X", "a\r\nEvil: 1", "bad_header"),
        ("X", "a\0b", "bad_header"),
        ("X", "\u20ac", "bad_header"),
        ("X", 5, "bad_header"),
        (5, "x", "bad_header"),
    ],
)
def test_refused(name: object, value: object, code: str) -> None:
    with pytest.raises(HttpError) as caught:
        check_headers([(name, value)])  # type: ignore[list-item]
    assert caught.value.code == code


def test_bounds() -> None:
    with pytest.raises(HttpError):
        check_headers([("X", "y")] * 300)
    with pytest.raises(HttpError):
        check_headers([("X", "y" * 70_000)])
    with pytest.raises(HttpError):
        check_headers(["no pair"])  # type: ignore[list-item]
