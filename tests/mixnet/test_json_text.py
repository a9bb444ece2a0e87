"""JSON from peers is bounded in depth before the recursive parser sees it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.mixnet.json_text import MAX_DEPTH, load_json, nesting

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(JSON)
def test_depth_is_exact_and_values_come_through(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert nesting(text.encode("utf-8", "surrogatepass")) == depth(value)
    assert load_json(text) == value
    assert load_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "text",
    ['"[[[[[["', r'"\"[[[[[["', r'"\\"', r'["\\\"[[", "]]"]', '{"[": "{", "]": "\\u005b\\"["}'],
)
def test_brackets_in_strings_do_not_count(text: str) -> None:
    value = json.loads(text)
    assert nesting(text.encode()) == depth(value)
    assert load_json(text) == value


@pytest.mark.parametrize(("opener", "closer"), [("[", "]"), ('{"a":', "}")])
def test_the_limit(opener: str, closer: str) -> None:
    inner = "1" if closer == "}" else ""
    fits = opener * MAX_DEPTH + inner + closer * MAX_DEPTH
    assert depth(load_json(fits)) == MAX_DEPTH
    with pytest.raises(ValueError, match="nested deeper"):
        load_json(opener + fits + closer)


@pytest.mark.parametrize("count", [1000, 200_000])
def test_endless_brackets_never_reach_the_parser(count: int) -> None:
    for text in ("[" * count, '{"a":' * count, "[" * count + "]" * count, '[{"a":' * count, '"x" ' + "[" * count):
        with pytest.raises(ValueError):
            load_json(text)
        with pytest.raises(ValueError):
            load_json(text.encode())


def test_wide_texts_pass() -> None:
    wide = [{"a": [1, 2], "b": {}} for _ in range(5000)]
    assert load_json(json.dumps(wide)) == wide


def test_only_utf8_is_taken() -> None:
    """In UTF-16 a character such as U+0122 holds the byte of a quote, behind which brackets could hide."""
    for encoding in ("utf-16", "utf-16-le", "utf-32-be"):
        with pytest.raises(ValueError):
            load_json(('["\u0122", ' + "[" * 1000).encode(encoding))


NOT_JSON = ["", "[", '"', "\\", '"[', "]" * 100 + "[" * 100, b"\xff\xfe", b"\xff" * 10 + b"[" * 99]


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        load_json(text)
