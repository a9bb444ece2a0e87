"""Every link of the documentation to a file of the checkout, or to a heading in one, leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildtools.common import ROOT

pytestmark = pytest.mark.cpython

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "localnet/*.md", "npm/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)


def anchor(heading: str) -> str:
    """As GitHub makes it: lower case, punctuation gone, hyphens for spaces."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    return {anchor(heading) for heading in re.findall(r"(?m)^#+ (.*)$", text)}


def broken(page: Path) -> list[str]:
    found = []
    text = re.sub(r"(?ms)^ *```.*?^ *```", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (heading and path.suffix == ".md" and heading not in anchors(path)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One: `two`\n\n[1](#one-two) [2](#three) [3](b.md) [4](https://example.com/) [5](a.md#one-two)\n")
    assert broken(page) == ["#three", "b.md"]
