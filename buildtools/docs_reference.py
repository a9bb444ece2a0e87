"""The part of the site's reference that is read off the Python sources: options, errors, statistics, command line.

`python -m buildtools.docs_reference FOLDER` writes one Markdown page for each, and those that mkdocstrings fills. What
is explained by hand in docs/ is linked, not repeated.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from smolmix_web import errors
from smolmix_web.cli.main import EXIT_CODES, build_parser
from smolmix_web.cpython import __all__ as exported
from smolmix_web.tunnel.options import TunnelOptions, option_table

from .common import ROOT

PACKAGE = ROOT / "smolmix_web"
CODE = re.compile(r"[a-z][a-z0-9_]*")
# The counters of `statistics()` and of the proxy: where they stand in it, and the class that declares them.
COUNTERS = {
    "MixnetStatistics": "At the top",
    "DnsStatistics": "At the top, beginning with `dns_`",
    "StreamStatistics": "At the top, beginning with `streams_`",
    "MailboxStatistics": "At the top, beginning with `messages_`",
    "InboxStatistics": "In `inbox`",
    "GatewayCounters": "In `gateway`",
    "ExitStatistics": "In `exit`",
    "StackStatistics": "In `stack`",
    "ProxyStatistics": "What `smolmix-web proxy --json` prints at its end",
}
INTEGRATIONS = {
    "blocking": ("BlockingTunnel", "BlockingResponse"),
    "everywhere": ("patch", "unpatch"),
    "httpx_transport": ("MixTransport",),
    "aiohttp_connector": ("MixConnector",),
    "urllib3_pools": ("MixPoolManager", "mix_session", "mix_adapter"),
    "urllib_opener": ("mix_opener",),
    "dnspython_backend": ("MixBackend",),
}


def cell(text: object) -> str:
    """Text as a cell of a table."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def code(text: object) -> str:
    return f"`{str(text).replace('|', chr(92) + '|')}`"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(value: Any, unit: str) -> str:
    """A default as a page would write it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if dataclasses.is_dataclass(value) and not hasattr(value, "scheme"):
        return "by phase"
    if isinstance(value, tuple):
        return ", ".join(map(code, value))
    return f"{code(value)} {unit}".rstrip()


def options() -> str:
    fields = {field.metadata["js"]: field for field in dataclasses.fields(TunnelOptions) if field.metadata["js"]}
    rows = [
        (
            "<br>".join(code(name) for name in dict.fromkeys((row["name"], fields[row["name"]].name))),
            code(row["type"]),
            shown(row["default"], row["unit"]),
            cell(row["text"]),
        )
        for row in option_table()
    ]
    return (
        "# Options\n\nThe table that checks the options of a tunnel (`smolmix_web/tunnel/options.py`): names in a "
        "page, and in Python where they differ; types are those of Python. What they are for, at length: "
        "[the page's API](../docs/javascript.md#options).\n\n" + table(("option", "type", "default", "meaning"), rows)
    )


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def literals(node: ast.expr | None) -> list[str]:
    """The texts that an expression may be, as far as they stand in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return []


