"""`sitecustomize` of the pack: modules of ours are imported from it without what zipimport does for any zip.

zipimport looks a module up under each name it might have, opens the archive and reads a header per look, and loads the
code once to tell where it is from and once more to run it. The build writes the pack (pyodide_dist.py): nothing in it
is compressed, no entry has extra fields, all code is this interpreter's. What is asked of a loader beyond importing is
zipimport's own.

Python runs this at the end of its own start (the `site` module). Everything imported from then on comes this way, a
third faster in a page that has just been opened, where no code is warm.
"""

from __future__ import annotations

import marshal
import os
import sys
import zipimport
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LOCAL_HEADER = 30  # bytes of it before the file's name (APPNOTE.TXT 4.3.7)
PYC_HEADER = 16  # bytes (PEP 552)


class PackLoader(zipimport.zipimporter):
    """Of the modules in one folder of the pack."""

    def __init__(self, whole: zipimport.zipimporter, prefix: str) -> None:
        # zipimporter's own looks at each folder of the path, which is in no file system, to find out the same.
        vars(self).update(vars(whole), prefix=prefix)

    def exec_module(self, module: ModuleType) -> None:
        spec: Any = module.__spec__
        finder, offset, size = spec.loader_state
        exec(marshal.loads(finder.read(offset, size)), module.__dict__)


class PackFinder:
    """Finds what the archive holds, and leaves all else to the next finder."""

    def __init__(self, archive: str) -> None:
        self.archive = archive
        self.whole = zipimport.zipimporter(archive)
        self.files: dict[str, Any] = zipimport._zip_directory_cache[archive]  # type: ignore[attr-defined]
        self.loaders: dict[str, PackLoader] = {}
        self.opened: int | None = os.open(archive, os.O_RDONLY)

    def rest(self) -> None:
        """Most has been imported: open the archive anew for what is left. A memory that is kept has no open files."""
        if self.opened is not None:
            os.close(self.opened)
            self.opened = None

    def read(self, offset: int, size: int) -> bytes:
        if self.opened is not None:
            return os.pread(self.opened, size, offset)
        file = os.open(self.archive, os.O_RDONLY)
        try:
            return os.pread(file, size, offset)
        finally:
            os.close(file)

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if path is not None and not (path and path[0].startswith(self.archive)):
            return None
        name = fullname.replace(".", "/")
        entry = self.files.get(f"{name}/__init__.pyc")
        package = entry is not None
        if entry is None:
            entry = self.files.get(f"{name}.pyc")
            if entry is None:
                return None
        file, _, size, _, offset, *_ = entry
        prefix = name[: name.rfind("/") + 1]
        loader: Any = self.loaders.get(prefix)  # of another class than typeshed's loaders
        if loader is None:
            loader = self.loaders[prefix] = PackLoader(self.whole, prefix)
        start = offset + LOCAL_HEADER + len(file) - len(self.archive) - 1 + PYC_HEADER
        state = self, start, size - PYC_HEADER
        spec = ModuleSpec(fullname, loader, origin=file, loader_state=state, is_package=package)
        spec.has_location = True
        if package:
            assert spec.submodule_search_locations is not None
            spec.submodule_search_locations.append(f"{self.archive}/{name}")
        return spec


for place in sys.path:
    if place in zipimport._zip_directory_cache:  # type: ignore[attr-defined]
        # After the finder of what is built in.
        sys.meta_path.insert(1, PackFinder(place))
