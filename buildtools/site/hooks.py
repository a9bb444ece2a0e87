"""What MkDocs asks on its way: where pages stand on the site, and pages that the navigation does not name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# The section of a page that mkdocs.yml does not name, by the beginning of its path; the first that fits.
SECTIONS = (
    ("docs/protocol/", "Protocol"),
    ("reference/javascript/", "Page API"),
    ("reference/", "Reference"),
    ("examples/", "Examples"),
    ("docs/", "Guides"),
)
# The folders of TypeDoc.
KINDS = {
    "index": "index.js",
    "globals": "globals.js",
    "whole-page": "whole-page.js",
    "monitor": "monitor.js",
    "functions": "Functions",
    "classes": "Classes",
    "interfaces": "Interfaces",
    "type-aliases": "Types",
}
CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
DATED = ("sitemap.xml", "sitemap.xml.gz")  # a site without an address of its own has no use for them


def on_files(files: Any, config: Any) -> Any:
    """docs/ is the root of the site; files keep the paths of the checkout as sources, by which links are resolved."""
    for file in files:
        if file.src_uri == "README.md":
            file.dest_uri = "readme.html"
        elif file.src_uri.startswith("docs/"):
            file.dest_uri = file.dest_uri.removeprefix("docs/")
        for derived in ("url", "abs_dest_path"):
            file.__dict__.pop(derived, None)
    named = set(_pages(config.nav))
    for uri in sorted(file.src_uri for file in files.documentation_pages()):
        found = next((entry for entry in SECTIONS if uri.startswith(entry[0])), None)
        if uri not in named and found is not None:  # of the others MkDocs says that the navigation has not got them
            start, section = found
            below = _section(config.nav, section)
            for kind in [KINDS[part] for part in uri.removeprefix(start).split("/") if part in KINDS]:
                below = _section(below, kind, make=True)
            below.append(uri)
    return files


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [page for value in values for page in _pages(value)]


def _find(nav: list[Any], name: str) -> list[Any] | None:
    for entry in nav:
        if isinstance(entry, dict):
            for title, below in entry.items():
                found = below if title == name else _find(below, name) if isinstance(below, list) else None
                if found is not None:
                    return found
    return None


def _section(nav: list[Any], name: str, *, make: bool = False) -> list[Any]:
    found = _find(nav, name)
    if found is None and make:
        found = []
        nav.append({name: found})
    if found is None:
        raise ValueError(f"mkdocs.yml has no section {name}")
    return found


def on_page_content(html: str, **_: Any) -> str:
    """In a table a forge wants `\\|` in code, too; here that would show the backslash."""
    return CELL.sub(lambda cell: cell[0].replace("\\|", "|"), html)


def on_post_build(config: Any) -> None:
    for name in DATED:
        Path(config.site_dir, name).unlink(missing_ok=True)