def raised() -> dict[str, set[tuple[str, str, str]]]:
    """Code -> class, phase, file of each place that makes an error with a code of its own."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    found: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for path, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in kinds:
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            for phase in literals(given.get("phase")) or [""]:
                for one in literals(given.get("code")):
                    if CODE.fullmatch(one):
                        found[one].add((node.func.id, phase, path))
    return found


def error_page() -> str:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SmolmixError)]
    classes = [
        (code(kind.__name__), code(kind.__mro__[1].__name__), code(kind.default_code), cell(first_line(kind)))
        for kind in kinds
    ]
    codes = []
    for name, places in sorted(raised().items()):
        phases = sorted({phase for _, phase, _ in places if phase})
        files = sorted({path.removeprefix("smolmix_web/") for _, _, path in places})
        codes.append(
            (
                code(name),
                ", ".join(code(kind) for kind in sorted({kind for kind, _, _ in places})),
                ", ".join(map(code, phases)),
                "yes" if name in errors.RETRYABLE or name.endswith("_timeout") else "no",
                "<br>".join(map(code, files)),
            )
        )
    return (
        "# Errors by source\n\nWhat each code means and what to do: [errors](../docs/errors.md). Here is where they "
        "come from.\n\n## Classes\n\nIn Python these are the classes; in a page their name is the field `kind`.\n\n"
        + table(("class", "of", "code unless another is given", "about"), classes)
        + "\n## Codes\n\nThose that stand in the sources as text; others are made of a phase (`connect_timeout`) or of "
        "what was received (ICMP, TLS alerts).\n\n"
        + table(("code", "class", "phase", "retryable", "in `smolmix_web/`"), codes)
    )


def first_line(kind: type) -> str:
    text = kind.__dict__.get("__doc__") or ""
    return text.strip().partition("\n\n")[0]


def counters(name: str) -> list[tuple[str, str]]:
    """Fields of a dataclass with the comments beside them, wherever it is declared."""
    for path, tree in sources():
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return [
                    (one.target.id, lines[one.lineno - 1].partition("  # ")[2])
                    for one in node.body
                    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                ]
    raise LookupError(f"no class {name}: mend COUNTERS")


def statistics() -> str:
    parts = [
        "# Statistics\n\nThe counters of `await tunnel.statistics()` in a page, `tunnel.statistics()` in Python. "
        "Its other fields: [the page's API](../docs/javascript.md#statistics). Nothing of it is sent to anyone.\n"
    ]
    for name, place in COUNTERS.items():
        rows = [(code(field), cell(comment)) for field, comment in counters(name)]
        parts.append(f"\n## {name}\n\n{place}.\n\n")
        parts.append(table(("counter", "of"), rows))
    return "".join(parts)


def arguments(actions: Iterable[argparse.Action]) -> list[tuple[str, str]]:
    rows = []
    for action in actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
        if action.choices is not None and not action.metavar:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        takes = "" if action.nargs == 0 else f"[{value}]" if action.nargs == "?" else str(value)
        name = " ".join(filter(None, (", ".join(action.option_strings), takes)))
        text = (action.help or "") % {"default": action.default, "prog": "smolmix-web"}
        rows.append((code(name), cell(text)))
    return rows


def command_line() -> str:
    parser = build_parser()
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    parts = ["# Commands\n\nRead off the parser; with examples: [the command line](../docs/command-line.md).\n\n"]
    parts.append(table(("command", "does"), ((code(name), cell(text or "")) for name, text in helps.items())))
    parts.append(f"\n{EXIT_CODES.capitalize()}.\n")
    common: list[str] = []
    for name, one in commands.choices.items():
        shared = [action for group in one._action_groups if group.title == "tunnel" for action in group._group_actions]
        if shared and not common:
            common = [table(("option", "means"), arguments(shared))]
        rows = arguments(action for action in one._actions if action not in shared)
        parts.append(f"\n## {name}\n\n{cell((helps[name] or '').capitalize())}.\n\n")
        parts.append(table(("argument", "means"), rows) if rows else "")
        parts.append("\nAnd [what every command takes](#every-command).\n" if shared else "")
    return "".join([*parts, "\n## Every command\n\nBut `completion`.\n\n", *common])


def python_api() -> str:
    names = ["open_tunnel", "Tunnel", *(name for name in exported if name not in ("open_tunnel", "Tunnel"))]
    lead = "# Python API\n\nWhat `smolmix_web.cpython` exports; with examples: [Python](../docs/python.md). "
    lead += "`smolmix_web.pyodide` has the same names ([Pyodide](../docs/pyodide.md)).\n\n"
    return lead + "".join(f"::: smolmix_web.cpython.{name}\n\n" for name in names)


def integrations() -> str:
    lead = "# Python integrations\n\nOther people's libraries over a tunnel; with examples: "
    lead += "[other libraries](../docs/python.md#other-libraries).\n\n"
    return lead + "".join(
        f"::: smolmix_web.integrations.{module}.{name}\n\n" for module, names in INTEGRATIONS.items() for name in names
    )


PAGES = {
    "options": options,
    "errors": error_page,
    "statistics": statistics,
    "commands": command_line,
    "python": python_api,
    "integrations": integrations,
}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (folder / f"{name}.md").write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
