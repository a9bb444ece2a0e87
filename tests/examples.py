"""The examples of the documentation: each fenced block of every page, found by rule, for the tests that run them.

`# -> text` (in JavaScript `// -> text`), at the end of a line or as one of its own, is what a block says it prints.
"""

from __future__ import annotations

import re
from pathlib import Path

from buildtools.common import ROOT
from buildtools.docs import site_pages

PAGES = [path for path in site_pages() if path.suffix == ".md"]
# Names of the documentation -> of the local network.
NAMES = {
    "nowhere.example.com": "nowhere.test",
    "closed.example.com": "closed.test",
    "expired.example.com": "expired.test",
    "echo.example.com": "echo.test",
    "ws.example.com": "ws.test",
    "zone.example.com": "zone.test",
    "example.com": "origin.test",
}


def examples(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def pages_with(language: str) -> dict[str, Path]:
    """By name, relative to the checkout."""
    return {path.relative_to(ROOT).as_posix(): path for path in PAGES if examples(path, language)}


def local(text: str) -> str:
    for name, ours in NAMES.items():
        text = text.replace(name, ours)
    return text


def expected(code: str) -> list[str]:
    return re.findall(r"(?:#|//) -> (.*)$", code, re.MULTILINE)


def needs_node(code: str) -> bool:
    """Those for programs: by what they import. Of docs/node.md all are."""
    return re.search(r'"(node:|smolmix-web/(node|auto)")', code) is not None


def for_node() -> dict[str, str]:
    """The examples for programs, by page and number."""
    return {
        f"{page}-{number}": code
        for page, path in pages_with("js").items()
        for number, code in enumerate(examples(path, "js"))
        if page == "docs/node.md" or needs_node(code)
    }


def needs_pyodide(code: str) -> bool:
    return "micropip" in code or "smolmix_web.pyodide" in code
