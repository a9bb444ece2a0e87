"""Pyodide's interpreter without what a page of ours never runs.

Its WebAssembly exports eight thousand names so that any library can be loaded into it, which keeps everything alive.
Here only those stay that its loader, Pyodide's scripts and our own native library use. Built-in modules that nothing
imports leave its list of modules, so that importing one is an ordinary `ModuleNotFoundError`; then whatever is reached
no more goes out (wasm_reach.py), in the loader as well (loader_script.mjs). What is left is as it was compiled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .common import BUILD, NODE_MODULES, TaskError, run
from .stamps import Stamp
from .wasm import IMPORT, KIND_FUNCTION, KIND_GLOBAL, KIND_MEMORY, KIND_TABLE, parse_imports, parse_module
from .wasm_code import references
from .wasm_image import Image, read_image
from .wasm_reach import Part, Program, Reached

SCRIPT = Path(__file__).with_name("loader_script.mjs")
LOADER, PROGRAM, STARTER = "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide.mjs"

# Built-in modules that nothing of ours imports, that have a size, and that Python needs nowhere by itself.
GIVEN_UP = frozenset(
    {
        "_bz2", "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw",
        "_elementtree", "_lsprof", "_lzma", "_multibytecodec", "_pickle", "_remote_debugging", "_sqlite3",
        "_testbuffer", "_testcapi", "_testclinic", "_testclinic_limited", "_testinternalcapi",
        "_testlimitedcapi", "_xxtestfuzz", "faulthandler", "mmap", "pyexpat", "termios", "unicodedata",
        "xxsubtype",
    }
)  # fmt: skip

# Libraries linked into the interpreter that lie behind the modules, in order; each ends where the next one starts.
LIBRARIES = ("lzma_index_init", "sqlite3_status64", "FSE_versionNumber", "BZ2_bzDecompressEnd")
# The C++ library, from here to the end of the program.
CPLUSPLUS = "_ZNSt3__26__sortIRNS_6__lessIccEEPcEEvT0_S5_T_"
# Files of a module that lie before the one that defines it, told by what they call.
EARLIER = {"_sqlite3": "sqlite3_"}

# Constant tables lie behind the strings and before the variables.
FIRST_TABLE, FIRST_VARIABLE = "_Py_ascii_whitespace", "_PyParser_TokenNames"

NO_MEMORY, FAILED = 0, -1
# Functions that do nothing, and what they return. `compression.zstd` unpacks, as an HTTP content coding asks for; it
# says that it cannot make a compressor, nor train a dictionary. C++ streams and exceptions are used by nobody.
ANSWERS = {
    "ZDICT_finalizeDictionary": FAILED,
    "ZDICT_trainFromBuffer": FAILED,
    "ZSTD_CCtx_loadDictionary": FAILED,
    "ZSTD_CCtx_refCDict": FAILED,
    "ZSTD_CCtx_refPrefix": FAILED,
    "ZSTD_CCtx_reset": FAILED,
    "ZSTD_CCtx_setParameter": FAILED,
    "ZSTD_CCtx_setPledgedSrcSize": FAILED,
    "ZSTD_compressStream2": FAILED,
    "ZSTD_createCCtx": NO_MEMORY,
    "ZSTD_createCDict": NO_MEMORY,
    "ZSTD_freeCCtx": 0,
    "ZSTD_freeCDict": 0,
    "_ZNSt3__28ios_base4InitC2Ev": 0,
    "__get_exception_message": 0,
    "__thrown_object_from_unwind_exception": 0,
}

# What javascript/worker/unpack.js calls, before there is Python, to unpack the library that Python starts with.
UNPACKER = (
    "ZSTD_DCtx_setParameter", "ZSTD_createDCtx", "ZSTD_decompressStream", "ZSTD_freeDCtx", "ZSTD_getFrameContentSize",
    "free", "malloc",
)  # fmt: skip

OPTIMISER = NODE_MODULES / "binaryen" / "bin" / "wasm-opt"
# What the interpreter's makers compiled it with; nothing newer may come into it.
FEATURES = [
    f"--enable-{name}"
    for name in (
        "bulk-memory", "bulk-memory-opt", "exception-handling", "extended-const", "multivalue", "mutable-globals",
        "nontrapping-float-to-int", "reference-types", "sign-ext",
    )
]  # fmt: skip

UNREACHABLE = bytes([0, 0x00, 0x0B])
NOTHING = bytes([0, 0x0B])


def trimmed_interpreter(core: Path, side_modules: Iterable[bytes]) -> dict[str, Path]:
    """File name to the trimmed file in build/, for the files of `core` that are trimmed; made once for equal inputs."""
    folder = BUILD / "trimmed"
    modules = sorted(side_modules)
    needed = sorted({name for module in modules for name in imported_names(module)}.union(UNPACKER))
    files = {name: folder / name for name in (LOADER, PROGRAM)}
    here = Path(__file__).parent
    names = ("trim.py", "wasm.py", "wasm_code.py", "wasm_image.py", "wasm_reach.py", SCRIPT.name)
    sources = [here / name for name in names]
    stamp = Stamp("trimmed", [*(core / name for name in (LOADER, PROGRAM, STARTER)), *sources, *needed])
    if not stamp.current(*files.values()):
        stamp.clear()
        folder.mkdir(parents=True, exist_ok=True)
        needs, kept = folder / "needs.json", folder / "kept.json"
        run(["node", SCRIPT, "parts", core / LOADER, core / STARTER, needs])
        scripts = json.loads(needs.read_text())
        program, reached = trim((core / PROGRAM).read_bytes(), needed, scripts)
        whole = folder / "blanked.wasm"
        whole.write_bytes(program)
        run(["node", OPTIMISER, whole, *FEATURES, "--remove-unused-module-elements", "-o", files[PROGRAM]])
        kept.write_text(json.dumps(sorted(reached.scripts)))
        run(["node", SCRIPT, "shrink", core / LOADER, kept, files[LOADER]])
        stamp.write()
    return files


def imported_names(module: bytes) -> set[str]:
    """What a side module imports from the interpreter, or from another side module."""
    kinds = (KIND_FUNCTION, KIND_GLOBAL, KIND_MEMORY, KIND_TABLE)
    contents = [section.content for section in parse_module(module) if section.kind == IMPORT]
    return {item.name for content in contents for item in parse_imports(content) if item.kind in kinds}


def trim(data: bytes, needed: Iterable[str], scripts: Mapping[str, list[str]]) -> tuple[bytes, Reached]:
    """The program with what the loader's `scripts` and libraries that import `needed` reach."""
    image = read_image(data)
    exported = {export.name for export in image.exports}
    parts = given_up_parts(image)
    cut = take_out_modules(image)
    for name, value in ANSWERS.items():
        image.answer(name, value)
    program = Program(image, parts, cut, LIBRARIES)
    # What the interpreter does not export, its loader may have, or another library.
    reached = program.reach(
        [name for name in needed if name in exported],
        {**scripts, "": [*scripts[""], *(f"import {name}" for name in needed if name not in exported)]},
    )
    blank(image, program, reached)
    return image.to_bytes(), reached


