"""The TypeScript declarations of the page's API: they say exactly what tests/types says, and nothing of the inside."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from buildtools.common import NODE_MODULES, ROOT
from buildtools.javascript import PAGE, declare_node_types, declare_types
from smolmix_web.tunnel.options import option_table
from tests.examples import examples, for_node, needs_node, pages_with

CASES = ROOT / "tests" / "types"


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("declared")
    declare_types(folder)
    return folder


def compile_cases(
    declared: Path, cases: Path, work: Path, *, javascript: bool = False, node: bool = False
) -> tuple[int, str]:
    """As a strict TypeScript program would be; the library's own declarations are checked too.

    With `javascript` the cases are that: what nobody has typed is any, and nobody asks whether something is null. With
    `node` they have the types of Node.js, in which two libraries call one thing by different types.
    """
    settings = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "skipLibCheck": node,
            "exactOptionalPropertyTypes": False,
            "target": "es2022",
            "module": "es2022",
            "moduleResolution": "bundler",
            "lib": ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
            "types": ["node"] if node else [],
            "typeRoots": [str(NODE_MODULES / "@types")],
            "paths": {
                "smolmix": [str(declared / "index.d.ts")],
                "smolmix/*": [str(declared / "*.d.ts")],
            },
            "allowJs": javascript,
            "checkJs": javascript,
            "noImplicitAny": not javascript,
            "strictNullChecks": not javascript,
            "useUnknownInCatchVariables": not javascript,
        },
        "include": [str(cases / "*.ts"), str(cases / "*.js")],
    }
    project = work / "tsconfig.json"
    project.write_text(json.dumps(settings))
    command = [str(NODE_MODULES / ".bin" / "tsc"), "-p", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout


@pytest.mark.feature("Worker", "TypeScript types of the whole API")
def test_the_types_are_exactly_these(declared: Path, tmp_path: Path) -> None:
    code, output = compile_cases(declared, CASES, tmp_path)
    assert code == 0, output


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("exactly<string>()(info.remotePort);", "TS2345|TS2554"),
        ("exactly<any>()(info.remotePort);", "TS2345|TS2554"),
        ("exactly<number | null>()(info.remotePort);", "TS2345|TS2554"),
        ("// @ts-expect-error\nexactly<number>()(info.remotePort);", "TS2578"),
        ("new MixTcpSocket();", "TS2693|TS1361|TS2304"),
    ],
)
def test_a_wrong_expectation_does_not_compile(declared: Path, tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "exactly.ts").write_text((CASES / "exactly.ts").read_text())
    head = 'import type { MixTcpSocket, TCPSocketOpenInfo } from "smolmix";\nimport { exactly } from "./exactly.js";\n'
    (tmp_path / "case.ts").write_text(f"{head}declare const info: TCPSocketOpenInfo;\nvoid info;\n{line}\n")
    code, output = compile_cases(declared, tmp_path, tmp_path)
    assert code != 0 and re.search(complaint, output), output


def values(source: str) -> set[str]:
    """What `javascript/page/index.js` exports that is there at run time."""
    made = re.findall(r"^export (?:async )?(?:class|function) (\w+)", source, re.MULTILINE)
    lists = re.findall(r"^export \{ ([^}]*) \}", source, re.MULTILINE)
    return {*made, *(name for names in lists for name in names.split(", "))}


def exported(source: str) -> set[str]:
    """Values and types that it exports."""
    types = re.findall(r"^(?:/\*| )\* @typedef \{import\([^)]*\)\.\w+(?:<T>)?\} (\w+)", source, re.MULTILINE)
    return {*values(source), *types}


def test_every_export_is_used_by_the_cases() -> None:
    used = set(re.findall(r"\w+", "".join(path.read_text() for path in CASES.glob("*.ts"))))
    names = exported((PAGE / "index.js").read_text())
    assert {"MixTunnel", "mixFetch", "MixError", "MixDnsAnswer", "TCPSocket", "TlsOptions"} <= names
    assert names - used == set()


def test_nothing_of_the_inside_is_exported(declared: Path) -> None:
    index = (declared / "types" / "page" / "index.d.ts").read_text()
    assert not re.search(r"WorkerConnection|PageMessage|WorkerMessage|Channel", index)
    tunnel = (declared / "types" / "page" / "tunnel.d.ts").read_text()
    assert "connected(" not in tunnel and "disconnect(" in tunnel


def test_the_options_of_a_tunnel_are_those_of_the_worker() -> None:
    """The table in `options.py` is what counts; the JSDoc and the documentation list the same names."""
    names = {row["name"] for row in option_table()}
    _, _, block = (PAGE / "tunnel.js").read_text().partition("@typedef {object} SetupMixTunnelOpts")
    block, _, _ = block.partition("*/")
    names |= {"logger", "logLevel"}  # functions of the page's, which never leave it
    assert set(re.findall(r"@property \{.*?\} \[(\w+)\]", block)) == names
    page = (ROOT / "docs" / "javascript.md").read_text()
    _, _, table = page.partition("## Options")
    table, _, _ = table.partition("\n## ")
    assert set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)))) == names


# What an example of the documentation takes for granted, besides every export.
GIVEN = """
declare const signal: AbortSignal;
declare const controller: AbortController;
declare const tunnel: import("smolmix").MixTunnel;
declare const options: import("smolmix").SetupMixTunnelOpts;
declare const url: string;
declare const peer: string;
declare const body: FormData;
declare const again: () => void;
declare const report: (...what: unknown[]) => void;
declare const chrome: { storage: { local: {
  get(key: string): Promise<Record<string, string>>;
  set(items: object): Promise<void>;
  remove(key: string): Promise<void>;
} } };
declare const axios: { get(url: string): Promise<unknown> };
declare const pyodide: { globals: Map<string, unknown> };
declare const smolmix: typeof import("smolmix/service-worker");
declare const importScripts: (url: string) => void;
"""
# What they import from, by the end of its name.
PLACES = {
    "index.js": "smolmix",
    "globals.js": "smolmix/globals",
    "whole-page.js": "smolmix/whole-page",
    "monitor.js": "smolmix/monitor",
    "smolmix-web": "smolmix",
}
# The types of a document do not know what a Service Worker listens to.
IN_WORKER = """
/** @type {(type: "fetch", listener: (event: import("smolmix/service-worker").MixFetchEvent) => void) => void} */
var addEventListener = self.addEventListener;
"""
# Their other half is of another project.
FOREIGN = {"examples/webview/capacitor/README.md"}


def test_the_examples_of_the_documentation_compile(declared: Path, tmp_path: Path) -> None:
    """Each as a module of its own, in JavaScript, checked against the types that are published."""
    pages = pages_with("js")
    assert set(pages) > FOREIGN
    for page in pages.keys() - FOREIGN:
        for number, code in enumerate(examples(pages[page], "js")):
            if needs_node(code):  # the types of Node.js are other ones
                continue
            for end, name in PLACES.items():
                code = re.sub(rf'from "[^"]*{re.escape(end)}"', f'from "{name}"', code)
            code = (IN_WORKER if "importScripts" in code else "") + code
            (tmp_path / f"{page.replace('/', '_')}.{number}.js").write_text(f"{code}\nexport {{}};\n")
    names = values((PAGE / "index.js").read_text())
    exports = [f'declare const {name}: typeof import("smolmix").{name};' for name in names]
    (tmp_path / "given.d.ts").write_text("\n".join([GIVEN, *exports]))
    status, output = compile_cases(declared, tmp_path, tmp_path, javascript=True)
    assert status == 0, output


@pytest.fixture(scope="module")
def declared_for_node(declared: Path) -> Path:
    declare_node_types(declared)
    return declared


def compile_program(declared: Path, work: Path, programs: dict[str, str]) -> tuple[int, str]:
    for name, code in programs.items():
        code = re.sub(r'from "smolmix-web(/\w+)?"', lambda found: f'from "smolmix{found[1] or ""}"', code)
        (work / f"{name.replace('/', '_')}.js").write_text(f"{code}\nexport {{}};\n")
    return compile_cases(declared, work, work, javascript=True, node=True)


def test_the_examples_for_programs_compile(declared_for_node: Path, tmp_path: Path) -> None:
    programs = for_node()
    assert {"docs/node.md-0", "docs/node.md-3", "npm/README.md-3"} <= set(programs)
    status, output = compile_program(declared_for_node, tmp_path, programs)
    assert status == 0, output


def test_a_program_with_a_mistake_does_not_compile(declared_for_node: Path, tmp_path: Path) -> None:
    code = 'import { connect } from "smolmix-web/node";\nconnect({ host: "a.test", port: 80, tunnel: 5 });\n'
    status, output = compile_program(declared_for_node, tmp_path, {"a": code})
    assert status != 0 and "TS2322" in output, output


def test_an_example_with_a_mistake_does_not_compile(declared: Path, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        'import { mixFetch } from "smolmix";\nmixFetch("https://a.test/", { cookies: "jam" });\n'
    )
    status, output = compile_cases(declared, tmp_path, tmp_path, javascript=True)
    assert status != 0 and "TS2322" in output, output
