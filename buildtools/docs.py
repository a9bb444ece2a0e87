"""`build.py docs`: the documentation site, made by MkDocs from the Markdown of the checkout and from the sources.

Pages stay where they are. build/docs/pages/ has links to them in the same places, so that a link between two files
works on a forge and on the site; beside them reference/ is what is generated (docs_reference.py, TypeDoc). The tools
are no part of the usual set-up: they have lock files of their own and are installed when the site is first made.
dist/docs/ holds the site; it is no part of what is shipped: neither the npm package nor SHA256SUMS, the bill of
materials or a budget know it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import venv
from pathlib import Path

from .common import BUILD, DIST, PYTHON, REQUIREMENTS, ROOT, TaskError, build_lock, call, run, say, tool_environment
from .javascript import ENTRIES, declare_types
from .report import DOCS
from .setup import THIS_PYTHON, ensure_node, ensure_venv, install_locked
from .stamps import Stamp, files_below

SOURCES = ROOT / "buildtools" / "site"
WORK = BUILD / "docs"
PAGES = WORK / "pages"  # what MkDocs reads
SITE = WORK / "site"  # what it writes
VENV = WORK / "venv"
TOOLS = WORK / "tools"
TARGET = DIST / DOCS
REFERENCE = "reference"
ON_THE_SITE = ("*.md", "docs/**/*", "examples/**/*.md", "localnet/*.md", "npm/*.md")
OUTSIDE = (".github/**/*.md", "tests/**/*.md")  # no pages of the site, so they must not link to files
# Where they are found in the tools, and what the site calls them: nothing comes from another server.
SCRIPTS = {"mermaid/dist/mermaid.min.js": "mermaid.min.js", "iframe-worker/shim/index.js": "iframe-worker.js"}
# `export type X = import("./y.js").X` is a name of its own to TypeDoc; as an export it is the thing itself.
ALIAS = re.compile(r'(?m)^export type (\w+)(?:<.*?>)? = import\("([^"]+)"\)\.\1(?:<.*>)?;$')


def ensure_docs() -> Path:
    """The site, made anew when one of its inputs has changed. Every warning is an error."""
    ensure_venv()
    ensure_node()
    ensure_tools()
    with build_lock("docs"):
        stamp = Stamp("docs", inputs())
        if not stamp.current(TARGET / "index.html"):
            stamp.clear()
            stage()
            say("making the documentation site")
            run(making(SITE), env=environment())
            with build_lock("dist"):
                shutil.rmtree(TARGET, ignore_errors=True)
                shutil.copytree(SITE, TARGET)
            stamp.write()
    return TARGET


def making(folder: Path, config: Path | None = None) -> list[str | Path]:
    """Not with --quiet, which hides the warnings from --strict, too."""
    return [VENV / "bin" / "mkdocs", "build", "--strict", "-f", config or settings(), "-d", folder]


def serve(port: int) -> int:
    """For authors: what is changed in a page shows at once; a new page, or changed sources, after another start."""
    ensure_venv()
    ensure_node()
    ensure_tools()
    with build_lock("docs"):
        stage()
    command: list[str | Path] = [VENV / "bin" / "mkdocs", "serve", "-f", settings(), "-a", f"127.0.0.1:{port}"]
    for folder in ("docs", "examples", "localnet", "npm"):
        command += ["-w", ROOT / folder]
    return call(command, env=environment())


def inputs() -> list[Path | str]:
    own = [ROOT / "buildtools" / name for name in ("docs.py", "docs_reference.py", "javascript.py")]
    locks = [REQUIREMENTS / "docs.lock", *sorted(SOURCES.glob("package*.json"))]
    pages = [page for page in site_pages() if ROOT / "docs" not in page.parents]
    outside = [path for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))]
    names = [str(path.relative_to(ROOT)) for path in (*pages, *outside)]
    return [*own, SOURCES, *locks, ROOT / "docs", ROOT / "smolmix_web", ROOT / "javascript", *pages, *outside, *names]


def settings() -> Path:
    return SOURCES / "mkdocs.yml"


def environment() -> dict[str, str]:
    """Two builds give the same bytes; a note of the theme's about another program is no warning about our pages."""
    return tool_environment(SOURCE_DATE_EPOCH="0", NO_MKDOCS_2_WARNING="1", PYTHONDONTWRITEBYTECODE="1")


