"""Bundle the JavaScript: each entry becomes one self-contained ES module in dist/, the page's API with its types."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .common import BUILD, DIST, NODE_MODULES, ROOT, run

SOURCES = ROOT / "javascript"
# By where the code runs: in the page, and beside Python, which is the worker or a Pyodide of somebody else's.
PAGE, WORKER, SERVICE = SOURCES / "page", SOURCES / "worker", SOURCES / "service"
# What a page imports from dist/. It finds the worker beside itself, the worker finds pyodide/.
ENTRIES = ("index", "globals", "auto", "whole-page", "monitor")
# Those that the one-file build has inside; a Service Worker is a file of its own in any case.
IN_SINGLE = ("index", "globals")
# As a script for Service Workers, which sets `smolmix`, and as a module.
SERVICE_SCRIPT, SERVICE_MODULE = "service-worker.js", "service-worker-module.js"
# The page's entries share one tunnel: what another one needs of the API it imports from the file beside it.
SHARED = ("--external:*/index.js", "--external:*/mix-tunnel.js")
# What is in the package's entries for Node.js and in nothing of dist/.
NODE_LIBRARIES = ("@pondwader/socks5-server", "agent-base")
# What the four official packages export, over our tunnel: only in the npm package.
OFFICIAL = ("mix-tunnel", "mix-fetch", "mix-dns", "mix-websocket")


def bundle(entry: Path, target: Path, extra: Sequence[str] = ()) -> None:
    """One entry point with everything it imports statically; `import(...)` of computed URLs stays as it is."""
    run(
        [
            NODE_MODULES / ".bin" / "esbuild",
            entry,
            "--bundle",
            "--format=esm",
            "--platform=browser",
            "--target=es2022",
            "--minify",
            "--legal-comments=eof",
            "--sourcemap=linked",
            # A node_modules that is a link is named as it stands here, so that source maps tell of no other folder.
            "--preserve-symlinks",
            "--log-level=warning",
            f"--outfile={target}",
            *extra,
        ]
    )


def bundle_all(folder: Path = DIST) -> None:
    """The worker first: its hash and those of its parts, which are there, stand in index.js (page/integrity.js)."""
    bundle(WORKER / "worker.js", folder / "worker.js")
    for name in ENTRIES:
        bundle(PAGE / f"{name}.js", folder / f"{name}.js", [*SHARED, hashes(folder), meanings()])
    bundle_service(folder)


def bundle_service(folder: Path) -> None:
    """The Service Worker that a site serves, or imports in its own."""
    classic = ("--format=iife", "--global-name=smolmix")
    bundle(SERVICE / "service-worker.js", folder / SERVICE_SCRIPT, classic)
    bundle(SERVICE / "service-worker.js", folder / SERVICE_MODULE)


# What the worker loads before it runs anything of Python's, and itself; wheels have their hashes in the lock.
CHECKED = ("worker.js", *(f"pyodide/{name}" for name in (
    "pyodide.mjs", "pyodide-lock.json", "pyodide.asm.mjs", "pyodide.asm.wasm", "python.zst",
)))  # fmt: skip


def hashes(folder: Path) -> str:
    """An option of esbuild."""

    def digest(name: str) -> str:
        return base64.b64encode(hashlib.sha256((folder / name).read_bytes()).digest()).decode()

    return f"--define:SMOLMIX_SHA256={json.dumps({name: digest(name) for name in CHECKED})}"


ERRORS = ROOT / "docs" / "errors.md"


def meanings() -> str:
    """An option of esbuild: what each code of docs/errors.md means, without its markup."""
    return f"--define:SMOLMIX_ERRORS={json.dumps(error_meanings(ERRORS.read_text(encoding='utf-8')))}"


def error_meanings(text: str) -> dict[str, str]:
    """Of the table: code to meaning. A code that stands there for several phases has all its meanings."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 4 or not cells[3]:
            continue
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cells[3]).replace("`", "")
        for code in re.findall(r"`(\w+)`", cells[0]):
            found[code] = f"{found[code]}; or: {plain}" if code in found else plain
    return found


