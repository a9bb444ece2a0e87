"""A small WebAssembly program as a linker would lay it out, made by hand: functions, a table, data at its addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from buildtools.wasm import (
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
    Section,
    serialise_module,
    text,
    unsigned,
    vector,
)
from buildtools.wasm_image import CONST, DATA, DATA_COUNT, ELEMENT, END, Export, to_signed

TABLE, MEMORY = 4, 5
FUNCREF, CALL, CALL_INDIRECT, DROP, LOAD, GLOBAL_GET = 0x70, 0x10, 0x11, 0x1A, 0x28, 0x23
BASE = 1024  # address of the data
FIRST_SLOT = 1
NO_RESULT, NUMBER = 0, 1  # types: () -> () and () -> i32


def const(value: int) -> bytes:
    return bytes([CONST]) + to_signed(value - (1 << 32) if value >> 31 else value)


def call(function: int) -> bytes:
    return bytes([CALL]) + unsigned(function)


def drop(value: bytes) -> bytes:
    return value + bytes([DROP])


def load(address: bytes, offset: int = 0) -> bytes:
    return address + bytes([LOAD, 2]) + unsigned(offset)


def read_global(index: int) -> bytes:
    return bytes([GLOBAL_GET]) + unsigned(index)


def body(*instructions: bytes) -> bytes:
    """Code without locals."""
    return bytes([0]) + b"".join(instructions) + bytes([END])


@dataclass
class Program:
    """`functions`: type and code of each; imported are the functions `imports` (no arguments, no result) and the
    variable addresses `variables`. `globals`: numbers. `table`: function of each slot. `exports`: name to what."""

    functions: Sequence[tuple[int, bytes]]
    imports: Sequence[str] = ("log",)
    variables: Sequence[str] = ("outside",)
    globals: Sequence[int] = ()
    table: Sequence[int] = ()
    exports: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    data: Mapping[int, bytes] = field(default_factory=dict)

    def sections(self) -> dict[int, bytes]:
        """Contents by kind, in the order of a module."""
        slots = FIRST_SLOT + len(self.table)
        imports = [Import("env", name, KIND_FUNCTION, unsigned(NO_RESULT)) for name in self.imports]
        imports += [Import("env", name, KIND_GLOBAL, bytes([I32, 0])) for name in self.variables]
        element = unsigned(0) + const(FIRST_SLOT) + bytes([END]) + vector([unsigned(at) for at in self.table])
        segments = [
            unsigned(0) + const(at) + bytes([END]) + unsigned(len(piece)) + piece for at, piece in self.data.items()
        ]
        return {
            TYPE: vector([bytes([FUNC_TYPE, 0, 0]), bytes([FUNC_TYPE, 0, 1, I32])]),
            IMPORT: vector([item.to_bytes() for item in imports]),
            FUNCTION: vector([unsigned(kind) for kind, _ in self.functions]),
            TABLE: vector([bytes([FUNCREF, 0]) + unsigned(slots)]),
            MEMORY: vector([bytes([0]) + unsigned(2)]),
            GLOBAL: vector([bytes([I32, 0]) + const(value) + bytes([END]) for value in self.globals]),
            EXPORT: vector([Export(name, kind, index).to_bytes() for name, (kind, index) in self.exports.items()]),
            ELEMENT: vector([element]),
            DATA_COUNT: unsigned(len(segments)),
            CODE: vector([unsigned(len(code)) + code for _, code in self.functions]),
            DATA: vector(segments),
        }

    def to_bytes(self, **changed: bytes | None) -> bytes:
        """`changed`: other contents, by `section_N`; None leaves one out."""
        contents: dict[int, bytes | None] = {**self.sections()}
        contents.update({int(name.removeprefix("section_")): content for name, content in changed.items()})
        return serialise_module([Section(kind, content) for kind, content in contents.items() if content is not None])


def name_section() -> Section:
    return Section(0, text("hand-made"), "name")
