"""A WebAssembly program taken apart and put together again; what is cut or is another kind of module is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable

import pytest

from buildtools.wasm import (
    CODE,
    EXPORT,
    FUNCTION,
    GLOBAL,
    I32,
    IMPORT,
    KIND_FUNCTION,
    KIND_GLOBAL,
    TYPE,
    Reader,
    Section,
    WasmError,
    parse_module,
    serialise_module,
    unsigned,
    vector,
    wasi_helper,
)
from buildtools.wasm_code import references
from buildtools.wasm_image import DATA, DATA_COUNT, ELEMENT, Image, read_image, signed, to_signed
from tests.build.wasm_program import (
    BASE,
    FIRST_SLOT,
    NO_RESULT,
    NUMBER,
    Program,
    body,
    call,
    const,
    drop,
    load,
    name_section,
    read_global,
)

NODE = shutil.which("node")

# Functions: 0 is imported, 1 answers 42, 2 reads a word of the data, 3 calls the import.
PROGRAM = Program(
    functions=[
        (NUMBER, body(const(42))),
        (NUMBER, body(load(const(BASE), 8))),
        (NO_RESULT, body(call(0))),
    ],
    globals=[BASE, BASE + 20, 0xFFFFFFF0],
    table=[1, 2, 1],
    exports={
        "answer": (KIND_FUNCTION, 1), "read": (KIND_FUNCTION, 2), "tell": (KIND_FUNCTION, 3),
        "text": (KIND_GLOBAL, 1), "more": (KIND_GLOBAL, 2), "outside": (KIND_GLOBAL, 0), "high": (KIND_GLOBAL, 3),
    },
    data={BASE: b"hello\0\0\0", BASE + 8: (7).to_bytes(4, "little"), BASE + 40: b"end"},
)  # fmt: skip


def run(module: bytes) -> dict[str, int]:
    """What its functions return in a WebAssembly engine, and how often it called the import."""
    script = """let told = 0;
    const bytes = Buffer.from(process.argv[1], "hex");
    const env = { log: () => { told += 1; }, outside: 5 };
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env });
    exports.tell();
    console.log(JSON.stringify({ answer: exports.answer(), read: exports.read(), told, text: exports.text.value }));"""
    assert NODE is not None
    done = subprocess.run([NODE, "-e", script, module.hex()], capture_output=True, check=True, timeout=60)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_what_is_in_a_program() -> None:
    image = read_image(PROGRAM.to_bytes())
    assert [item.name for item in image.imported_functions] == ["log"]
    assert [item.name for item in image.imported_globals] == ["outside"]
    assert (image.table_base, image.table) == (FIRST_SLOT, [1, 2, 1])
    assert image.bodies == [code for _, code in PROGRAM.functions]
    assert image.type_of == [kind for kind, _ in PROGRAM.functions]
    assert image.types == [(b"", b""), (b"", bytes([I32]))]
    assert image.constants == {1: BASE, 2: BASE + 20, 3: 0xFFFFFFF0}
    assert (image.memory_base, len(image.memory)) == (BASE, 43)
    assert (image.address("text"), image.address("high")) == (BASE, 0xFFFFFFF0)
    assert (image.string(BASE), image.string(BASE + 40)) == ("hello", "end")
    assert (image.word(BASE + 8), image.word(BASE + 12)) == (7, 0)


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
def test_it_runs_as_before_and_with_what_was_changed() -> None:
    module = PROGRAM.to_bytes()
    assert run(module) == {"answer": 42, "read": 7, "told": 1, "text": BASE}
    image = read_image(module)
    assert run(image.to_bytes()) == run(module)
    image.put_word(BASE + 8, 0xDEADBEEF)
    image.answer("answer", -5)
    image.answer("tell", 1)  # it returns nothing
    assert run(image.to_bytes()) == {"answer": -5, "read": 0xDEADBEEF - (1 << 32), "told": 0, "text": BASE}


def same(one: Image, other: Image) -> bool:
    """But for how the data is cut into segments."""

    def facts(image: Image) -> tuple[object, ...]:
        filled = bytes(image.memory).rstrip(b"\0")
        return (image.imports, image.exports, image.table_base, image.table, image.memory_base, filled,
                image.constants, image.bodies, image.types, image.type_of)  # fmt: skip

    return facts(one) == facts(other)


def test_writing_is_the_inverse_of_reading() -> None:
    image = read_image(PROGRAM.to_bytes())
    again = read_image(image.to_bytes())
    assert same(again, image)
    assert again.to_bytes() == image.to_bytes()
    other = serialise_module([*parse_module(PROGRAM.to_bytes()), name_section()])
    assert parse_module(read_image(other).to_bytes())[-1] == name_section()


@pytest.mark.parametrize(
    ("data", "segments"),
    [
        ({BASE: b"a" + bytes(7) + b"b"}, 1),
        ({BASE: b"a" + bytes(8) + b"b"}, 2),
        ({BASE: b"a", BASE + 1: b"b", BASE + 5000: b"c"}, 2),
        ({BASE + 100: b"later", BASE: b"first"}, 2),
        ({BASE: b"x", 0x80000000: b"y"}, None),
    ],
)
def test_runs_of_zeros_are_left_out_of_the_data(data: dict[int, bytes], segments: int | None) -> None:
    module = Program(PROGRAM.functions, exports=PROGRAM.exports, globals=PROGRAM.globals, data=data).to_bytes()
    if segments is None:
        with pytest.raises(WasmError, match="bytes between the first segment and the last"):
            read_image(module)
        return
    image = read_image(module)
    written = {section.kind: section.content for section in parse_module(image.to_bytes())}
    assert Reader(written[DATA], "data").unsigned() == Reader(written[DATA_COUNT], "count").unsigned() == segments
    assert same(read_image(image.to_bytes()), image)


@pytest.mark.parametrize("value", [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, -(2**31)])
def test_signed_numbers(value: int) -> None:
    reader = Reader(to_signed(value), "test")
    assert signed(reader) == value
    assert reader.done


def segment(kind: int, rest: bytes) -> bytes:
    return vector([unsigned(kind) + rest])


FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "8 bytes wanted"),
    "text": (lambda: b"<!doctype html>", "not WebAssembly version 1"),
    "a component": (lambda: b"\0asm\x0d\0\x01\0" + bytes(20), "not WebAssembly version 1"),
    "a library to be linked": (wasi_helper, "no sections"),
    "no table": (lambda: PROGRAM.to_bytes(section_9=None), r"no sections \[9\]"),
    "a table that is filled later": (
        lambda: PROGRAM.to_bytes(section_9=segment(1, bytes([0]) + vector([unsigned(1)]))), "not one active segment",
    ),
    "two tables' worth": (lambda: PROGRAM.to_bytes(section_9=vector([b"", b""])), "not one active segment"),
    "data without a place": (
        lambda: PROGRAM.to_bytes(section_11=segment(1, vector([b"x"]))), "a segment that is not active",
    ),
    "data at a place known at run time": (
        lambda: PROGRAM.to_bytes(section_11=segment(0, read_global(0) + b"\x0b\x01x")), "is not a constant",
    ),
    "no data": (lambda: PROGRAM.to_bytes(section_11=vector([])), "data section: empty"),
    "types of another proposal": (
        lambda: PROGRAM.to_bytes(section_1=vector([bytes([0x5F, 0])])), "type section: not a function",
    ),
    "a table of functions that are not there": (
        lambda: Program(PROGRAM.functions, table=[1, 9], data=PROGRAM.data).to_bytes(),
        "function 9, which does not exist",
    ),
    "an export of a function that is not there": (
        lambda: Program(PROGRAM.functions, exports={"no": (KIND_FUNCTION, 4)}, data=PROGRAM.data).to_bytes(),
        "no is function 4, which does not exist",
    ),
    "a type that is not there": (
        lambda: Program([(5, body())], data=PROGRAM.data).to_bytes(), "type 5, which does not exist",
    ),
    "more functions than bodies": (
        lambda: PROGRAM.to_bytes(section_3=vector([b"\0"] * 9)), "3 bodies of 9 functions",
    ),
    "a name that is no text": (
        lambda: PROGRAM.to_bytes(section_7=vector([b"\x02\xff\xfe\0\1"])), "export section: the name .* is not UTF-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_other_modules_are_refused(what: str) -> None:
    make, message = FOREIGN[what]
    with pytest.raises(WasmError, match=message):
        read_image(make())


@pytest.mark.parametrize("kind", [TYPE, IMPORT, FUNCTION, GLOBAL, EXPORT, ELEMENT, CODE, DATA])
def test_a_section_that_is_cut_or_too_long_is_refused(kind: int) -> None:
    content = PROGRAM.sections()[kind]
    for length in range(len(content)):
        with pytest.raises(WasmError, match="section"):
            read_image(PROGRAM.to_bytes(**{f"section_{kind}": content[:length]}))
    with pytest.raises(WasmError, match="bytes left"):
        read_image(PROGRAM.to_bytes(**{f"section_{kind}": content + b"\0"}))


def test_a_module_that_is_cut_is_refused() -> None:
    module = PROGRAM.to_bytes()
    for length in range(len(module)):
        with pytest.raises(WasmError):
            read_image(module[:length])


def test_damage_is_refused_or_read_but_never_another_error() -> None:
    module = PROGRAM.to_bytes()
    read = 0
    for at in range(8, len(module)):
        for value in {0, 1, 0x0B, 0x40, 0x7F, 0x80, 0xFF, module[at] ^ 1} - {module[at]}:
            damaged = module[:at] + bytes([value]) + module[at + 1 :]
            try:
                image = read_image(damaged)
                for code in image.bodies:
                    references(code)
                image.to_bytes()
                read += 1
            except WasmError:
                pass
    assert read > 50


def test_questions_that_have_no_answer() -> None:
    image = read_image(PROGRAM.to_bytes())
    questions: dict[str, Callable[[], object]] = {
        "no nothing": lambda: image.export("nothing"),
        "answer is not the address": lambda: image.address("answer"),
        "outside is not the address": lambda: image.address("outside"),
        "nothing is at address 1023": lambda: image.word(BASE - 1),
        "nothing is at address 1064": lambda: image.put_word(BASE + 40, 1),
        "nothing is at address 9999": lambda: image.string(9999),
        "text is not a function": lambda: image.answer("text", 0),
    }
    for message, ask in questions.items():
        with pytest.raises(WasmError, match=message):
            ask()
    image.memory[0] = 0xFF
    with pytest.raises(WasmError, match="no text"):
        image.string(BASE)
    wide = Program([(0, body())], exports={"wide": (KIND_FUNCTION, 1)}, data={BASE: b"x"})
    types = vector([bytes([0x60, 0, 1, 0x7E])])  # an i64
    with pytest.raises(WasmError, match="wide returns something else"):
        read_image(wide.to_bytes(section_1=types)).answer("wide", 0)


def test_what_code_refers_to() -> None:
    found = references(body(drop(const(0x80000001)), drop(load(const(5), 300)), call(3), drop(read_global(2))))
    assert (found.functions, found.globals) == ({3}, {2})
    assert (found.constants, found.offsets) == ({0x80000001, 5}, {300})
    with pytest.raises(WasmError, match="ends within an instruction"):
        references(bytes([0, 0x41, 0x80]))
    with pytest.raises(WasmError, match="instruction 0xfd"):
        references(bytes([0, 0xFD, 0]))


def test_sections_of_the_hand_made_program_are_whole() -> None:
    """So that the tests above cut what they mean to cut."""
    assert [section.kind for section in parse_module(PROGRAM.to_bytes())] == list(PROGRAM.sections())
    assert Section(DATA, PROGRAM.sections()[DATA]) in parse_module(PROGRAM.to_bytes())
