"""What the monitor says of a code comes from docs/errors.md (buildtools/javascript.py)."""

from __future__ import annotations

import re

from buildtools.javascript import ERRORS, error_meanings


def test_a_table_is_read_without_its_markup() -> None:
    text = """# Errors
| code | phase | retryable | meaning |
|---|---|---|---|
| `one`, `two` | `dns` | no | nothing [here](http.md#x), `reason` says |
| `one` | `tls` | no | something else |
| `empty` | `tls` | no | |
"""
    assert error_meanings(text) == {
        "one": "nothing here, reason says; or: something else",
        "two": "nothing here, reason says",
    }


def test_every_code_of_the_page_has_a_meaning_or_none_is_written() -> None:
    text = ERRORS.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    codes = {code for line in rows for code in re.findall(r"`(\w+)`", line.split("|")[1])}
    silent = {
        code for line in rows if not line.split("|")[4].strip() for code in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    meanings = error_meanings(text)
    assert codes - set(meanings) <= silent and len(meanings) > 90
    assert not [meaning for meaning in meanings.values() if "`" in meaning or "](" in meaning]