def ensure_tools() -> None:
    """MkDocs with its theme, and TypeDoc with what the pages load, each from its lock file."""
    with build_lock("docs"):
        WORK.mkdir(parents=True, exist_ok=True)
        lock = REQUIREMENTS / "docs.lock"
        python = Stamp("docs-python", [lock, THIS_PYTHON], folder=WORK)
        if not python.current(VENV / "bin" / "mkdocs"):
            say("installing what makes the site from requirements/docs.lock")
            python.clear()
            venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(VENV)
            install_locked(VENV / "bin" / "python", lock)
            python.write()
        packages = [SOURCES / "package.json", SOURCES / "package-lock.json"]
        node = Stamp("docs-node", packages, folder=WORK)
        if not node.current(TOOLS / "node_modules"):
            say("installing what makes the site from buildtools/site/package-lock.json")
            node.clear()
            shutil.rmtree(TOOLS, ignore_errors=True)
            TOOLS.mkdir()
            for path in packages:
                shutil.copyfile(path, TOOLS / path.name)
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=TOOLS)
            node.write()


def site_pages() -> list[Path]:
    """Every file of the checkout that is on the site under its own name."""
    found = {path for pattern in ON_THE_SITE for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "node_modules" not in path.parts)


def stage() -> None:
    """Fill build/docs/pages/ anew."""
    check_outside()
    shutil.rmtree(PAGES, ignore_errors=True)
    for path in site_pages():
        place = PAGES / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
        if path.suffix == ".md" and re.search(rf"\]\([^):]*\b{REFERENCE}/", path.read_text(encoding="utf-8")):
            raise TaskError(f"{path.relative_to(ROOT)} links to {REFERENCE}/, which only the site has: link to a page")
    assets = PAGES / "docs" / "assets"
    assets.mkdir()
    for source, name in SCRIPTS.items():
        shutil.copyfile(TOOLS / "node_modules" / source, assets / name)
    shutil.copyfile(SOURCES / "site.css", assets / "site.css")
    run([PYTHON, "-m", "buildtools.docs_reference", PAGES / REFERENCE], env=tool_environment())
    describe_javascript(PAGES / REFERENCE / "javascript")


def check_outside() -> None:
    for path in (path for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))):
        links = [] if "node_modules" in path.parts else re.findall(r"\]\((?![a-z]+:)", path.read_text(encoding="utf-8"))
        if links:
            raise TaskError(f"{path.relative_to(ROOT)} is no page of the site, so nothing checks its links to files")


def describe_javascript(folder: Path) -> None:
    """The reference of the page's API, from the declarations that are made of it."""
    declared = WORK / "declared"
    shutil.rmtree(declared, ignore_errors=True)
    declare_types(declared)
    types = declared / "types"
    for path in files_below(types):
        text = path.read_text(encoding="utf-8")
        path.write_text(ALIAS.sub(r'import type { \1 } from "\2";\nexport type { \1 };', text), encoding="utf-8")
    project = types / "tsconfig.json"
    entries = [str(types / "page" / f"{name}.d.ts") for name in ENTRIES]
    compiler = {
        "strict": True, "noEmit": True, "skipLibCheck": True, "target": "es2022", "module": "es2022", "types": [],
        "moduleResolution": "bundler", "lib": ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
    }  # fmt: skip
    project.write_text(json.dumps({"compilerOptions": compiler, "files": entries}))
    command: list[str | Path] = ["node", TOOLS / "node_modules" / "typedoc" / "bin" / "typedoc"]
    command += ["--options", SOURCES / "typedoc.json", "--tsconfig", project, "--out", folder]
    run([*command, *entries], cwd=TOOLS, env=os.environ)  # plugins are looked for from where it runs
