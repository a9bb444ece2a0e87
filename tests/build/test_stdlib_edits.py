"""The standard library as it is changed for pages: the stand-in for `_colorize` has what others use of it."""

from __future__ import annotations

import ast
import asyncio
import copy
import os
import re
import shutil
import site
import subprocess
import sys
import types
from pathlib import Path

import pytest

from buildtools.common import TaskError
from buildtools.pyodide_dist import CORE
from buildtools.stdlib_edits import ASYNCIO, IN_PLACE, NO_COLOURS, UNPACKING, WHOLE, WITHOUT_SSL, adapt_stdlib
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
    edited = {"_colorize.py", ASYNCIO, UNPACKING, *WITHOUT_SSL}
    assert {name for name in sources if changed[name] != sources[name]} == edited
    assert changed.keys() == {*sources, WHOLE}
    assert changed[WHOLE] == sources[UNPACKING]
    for name in WITHOUT_SSL:
        scope: dict[str, object] = {}
        tree = ast.parse(changed[name])
        (guard,) = [node for node in tree.body if isinstance(node, ast.Try) and "ssl" in ast.unparse(node)]
        exec(compile(ast.Module([guard], []), name, "exec"), scope)
        assert scope["ssl"] is None


def test_what_asyncio_has_not_at_once_comes_when_asked_for(sources: Files, tmp_path: Path) -> None:
    """Run with this Python's asyncio, all of whose modules of before are there."""
    shutil.copytree(Path(asyncio.__file__).parent, tmp_path / "asyncio")
    (tmp_path / ASYNCIO).write_bytes(adapt_stdlib(sources)[ASYNCIO])
    # Not in this Python yet.
    (tmp_path / "asyncio" / "graph.py").write_text(
        "__all__ = ('future_add_to_awaited_by',)\nfuture_add_to_awaited_by = 1\n"
    )
    with (tmp_path / "asyncio" / "events.py").open("a") as events:
        events.write("\n_AbstractEventLoopPolicy = AbstractEventLoopPolicy\n")
        events.write("_BaseDefaultEventLoopPolicy = BaseDefaultEventLoopPolicy\n")
    program = """
import sys, asyncio
names = "base_events", "graph", "selector_events", "streams", "subprocess", "unix_events"
late = {"asyncio." + name for name in names}
print(sorted(late & set(sys.modules)))
assert asyncio.Future and asyncio.DefaultEventLoopPolicy and asyncio.AbstractEventLoopPolicy
try:
    asyncio._private
except AttributeError as error:
    print(error)
print(sorted(late & set(sys.modules)))
assert asyncio.StreamReader is asyncio.streams.StreamReader and asyncio.BaseEventLoop
assert "asyncio.subprocess" not in sys.modules
from asyncio import *
assert open_connection and create_subprocess_exec and Task
async def main():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    server.close()
loop = asyncio.SelectorEventLoop()
loop.run_until_complete(main())
loop.close()
try:
    asyncio.absent
except AttributeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[]", "module 'asyncio' has no attribute '_private'", "[]", "module 'asyncio' has no attribute 'absent'",
    ]  # fmt: skip


def test_what_unpacks_wheels_says_where_they_go_without_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyodide_js", types.SimpleNamespace(loadedPackages={}))  # type: ignore[arg-type]
    module = types.ModuleType("pyodide._package_loader")
    exec(IN_PLACE, module.__dict__)
    place = Path(site.getsitepackages()[0])
    assert str(module.SITE_PACKAGES) == str(place)
    assert os.fspath(module.SITE_PACKAGES) == str(place)
    inside = module.SITE_PACKAGES / "name"
    assert inside == place / "name"
    assert module.SITE_PACKAGES.parents[1] == place.parents[1]
    assert str(module.DSO_DIR) == "/usr/lib"


@pytest.mark.parametrize("name", ["_colorize.py", ASYNCIO, UNPACKING, *WITHOUT_SSL])
def test_another_library_is_refused(sources: Files, name: str) -> None:
    with pytest.raises(TaskError, match=r"update buildtools/stdlib_edits\.py"):
        adapt_stdlib({other: source for other, source in sources.items() if other != name})
