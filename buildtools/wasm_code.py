"""What one function of a WebAssembly program refers to: functions, globals, and numbers that may be addresses.

Instructions: WebAssembly core specification, 5.4, with exceptions in both forms; vectors and garbage collection are
refused, no C compiler makes them unasked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .wasm import Reader, WasmError

_PLAIN, _LEB, _MEMORY, _CONST, _CALL, _GLOBAL, _OTHER, _NONE = range(8)
_KINDS = [_NONE] * 256
for _code in (0x00, 0x01, 0x05, 0x0A, 0x0B, 0x0F, 0x19, 0x1A, 0x1B, *range(0x45, 0xC5), 0xD1):
    _KINDS[_code] = _PLAIN
for _code in (
    *range(0x02, 0x05), 0x06, 0x07, 0x08, 0x09, 0x0C, 0x0D, 0x18, 0x20, 0x21, 0x22, 0x25, 0x26, 0x3F, 0x40, 0x42, 0xD0,
):  # fmt: skip
    _KINDS[_code] = _LEB
for _code in range(0x28, 0x3F):
    _KINDS[_code] = _MEMORY
for _code in (0x10, 0x12, 0xD2):  # call, return_call, ref.func
    _KINDS[_code] = _CALL
for _code in (0x23, 0x24):
    _KINDS[_code] = _GLOBAL
_KINDS[0x41] = _CONST
for _code in (0x0E, 0x11, 0x13, 0x1C, 0x1F, 0x43, 0x44, 0xFC):
    _KINDS[_code] = _OTHER

# Numbers behind 0xFC: of conversions (0 to 7) none follow.
_BULK = {8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}


@dataclass
class References:
    """`constants`: operands of i32.const, as unsigned numbers; `offsets`: constant parts of memory addresses."""

    functions: set[int] = field(default_factory=set)
    globals: set[int] = field(default_factory=set)
    constants: set[int] = field(default_factory=set)
    offsets: set[int] = field(default_factory=set)


def references(body: bytes) -> References:
    """What the code of one function (locals first, as in the code section) refers to. `WasmError` where it is cut."""
    try:
        return _references(body)
    except IndexError:
        raise WasmError(f"function: it ends within an instruction, after {len(body)} bytes") from None


def _references(body: bytes) -> References:
    reader = Reader(body, "function")
    for _ in range(reader.unsigned()):
        reader.unsigned()
        reader.take(1)
    found = References()
    at, end, kinds = reader.at, len(body), _KINDS
    while at < end:
        code = body[at]
        at += 1
        kind = kinds[code]
        if kind == _PLAIN:
            continue
        if kind == _OTHER:
            reader.at = at
            _skip(reader, code)
            at = reader.at
            continue
        if kind == _NONE:
            raise WasmError(f"function: instruction {code:#x} at offset {at - 1} is not known here")
        if kind == _MEMORY:
            while body[at] & 0x80:
                at += 1
            at += 1
        value = body[at]
        at += 1
        if value & 0x80:
            value &= 0x7F
            shift = 7
            while True:
                byte = body[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        if kind == _CONST:
            found.constants.add(value & 0xFFFFFFFF)
        elif kind == _MEMORY:
            if value >= 0x80:
                found.offsets.add(value)
        elif kind == _CALL:
            found.functions.add(value)
        elif kind == _GLOBAL:
            found.globals.add(value)
    return found


def _skip(reader: Reader, code: int) -> None:
    """Instructions with more than one operand, none of which matters here."""
    if code == 0x0E:  # br_table
        for _ in range(reader.unsigned() + 1):
            reader.unsigned()
    elif code in (0x11, 0x13):  # call_indirect
        reader.unsigned()
        reader.unsigned()
    elif code == 0x1C:  # select with types
        reader.take(reader.unsigned())
    elif code == 0x1F:  # try_table
        reader.unsigned()
        for _ in range(reader.unsigned()):
            if reader.take(1)[0] < 2:
                reader.unsigned()
            reader.unsigned()
    elif code == 0x43:
        reader.take(4)
    elif code == 0x44:
        reader.take(8)
    else:
        operation = reader.unsigned()
        if operation > 7:
            if operation not in _BULK:
                raise WasmError(f"function: instruction 0xfc {operation} at offset {reader.at} is not known here")
            for _ in range(_BULK[operation]):
                reader.unsigned()
