"""The tarball itself: its files, what linters of packages say, its types, and code for the official packages."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from browserkit.server import StaticServer
from buildtools.common import NODE_MODULES, ROOT
from buildtools.npm import check_entries
from buildtools.sbom import BILL
from tests.consumers.conftest import World
from tests.consumers.consumer import install

pytestmark = pytest.mark.timeout(600)

CODE = Path(__file__).parent / "official"
ENTRIES = [
    "",
    "/globals",
    "/auto",
    "/whole-page",
    "/service-worker",
    "/monitor",
    "/single",
    "/mix-tunnel",
    "/mix-fetch",
    "/mix-dns",
    "/mix-websocket",
]
OFFICIAL = ["mix-tunnel", "mix-fetch", "mix-dns", "mix-websocket"]
MOST_BYTES = 9_500_000  # half of it is the one-file form


def test_what_is_in_it(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert {"package.json", "README.md", "LICENSE", "THIRD-PARTY-NOTICES.txt", BILL, "dist/worker.js"} <= names
    assert not [name for name in names if name.endswith((".map", ".gz", ".br", ".py", ".zip"))]
    assert {name for name in names if "/pyodide/" in name and not name.endswith(".whl")} == {
        "dist/pyodide/pyodide.asm.wasm",
        "dist/pyodide/python.zst",
    }
    assert tarball.stat().st_size < MOST_BYTES
    check_entries()


def test_its_bill_of_materials(tarball: Path) -> None:
    """Names files of the package by their hashes, and no others."""
    with tarfile.open(tarball) as archive:
        files = {entry.name.removeprefix("package/"): archive.extractfile(entry) for entry in archive.getmembers()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    components = json.loads(contents[BILL])["components"]
    named = {
        file["url"]: file["hashes"][0]["content"] for one in components for file in one.get("externalReferences", [])
    }
    assert named == {name: hashlib.sha256(contents[name]).hexdigest() for name in named}
    assert {"dist/pyodide/pyodide.asm.wasm", "dist/pyodide/python.zst"} <= set(named)


def test_every_library_in_it_is_named(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        notices = archive.extractfile("package/THIRD-PARTY-NOTICES.txt")
        assert notices is not None
        text = notices.read().decode()
    libraries = json.loads((ROOT / "package.json").read_text())["dependencies"]
    for name in [*libraries, "certifi", "dnspython", "h2", "rtls", "websockets", "publicsuffixlist", "CPython"]:
        assert re.search(rf"(?m)^{re.escape(name)} |\b{name.capitalize()}\s", text), name
    assert "Mozilla Public License, version 2.0" in text and "PYTHON SOFTWARE FOUNDATION LICENSE" in text


def test_the_linters_of_packages_are_content(tarball: Path) -> None:
    tools = install("lint", tarball)
    assert "All good!" in tools.bin("publint", "run", str(tarball), "--strict")
    said = tools.bin("attw", str(tarball), "--profile", "esm-only", "--format", "json")
    problems = json.loads(said[said.index("{") :])["problems"]
    ours = [kind for kind, found in problems.items() for one in found if one.get("resolutionKind") in OURS]
    assert ours == []


OURS = {"node16-esm", "bundler"}

STRICT = {
    "strict": True, "noEmit": True, "skipLibCheck": False, "exactOptionalPropertyTypes": True,
    "noUncheckedIndexedAccess": True, "noImplicitOverride": True, "verbatimModuleSyntax": True, "target": "es2022",
    "lib": ["es2022", "dom", "dom.iterable", "dom.asynciterable"], "types": [],
}  # fmt: skip


@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
@pytest.mark.parametrize("compiler", ["5.6", "ours"])
def test_strict_typescript(tarball: Path, record_property: Any, resolution: str, compiler: str) -> None:
    record_property("consumer", f"TypeScript {compiler.replace('ours', 'newest')} strict, {resolution}")
    project = install("typescript", tarball)
    folder = project.folder / f"{compiler}-{resolution}"
    folder.mkdir(exist_ok=True)
    lines = [f'import * as own{at} from "smolmix-web{name}";' for at, name in enumerate(ENTRIES)]
    uses = [f"void own{at};" for at in range(len(ENTRIES))]
    (folder / "entries.ts").write_text("\n".join([*lines, *uses, ""]))
    (folder / "app.ts").write_text(
        'import { mixFetch, setupMixTunnel, type SetupMixTunnelOpts } from "smolmix-web";\n'
        'const options: SetupMixTunnelOpts = { assetsUrl: "/smolmix/" };\n'
        "await setupMixTunnel(options);\n"
        'const init = { method: "POST", body: new Uint8Array(4) };\n'
        'const response: Response = await mixFetch("https://example.com/", init);\n'
        "const blob = new Blob([await response.arrayBuffer()]);\n"
        "export { blob };\n"
    )
    module = "nodenext" if resolution == "nodenext" else "es2022"
    settings = {"compilerOptions": {**STRICT, "module": module, "moduleResolution": resolution}}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    tools = project.folder / "node_modules" if compiler == "5.6" else NODE_MODULES
    project.tool(str(tools / ".bin" / "tsc"), "-p", str(folder))


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_import_under_node_does_nothing(tarball: Path, entry: str) -> None:
    folder = install("plain", tarball).folder
    code = f"""const before = Object.keys(globalThis).join();
        await import("smolmix-web{entry}");
        if (Object.keys(globalThis).join() !== before) throw new Error("globals");"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_old_node_is_told_so(tarball: Path) -> None:
    folder = install("plain", tarball).folder
    code = """import { setupMixTunnel } from "smolmix-web";
        delete globalThis.WebSocket;
        const tell = ({ code, reason, message }) => console.log(JSON.stringify([code, reason, message]));
        await setupMixTunnel().catch(tell);"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    code, reason, message = json.loads(done.stdout)
    assert (code, reason) == ("boot_failed", "unsupported") and "Node.js 22" in message


@pytest.mark.parametrize("whose", ["official", "ours"])
def test_code_for_the_official_packages_compiles(tarball: Path, tmp_path: Path, whose: str) -> None:
    """The same file against both, unchanged; what `mix-tunnel` 0.2 refers to without bringing it is Comlink."""
    project = install("typescript", tarball)
    modules = project.folder / "node_modules"
    types = "dist/esm" if whose == "official" else "dist/official"
    paths = {}
    for name in OFFICIAL:
        official = NODE_MODULES / "@nymproject" / name / ("dist/esm" if name == "mix-tunnel" else "dist") / "index.d.ts"
        ours = modules / "smolmix-web" / types / f"{name}.d.ts"
        paths[f"@nymproject/{name}"] = [str(official if whose == "official" else ours)]
    paths["comlink"] = [str(modules / "comlink" / "dist" / "umd" / "comlink.d.ts")]
    options = {**STRICT, "module": "es2022", "moduleResolution": "bundler", "paths": paths, "noImplicitOverride": False}
    settings = {"compilerOptions": options, "files": [str(CODE / "app.ts")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    project.tool(str(modules / ".bin" / "tsc"), "-p", str(tmp_path))


def test_the_same_names_are_exported(tarball: Path) -> None:
    """Values by asking the modules; the official `mix-tunnel` wants a browser, so its last line is read."""
    folder = install("plain", tarball).package / "dist" / "official"
    for name in OFFICIAL:
        official = NODE_MODULES / "@nymproject" / name / ("dist/esm" if name == "mix-tunnel" else "dist") / "index.js"
        text = official.read_text()
        named = [part for group in re.findall(r"(?m)^export \{([^}]*)\}", text) for part in group.split(",")]
        declared = re.findall(r"(?m)^export (?:const|class) (\w+)", text)
        expected = {part.strip() for part in [*named, *declared] if part.strip()}
        code = f'console.log(JSON.stringify(Object.keys(await import("{folder / name}.js"))))'
        done = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True, timeout=60)
        assert set(json.loads(done.stdout)) == expected, name


@pytest.mark.asyncio(loop_scope="session")
async def test_code_for_the_official_packages_runs(world: World, tarball: Path, record_property: Any) -> None:
    """Bundled with the four aliases, and nothing else."""
    record_property("consumer", "code for the official packages, by alias")
    record_property("needs", "the alias; here esbuild, so assetsUrl")
    project = install("esbuild", tarball)
    aliases = [f"--alias:@nymproject/{name}=smolmix-web/{name}" for name in OFFICIAL]
    (project.folder / "src" / "official.ts").write_text((CODE / "app.ts").read_text())
    built = project.folder / "official"
    project.bin("esbuild", "src/official.ts", "--bundle", "--format=esm", *aliases, f"--outfile={built}/main.js")
    (built / "index.html").write_text((project.folder / "index.html").read_text())
    with StaticServer({"/": built, "/smolmix/": project.package / "dist"}) as site:
        page = await world.open(f"{site.url}/index.html")
        await page.wait_for_function("() => globalThis.run !== undefined")
        options = {**world.options, "assetsUrl": "/smolmix/"}
        found = await page.evaluate(
            "([options, name, url, socket]) => run(options, name, url, socket)",
            [options, "origin.test", "http://http.test/bytes/1000?seed=1", "ws://ws.test/"],
        )
        await page.context.close()
    assert found["address"].count(".") == 3
    del found["address"]
    assert found == {
        "before": "connecting",
        "ready": "ready",
        "fetched": [200, 1000],
        "echoed": [True, 1, 1, "hello", 3, 1000],
        "handle": [200, 1000, True, "open"],
        "kinds": "Loaded",
        "after": "shutdown",
    }
