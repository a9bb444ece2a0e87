"""The script language: what a case says, before it runs.

A file holds cases. Lines in front of the first case are settings of all of them; `#` begins a comment.

    === name: what must happen, in one line
    rfc RFC 9293 3.10.7.4                  the section it checks
    each state code: A b | C d             one case per row; {state} and {code} are replaced in all lines
    config ack_every=1                     fields of TcpConfig      (settings come before the first step)
    stack echo_rate=5 mtu=1420             fields of StackConfig, and the MTU
    family 6                               IPv6; 4 when left out
    start iss=0xFFFFFF00                   choose the time so that the stack draws about this sequence number
    xfail no timestamps yet                strictly expected to fail

A step is one line: `[when] verb ...`. `when` is `+seconds` after the previous step, `@seconds` after the beginning, or
nothing for "now"; a range `+1..3` or a tolerance `+3~0.1` may follow for packets that are expected.

    < FLAGS seq..end ack N win N [options] the peer sends this segment
    <& ...                                 the same, but the stack is not polled before the next step
    > FLAGS seq..end ack N win N [options] the stack must send exactly this next
    within T > ...                         the same, but other packets may come before it
    quiet                                  nothing was sent until now
    ignore [N]                             what was sent until now does not matter (but its number)

Every packet that the stack sends must be expected, in order and in time: a script says with each step that there was
silence before. What the application does without a time happens before the stack is polled again. Sequence numbers
are relative to the first SYN of their sender, `=N` is an absolute one; `seq..end` is the text without SYN and FIN,
`seq..` any amount. What a spec leaves out is not looked at; PSH only where `P` or `p` (must not) is written. Options:
`[mss 1380, sackok, wscale 4, ts $a 0, sack 1-2 3-4]`, all of them and no other; `*` allows others, `!ts` forbids one.
`$name` is a variable, set by the first packet that shows it or by `let`.
In the peer's segments `from` and `to` are other ports, `src` and `dst` other addresses, `base` begins a new
incarnation; `damage`, `pieces` (fragments) and `ext` (IPv6 extension headers) stand in peer.py.
`x10` at the end: ten in a row, each behind the text of the one before.
"""

from __future__ import annotations

import ast
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WHEN = re.compile(r"([+@])([0-9.]+?)(?:\.\.([0-9.]+))?(?:~([0-9.]+))?$")
_CASE = re.compile(r"=== ([a-z0-9_]+): (.+)$")
_RANGE = re.compile(r"(=?)([^.]+)(?:\.\.(.*))?$")
_COMPARISON = re.compile(r"(win|len)(<=|>=|<|>|=)(.+)$")
_FLAGS = re.compile(r"[FSRPAUECp]+$|^-$|^\?$")


class ScriptError(Exception):
    """A script that cannot be read."""


@dataclass(frozen=True)
class When:
    absolute: bool = False
    earliest: float = 0.0
    latest: float = 0.0
    slack: float = 0.001  # for packets that are expected


@dataclass
class SegmentSpec:
    """A TCP segment as written. Expressions are kept as text until the step runs."""

    flags: str = "?"
    absolute: bool = False
    seq: str | None = None
    end: str | None = None  # "" for any
    ack: str | None = None
    ack_absolute: bool = False
    tests: list[tuple[str, str, str]] = field(default_factory=list)  # (win or len, operator, expression)
    options: list[tuple[str, list[str]]] | None = None
    others: bool = False
    absent: set[str] = field(default_factory=set)
    repeat: int = 1
    more: dict[str, str] = field(default_factory=dict)  # from, to, urg, src, dst, damage, ...


@dataclass
class IcmpSpec:
    kind: int
    code: int
    more: dict[str, str] = field(default_factory=dict)


@dataclass
class UdpSpec:
    source_port: str
    destination_port: str
    more: dict[str, str] = field(default_factory=dict)


Spec = SegmentSpec | IcmpSpec | UdpSpec


@dataclass
class Step:
    line: int
    text: str
    when: When
    verb: str
    words: list[str] = field(default_factory=list)
    spec: Spec | None = None
    within: float | None = None


@dataclass
class Case:
    path: str
    line: int
    name: str
    intent: str
    rfc: str = ""
    xfail: str | None = None
    family: int = 4
    iss: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    stack: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return Path(self.path).name.split(".")[0]


def load(path: Path) -> list[Case]:
    """All cases of a file, `each` expanded. Raises ScriptError with file and line."""
    return parse(path.read_text(), str(path))