def module_table(image: Image) -> dict[str, tuple[int, int]]:
    """`PyImport_Inittab` (C API): name of each built-in module to the address of its entry and its slot."""
    entry = image.word(image.address("PyImport_Inittab"))
    found = {}
    while image.word(entry):
        found[image.string(image.word(entry))] = entry, image.word(entry + 4)
        entry += 8
    return found


def given_up_parts(image: Image) -> list[Part]:
    """The functions of the modules that are given up, and of the libraries behind them.

    The function that defines a module comes first of its file: what follows up to the next module is its own.
    """
    defined = {name: image.table[slot - image.table_base] for name, (_, slot) in module_table(image).items() if slot}
    missing = GIVEN_UP - set(defined)
    if missing:
        raise TaskError(f"the interpreter has no modules {sorted(missing)}: update buildtools/trim.py")
    imports = len(image.imported_functions)
    end = imports + len(image.bodies)
    starts = sorted(defined.values())
    parts = []
    for name in sorted(GIVEN_UP):
        first = defined[name]
        following = next((start for start in starts if start > first), end)
        if name in EARLIER:
            before = max(start for start in starts if start < first)
            called = {export.index for export in image.exports if export.name.startswith(EARLIER[name])}
            candidates = range(before, first)
            first = next(at for at in candidates if references(image.bodies[at - imports]).functions & called)
        parts.append(Part(name, first, following))
    limits = [image.export(name).index for name in LIBRARIES]
    parts += [Part(name, *pair) for name, *pair in zip(LIBRARIES, limits, limits[1:], strict=False)]
    parts.append(Part(CPLUSPLUS, image.export(CPLUSPLUS).index, end))
    return parts


def take_out_modules(image: Image) -> set[int]:
    """Remove the modules from the interpreter's list; the slots of the functions that define them."""
    table = module_table(image)
    place = min(entry for entry, _ in table.values())
    end = max(entry for entry, _ in table.values()) + 8
    for name, (entry, slot) in table.items():
        if name not in GIVEN_UP:
            image.put_word(place, image.word(entry))
            image.put_word(place + 4, slot)
            place += 8
    for rest in range(place, end, 4):
        image.put_word(rest, 0)
    return {table[name][1] for name in GIVEN_UP}


# Numbers of functions change only afterwards, where the unreachable ones, their imports and types are taken out.
def blank(image: Image, program: Program, reached: Reached) -> None:
    """Take out what was not reached; numbers of functions and slots stay as they were."""
    imports = len(image.imported_functions)
    stand_in = next(at for at in sorted(reached.functions) if at >= imports and image.bodies[at - imports] == NOTHING)
    dead = program.dead_data(reached, image.address(FIRST_TABLE), image.address(FIRST_VARIABLE))
    unreached = (set(program.doubtful) - reached.slots) | program.cut
    for slot in unreached:
        image.table[slot - image.table_base] = stand_in
    image.exports = [
        export
        for export in image.exports
        if export.name in reached.exports or export.kind not in (KIND_FUNCTION, KIND_GLOBAL)
    ]
    for first, end in dead:
        image.memory[first - image.memory_base : end - image.memory_base] = bytes(end - first)
    for at in range(len(image.bodies)):
        if at + imports not in reached.functions:
            image.bodies[at] = UNREACHABLE
