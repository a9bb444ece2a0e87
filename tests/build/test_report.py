"""Sizes of what ships."""

from __future__ import annotations

import gzip
from pathlib import Path

from buildtools.report import FIRST_LOAD, shipped_files, summary, table


def test_sizes_and_sums(tmp_path: Path) -> None:
    (tmp_path / "pyodide").mkdir()
    (tmp_path / "index.js").write_bytes(b"a" * 1000)
    (tmp_path / "pyodide" / "python.zst").write_bytes(bytes(range(256)))
    (tmp_path / "pyodide" / "other.whl").write_bytes(b"not fetched")
    files = shipped_files(tmp_path)
    assert [(f.name, f.raw, f.first_load) for f in files] == [
        ("index.js", 1000, True),
        ("pyodide/other.whl", 11, False),
        ("pyodide/python.zst", 256, True),
    ]
    sizes = {f.name: f.gzip for f in files}
    assert sizes["index.js"] == len(gzip.compress(b"a" * 1000, 9, mtime=0)) < 100
    first = summary(files)["first_load"]
    assert first == {"files": 2, "raw": 1256, "gzip": sizes["index.js"] + sizes["pyodide/python.zst"]}
    lines = table(files).splitlines()
    assert lines[-1].split()[-2:] == ["1,256", f"{first['gzip']:,}"]
    assert "yes" in lines[1]
    assert "yes" not in lines[2]


def test_first_load_has_no_doubles() -> None:
    assert len(set(FIRST_LOAD)) == len(FIRST_LOAD)
