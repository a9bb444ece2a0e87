"""What is changed of Python's standard library before it is compiled for pages: what makes a start slow for nothing.

`_colorize` makes its themes as dataclasses, whose methods are written and compiled while it is imported: the dearest
module of the interpreter's start. A page is no terminal, so a module without colours stands in for it. asyncio imports
`ssl` where there is one; Pyodide's is a stub, whose enumerations come next. It also imports the event loops of an
operating system, in whose place a page has Pyodide's own, and Pyodide what unpacks wheels (shutil, pathlib, tempfile,
zipfile): these wait until somebody asks for them. Together a tenth of that start.
"""

from __future__ import annotations

import re

from .common import TaskError
from .wheels import Files

NO_COLOURS = b'''\
"""Stands in for Python's own module of this name, added by the build of smolmix-web: nothing has a colour."""

COLORIZE = False
ColorCodes = frozenset()


class ThemeSection:
    """Every colour there may be is an empty text."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return ""

    def __getitem__(self, name):
        return ""


class Theme:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return NoColors


ANSIColors = NoColors = ThemeSection()
default_theme = theme_no_color = Theme()


def get_colors(colorize=False, *, file=None):
    return NoColors


def decolor(text):
    return text


def can_colorize(*, file=None):
    return False


def get_theme(*, tty_file=None, force_color=False, force_no_color=False):
    return theme_no_color


def set_theme(theme):
    pass
'''

# The asyncio modules that a loop of Pyodide's needs, and those that come when one of their names is asked for.
ASYNCIO = "asyncio/__init__.py"
AT_ONCE = (
    "coroutines", "events", "exceptions", "futures", "locks", "protocols", "queues", "runners", "taskgroups", "tasks",
    "threads", "timeouts", "transports",
)  # fmt: skip
LATER = ("base_events", "graph", "streams", "subprocess", "unix_events")
STARRED = re.compile(r"^ *from \.(\w+) import \*", re.MULTILINE)
PARTLY = f'''\
"""Stands in for Python's own module of this name, added by the build of smolmix-web: some names come when asked for."""

{"".join(f"from .{name} import *{chr(10)}" for name in AT_ONCE)}
_AT_ONCE = {AT_ONCE}
_LATER = {LATER}
_POLICIES = {{
    "AbstractEventLoopPolicy": events._AbstractEventLoopPolicy,
    "DefaultEventLoopPolicy": events._BaseDefaultEventLoopPolicy,  # the same without a loop of an operating system
}}


def __getattr__(name):
    from importlib import import_module

    if name in _POLICIES:
        return _POLICIES[name]
    if name in _LATER:
        return import_module(f"{{__name__}}.{{name}}")
    if name == "__all__":
        return [word for part in _AT_ONCE + _LATER for word in import_module(f"{{__name__}}.{{part}}").__all__]
    if not name.startswith("_"):
        for part in _LATER:
            module = import_module(f"{{__name__}}.{{part}}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
'''.encode()

UNPACKING = "pyodide/_package_loader.py"
WHOLE = "pyodide/_package_loader_whole.py"
PLACES = (b"SITE_PACKAGES = Path(getsitepackages()[0])", b'DSO_DIR = Path("/usr/lib")')
IN_PLACE = b'''\
"""Stands in for Pyodide's own module of this name, added by the build of smolmix-web: it comes when asked for."""

from os import listdir
from os.path import isdir
from site import getsitepackages

from pyodide_js import loadedPackages  # in a memory snapshot Pyodide looks for it among the first objects of JavaScript


class _Place:
    """A path that needs no pathlib to say what it is."""

    def __init__(self, text):
        self._text = text

    def __str__(self):
        return self._text

    __fspath__ = __str__

    def __truediv__(self, name):
        return self.joinpath(name)

    def __getattr__(self, name):
        from pathlib import Path

        return getattr(Path(self._text), name)


SITE_PACKAGES = _Place(getsitepackages()[0])
DSO_DIR = _Place("/usr/lib")


def init_loaded_packages():
    if isdir(SITE_PACKAGES) and any(name.endswith(".dist-info") for name in listdir(SITE_PACKAGES)):
        __getattr__("init_loaded_packages")()


def __getattr__(name):
    from . import _package_loader_whole

    return getattr(_package_loader_whole, name)
'''

WITHOUT_SSL = ("asyncio/base_events.py", "asyncio/selector_events.py", "asyncio/sslproto.py")
GUARDED = b"try:\n    import ssl\nexcept ImportError:"


def adapt_stdlib(files: Files) -> Files:
    """The sources as they are compiled for pages."""
    if "_colorize.py" not in files:
        raise TaskError("the standard library has no _colorize: update buildtools/stdlib_edits.py")
    changed = {**files, "_colorize.py": NO_COLOURS}
    for name in WITHOUT_SSL:
        if files.get(name, b"").count(GUARDED) != 1:
            raise _other(name)
        changed[name] = files[name].replace(GUARDED, GUARDED.replace(b"import ssl", b"raise ImportError"))
    imported = set(STARRED.findall(files.get(ASYNCIO, b"").decode()))
    if imported - {"windows_events"} != {*AT_ONCE, *LATER}:
        raise _other(ASYNCIO)
    changed[ASYNCIO] = PARTLY
    if not all(files.get(UNPACKING, b"").count(place) == 1 for place in PLACES):
        raise _other(UNPACKING)
    changed[UNPACKING], changed[WHOLE] = IN_PLACE, files[UNPACKING]
    return changed


def _other(name: str) -> TaskError:
    return TaskError(f"{name} is not the file this build was written for: update buildtools/stdlib_edits.py")
