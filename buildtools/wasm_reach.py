"""Which functions of a program can still run, when some of its exports and some of its parts are given up.

A linker lays object files one after the other: their functions, their slots of the table, their data. Whether a number
in the code is an address of the table or just a number, nobody can tell; but the slot of a function that is private to
an object file means something only to the code and the data of that file. So:

* outside of the parts that are given up everything in the table counts as reachable;
* inside of one, a slot is reached by code of the same part, or by data that this code refers to, and by nothing else.

What is unreachable in a part may be cut out of the table, and its data blanked. Too much may be kept, never too little.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .wasm import KIND_FUNCTION, KIND_GLOBAL, WasmError
from .wasm_code import References, references
from .wasm_image import Image

# Slots of one object file lie together. Where the linker has made equal functions one, a slot's function may lie in
# another file: a slot belongs to a part only if so many of its neighbours, as far off as this, do; or if its function
# calls what is given up.
COMPANY, NEIGHBOURS = 4, 3
# For addresses of data the same holds: a number that happens to be an address elsewhere is alone among others'.
# A part's data lies together, in each kind of data: addresses further apart than this are of two kinds.
APART = 1 << 18
# An address of data stands for at least so many bytes, more where nothing refers to what follows.
OBJECT = 512


@dataclass(frozen=True)
class Part:
    """Functions `first` up to, not including, `end`, by index in the program (imports are counted)."""

    name: str
    first: int
    end: int


@dataclass
class Reached:
    """`functions` by index; `exports` by name; `scripts`: parts of the loader; `slots`: those of the given-up parts."""

    functions: set[int] = field(default_factory=set)
    exports: set[str] = field(default_factory=set)
    scripts: set[str] = field(default_factory=set)
    slots: set[int] = field(default_factory=set)


class Program:
    """What each function of an image refers to, and the parts that are given up."""

    def __init__(self, image: Image, parts: Iterable[Part], cut: Iterable[int], mixed: Iterable[str] = ()) -> None:
        self.image = image
        self.parts = sorted(parts, key=lambda part: part.first)
        self._firsts = [part.first for part in self.parts]
        self.cut = set(cut)
        # Parts of which some functions are used after all.
        self.mixed = set(mixed)
        self.imported = image.imported_functions
        whole = len(image.memory) // 4 * 4
        self._words = memoryview(bytes(image.memory[:whole])).cast("I")
        self._globals = image.imported_globals
        self.references = [references(body) for body in image.bodies]
        functions = len(self.imported) + len(image.bodies)
        for found in self.references:
            if max(found.functions, default=0) >= functions:
                raise WasmError(f"code section: a call of function {max(found.functions)}, which does not exist")
        self._exports = {export.name: export for export in image.exports}
        users = self._users()
        self._boundaries = sorted(users)
        self._own: dict[Part, list[int]] = {part: [] for part in self.parts}
        followed: dict[Part, list[int]] = {part: [] for part in self.parts}
        owning = [users[address] for address in self._boundaries]
        given_up = [owner and "given up" for owner in owning]
        for at, owner in enumerate(owning):
            if owner is None:
                continue
            before, after = given_up[max(0, at - NEIGHBOURS) : at], given_up[at + 1 : at + NEIGHBOURS + 1]
            in_company = _in_company([*before, "given up", *after], "given up")
            if in_company:
                self._own[owner].append(self._boundaries[at])
            # The first and the last of a part's data have company on one side; to follow them loses nothing.
            if in_company or NEIGHBOURS in (before.count("given up"), after.count("given up")):
                followed[owner].append(self._boundaries[at])
        self._ranges = {part: _clusters(addresses) for part, addresses in followed.items()}
        owners = [self.part_of(function) for function in image.table]
        self.doubtful = {
            image.table_base + at: part
            for at, part in enumerate(owners)
            if part is not None
            and (
                _in_company(owners[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1], part)
                or self._calls_given_up(image.table[at])
            )
        }

    def refers(self, function: int) -> References:
        return self.references[function - len(self.imported)]

    def part_of(self, function: int) -> Part | None:
        at = bisect.bisect_right(self._firsts, function) - 1
        return self.parts[at] if at >= 0 and function < self.parts[at].end else None

    def _calls_given_up(self, function: int) -> bool:
        return any(self.part_of(callee) is not None for callee in self.refers(function).functions)

    def _users(self) -> dict[int, Part | None]:
        """The addresses that code refers to, each with the part whose functions alone do."""
        users: dict[int, Part | None] = {}
        for index, found in enumerate(self.references, len(self.imported)):
            part = self.part_of(index)
            for address in (*found.constants, *found.offsets):
                if self._in_memory(address):
                    users[address] = part if users.get(address, part) == part else None
        return users

    def _in_memory(self, address: int) -> bool:
        return 0 <= address - self.image.memory_base < len(self.image.memory)

    def _words_at(self, address: int, seen: bytearray) -> Iterable[int]:
        """The aligned words of the object at an address that are not `seen` (one byte for each word of memory)."""
        at = bisect.bisect_left(self._boundaries, address + OBJECT)
        end = self.image.memory_base + len(self.image.memory)
        if at < len(self._boundaries):
            end = self._boundaries[at]
        last = (end - self.image.memory_base) // 4
        at = seen.find(0, -(-(address - self.image.memory_base) // 4), last)
        while at >= 0:
            seen[at] = 1
            yield self._words[at]
            at = seen.find(0, at + 1, last)

    def reach(self, exports: Iterable[str], scripts: Mapping[str, Iterable[str]]) -> Reached:
        """Follow everything from the loader (its part "") and from `exports`.

        `scripts` gives what a part of the loader needs: names of its parts, or `export NAME`.
        """
        image, reached = self.image, Reached()
        looking = True
        functions: list[int] = []
        names: list[str] = ["", *(f"export {name}" for name in exports)]
        seen = {part: bytearray(len(self._words)) for part in self.parts}

        def want(function: int) -> None:
            if function not in reached.functions:
                reached.functions.add(function)
                functions.append(function)

        def number(value: int, part: Part, objects: list[int]) -> None:
            if self.doubtful.get(value) == part and value not in reached.slots and value not in self.cut:
                reached.slots.add(value)
                want(image.table[value - image.table_base])
            elif any(first <= value <= last for first, last in self._ranges[part]):
                objects.append(value)

        def call(function: int) -> None:
            if function < len(self.imported):
                names.append(f"import {self.imported[function].name}")
                return
            found = self.refers(function)
            for callee in found.functions:
                want(callee)
            for index in found.globals:
                if index < len(self._globals):
                    name = self._globals[index].name
                    names.append(f"export {name}" if name in self._exports else f"import {name}")
            part = self.part_of(function)
            if part is not None and looking:
                objects: list[int] = []
                for value in (*found.constants, *found.offsets):
                    number(value, part, objects)
                while objects:
                    for value in self._words_at(objects.pop(), seen[part]):
                        number(value, part, objects)

        def follow() -> None:
            while names or functions:
                if functions:
                    call(functions.pop())
                    continue
                name = names.pop()
                if name in reached.scripts:
                    continue
                reached.scripts.add(name)
                names.extend(scripts.get(name, ()))
                export = self._exports.get(name.removeprefix("export ")) if name.startswith("export ") else None
                if export is not None:
                    reached.exports.add(export.name)
                    if export.kind == KIND_FUNCTION:
                        want(export.index)

        merged = []
        for slot, function in enumerate(image.table, image.table_base):
            if slot in self.doubtful or slot in self.cut:
                continue
            if self.part_of(function) is None:
                want(function)
            else:
                merged.append(function)
        follow()
        # The linker made them one with a function outside: that function calls, but its data is not the part's.
        looking = False
        for function in merged:
            want(function)
        follow()
        return reached

    def _groups(self, first: int, end: int) -> Iterable[tuple[int, int]]:
        """Of given-up parts that follow each other all tables from the first to the last address that only they use.

        Nothing else lies between, whatever a number elsewhere looks like.
        """
        users = self._users()
        group: dict[Part, Part] = {}
        for before, part in itertools.pairwise([None, *self.parts]):
            assert part is not None
            group[part] = group[before] if before is not None and before.end == part.first else part
        tables = [address for address in self._boundaries if first <= address < end]
        kinds = [owner and group[owner] for owner in (users[address] for address in tables)]
        for head in set(group.values()):
            if sum(kind == head for kind in group.values()) < 2:
                continue
            own = [
                address
                for at, address in enumerate(tables)
                if kinds[at] == head and _in_company(kinds[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1], head, 2)
            ]
            if own and head.name not in self.mixed:
                yield own[0], own[-1]

    def dead_data(self, reached: Reached, first: int, end: int) -> list[tuple[int, int]]:
        """Ranges (first address, end) of data between two addresses that only unreachable functions refer to.

        `first` and `end` bound the constant tables: behind `end` lie the variables; what they may point to is alive.
        A range begins at an address that only one given-up part refers to, and ends at the next such one, or at one
        that is alive.
        """
        words = self._words[(end - self.image.memory_base) // 4 :]
        living = {
            *words,
            *(
                address
                for index, found in enumerate(self.references, len(self.imported))
                if index in reached.functions
                for address in (*found.constants, *found.offsets)
            ),
            *(
                self.image.constants.get(export.index, 0)
                for export in self.image.exports
                if export.kind == KIND_GLOBAL and export.name in reached.exports
            ),
        }
        alive = sorted(address for address in living if first <= address <= end)
        pieces = [
            piece
            for own in self._own.values()
            for piece in _dead_ranges([address for address in own if first <= address < end], alive)
        ]
        return [*self._groups(first, end), *pieces]


def _in_company(around: Sequence[Part | str | None], kind: Part | str, company: int = COMPANY) -> bool:
    return around.count(kind) > company


def _clusters(own: list[int]) -> list[tuple[int, int]]:
    """First and last address of each run without a gap of `APART`."""
    starts = [at for at, address in enumerate(own) if at == 0 or address - own[at - 1] > APART]
    return [(own[start], own[end - 1]) for start, end in zip(starts, [*starts[1:], len(own)], strict=False)]


def _dead_ranges(own: list[int], living: list[int]) -> Iterable[tuple[int, int]]:
    dead = [address for address in own if not _contains(living, address)]
    for first, following in itertools.pairwise(dead):
        if following - first > APART:
            continue
        alive = bisect.bisect_right(living, first)
        yield first, min(following, living[alive]) if alive < len(living) else following


def _contains(ordered: list[int], value: int) -> bool:
    at = bisect.bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value