def bundle_official(folder: Path) -> None:
    """The entries in the place of the official packages, with their types, into `folder`/official."""
    for name in OFFICIAL:
        bundle(PAGE / "official" / f"{name}.js", folder / "official" / f"{name}.js", SHARED)
        types = f"{name}.d.ts"
        shutil.copyfile(PAGE / "official-types" / types, folder / "official" / types)


def bundle_package_worker(parts: Path, target: Path) -> None:
    """The worker with Pyodide's scripts inside; `parts` stands in the place of javascript/worker/own-files.js."""
    run(["node", ROOT / "buildtools" / "package_worker.mjs", WORKER / "worker.js", parts, target])


def bundle_node(parts: str, folder: Path) -> None:
    """The same entries and the worker for Node.js and its like, into `folder`; `parts` as above, but its text."""
    own_files = BUILD / "npm" / "node-own-files.js"
    own_files.write_text(parts, encoding="utf-8")
    run(["node", ROOT / "buildtools" / "node_package.mjs", SOURCES, own_files, folder])


def bundle_single(folder: Path) -> None:
    """Everything in one file, as a module and as a classic script, and its types; `folder` has all else."""
    run(["node", ROOT / "buildtools" / "single.mjs", SOURCES, folder])
    types = "".join(f'export * from "../types/page/{name}.js";\n' for name in IN_SINGLE)
    (folder / "single" / "smolmix.d.ts").write_text(types, encoding="utf-8")


# TypeScript before 5.7 knows no arrays by their buffers; this names the same type in all.
BYTES = "Uint8Array<ArrayBuffer>", 'ReturnType<Uint8ArrayConstructor["of"]>'


# Of TypeScript from 5.2 on; who compiles for older engines has not asked for it.
DISPOSABLE = '/// <reference lib="esnext.disposable" />\n'


# What the page's API looks like to TypeScript: made from the JSDoc comments, without what is marked @internal.
TYPES = ("--declaration", "--emitDeclarationOnly", "--stripInternal")
DIALECT = (
    "--ignoreConfig", "--allowJs", "--strict", "--skipLibCheck", "--types", "", "--target", "es2022",
    "--module", "es2022", "--moduleResolution", "bundler",
)  # fmt: skip
# What there is where the code runs.
OF_PAGES = ("--lib", "es2022,esnext.disposable,dom,dom.iterable,dom.asynciterable")
OF_WORKERS = ("--lib", "es2022,esnext.disposable,webworker,webworker.iterable")


def spell_out(folder: Path) -> None:
    """Types by names that compilers of others know."""
    for path in folder.rglob("*.d.ts"):
        text = path.read_text(encoding="utf-8").replace(*BYTES)
        path.write_text(f"{DISPOSABLE}{text}" if "AsyncDisposable" in text else text, encoding="utf-8")


def declare_types(folder: Path = DIST) -> None:
    """A `.d.ts` for TypeScript beside each entry of the page, and what it refers to in `types/`."""
    pages = [PAGE / f"{name}.js" for name in ENTRIES]
    for library, entries in ((OF_PAGES, pages), (OF_WORKERS, [SERVICE / "service-worker.js"])):
        output = ("--rootDir", SOURCES, "--outDir", folder / "types")
        run([NODE_MODULES / ".bin" / "tsc", *DIALECT, *library, *TYPES, *output, *entries])
    spell_out(folder / "types")
    for name in ENTRIES:
        (folder / f"{name}.d.ts").write_text(f'export * from "./types/page/{name}.js";\n', encoding="utf-8")
    (folder / "service-worker.d.ts").write_text(
        'export * from "./types/service/service-worker.js";\n', encoding="utf-8"
    )


def declare_node_types(folder: Path) -> None:
    """What only Node.js and its like have, beside the types of the page in `folder`; it needs `@types/node`."""
    made = BUILD / "npm" / "node-types"
    once = ("--composite", "false", "--incremental", "false", "--noEmit", "false")
    run([NODE_MODULES / ".bin" / "tsc", "-p", SOURCES / "node", *once, *TYPES, "--rootDir", SOURCES, "--outDir", made])
    # The worker's are nobody's business.
    shutil.copytree(made / "node", folder / "types" / "node", ignore=shutil.ignore_patterns("worker"))
    spell_out(folder / "types" / "node")
    (folder / "node.d.ts").write_text('export * from "./types/node/node.js";\n', encoding="utf-8")
