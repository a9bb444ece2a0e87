"""WebAssembly modules as far as the build needs them: sections, the dylink.0 record, import names, a helper module.

Sections and encodings: WebAssembly core specification, chapter 5 (binary format). `dylink.0`: the tool conventions'
"DynamicLinking.md", sub-sections 1 (mem-info) and 2 (needed libraries).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\0asm\x01\0\0\0"
CUSTOM, TYPE, IMPORT, FUNCTION, GLOBAL, EXPORT, CODE = 0, 1, 2, 3, 6, 7, 10
DYLINK_MEM_INFO, DYLINK_NEEDED = 1, 2
KIND_FUNCTION, KIND_TABLE, KIND_MEMORY, KIND_GLOBAL, KIND_TAG = range(5)


class WasmError(ValueError):
    """The bytes are not the module we expect; says what and at which offset."""


class Reader:
    """A cursor over bytes with the three encodings we need: bytes, unsigned LEB128, names."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.at = 0
        self.where = where

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self.data):
            raise WasmError(f"{self.where}: {length} bytes wanted at offset {self.at}, {len(self.data) - self.at} left")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise WasmError(f"{self.where}: number too long at offset {self.at}")

    def name(self) -> str:
        raw = self.take(self.unsigned())
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise WasmError(f"{self.where}: the name before offset {self.at} is not UTF-8") from None

    @property
    def done(self) -> bool:
        return self.at == len(self.data)

    def end(self) -> None:
        if not self.done:
            raise WasmError(f"{self.where}: bytes left at offset {self.at}")


