"""Runs inside Pyodide (under Node, at build time): compiles trees of Python source to the bytecode of that interpreter.

Bytecode starts faster than source (nothing is compiled in the page) and, without docstrings and column
tables, is smaller. Assertions stay. The .pyc files are unchecked hash-based ones (PEP 552), so equal sources give
equal bytes.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import os
import struct

UNCHECKED_HASH = 0b01
# The interpreter copies the docstrings of these into its own C types at start and fails without them.
KEEP_DOCSTRINGS = ("_pyodide/_core_docs.py",)
# Class docstrings become this: `dataclass` would compose a signature (slow) for a class that has none.
CLASS_DOCSTRING = "-"


def strip_docstrings(tree: ast.Module) -> None:
    """Remove docstrings of modules and functions, shorten those of classes."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if not (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        ):
            continue
        if isinstance(node, ast.ClassDef):
            first.value.value = CLASS_DOCSTRING
        elif len(node.body) > 1 or isinstance(node, ast.Module):
            del node.body[0]
        else:
            node.body[0] = ast.copy_location(ast.Pass(), first)


def compile_source(source: bytes, name: str, location: str) -> bytes:
    """One module: `name` is its path in the package root, `location` the folder it will be imported from."""
    tree = ast.parse(source)
    if not name.endswith(KEEP_DOCSTRINGS):
        strip_docstrings(tree)
    code = compile(tree, f"{location}/{name}", "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + struct.pack("<I", UNCHECKED_HASH) + importlib.util.source_hash(source)
    return header + marshal.dumps(code)


def compile_tree(source: str, target: str, location: str) -> None:
    """Copy the tree `source` to `target` with every .py replaced by a .pyc beside where it stood."""
    for folder, subfolders, files in os.walk(source):
        subfolders.sort()
        relative = os.path.relpath(folder, source)
        os.makedirs(os.path.join(target, relative), exist_ok=True)
        for file in sorted(files):
            name = os.path.normpath(os.path.join(relative, file))
            with open(os.path.join(folder, file), "rb") as handle:
                data = handle.read()
            if file.endswith(".py"):
                data = compile_source(data, name, location)
                name += "c"
            with open(os.path.join(target, name), "wb") as handle:
                handle.write(data)
