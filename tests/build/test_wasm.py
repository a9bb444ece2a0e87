"""WebAssembly edits: parsing, the adapted rustls of the pinned wheel, the generated helper module."""

from __future__ import annotations

import subprocess
import zipfile

import pytest

from buildtools import wasm
from buildtools.libraries import adapt_rtls, fetch_libraries, library_files
from buildtools.wasm import WasmError


@pytest.fixture(scope="module")
def original() -> bytes:
    """The WASI build of rustls in the wheel that requirements/pyodide.lock pins."""
    with zipfile.ZipFile(fetch_libraries()["rtls"]) as wheel:
        return wheel.read("rtls/_wasi/_rustls.abi3.so")


@pytest.fixture(scope="module")
def adapted(original: bytes) -> bytes:
    return wasm.adapt_side_module(original, drop_needed="libc.so", rename={"clock_gettime": "clock_getwasi"})


def section(module: bytes, kind: int, name: str = "") -> bytes:
    (content,) = [s.content for s in wasm.parse_module(module) if s.kind == kind and s.name == name]
    return content


def test_parse_and_serialise_are_inverse(original: bytes) -> None:
    assert wasm.serialise_module(wasm.parse_module(original)) == original


def test_adapted_module_needs_no_libc_and_imports_the_renamed_clock(original: bytes, adapted: bytes) -> None:
    assert wasm.needed_libraries(section(original, wasm.CUSTOM, "dylink.0")) == ["libc.so"]
    assert wasm.needed_libraries(section(adapted, wasm.CUSTOM, "dylink.0")) == []
    before = wasm.parse_imports(section(original, wasm.IMPORT))
    after = wasm.parse_imports(section(adapted, wasm.IMPORT))
    assert len(before) == len(after)
    changed = [(b.name, a.name) for b, a in zip(before, after, strict=True) if a != b]
    assert changed == [("clock_gettime", "clock_getwasi")]


def test_only_two_sections_change(original: bytes, adapted: bytes) -> None:
    pairs = zip(wasm.parse_module(original), wasm.parse_module(adapted), strict=True)
    assert [a.name or a.kind for a, b in pairs if a != b] == ["dylink.0", wasm.IMPORT]


def test_memory_info_is_kept(original: bytes, adapted: bytes) -> None:
    def info(module: bytes) -> list[bytes]:
        parts = wasm.parse_dylink(section(module, wasm.CUSTOM, "dylink.0"))
        return [body for kind, body in parts if kind == wasm.DYLINK_MEM_INFO]

    assert info(original) == info(adapted) != []


@pytest.mark.parametrize(
    ("needed", "rename", "message"),
    [("libm.so", {}, "libm.so is not among"), ("libc.so", {"no_such_function": "x"}, "no imported function")],
)
def test_unexpected_modules_are_refused(original: bytes, needed: str, rename: dict[str, str], message: str) -> None:
    with pytest.raises(WasmError, match=message):
        wasm.adapt_side_module(original, drop_needed=needed, rename=rename)


def test_truncated_modules_are_refused() -> None:
    helper = wasm.wasi_helper()
    ends = {8}  # after the header, and after each section, a shorter module is a whole one
    for part in wasm.parse_module(helper):
        ends.add(max(ends) + len(part.to_bytes()))
    for length in range(len(helper)):
        if length in ends:
            continue
        with pytest.raises(WasmError):
            wasm.parse_module(helper[:length])


def test_bytes_after_imports_are_refused() -> None:
    content = section(wasm.wasi_helper(), wasm.IMPORT)
    with pytest.raises(WasmError, match="bytes left"):
        wasm.parse_imports(content + b"\0")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16383, 16384, 2**32 - 1])
def test_leb128(value: int) -> None:
    reader = wasm.Reader(wasm.unsigned(value), "test")
    assert reader.unsigned() == value
    assert reader.done


def test_overlong_number_is_refused() -> None:
    with pytest.raises(WasmError, match="too long"):
        wasm.Reader(b"\xff" * 12, "test").unsigned()


def test_helper_has_what_the_library_imports(adapted: bytes) -> None:
    exports = wasm.parse_exports(section(wasm.wasi_helper(), wasm.EXPORT))
    assert exports == {
        "errno": wasm.KIND_GLOBAL,
        "_CLOCK_REALTIME": wasm.KIND_GLOBAL,
        "__wasi_init_tp": wasm.KIND_FUNCTION,
        "random_get": wasm.KIND_FUNCTION,
        "clock_getwasi": wasm.KIND_FUNCTION,
    }
    assert exports.keys() <= {item.name for item in wasm.parse_imports(section(adapted, wasm.IMPORT))}


HELPER_RUN = """
const bytes = Buffer.from(process.argv[1], "hex");
const calls = [];
let fail = false;
const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: {
  memory: new WebAssembly.Memory({ initial: 1 }),
  __memory_base: new WebAssembly.Global({ value: "i32" }, 0),
  getentropy: (pointer, length) => { calls.push(["entropy", pointer, length]); return fail ? -1 : 0; },
  clock_gettime: (clock, time) => { calls.push(["clock", clock, time]); return 7; },
} });
const { random_get, clock_getwasi, errno, _CLOCK_REALTIME } = instance.exports;
const results = [random_get(100, 600), random_get(5, 0), random_get(5, 256), clock_getwasi(9999, 77)];
fail = true;
results.push(random_get(1, 300));
console.log(JSON.stringify({ results, calls, data: [errno.value, _CLOCK_REALTIME.value] }));
"""


def test_helper_runs() -> None:
    """Executed by Node: entropy in pieces of 256 bytes, failure is WASI's EIO, every clock is the real-time one."""
    done = subprocess.run(
        ["node", "-e", HELPER_RUN, wasm.wasi_helper().hex()], capture_output=True, text=True, check=True, timeout=60
    )
    import json

    seen = json.loads(done.stdout)
    assert seen["results"] == [0, 0, 0, 7, wasm.WASI_EIO]
    assert seen["calls"] == [
        ["entropy", 100, 256], ["entropy", 356, 256], ["entropy", 612, 88],
        ["entropy", 5, 256],
        ["clock", 0, 77],
        ["entropy", 1, 256],
    ]  # fmt: skip
    assert seen["data"] == [0, 4]


def test_adapted_rtls_has_no_native_parts() -> None:
    _, files = library_files("rtls", fetch_libraries()["rtls"])
    assert {name for name in files if name.endswith((".so", ".wasm"))} == {
        "rtls/_rustls.wasm",
        "rtls/_wasi_helper.wasm",
    }
    assert b"import ssl" not in files["rtls/_stdlib.py"].split(b"except ModuleNotFoundError")[0].split(b"else:")[1]
    assert b"_load_wasm import _rustls" in files["rtls/__init__.py"]


def test_adapting_another_rtls_is_refused(original: bytes) -> None:
    from buildtools.common import TaskError

    files = {"rtls/_wasi/_rustls.abi3.so": original, "rtls/_wasi/__init__.py": b"", "rtls/__init__.py": b"different"}
    with pytest.raises(TaskError, match="is not the file this build was written for"):
        adapt_rtls(files)
