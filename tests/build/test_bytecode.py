"""The compiler that runs inside Pyodide at build time; its pure parts, under this interpreter."""

from __future__ import annotations

import ast
import importlib.util
import json
import marshal
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bytecode() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bytecode_under_test", ROOT / "buildtools" / "bytecode.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCE = '''"""Module."""
from __future__ import annotations
import os, sys as system
from . import near
from ..far import thing
if TYPE_CHECKING:
    import typing_only
else:
    import otherwise
try:
    import guarded
except ImportError:
    pass
class C:
    """Class."""
    def method(self):
        """Method."""
    def other(self):
        """Other."""
        import inside
        assert self, "kept"
        return 1
if __name__ == "__main__":
    import main_only
'''


def test_imports_are_collected_with_absolute_names(bytecode: ModuleType) -> None:
    collector = bytecode.ImportCollector("pkg/sub/mod.py")
    collector.visit(ast.parse(SOURCE))
    assert collector.top == {
        "__future__.annotations", "os", "sys", "pkg.sub.near", "pkg.far.thing", "otherwise", "guarded",
    }  # fmt: skip
    assert collector.deep == {"inside"}


def test_relative_imports_of_a_package(bytecode: ModuleType) -> None:
    collector = bytecode.ImportCollector("pkg/__init__.py")
    collector.visit(ast.parse("from .part import x\nfrom . import y"))
    assert collector.top == {"pkg.part.x", "pkg.y"}


def test_docstrings_go_and_code_stays(bytecode: ModuleType) -> None:
    data = bytecode.compile_source(ast.parse(SOURCE), SOURCE.encode(), "pkg/sub/mod.py", "/lib")
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\1\0\0\0"
    code = marshal.loads(data[16:])
    assert code.co_filename == "/lib/pkg/sub/mod.py"
    assert b"Module." not in data and b"Method." not in data and b"Class." not in data
    assert b"kept" in data


def test_class_docstring_is_short_but_there(bytecode: ModuleType) -> None:
    tree = ast.parse('class C:\n    """Long."""\n    x = 1\n')
    bytecode.strip_docstrings(tree)
    namespace: dict[str, type] = {}
    exec(compile(tree, "x", "exec"), namespace)
    assert namespace["C"].__doc__ == bytecode.SHORT_DOCSTRING
    assert namespace["C"].x == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("decorator", ["dataclass", "dataclass(frozen=True)", "dataclasses.dataclass", "other", ""])
def test_a_dataclass_without_a_docstring_gets_one(bytecode: ModuleType, decorator: str) -> None:
    head = (
        f"import dataclasses\nfrom dataclasses import dataclass\nother = lambda c: c\n{decorator and '@'}{decorator}\n"
    )
    tree = ast.parse(head + "class C:\n    x: int = 1\n")
    bytecode.strip_docstrings(tree)
    namespace: dict[str, type] = {}
    exec(compile(tree, "x", "exec"), namespace)
    assert namespace["C"].__doc__ == (bytecode.SHORT_DOCSTRING if "dataclass" in decorator else None)
    assert namespace["C"]().x == 1  # type: ignore[attr-defined]


def test_where_functions_must_be_documented_they_stay_so(bytecode: ModuleType) -> None:
    source = b'def f():\n    """Long text."""\n'
    data = bytecode.compile_source(ast.parse(source), source, bytecode.DOCUMENTED, "/lib")
    (function,) = [value for value in marshal.loads(data[16:]).co_consts if hasattr(value, "co_consts")]
    assert function.co_consts[0] == bytecode.SHORT_DOCSTRING


def test_a_tree_is_copied_with_bytecode_in_place_of_source(bytecode: ModuleType, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "p").mkdir(parents=True)
    (source / "p" / "__init__.py").write_text("import json\n")
    (source / "p" / "data.pem").write_text("data")
    imports = json.loads(bytecode.compile_tree(str(source), str(target), "/lib"))
    assert imports == {"p": {"top": ["json"], "deep": []}}
    files = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert files == {"p/__init__.pyc", "p/data.pem"}
