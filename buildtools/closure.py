"""Which modules of the standard library a first page load needs: what is imported, followed through all sources.

The page fetches one pack with our package, its libraries and only the part of the standard library that they reach.
Imports at module level are followed everywhere (also under `try` and `if`, not under `TYPE_CHECKING` or `__main__`).
Imports inside functions are followed for our own code and the libraries, and must resolve. Inside functions of the
standard library they are rare paths and not followed; those that we do use are named in `LAZY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .common import TaskError

# What the interpreter's C code and Pyodide's start import, and no source names.
START = [
    "_pyodide", "_pyodide._base", "_pyodide._core_docs", "_pyodide._future_helper", "_pyodide._importhook",
    "_pyodide.docs_argspec", "_pyodide.docstring", "_pyodide.jsbind", "asyncio", "codecs", "encodings",
    "encodings.aliases", "encodings.utf_8", "io", "os", "pyodide", "pyodide._package_loader", "pyodide.code",
    "pyodide.ffi", "pyodide.webloop", "site", "zipimport",
]  # fmt: skip

# Imported by name, by C code, or inside functions of the standard library that we call (time.strptime, str
# codecs, asyncio.to_thread, importlib.resources of certifi, formatting of exceptions ...).
LAZY = [
    "_strptime", "asyncio.base_events", "asyncio.graph", "asyncio.streams", "asyncio.subprocess", "asyncio.unix_events",
    "calendar", "concurrent.futures.thread", "copy", "datetime", "encodings.ascii",
    "encodings.cp437", "encodings.latin_1", "encodings.raw_unicode_escape", "encodings.unicode_escape",
    "encodings.utf_16_be", "encodings.utf_16_le", "encodings.utf_32_be", "hashlib", "importlib.readers",
    "importlib.resources._adapters", "importlib.resources.abc", "importlib.resources.readers",
    "importlib.resources.simple", "importlib.simple", "pyodide._package_loader_whole", "queue",
    "random", "ssl", "textwrap", "traceback",
]  # fmt: skip

# Imported under a condition that does not hold here (another platform, no C implementation), or for formats unused.
CUT = {
    "_py_abc", "_pydatetime", "asyncio.proactor_events", "asyncio.windows_events", "asyncio.windows_utils", "bz2",
    "encodings._win_cp_codecs", "importlib.metadata", "lzma",
}  # fmt: skip

# Guarded imports of our code and the libraries for places that are not a page.
ABSENT = {
    "_ssl", "ada_url", "aioquic", "anyio", "backports", "blake3", "brotli", "cryptography", "curio", "httpcore",
    "httpx", "idna", "nacl", "python_socks", "rtls._wasi", "sniffio", "trio", "typing_extensions", "uvloop", "wassima",
    "websockets.speedups", "win32com", "winloop", "winreg", "wmi",
}  # fmt: skip

# Modules that Pyodide or the worker's JavaScript register.
REGISTERED = {
    "_pyodide_core", "js", "pyodide_js", "smolmix_answer", "smolmix_crypto", "smolmix_guard", "smolmix_host",
    "smolmix_storage",
}  # fmt: skip


# Modules and packages of smolmix_web that a page has no use for and does not get.
LEFT_OUT = {
    "smolmix_web.__main__", "smolmix_web.cli", "smolmix_web.cpython", "smolmix_web.host.cpython",
    "smolmix_web.integrations", "smolmix_web.proxy", "smolmix_web.pyodide", "smolmix_web.storage.files",
}  # fmt: skip


def left_out(name: str) -> bool:
    """True for a module of `LEFT_OUT`, or anything inside one."""
    return any(name == out or name.startswith(f"{out}.") for out in LEFT_OUT)


@dataclass(frozen=True)
class Imports:
    """What one module imports: names of modules or of `module.attribute`, absolute; `deep` ones inside functions."""

    module: str
    top: tuple[str, ...]
    deep: tuple[str, ...]


def read_imports(listing: Mapping[str, Mapping[str, list[str]]]) -> dict[str, Imports]:
    """What bytecode.py found in one tree, by module name."""
    return {module: Imports(module, tuple(found["top"]), tuple(found["deep"])) for module, found in listing.items()}


def needed_stdlib(
    stdlib: Mapping[str, Imports], packages: Mapping[str, Imports], builtin: set[str]
) -> tuple[set[str], list[str]]:
    """Modules of `stdlib` that `packages` reach, and complaints about imports in `packages` that nothing provides."""
    complaints: list[str] = []
    needed: set[str] = set()
    waiting: list[str] = []

    def want(name: str) -> bool:
        """Note the longest prefix of `name` that is a module of the standard library, with its parent packages."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module = ".".join(parts[:length])
            if module in stdlib:
                if module in CUT:
                    return True
                for end in range(1, length + 1):
                    parent = ".".join(parts[:end])
                    if parent in stdlib and parent not in needed:
                        needed.add(parent)
                        waiting.append(parent)
                return True
        return False

    for name in (*START, *LAZY):
        if not want(name) or not any(name == module for module in needed):
            complaints.append(f"buildtools/closure.py names {name}, which the standard library does not have")
    for imports in packages.values():
        for name in (*imports.top, *imports.deep):
            if name in ABSENT or name.rpartition(".")[0] in ABSENT:
                continue
            if name.startswith("smolmix_web.") and not left_out(name):
                continue  # of our own modules mypy says which do not exist
            if _provided(name, packages) or want(name) or name.split(".")[0] in builtin | ABSENT | REGISTERED:
                continue
            complaints.append(f"{imports.module} imports {name}, which is not shipped")
    while waiting:
        for name in stdlib[waiting.pop()].top:
            want(name)
    return needed, complaints


def _provided(name: str, packages: Mapping[str, Imports]) -> bool:
    """True for a module of ours, or an attribute of one."""
    return name in packages or name.rpartition(".")[0] in packages


def check(complaints: list[str]) -> None:
    if complaints:
        raise TaskError("; ".join(sorted(set(complaints))[:8]))


def module_name(file: str) -> str:
    """`a/b/__init__.pyc` -> `a.b`."""
    parts = file.rpartition(".")[0].split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)
