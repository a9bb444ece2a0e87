"""The documentation site: complete, alone in the network, fit for a phone, and no part of what is shipped."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Page

from browserkit.engines import launch
from browserkit.server import StaticServer
from buildtools import docs
from buildtools.common import DIST, ROOT
from buildtools.engines import missing
from buildtools.report import DOCS, files_of
from buildtools.sbom import SUMS
from demo.recorder import Allowed, NetLog, Recorder
from smolmix_web.cli.main import build_parser
from smolmix_web.cpython import __all__ as exported
from smolmix_web.tunnel.options import option_table

pytestmark = pytest.mark.timeout(180)

SITE = docs.TARGET
# A page of each kind: home, a guide, diagrams, long tables, and of each generator one.
KINDS = (
    "index.html", "streaming.html", "architecture.html", "conformance.html", "reference/options.html",
    "reference/python.html", "reference/javascript/index/classes/MixTunnel.html",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def site() -> None:
    """Current, and made without a warning."""
    assert docs.ensure_docs() == SITE


def text(name: str) -> str:
    return (SITE / name).read_text(encoding="utf-8")


def test_every_page_of_the_checkout_is_in_the_navigation() -> None:
    navigation = set(re.findall(r'<a href="([^"#]+\.html)" class="md-nav__link', text("index.html")))
    pages = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")} - {"404.html", "index.html"}
    assert pages - navigation == set()
    assert {"architecture.html", "protocol/sphinx.html", "CHANGELOG.html", "examples/webview/ios/index.html"} <= pages


def test_the_reference_has_everything_that_is_public() -> None:
    options, commands, python = (text(f"reference/{name}.html") for name in ("options", "commands", "python"))
    assert [row["name"] for row in option_table() if f"<code>{row['name']}</code>" not in options] == []
    assert [name for name in exported if f'id="smolmix_web.cpython.{name}"' not in python] == []
    parser = build_parser()
    (choices,) = (action.choices for action in parser._actions if action.dest == "command")
    assert choices is not None and [name for name in choices if f'id="{name}"' not in commands] == []
    javascript = {path.stem for path in (SITE / "reference" / "javascript").rglob("*.html")}
    assert {"setupMixTunnel", "mixFetch", "MixTunnel", "TCPSocket", "SetupMixTunnelOpts", "install"} <= javascript
    assert "tls_certificate" in text("errors.html") and "<code>surbs_given</code>" in text("reference/statistics.html")


def strict(folder: Path, pages: dict[str, str], *, named: str) -> tuple[int, list[str]]:
    """Exit code and warnings of a site of `pages` with our settings."""
    for name, content in pages.items():
        path = folder / "pages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    settings, _, _ = docs.settings().read_text(encoding="utf-8").partition("\nnav:")
    settings = re.sub(r"docs_dir: .*", "docs_dir: pages", settings)
    settings = settings.replace("custom_dir: theme", f"custom_dir: {docs.SOURCES / 'theme'}")
    settings = settings.replace("- hooks.py", f"- {docs.SOURCES / 'hooks.py'}")
    (folder / "mkdocs.yml").write_text(f"{settings}\nnav: [docs/index.md, {named}, {{Guides: []}}]\n")
    command = docs.making(folder / "site", folder / "mkdocs.yml")
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=docs.environment(), capture_output=True, text=True, timeout=100
    )
    return done.returncode, re.split(r"(?m)^(?=WARNING|INFO)", done.stderr)


def test_what_is_wrong_fails(tmp_path: Path) -> None:
    links = "[1](other.md#x) [2](gone.md) [3](#three) [4](#two-words)"
    pages = {
        "docs/index.md": f"# A\n\n## Two: `words`\n\n{links}\n",
        "docs/other.md": "# Other\n\n[home](index.md#two-words)\n",
        "STRAY.md": "# Stray\n",
    }
    code, told = strict(tmp_path, pages, named="docs/missing.md")
    warnings = [one for one in told if one.startswith("WARNING")]
    for expected in ("docs/missing.md", "other.md#x", "gone.md", "#three", "STRAY.md"):
        assert [one for one in warnings if expected in one], (expected, told)
    assert code != 0 and "two-words" not in "".join(warnings)


def test_a_new_page_is_found(tmp_path: Path) -> None:
    pages = {"docs/index.md": "# A\n", "docs/named.md": "# Named\n", "docs/new.md": "# New\n"}
    code, told = strict(tmp_path, pages, named="docs/named.md")
    assert code == 0, told
    assert 'href="new.html"' in (tmp_path / "site" / "index.html").read_text()


def test_pages_outside_have_no_links_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs.check_outside()
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "a.md").write_text("[b](../b.md)\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    with pytest.raises(docs.TaskError, match=r"\.github/a\.md is no page of the site"):
        docs.check_outside()


def test_nothing_of_it_is_shipped() -> None:
    assert not [path for path in files_of(DIST) if DOCS in path.relative_to(DIST).parts]
    assert f"  {DOCS}/" not in (DIST / SUMS).read_text()
    own = str(ROOT).encode()
    assert [path for path in SITE.rglob("*") if path.is_file() and own in path.read_bytes()] == []


async def look(page: Page, name: str) -> None:
    """Nothing is wider than the screen, pictures are there, diagrams are drawn."""
    await page.goto(name)
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(width) <= 0, name
    broken = "[...document.images].filter((one) => one.complete && one.naturalWidth === 0).map((one) => one.src)"
    assert await page.evaluate(broken) == [], name
    diagrams = page.locator("div.mermaid")
    if name.endswith("architecture.html"):
        await diagrams.nth(2).wait_for()
        heights = await diagrams.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().height)")
        assert len(heights) == 3 and min(heights) > 50, heights


async def search(page: Page, start: str) -> None:
    """Finds a guide by a word, as somebody who types does: from a folder the index is loaded when the search opens."""
    await page.goto(f"{start}/index.html")
    field = page.locator(".md-search__input")
    wide = page.viewport_size is None or page.viewport_size["width"] > 1000
    await (field if wide else page.locator("label.md-header__button[for=__search]")).click()
    await field.press_sequentially("cookies")
    results = page.locator(".md-search-result__item a")
    await results.first.wait_for(timeout=20_000)
    addresses = await results.evaluate_all("(all) => all.map((one) => one.getAttribute('href'))")
    assert any("sessions.html" in address for address in addresses), addresses


@pytest.mark.feature("Packaging", "the documentation site: without a network, also from a folder")
@pytest.mark.parametrize("where", ["http", "file"])
async def test_it_asks_nobody_else(tmp_path: Path, where: str) -> None:
    log = tmp_path / "log.json"
    errors: list[str] = []
    with StaticServer({"/": SITE}) as server:
        start = server.url if where == "http" else SITE.as_uri()
        recorder = Recorder(Allowed(start, (), ()))
        async with launch("chromium", arguments=[f"--log-net-log={log}"]) as browser:
            for width, scheme in ((1280, "light"), (390, "dark")):
                context = await browser.new_context(
                    viewport={"width": width, "height": 844}, color_scheme="dark" if scheme == "dark" else "light"
                )
                recorder.attach(context)
                page = await context.new_page()
                page.on("pageerror", lambda error: errors.append(str(error)))
                page.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
                for name in KINDS:
                    await look(page, f"{start}/{name}")
                scheme_shown = await page.evaluate("document.body.dataset.mdColorScheme")
                assert scheme_shown == ("slate" if scheme == "dark" else "default")
                await search(page, start)
                await context.close()
    assert errors == []
    assert recorder.others(NetLog(log).page_urls()) == []
    assert where == "file" or any("search_index" in url for url in recorder.urls)


@pytest.mark.parametrize("where", ["http", "file"])
async def test_search_in_firefox(where: str) -> None:
    reason = missing("firefox")
    if reason is not None:
        pytest.skip(reason)
    with StaticServer({"/": SITE}) as server:
        async with launch("firefox") as browser:
            page = await browser.new_page()
            await search(page, server.url if where == "http" else SITE.as_uri())


@pytest.mark.long
def test_made_again(tmp_path: Path) -> None:
    """The same bytes."""
    command = docs.making(tmp_path)
    docs.stage()
    subprocess.run(list(map(str, command)), env=docs.environment(), check=True, timeout=170)
    ours, theirs = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (SITE, tmp_path)
    )
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