def parse(text: str, path: str = "<script>") -> list[Case]:
    lines = [(number, line.split(" #")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    common: list[tuple[int, str]] = []
    blocks: list[list[tuple[int, str]]] = []
    for item in lines:
        if item[1].startswith("==="):
            blocks.append([item])
        elif blocks:
            blocks[-1].append(item)
        else:
            common.append(item)
    cases: list[Case] = []
    for block in blocks:
        for rows in _rows(block):
            try:
                cases.append(_case(rows, common, path))
            except ScriptError as error:
                raise ScriptError(f"{path}:{error}") from None
    names = [case.name for case in cases]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ScriptError(f"{path}: more than one case is called {', '.join(sorted(doubled))}")
    return cases


def _rows(block: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """One copy of the block per row of its `each` lines; several of them multiply."""
    tables = []
    rest = []
    for number, line in block:
        if line.startswith("each "):
            head, _, body = line[5:].partition(":")
            names = head.split()
            rows = [row.split() for row in body.split("|")]
            if any(len(row) != len(names) for row in rows):
                raise ScriptError(f"{number}: each row of `each` needs {len(names)} words")
            tables.append([dict(zip(names, row, strict=True)) for row in rows])
        else:
            rest.append((number, line))
    if not tables:
        return [rest]
    copies = []
    firsts = ["_".join(next(iter(row.values())) for row in chosen) for chosen in itertools.product(*tables)]
    for chosen, first in zip(itertools.product(*tables), firsts, strict=True):
        values = {name: value for row in chosen for name, value in row.items()}
        suffix = first if firsts.count(first) == 1 else "_".join(values.values())
        suffix = re.sub(r"[^a-z0-9_]", "", suffix.lower().replace("-", "m").replace(".", "_"))
        copy = []
        for number, line in rest:
            for name, value in values.items():
                line = line.replace(f"{{{name}}}", value)
            if match := _CASE.match(line):
                line = f"=== {match[1]}_{suffix}: {match[2]}"
            copy.append((number, line))
        copies.append(copy)
    return copies


def _case(block: list[tuple[int, str]], common: list[tuple[int, str]], path: str) -> Case:
    number, head = block[0]
    match = _CASE.match(head)
    if match is None:
        raise ScriptError(f"{number}: a case begins with `=== name: intent`")
    case = Case(path, number, match[1], match[2])
    for number, line in common:
        if not _setting(case, number, line):
            raise ScriptError(f"{number}: no setting: {line}")
    for number, line in block[1:]:
        if case.steps or not _setting(case, number, line):
            case.steps.append(parse_step(number, line))
    if not case.rfc:
        raise ScriptError(f"{case.line}: {case.name} names no RFC section")
    if not case.steps:
        raise ScriptError(f"{case.line}: {case.name} has no steps")
    return case


def _setting(case: Case, number: int, line: str) -> bool:
    verb, _, rest = line.partition(" ")
    if verb == "rfc":
        case.rfc = rest
    elif verb == "xfail":
        case.xfail = rest
    elif verb == "family":
        case.family = int(rest)
    elif verb == "start":
        case.iss = int(rest.removeprefix("iss="), 0)
    elif verb == "config":
        case.config |= pairs(rest.split(), number)
    elif verb == "stack":
        case.stack |= pairs(rest.split(), number)
    else:
        return False
    return True


def pairs(words: list[str], number: int = 0) -> dict[str, Any]:
    """`name=value` words; values are Python literals, other words stay text."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ScriptError(f"{number}: `name=value` expected, not {word}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = {"true": True, "false": False, "none": None}.get(value, value)
    return found


def parse_step(number: int, line: str) -> Step:
    words = line.split()
    when = When()
    if match := _WHEN.match(words[0]):
        earliest = float(match[2])
        latest = float(match[3]) if match[3] else earliest
        when = When(match[1] == "@", earliest, latest, float(match[4]) if match[4] else 0.001)
        words = words[1:]
    if not words:
        raise ScriptError(f"{number}: a time without a step")
    within = None
    if words[0] == "within":
        within = float(words[1])
        words = words[2:]
    step = Step(number, line, when, words[0], words[1:], within=within)
    if step.verb in ("<", "<&", ">"):
        try:
            step.spec = parse_spec(words[1:])
        except (ScriptError, ValueError, IndexError) as error:
            raise ScriptError(f"{number}: {line}: {error}") from None
    return step


def parse_spec(words: list[str]) -> Spec:
    if words and words[0] == "icmp":
        kind, code = words[1].split("/")
        return IcmpSpec(int(kind), int(code), _more(words[2:]))
    if words and words[0] == "udp":
        return UdpSpec(words[1], words[3], _more(words[4:]))
    return _segment(words)


def _more(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _segment(words: list[str]) -> SegmentSpec:
    spec = SegmentSpec()
    text = " ".join(words)
    if "[" in text:
        text, _, inner = text.partition("[")
        inner, _, rest = inner.partition("]")
        _options(spec, inner)
        text += " " + rest
    words = text.split()
    if not words or not _FLAGS.match(words[0]):
        raise ScriptError("a segment begins with its flags")
    spec.flags = words.pop(0)
    if words and re.match(r"[-0-9=$(]", words[0]):
        match = _RANGE.match(words.pop(0))
        if match is None:
            raise ScriptError("`seq` or `seq..end` expected")
        spec.absolute = bool(match[1])
        spec.seq = match[2]
        spec.end = match[3]
    at = 0
    while at < len(words):
        word = words[at]
        if re.match(r"x\d+$", word):
            spec.repeat = int(word[1:])
        elif match := _COMPARISON.match(word):
            spec.tests.append((match[1], match[2], match[3]))
        else:
            value = words[at + 1]
            at += 1
            if word == "ack":
                spec.ack_absolute = value.startswith("=")
                spec.ack = value.removeprefix("=")
            elif word in ("win", "len"):
                spec.tests.append((word, "=", value))
            elif word in ("from", "to", "urg", "src", "dst", "damage", "base", "pieces", "ext"):
                spec.more[word] = value
            else:
                raise ScriptError(f"unknown word {word}")
        at += 1
    return spec


def _options(spec: SegmentSpec, inner: str) -> None:
    spec.options = []
    for part in inner.split(","):
        words = part.split()
        if not words:
            continue
        if words[0] == "*":
            spec.others = True
        elif words[0].startswith("!"):
            spec.absent.add(words[0][1:])
            spec.others = True
        elif words[0] == "sack":
            spec.options.append(("sack", [edge for block in words[1:] for edge in block.split("-", 1)]))
        elif words[0] == "raw":
            spec.options.append(("raw", [str(value) for value in bytes.fromhex("".join(words[1:]))]))
        else:
            spec.options.append((words[0], words[1:]))