def unsigned(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def vector(items: list[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)


def text(name: str) -> bytes:
    raw = name.encode()
    return unsigned(len(raw)) + raw


@dataclass
class Section:
    """One section; `name` is set for custom ones and `content` then starts after it."""

    kind: int
    content: bytes
    name: str = ""

    def to_bytes(self) -> bytes:
        body = text(self.name) + self.content if self.kind == CUSTOM else self.content
        return bytes([self.kind]) + unsigned(len(body)) + body


def parse_module(data: bytes) -> list[Section]:
    """All sections in file order."""
    reader = Reader(data, "module")
    if reader.take(8) != MAGIC:
        raise WasmError("module: not WebAssembly version 1")
    sections = []
    while not reader.done:
        kind = reader.take(1)[0]
        body = reader.take(reader.unsigned())
        if kind == CUSTOM:
            inner = Reader(body, "custom section")
            name = inner.name()
            sections.append(Section(kind, body[inner.at :], name))
        else:
            sections.append(Section(kind, body))
    return sections


def serialise_module(sections: list[Section]) -> bytes:
    return MAGIC + b"".join(section.to_bytes() for section in sections)


@dataclass(frozen=True)
class Import:
    module: str
    name: str
    kind: int
    description: bytes  # what follows the kind, undecoded

    def to_bytes(self) -> bytes:
        return text(self.module) + text(self.name) + bytes([self.kind]) + self.description


def _skip_limits(reader: Reader) -> None:
    flags = reader.unsigned()
    reader.unsigned()
    if flags & 1:
        reader.unsigned()


def parse_imports(content: bytes) -> list[Import]:
    reader = Reader(content, "import section")
    imports = []
    for _ in range(reader.unsigned()):
        module, name, kind = reader.name(), reader.name(), reader.take(1)[0]
        start = reader.at
        if kind == KIND_FUNCTION:
            reader.unsigned()
        elif kind == KIND_TABLE:
            reader.take(1)
            _skip_limits(reader)
        elif kind == KIND_MEMORY:
            _skip_limits(reader)
        elif kind == KIND_GLOBAL:
            reader.take(2)
        elif kind == KIND_TAG:
            reader.take(1)
            reader.unsigned()
        else:
            raise WasmError(f"import section: kind {kind} at offset {start - 1}")
        imports.append(Import(module, name, kind, content[start : reader.at]))
    reader.end()
    return imports


def parse_exports(content: bytes) -> dict[str, int]:
    """Name to kind."""
    reader = Reader(content, "export section")
    exports = {}
    for _ in range(reader.unsigned()):
        name = reader.name()
        exports[name] = reader.take(1)[0]
        reader.unsigned()
    return exports


def parse_dylink(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Sub-sections (type, content) of a dylink.0 section."""
    reader = Reader(content, "dylink.0")
    while not reader.done:
        kind = reader.take(1)[0]
        yield kind, reader.take(reader.unsigned())


def needed_libraries(content: bytes) -> list[str]:
    for kind, body in parse_dylink(content):
        if kind == DYLINK_NEEDED:
            reader = Reader(body, "dylink.0 needed")
            return [reader.name() for _ in range(reader.unsigned())]
    return []


def adapt_side_module(data: bytes, *, drop_needed: str, rename: dict[str, str]) -> bytes:
    """A side module without the needed library `drop_needed` and with imported functions renamed.

    `WasmError` when the library or a name is not there: then the module is not the one this edit was written for.
    """
    sections = parse_module(data)
    first = sections[0]
    if first.kind != CUSTOM or first.name != "dylink.0":
        raise WasmError("module: does not start with a dylink.0 section")
    needed = needed_libraries(first.content)
    if drop_needed not in needed:
        raise WasmError(f"dylink.0: {drop_needed} is not among the needed libraries {needed}")
    kept = [library for library in needed if library != drop_needed]
    out = b""
    for kind, body in parse_dylink(first.content):
        if kind == DYLINK_NEEDED:
            if not kept:
                continue
            body = vector([text(library) for library in kept])
        out += bytes([kind]) + unsigned(len(body)) + body
    first.content = out
    for section in sections:
        if section.kind == IMPORT:
            section.content = _rename_imports(section.content, rename)
    return serialise_module(sections)


def _rename_imports(content: bytes, rename: dict[str, str]) -> bytes:
    missing = set(rename)
    out = []
    for item in parse_imports(content):
        if item.kind == KIND_FUNCTION and item.name in rename:
            missing.discard(item.name)
            item = Import(item.module, rename[item.name], item.kind, item.description)
        out.append(item.to_bytes())
    if missing:
        raise WasmError(f"import section: no imported function {sorted(missing)}")
    return vector(out)


I32, FUNC_TYPE, EMPTY_BLOCK, END = 0x7F, 0x60, 0x40, 0x0B
ENTROPY_LIMIT = 256  # getentropy refuses more at once (POSIX)
WASI_EIO = 29


def wasi_helper() -> bytes:
    """The side module that gives a WASI library what Emscripten's libc has under other names.

    Exports data `errno` (offset 0) and `_CLOCK_REALTIME` (offset 4) in 16 bytes of its own memory, and functions
    `__wasi_init_tp()` (nothing to do), `random_get(pointer, length) -> errno` over `getentropy`, and
    `clock_getwasi(clock, timespec) -> int`, which asks `clock_gettime` for clock 0 (CLOCK_REALTIME) since WASI's clock
    ids are addresses.
    """
    nothing, pair = 0, 1
    types = vector([bytes([FUNC_TYPE, 0, 0]), bytes([FUNC_TYPE, 2, I32, I32, 1, I32])])
    imports = vector(
        [
            Import("env", "memory", KIND_MEMORY, bytes([0, 0])).to_bytes(),
            Import("env", "__memory_base", KIND_GLOBAL, bytes([I32, 0])).to_bytes(),
            Import("env", "getentropy", KIND_FUNCTION, bytes([pair])).to_bytes(),
            Import("env", "clock_gettime", KIND_FUNCTION, bytes([pair])).to_bytes(),
        ]
    )
    functions = vector([bytes([nothing]), bytes([pair]), bytes([pair])])
    constants = vector([bytes([I32, 0, 0x41, offset, END]) for offset in (0, 4)])
    exports = vector(
        [
            text("errno") + bytes([KIND_GLOBAL, 1]),
            text("_CLOCK_REALTIME") + bytes([KIND_GLOBAL, 2]),
            text("__wasi_init_tp") + bytes([KIND_FUNCTION, 2]),
            text("random_get") + bytes([KIND_FUNCTION, 3]),
            text("clock_getwasi") + bytes([KIND_FUNCTION, 4]),
        ]
    )
    limit = bytes([0x41, 0x80, 0x02])  # i32.const 256, signed LEB128
    random_get = b"".join(
        [
            bytes([1, 1, I32]),  # local 2: size of this piece
            bytes([0x03, EMPTY_BLOCK]),  # loop
            bytes([0x20, 1, 0x45, 0x04, EMPTY_BLOCK, 0x41, 0, 0x0F, END]),  # if (!length) return 0
            bytes([0x20, 1]) + limit + bytes([0x20, 1]) + limit + bytes([0x49, 0x1B]),  # select(length < 256)
            bytes([0x21, 2]),  # size = ...
            bytes([0x20, 0, 0x20, 2, 0x10, 0]),  # getentropy(pointer, size)
            bytes([0x04, EMPTY_BLOCK, 0x41, WASI_EIO, 0x0F, END]),  # if (failed) return EIO
            bytes([0x20, 0, 0x20, 2, 0x6A, 0x21, 0]),  # pointer += size
            bytes([0x20, 1, 0x20, 2, 0x6B, 0x21, 1]),  # length -= size
            bytes([0x0C, 0, END, 0x00, END]),  # br 0; end loop; unreachable; end
        ]
    )
    bodies = [bytes([0, END]), random_get, bytes([0, 0x41, 0, 0x20, 1, 0x10, 1, END])]
    mem_info = unsigned(16) + unsigned(2) + unsigned(0) + unsigned(0)
    dylink = bytes([DYLINK_MEM_INFO]) + unsigned(len(mem_info)) + mem_info
    return serialise_module(
        [
            Section(CUSTOM, dylink, "dylink.0"),
            Section(TYPE, types),
            Section(IMPORT, imports),
            Section(FUNCTION, functions),
            Section(GLOBAL, constants),
            Section(EXPORT, exports),
            Section(CODE, vector([unsigned(len(body)) + body for body in bodies])),
        ]
    )
