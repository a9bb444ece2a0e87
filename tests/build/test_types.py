"""The TypeScript declarations of the page's API: they say exactly what tests/types says, and nothing of the inside."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from buildtools.common import NODE_MODULES, ROOT
from buildtools.javascript import PAGE, declare_types
from smolmix_web.tunnel.options import option_table

CASES = ROOT / "tests" / "types"


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("declared")
    declare_types(folder)
    return folder


def compile_cases(declared: Path, cases: Path, work: Path) -> tuple[int, str]:
    """As a strict TypeScript program would be; the library's own declarations are checked too."""
    settings = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "skipLibCheck": False,
            "exactOptionalPropertyTypes": False,
            "target": "es2022",
            "module": "es2022",
            "moduleResolution": "bundler",
            "lib": ["es2022", "dom", "dom.iterable", "dom.asynciterable"],
            "types": [],
            "paths": {"smolmix": [str(declared / "index.d.ts")]},
        },
        "include": [str(cases / "*.ts")],
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


def exported(source: str) -> set[str]:
    """Values and types that `javascript/page/index.js` exports."""
    values = re.findall(r"^export (?:async )?(?:class|function) (\w+)", source, re.MULTILINE)
    lists = re.findall(r"^export \{ ([^}]*) \}", source, re.MULTILINE)
    types = re.findall(r"^(?:/\*| )\* @typedef \{import\([^)]*\)\.\w+(?:<T>)?\} (\w+)", source, re.MULTILINE)
    return {*values, *(name for names in lists for name in names.split(", ")), *types}


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
    assert set(re.findall(r"@property \{.*?\} \[(\w+)\]", block)) == names
    page = (ROOT / "docs" / "javascript.md").read_text()
    _, _, table = page.partition("## Options")
    table, _, _ = table.partition("\n## ")
    assert set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)))) == names


# What an example of the documentation takes for granted.
GIVEN = {
    "signal": "AbortSignal",
    "controller": "AbortController",
    "tunnel": "MixTunnel",
    "url": "string",
    "peer": "string",
    "body": "FormData",
    "again": "() => void",
}


@pytest.mark.parametrize("page", ["README.md", "docs/javascript.md", "docs/isolation.md"])
def test_the_examples_of_the_documentation_compile(declared: Path, tmp_path: Path, page: str) -> None:
    """Each as a module of its own, with every export at hand that it does not import by itself."""
    text = (ROOT / page).read_text(encoding="utf-8")
    examples = re.findall(r"^```js\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert examples
    names = exported((PAGE / "index.js").read_text())
    for number, example in enumerate(examples):
        code = re.sub(r'from "[^"]*/index.js"', 'from "smolmix"', example)
        code = code.replace("catch (error)", "catch (error: any)")  # in JavaScript it is any
        missing = names - set(re.findall(r"\w+", "".join(re.findall(r"import \{([^}]*)\}", code))))
        given = "".join(
            f"declare const {name}: {type};\n" for name, type in GIVEN.items() if f"const {name} =" not in code
        )
        head = f'import {{ {", ".join(sorted(missing))} }} from "smolmix";\n{given}'
        (tmp_path / f"example{number}.ts").write_text(f"{head}{code}\nexport {{}};\n")
    status, output = compile_cases(declared, tmp_path, tmp_path)
    assert status == 0, output
