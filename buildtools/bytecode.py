"""Runs inside Pyodide (under Node, at build time): compiles trees of Python source to the bytecode of that interpreter.

Bytecode starts faster than source (nothing is compiled in the page) and, without docstrings and column
tables, is smaller. Assertions stay. The .pyc files are unchecked hash-based ones (PEP 552), so equal sources give
equal bytes.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import marshal
import os
import struct
import sys
from typing import Any, TypeGuard

UNCHECKED_HASH = 0b01
# Here functions must keep a docstring, however short: at start the interpreter copies them into its own C types.
DOCUMENTED = "_pyodide/_core_docs.py"
# The docstring of classes: `dataclass` would compose a signature (slow) for one that has none.
SHORT_DOCSTRING = "-"


def is_dataclass(node: ast.AST) -> TypeGuard[ast.ClassDef]:
    """Whether `@dataclass`, `@dataclasses.dataclass` or one of them with arguments stands over it."""
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(found.func if isinstance(found, ast.Call) else found).endswith("dataclass")
        for found in node.decorator_list
    )


def strip_docstrings(tree: ast.Module, *, shorten: bool = False) -> None:
    """Remove docstrings of modules and functions (or `shorten` them), shorten those of classes, and
    give one to each dataclass."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if not (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        ):
            if is_dataclass(node):
                short = ast.Expr(ast.Constant(SHORT_DOCSTRING))
                node.body.insert(0, ast.fix_missing_locations(ast.copy_location(short, node.body[0])))
            continue
        if shorten or isinstance(node, ast.ClassDef):
            first.value.value = SHORT_DOCSTRING
        elif len(node.body) > 1 or isinstance(node, ast.Module):
            del node.body[0]
        else:
            node.body[0] = ast.copy_location(ast.Pass(), first)


class ImportCollector(ast.NodeVisitor):
    """Names that a module imports, made absolute: at module level (`top`) and inside functions (`deep`)."""

    def __init__(self, name: str) -> None:
        parts = name.removesuffix(".py").split("/")
        self.package = parts[:-1]
        self.top: set[str] = set()
        self.deep: set[str] = set()
        self.depth = 0

    def visit_Import(self, node: ast.Import) -> None:
        (self.deep if self.depth else self.top).update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.package[: len(self.package) + 1 - node.level] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        (self.deep if self.depth else self.top).update(f"{module}.{alias.name}" for alias in node.names)

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        if test not in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"):
            for child in node.body:
                self.visit(child)
        for child in node.orelse:
            self.visit(child)

    def _function(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function


def compile_source(tree: ast.Module, source: bytes, name: str, location: str) -> bytes:
    """One module: `name` is its path in the package root, `location` the folder it will be imported from."""
    strip_docstrings(tree, shorten=name == DOCUMENTED)
    code = compile(tree, f"{location}/{name}", "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + struct.pack("<I", UNCHECKED_HASH) + importlib.util.source_hash(source)
    return header + marshal.dumps(code)


def compile_tree(source: str, target: str, location: str) -> str:
    """Copy the tree `source` to `target` with every .py replaced by a .pyc beside where it stood.

    Returns JSON: module name to its imports, `{"top": [...], "deep": [...]}`.
    """
    imports = {}
    for folder, subfolders, files in os.walk(source):
        subfolders.sort()
        relative = os.path.relpath(folder, source)
        os.makedirs(os.path.join(target, relative), exist_ok=True)
        for file in sorted(files):
            name = os.path.normpath(os.path.join(relative, file))
            with open(os.path.join(folder, file), "rb") as handle:
                data = handle.read()
            if file.endswith(".py"):
                tree = ast.parse(data, name)
                collector = ImportCollector(name)
                collector.visit(tree)
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                imports[module] = {"top": sorted(collector.top), "deep": sorted(collector.deep)}
                data = compile_source(tree, data, name, location)
                name += "c"
            with open(os.path.join(target, name), "wb") as handle:
                handle.write(data)
    return json.dumps(imports, sort_keys=True)


def write_classes(roots: list[str], module: str, target: str) -> None:
    """Import a module of the compiled trees `roots`, and write what `dataclass` compiles meanwhile, by the digest of
    its source (smolmix_web/bridge/classes.py). Marshalled as it is made, so equal trees give equal bytes."""
    import builtins
    import hashlib
    import importlib

    seen: dict[bytes, object] = {}
    execute: Any = builtins.exec

    def run(source: Any, *scopes: Any) -> None:
        if isinstance(source, str):
            digest = hashlib.blake2b(source.encode(), digest_size=16).digest()
            seen[digest] = source = compile(source, "<string>", "exec", dont_inherit=True, optimize=0)
        execute(source, *scopes)

    sys.path[:0] = roots
    builtins.exec = run  # type: ignore[assignment]
    try:
        importlib.import_module(module)
    finally:
        builtins.exec = execute
        del sys.path[: len(roots)]
    if not seen:
        raise RuntimeError(f"importing {module} made no class with generated methods")
    with open(target, "wb") as handle:
        handle.write(marshal.dumps(seen))


def builtin_modules() -> str:
    """JSON: names of the modules that the interpreter has built in."""
    return json.dumps(sorted(sys.builtin_module_names))
