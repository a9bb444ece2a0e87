"""A linked WebAssembly program taken apart for trimming: functions, table, exports and the image of its memory.

The program is one that a linker made with absolute addresses: one memory that it defines itself, active data segments
and one active element segment at constant offsets. Encodings: WebAssembly core specification, chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .wasm import (
    CODE,
    EXPORT,
    FUNC_TYPE,
    FUNCTION,
    GLOBAL,
    I32,
    IMPORT,
    KIND_FUNCTION,
    KIND_GLOBAL,
    TYPE,
    Import,
    Reader,
    Section,
    WasmError,
    parse_imports,
    parse_module,
    serialise_module,
    text,
    unsigned,
    vector,
)

ELEMENT, DATA, DATA_COUNT = 9, 11, 12
CONST, END = 0x41, 0x0B
ACTIVE = 0
# Between two segments of data so many zeros cost as much as a new segment's head.
GAP = 8
MAX_MEMORY = 1 << 28  # bytes; what a program of ours has initialised is far less


@dataclass(frozen=True)
class Export:
    name: str
    kind: int
    index: int

    def to_bytes(self) -> bytes:
        return text(self.name) + bytes([self.kind]) + unsigned(self.index)


@dataclass
class Image:
    """What trimming looks at and changes; `to_bytes` writes it back, other sections as they were.

    `table`: function index of each slot, the first one is slot `table_base`. `memory`: initial bytes from address
    `memory_base` on. `constants`: value of each global that is an i32 constant, by index; `bodies`: code of each
    function that is no import, `type_of` its type: an index into `types`, pairs of parameters and results.
    """

    sections: list[Section]
    imports: list[Import]
    exports: list[Export]
    table_base: int
    table: list[int]
    memory_base: int
    memory: bytearray
    constants: dict[int, int]
    bodies: list[bytes]
    types: list[tuple[bytes, bytes]]
    type_of: list[int]

    @property
    def imported_functions(self) -> list[Import]:
        return [item for item in self.imports if item.kind == KIND_FUNCTION]

    @property
    def imported_globals(self) -> list[Import]:
        return [item for item in self.imports if item.kind == KIND_GLOBAL]

    def export(self, name: str) -> Export:
        for export in self.exports:
            if export.name == name:
                return export
        raise WasmError(f"export section: no {name}")

    def address(self, name: str) -> int:
        """Where an exported variable lies."""
        export = self.export(name)
        if export.kind != KIND_GLOBAL or export.index not in self.constants:
            raise WasmError(f"export section: {name} is not the address of a variable")
        return self.constants[export.index]

    def _place(self, address: int, length: int) -> int:
        at = address - self.memory_base
        if not 0 <= at <= len(self.memory) - length:
            raise WasmError(f"data section: nothing is at address {address}")
        return at

    def word(self, address: int) -> int:
        at = self._place(address, 4)
        return int.from_bytes(self.memory[at : at + 4], "little")

    def string(self, address: int) -> str:
        at = self._place(address, 1)
        end = self.memory.find(0, at)
        try:
            return self.memory[at : end if end >= 0 else len(self.memory)].decode()
        except UnicodeDecodeError:
            raise WasmError(f"data section: no text is at address {address}") from None

    def put_word(self, address: int, value: int) -> None:
        at = self._place(address, 4)
        self.memory[at : at + 4] = value.to_bytes(4, "little")

    def answer(self, name: str, value: int) -> None:
        """Let an exported function do nothing and return a number, where it returns one."""
        export = self.export(name)
        at = export.index - len(self.imported_functions)
        if export.kind != KIND_FUNCTION or at < 0:
            raise WasmError(f"export section: {name} is not a function of the program's own")
        results = self.types[self.type_of[at]][1]
        if results not in (b"", bytes([I32])):
            raise WasmError(f"{name} returns something else than a number of 32 bits")
        self.bodies[at] = bytes([0, *(bytes([CONST]) + to_signed(value) if results else b""), END])

    def to_bytes(self) -> bytes:
        segments = [_segment(at, piece) for at, piece in _pieces(self.memory, self.memory_base)]
        contents = {
            EXPORT: vector([export.to_bytes() for export in self.exports]),
            ELEMENT: _element_section(self.table_base, self.table),
            CODE: vector([unsigned(len(body)) + body for body in self.bodies]),
            DATA: vector(segments),
            DATA_COUNT: unsigned(len(segments)),
        }
        return serialise_module(
            [replace(section, content=contents.get(section.kind, section.content)) for section in self.sections]
        )


def read_image(data: bytes) -> Image:
    """`WasmError` where the module is not such a program."""
    sections = parse_module(data)
    found = {section.kind: section.content for section in sections if section.name == ""}
    missing = {TYPE, IMPORT, FUNCTION, GLOBAL, EXPORT, ELEMENT, CODE, DATA} - set(found)
    if missing:
        raise WasmError(f"module: no sections {sorted(missing)}")
    imports = parse_imports(found[IMPORT])
    first_global = sum(item.kind == KIND_GLOBAL for item in imports)
    table_base, table = _read_elements(found[ELEMENT])
    memory_base, memory = _read_data(found[DATA])
    image = Image(
        sections,
        imports,
        _read_exports(found[EXPORT]),
        table_base,
        table,
        memory_base,
        memory,
        _read_constants(found[GLOBAL], first_global),
        _read_bodies(found[CODE]),
        _read_types(found[TYPE]),
        _read_indices(found[FUNCTION]),
    )
    _check(image)
    return image


def _check(image: Image) -> None:
    """What refers to functions and types refers to some that exist."""
    if len(image.bodies) != len(image.type_of):
        raise WasmError(f"code section: {len(image.bodies)} bodies of {len(image.type_of)} functions")
    functions = len(image.imported_functions) + len(image.bodies)
    wrong = [
        *(f"element section: function {index}" for index in image.table if index >= functions),
        *(f"function section: type {index}" for index in image.type_of if index >= len(image.types)),
        *(
            f"export section: {export.name} is function {export.index}"
            for export in image.exports
            if export.kind == KIND_FUNCTION and export.index >= functions
        ),
    ]
    if wrong:
        raise WasmError(f"{wrong[0]}, which does not exist")


def _read_bodies(content: bytes) -> list[bytes]:
    reader = Reader(content, "code section")
    bodies = [reader.take(reader.unsigned()) for _ in range(reader.unsigned())]
    reader.end()
    return bodies


def _read_indices(content: bytes) -> list[int]:
    reader = Reader(content, "function section")
    indices = [reader.unsigned() for _ in range(reader.unsigned())]
    reader.end()
    return indices


def _read_types(content: bytes) -> list[tuple[bytes, bytes]]:
    reader = Reader(content, "type section")
    types = []
    for _ in range(reader.unsigned()):
        if reader.take(1)[0] != FUNC_TYPE:
            raise WasmError(f"type section: not a function at offset {reader.at - 1}")
        types.append((reader.take(reader.unsigned()), reader.take(reader.unsigned())))
    reader.end()
    return types


def _read_exports(content: bytes) -> list[Export]:
    reader = Reader(content, "export section")
    exports = [Export(reader.name(), reader.take(1)[0], reader.unsigned()) for _ in range(reader.unsigned())]
    reader.end()
    return exports


def signed(reader: Reader) -> int:
    """Signed LEB128."""
    value = shift = 0
    while True:
        byte = reader.take(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value - (1 << shift) if byte & 0x40 else value
        if shift > 63:
            raise WasmError(f"{reader.where}: number too long at offset {reader.at}")


def to_signed(value: int) -> bytes:
    """Signed LEB128."""
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if value == (-1 if byte & 0x40 else 0):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def _constant(reader: Reader) -> int:
    if reader.take(1)[0] != CONST:
        raise WasmError(f"{reader.where}: offset {reader.at - 1} is not a constant")
    value = signed(reader)
    if reader.take(1)[0] != END:
        raise WasmError(f"{reader.where}: no end of a constant at offset {reader.at - 1}")
    return value & 0xFFFFFFFF


def _read_elements(content: bytes) -> tuple[int, list[int]]:
    reader = Reader(content, "element section")
    if reader.unsigned() != 1 or reader.unsigned() != ACTIVE:
        raise WasmError("element section: not one active segment")
    base = _constant(reader)
    table = [reader.unsigned() for _ in range(reader.unsigned())]
    reader.end()
    return base, table


def _element_section(base: int, table: Iterable[int]) -> bytes:
    segment = unsigned(ACTIVE) + bytes([CONST]) + to_signed(base) + bytes([END])
    return vector([segment + vector([unsigned(function) for function in table])])


def _read_data(content: bytes) -> tuple[int, bytearray]:
    reader = Reader(content, "data section")
    segments = []
    for _ in range(reader.unsigned()):
        if reader.unsigned() != ACTIVE:
            raise WasmError(f"data section: a segment that is not active before offset {reader.at}")
        base = _constant(reader)
        segments.append((base, reader.take(reader.unsigned())))
    reader.end()
    if not segments:
        raise WasmError("data section: empty")
    low = min(base for base, _ in segments)
    size = max(base + len(piece) for base, piece in segments) - low
    if size > MAX_MEMORY:
        raise WasmError(f"data section: {size} bytes between the first segment and the last")
    memory = bytearray(size)
    for base, piece in segments:
        memory[base - low : base - low + len(piece)] = piece
    return low, memory


def _segment(base: int, piece: bytes) -> bytes:
    signed_base = base - (1 << 32) if base >> 31 else base
    return unsigned(ACTIVE) + bytes([CONST]) + to_signed(signed_base) + bytes([END]) + unsigned(len(piece)) + piece


def _pieces(memory: bytes | bytearray, base: int) -> Iterable[tuple[int, bytes]]:
    """The runs between `GAP` zeros or more: memory is zero before it is written."""
    zeros = bytes(GAP)
    at = 0
    while True:
        while at < len(memory) and memory[at] == 0:
            at += 1
        if at == len(memory):
            return
        end = memory.find(zeros, at)
        if end < 0:
            end = len(memory)
        yield base + at, bytes(memory[at:end])
        at = end


def _read_constants(content: bytes, first: int) -> dict[int, int]:
    reader = Reader(content, "global section")
    values = {}
    for index in range(reader.unsigned()):
        kind, mutable = reader.take(2)
        value = _constant(reader)
        if kind == I32 and not mutable:
            values[first + index] = value
    reader.end()
    return values
