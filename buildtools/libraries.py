"""The libraries that go into the browser: which of their files, and what is changed in them.

Everything comes from the wheels that requirements/pyodide.lock pins, hashes checked. Left out is what a page cannot use
(blocking and asyncio networking, servers, tests, type stubs, C sources); `buildtools/closure.py` proves that
nothing kept imports what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .common import BUILD, REQUIREMENTS, TaskError
from .setup import download_wheels, locked_packages
from .stamps import Stamp
from .wasm import adapt_side_module, wasi_helper
from .wheels import Files, read_zip

PLATFORM = "pyemscripten_2026_0_wasm32"
NATIVE_PLATFORM = (
    "manylinux2014_x86_64"  # every native rtls wheel carries the same WebAssembly build; this one is fetched
)
PURE = "cp314-none-any"  # bytecode of one interpreter
BINARY = f"cp314-cp314-{PLATFORM}"
NEVER = re.compile(r"\.(pyi|c|h|pyx|typed|so)$|(^|/)tests?/|/sboms/")


@dataclass(frozen=True)
class Library:
    """One library: its import name, regular expressions of files left out, and a last change of its files.

    `on_demand`: a first load does without it; the code that needs it fetches its wheel (smolmix_web/on_demand.py).
    """

    package: str
    without: tuple[str, ...] = ()
    adapt: Callable[[Files], Files] | None = None
    platform: str = PLATFORM
    tag: str = PURE
    depends: tuple[str, ...] = field(default=())
    on_demand: bool = False


def adapt_rtls(files: Files) -> Files:
    """rustls for Pyodide: the WASI library made loadable by Emscripten, a helper beside it, and its loader.

    Changed are the library's needed `libc.so` and WASI's `clock_gettime` (see wasm.py), how the library is loaded, and
    the use of the standard `ssl`, which is a stub here.
    """
    library = adapt_side_module(
        files.pop("rtls/_wasi/_rustls.abi3.so"), drop_needed="libc.so", rename={"clock_gettime": "clock_getwasi"}
    )
    files.pop("rtls/_wasi/__init__.py")
    files["rtls/_rustls.wasm"] = library
    files["rtls/_wasi_helper.wasm"] = wasi_helper()
    files["rtls/_load_wasm.py"] = RTLS_LOADER
    for name, old, new in RTLS_EDITS:
        _replace(files, name, old, new)
    return files


RTLS_EDITS = [
    (
        "rtls/__init__.py",
        b"    from . import _rustls as _rustls\n",
        b"    from ._load_wasm import _rustls as _rustls\n",
    ),
    (
        "rtls/_stdlib.py",
        b"    try:\n        import ssl\n",
        b'    try:\n        raise ModuleNotFoundError("the ssl of Pyodide is a stub", name="_ssl")\n',
    ),
]

# Not named .so: Pyodide loads every .so of a wheel at once, which would be before the helper.
RTLS_LOADER = b'''\
"""Added by the build of smolmix-web: loads the WASI build of rustls after the helper with the symbols it needs."""

import _ctypes
import importlib.machinery
import importlib.util
import os
import sys
import tempfile

RTLD_NOW, RTLD_GLOBAL = 2, 0x100  # as Emscripten's dlfcn.h has them


def _path(name):
    """A real file: inside a zip there is nothing to load from, so the library is copied out."""
    path = os.path.join(os.path.dirname(__file__), name)
    if os.path.exists(path):
        return path
    data = __loader__.get_data(path)
    path = os.path.join(tempfile.mkdtemp(prefix="rtls"), name)
    with open(path, "wb") as file:
        file.write(data)
    return path


helper = _ctypes.dlopen(_path("_wasi_helper.wasm"), RTLD_NOW | RTLD_GLOBAL)
loader = importlib.machinery.ExtensionFileLoader("rtls._rustls", _path("_rustls.wasm"))
_rustls = importlib.util.module_from_spec(importlib.util.spec_from_loader("rtls._rustls", loader))
loader.exec_module(_rustls)
sys.modules["rtls._rustls"] = _rustls
'''


def adapt_certifi(files: Files) -> Files:
    """The certificates alone: the comments between them are as long, and hold fingerprints that do not compress."""
    lines = files["certifi/cacert.pem"].splitlines(keepends=True)
    files["certifi/cacert.pem"] = b"".join(line for line in lines if line.strip() and not line.startswith(b"#"))
    return files


def adapt_publicsuffixlist(files: Files) -> Files:
    """The rules and the licence notice at their head: the other comments are as long."""
    name = "publicsuffixlist/public_suffix_list.dat"
    lines = files[name].splitlines(keepends=True)
    notice = lines.index(b"\n")
    if not lines[0].startswith(b"// This Source Code Form is subject to the terms of the Mozilla Public"):
        raise TaskError(f"{name} does not begin with its licence: update buildtools/libraries.py")
    rules = [line for line in lines[notice:] if line.strip() and not line.startswith(b"//")]
    files[name] = b"".join(lines[:notice] + rules)
    return files


def adapt_dnspython(files: Files) -> Files:
    """Imported only where it is used: `importlib.metadata` (optional features: there are none here), and the codec for
    names that are not ASCII (ours are before they come here), which needs `unicodedata`.
    """
    _replace(files, "dns/name.py", b"import encodings.idna  # pyright: ignore\n", b"")
    for call in (b"return encodings.idna.ToASCII(", b"return _escapify(encodings.idna.ToUnicode("):
        _replace(
            files, "dns/name.py", b"            " + call, b"            import encodings.idna\n\n            " + call
        )
    _replace(files, "dns/_features.py", b"import importlib.metadata\n", b"")
    _replace(files, "dns/_features.py", b"    try:\n        version = importlib",
             b"    try:\n        import importlib.metadata\n\n        version = importlib")  # fmt: skip
    return files


def adapt_websockets(files: Files) -> Files:
    """A release knows its version without `importlib.metadata`."""
    _replace(files, "websockets/version.py", b"import importlib.metadata\n", b"")
    return files


def _replace(files: Files, name: str, old: bytes, new: bytes) -> None:
    if files[name].count(old) != 1:
        raise TaskError(f"{name} is not the file this build was written for: update buildtools/libraries.py")
    files[name] = files[name].replace(old, new)


LIBRARIES = {
    "certifi": Library("certifi", without=(r"certifi/__main__\.py$",), adapt=adapt_certifi),
    # Of the record types those that a resolver for pages meets; dnspython gives others as opaque data.
    "dnspython": Library(
        "dns",
        without=(
            r"dns/(_asyncio_backend|_trio_backend|_ddr|async\w+|btree\w*|dnssec\w*|e164|namedict|nameserver)\.py$",
            r"dns/(query|resolver|reversename|tsigkeyring|update|versioned|win32util|xfr|zone\w*|node|grange|transaction)\.py$",
            r"dns/(quic|dnssecalgs)/",
            r"dns/rdtypes/(ANY|IN|CH)/(?!(__init__|A|AAAA|CAA|CNAME|DNAME|HTTPS|MX|NS|OPT|PTR|SOA|SRV|SVCB|TSIG|TXT)\.py$)",
            r"dns/rdtypes/(dnskeybase|dsbase|euibase|rrsigbase|tlsabase|nsec\w*)\.py$",
        ),
        adapt=adapt_dnspython,
    ),
    "h2": Library("h2", on_demand=True),
    "hpack": Library("hpack", on_demand=True),
    "hyperframe": Library("hyperframe", on_demand=True),
    "publicsuffixlist": Library(
        "publicsuffixlist",
        without=(r"publicsuffixlist/(compat|test|update)\.py$", r"\.txt$"),
        adapt=adapt_publicsuffixlist,
        on_demand=True,
    ),
    "rtls": Library("rtls", adapt=adapt_rtls, platform=NATIVE_PLATFORM, tag=BINARY),
    "websockets": Library(
        "websockets",
        without=(
            r"websockets/(asyncio|legacy|sync|trio)/",
            r"websockets/(__main__|auth|cli|connection|http|proxy|server)\.py$",
        ),
        adapt=adapt_websockets,
    ),
}


def fetch_libraries() -> dict[str, Path]:
    """Library name to the downloaded wheel."""
    lock = REQUIREMENTS / "pyodide.lock"
    folder = BUILD / "wheels"
    stamp = Stamp("wheels", [lock, Path(__file__)])
    if not stamp.current(folder):
        stamp.clear()
        _clear(folder)
        for platform in sorted({library.platform for library in LIBRARIES.values()}):
            names = {name for name, library in LIBRARIES.items() if library.platform == platform}
            download_wheels(lock, folder, platform=platform, names=names)
        stamp.write()
    return {name: wheel_of(folder, name) for name in LIBRARIES}


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()


def wheel_of(folder: Path, name: str) -> Path:
    found = [p for p in folder.glob("*.whl") if p.name.lower().split("-")[0].replace("_", "-") == name]
    if len(found) != 1:
        raise TaskError(f"{len(found)} wheels of {name} in {folder.name}, 1 expected")
    return found[0]


def library_files(name: str, wheel: Path) -> tuple[str, Files]:
    """Version and the files of a library that ship, changed where needed; metadata without the long description."""
    library = LIBRARIES[name]
    version = wheel.name.split("-")[1]
    info = f"{name}-{version}.dist-info"
    left_out = [re.compile(pattern) for pattern in library.without]
    kept: Files = {}
    for file, data in read_zip(wheel).items():
        if file.startswith(f"{info}/"):
            if file == f"{info}/METADATA":
                kept[file] = data.split(b"\n\n", 1)[0] + b"\n"
            elif "/licenses/" in file or Path(file).name.startswith(("LICENSE", "NOTICE")):
                kept[file] = data
        elif file == "rtls/_wasi/_rustls.abi3.so" or not (
            NEVER.search(file) or any(pattern.search(file) for pattern in left_out)
        ):
            kept[file] = data
    return version, library.adapt(kept) if library.adapt else kept


def fetch_test_packages() -> list[Path]:
    """Wheels that only the tests inside Pyodide load, as they come from the index."""
    beside = set(locked_packages(REQUIREMENTS / "pyodide.lock"))
    return _fetch_all("pyodide-test", without=beside)


def fetch_guest_packages() -> list[Path]:
    """Wheels that users install into a Pyodide of their own, and what our package needs there, from the index."""
    return _fetch_all("pyodide-guest", without={"rtls"})


def _fetch_all(group: str, *, without: set[str]) -> list[Path]:
    lock = REQUIREMENTS / f"{group}.lock"
    folder = BUILD / f"{group}-wheels"
    stamp = Stamp(f"{group}-wheels", [lock, ",".join(sorted(without))])
    if not stamp.current(folder):
        stamp.clear()
        _clear(folder)
        download_wheels(lock, folder, platform=PLATFORM, names=set(locked_packages(lock)) - without)
        stamp.write()
    return sorted(folder.glob("*.whl"))
