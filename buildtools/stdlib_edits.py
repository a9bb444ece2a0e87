"""What is changed of Python's standard library before it is compiled for pages: what makes a start slow for nothing.

`_colorize` makes its themes as dataclasses, whose methods are written and compiled while it is imported: the dearest
module of the interpreter's start. A page is no terminal, so a module without colours stands in for it. And asyncio
imports `ssl` where there is one; Pyodide's is a stub, whose enumerations come next. Together a twentieth of that start.
"""

from __future__ import annotations

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

WITHOUT_SSL = ("asyncio/base_events.py", "asyncio/selector_events.py", "asyncio/sslproto.py")
GUARDED = b"try:\n    import ssl\nexcept ImportError:"


def adapt_stdlib(files: Files) -> Files:
    """The sources as they are compiled for pages."""
    if "_colorize.py" not in files:
        raise TaskError("the standard library has no _colorize: update buildtools/stdlib_edits.py")
    changed = {**files, "_colorize.py": NO_COLOURS}
    for name in WITHOUT_SSL:
        if files.get(name, b"").count(GUARDED) != 1:
            raise TaskError(f"{name} is not the file this build was written for: update buildtools/stdlib_edits.py")
        changed[name] = files[name].replace(GUARDED, GUARDED.replace(b"import ssl", b"raise ImportError"))
    return changed
