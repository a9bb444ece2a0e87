"""The standard library as it is changed for pages: the stand-in for `_colorize` has what others use of it."""

from __future__ import annotations

import ast
import copy
import re
import types

import pytest

from buildtools.common import TaskError
from buildtools.pyodide_dist import CORE
from buildtools.stdlib_edits import NO_COLOURS, WITHOUT_SSL, adapt_stdlib
from buildtools.wheels import Files, read_zip


@pytest.fixture(scope="module")
def sources() -> Files:
    """Pyodide's standard library."""
    files = {name: data for name, data in read_zip(CORE / "python_stdlib.zip").items() if name.endswith(".py")}
    assert len(files) > 300
    return files


def names_used_of(module: str, source: str) -> set[str]:
    """What a source takes from a module: `from module import name`, `module.name`. This Python may be older."""
    lists = re.findall(rf"^\s*from {module} import (.+)$", source, re.M)
    imported = {name.strip() for found in lists for name in found.split(",")}
    return imported | set(re.findall(rf"(?<![\w.]){module}\.([A-Za-z]\w*)", source))


def no_colours() -> types.ModuleType:
    module = types.ModuleType("_colorize")
    exec(NO_COLOURS, module.__dict__)
    return module


def test_the_stand_in_has_what_the_library_uses(sources: Files) -> None:
    used = {
        name
        for file, source in sources.items()
        if b"_colorize" in source and file != "_colorize.py"
        for name in names_used_of("_colorize", source.decode())
    }
    assert {"can_colorize", "get_theme", "decolor", "get_colors", "ANSIColors"} <= used
    assert not [name for name in used if not hasattr(no_colours(), name)]


def test_nothing_has_a_colour() -> None:
    module = no_colours()
    theme = module.get_theme(force_color=True)
    section = theme.traceback
    assert [section.message, section.reset, theme.argparse["prog"]] == [""] * 3
    assert (module.get_colors().RED, module.ANSIColors.RESET) == ("", "")
    assert not module.can_colorize(file=None)
    assert module.decolor("text") == "text"
    assert copy.deepcopy(section).filename == ""


def test_edits_change_what_they_name_and_nothing_else(sources: Files) -> None:
    changed = adapt_stdlib(sources)
    assert {name for name in sources if changed[name] != sources[name]} == {"_colorize.py", *WITHOUT_SSL}
    assert changed.keys() == sources.keys()
    for name in WITHOUT_SSL:
        scope: dict[str, object] = {}
        tree = ast.parse(changed[name])
        (guard,) = [node for node in tree.body if isinstance(node, ast.Try) and "ssl" in ast.unparse(node)]
        exec(compile(ast.Module([guard], []), name, "exec"), scope)
        assert scope["ssl"] is None


@pytest.mark.parametrize("name", ["_colorize.py", *WITHOUT_SSL])
def test_another_library_is_refused(sources: Files, name: str) -> None:
    with pytest.raises(TaskError, match=r"update buildtools/stdlib_edits\.py"):
        adapt_stdlib({other: source for other, source in sources.items() if other != name})
