"""What of a program is reached once parts of it are given up: nothing that may run is lost, nothing else is kept.

Functions of the hand-made program: 0 and 1 are imported; the core; a part `library` whose first function is exported;
a part `behind` that follows it; the rest of the core.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from buildtools.wasm import KIND_FUNCTION, WasmError
from buildtools.wasm_image import read_image
from buildtools.wasm_reach import OBJECT, Part, Program, Reached
from tests.build.wasm_program import BASE, FIRST_SLOT, NO_RESULT, body, call, const, drop, load, read_global
from tests.build.wasm_program import Program as HandMade

RUN, HELPER, TABLED, UNUSED, EXTRA = 2, 3, 4, 5, 6  # the core
LIBRARY, BEHIND, LAST = 7, 19, 31
LIBRARY_SIZE, BEHIND_SIZE = BEHIND - LIBRARY, LAST - BEHIND

# Tables of constants that one part alone uses, some addresses in each; variables lie behind `VARIABLES`.
STEP, MANY = 64, 6
USED, DEAD, OTHER, CORE, VARIABLES = BASE, BASE + 4 * OBJECT, BASE + 8 * OBJECT, BASE + 12 * OBJECT, BASE + 16 * OBJECT


def slot(function: int) -> int:
    """The table holds one function of the core, the two parts, and the last function."""
    return FIRST_SLOT + 1 + function - LIBRARY


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def tables(base: int) -> bytes:
    """Code that looks at a table's addresses."""
    return b"".join(drop(load(const(base + STEP * at))) for at in range(MANY))


def library(at: int) -> bytes:
    function = LIBRARY + at
    codes = {
        0: [drop(const(slot(LIBRARY + 1))), drop(const(slot(LIBRARY + 7))), tables(USED)],
        4: [call(1)],
        5: [tables(DEAD), drop(const(slot(LIBRARY + 6)))],
    }
    assert LIBRARY <= function < BEHIND
    return body(*codes.get(at, []))


PROGRAM = HandMade(
    functions=[
        # A number that happens to be a slot of the library.
        (NO_RESULT, body(call(HELPER), drop(const(slot(LIBRARY + 3))), drop(load(const(CORE))))),
        (NO_RESULT, body(call(0), drop(read_global(0)))),
        (NO_RESULT, body()),
        (NO_RESULT, body(call(1))),
        (NO_RESULT, body()),
        *((NO_RESULT, library(at)) for at in range(LIBRARY_SIZE)),
        *((NO_RESULT, body(tables(OTHER)) if at == 5 else body()) for at in range(BEHIND_SIZE)),
        (NO_RESULT, body()),
    ],
    imports=("log", "gone"),
    table=[TABLED, *range(LIBRARY, LAST), LAST],
    exports={
        "run": (KIND_FUNCTION, RUN), "unused": (KIND_FUNCTION, UNUSED), "extra": (KIND_FUNCTION, EXTRA),
        "library": (KIND_FUNCTION, LIBRARY),
    },
    data={
        USED: word(slot(LIBRARY + 2)) + word(USED + STEP * MANY),
        DEAD: word(slot(LIBRARY + 8)), DEAD + STEP * MANY: b"end of the dead tables",
        OTHER: b"tables of the part behind", CORE: word(slot(LIBRARY + 9)),
        VARIABLES: word(DEAD + 3 * STEP),
    },
)  # fmt: skip
PARTS = (Part("library", LIBRARY, BEHIND), Part("behind", BEHIND, LAST))
SCRIPTS = {"": ["export run"], "import log": ["console"], "console": ["export extra"], "import gone": ["never"]}


def program(cut: Iterable[int] = (), mixed: Iterable[str] = (), parts: Iterable[Part] = PARTS) -> Program:
    return Program(read_image(PROGRAM.to_bytes()), parts, cut, mixed)


@pytest.fixture(scope="module")
def reached() -> Reached:
    return program(cut=[slot(LIBRARY + 7)]).reach(["library"], SCRIPTS)


def test_calls_and_the_core_s_slots_are_followed(reached: Reached) -> None:
    assert {RUN, HELPER, TABLED, LAST} <= reached.functions
    assert UNUSED not in reached.functions


def test_the_loader_is_followed_through_imports_and_back(reached: Reached) -> None:
    assert {"import log", "console", "export extra", "import outside"} <= reached.scripts
    assert EXTRA in reached.functions
    assert not {"import gone", "never"} & reached.scripts
    assert reached.exports == {"run", "extra", "library"}


def test_a_slot_is_reached_by_its_own_part_s_code_and_data_alone(reached: Reached) -> None:
    alive = {LIBRARY, LIBRARY + 1, LIBRARY + 2}
    assert alive <= reached.functions
    # 3: a number in the core; 4 and 5: by nobody; 6 and 8: by dead code and dead data; 9: by data of the core.
    assert not set(range(LIBRARY + 3, LIBRARY + 10)) & reached.functions
    assert reached.slots == {slot(LIBRARY + 1), slot(LIBRARY + 2)}


def test_what_is_cut_is_not_reached_from_its_part_either(reached: Reached) -> None:
    assert LIBRARY + 7 not in reached.functions
    assert LIBRARY + 7 in program().reach(["library"], SCRIPTS).functions


def test_without_its_export_all_of_a_part_is_dead_but_what_may_be_another_s() -> None:
    """Where a part begins and ends among the slots, functions may be those of a neighbour that the linker made one."""
    found = program().reach([], SCRIPTS)
    middle = set(range(LIBRARY + 1, LAST - 1))
    assert not middle - {BEHIND + at for at in (-3, -2, -1, 0, 1, 2)} & found.functions
    assert {LIBRARY, LAST - 1} <= found.functions


def test_nothing_is_given_up_where_no_part_is() -> None:
    found = program(parts=()).reach([], SCRIPTS)
    assert set(range(LIBRARY, LAST + 1)) | {0, 1} - {0, 1} <= found.functions
    assert "import gone" in found.scripts  # a function of the library calls it


def covered(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {address for first, end in ranges for address in range(first, end)}


def test_data_is_dead_where_dead_code_alone_refers_to_it(reached: Reached) -> None:
    taken = program(mixed=["library", "behind"])
    dead = covered(taken.dead_data(reached, BASE, VARIABLES))
    assert set(range(DEAD, DEAD + 3 * STEP)) <= dead
    alive = {DEAD + 3 * STEP}  # a variable points to it
    alive |= set(range(USED, USED + MANY * STEP)) | set(range(CORE, CORE + 4)) | set(range(VARIABLES, VARIABLES + 4))
    assert not alive & dead


def test_tables_of_parts_that_follow_each_other_are_dead_together() -> None:
    found = program().reach([], SCRIPTS)
    whole = program().dead_data(found, BASE, VARIABLES)
    assert (USED, OTHER + (MANY - 1) * STEP) in whole
    mixed = program(mixed=["library"]).dead_data(found, BASE, VARIABLES)
    assert (USED, OTHER + (MANY - 1) * STEP) not in mixed


def test_code_that_is_cut_is_refused() -> None:
    damaged = HandMade([(NO_RESULT, bytes([0, 0x41, 0xFF]))], data={BASE: b"x"})
    with pytest.raises(WasmError, match="ends within an instruction"):
        Program(read_image(damaged.to_bytes()), [], [])


def test_calls_of_functions_that_are_not_there_are_refused() -> None:
    damaged = HandMade([(NO_RESULT, body(call(77)))], table=[1], data={BASE: b"x"})
    with pytest.raises(WasmError, match="function 77"):
        Program(read_image(damaged.to_bytes()), [], [])
