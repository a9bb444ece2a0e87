"""Sizes of what ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildtools.common import TaskError
from buildtools.report import BUDGET, FIRST_LOAD, Shipped, check_budget, sentence, shipped_files, summary, table


def test_sizes_and_sums(tmp_path: Path) -> None:
    (tmp_path / "pyodide").mkdir()
    (tmp_path / "index.js").write_bytes(b"a" * 1000)
    (tmp_path / "index.js.gz").write_bytes(b"z" * 30)
    (tmp_path / "index.js.br").write_bytes(b"b" * 20)
    (tmp_path / "pyodide" / "python.zst").write_bytes(bytes(range(256)))
    (tmp_path / "pyodide" / "other.whl").write_bytes(b"not fetched")
    files = shipped_files(tmp_path)
    assert [(f.name, f.raw, f.first_load) for f in files] == [
        ("index.js", 1000, True),
        ("pyodide/other.whl", 11, False),
        ("pyodide/python.zst", 256, True),
    ]
    assert summary(files)["first_load"] == {"files": 2, "raw": 1256, "gzip": 30 + 256, "brotli": 20 + 256}
    lines = table(files).splitlines()
    assert lines[-1].split()[-3:] == ["1,256", "286", "276"]
    assert "yes" in lines[1]
    assert "yes" not in lines[2]


def test_a_first_load_above_the_budget_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "index.js").write_bytes(b"a" * 1000)
    files = shipped_files(tmp_path)
    check_budget(files)
    check_budget(files, {"gzip": 1000, "brotli": 1000})
    for coding in BUDGET:
        with pytest.raises(TaskError, match=rf"1,000 bytes of {coding}, 999 are allowed"):
            check_budget(files, {coding: 999})


def test_first_load_has_no_doubles() -> None:
    assert len(set(FIRST_LOAD)) == len(FIRST_LOAD)


def test_the_sum_in_words() -> None:
    files = [Shipped("index.js", 7_000_000, 3_000_000, 2_500_000, True), Shipped("index.js.map", 9, 9, 9, False)]
    files.append(Shipped("worker.js", 960_000, 51_000, 40_000, True))
    assert sentence(files) == "A first visit loads 2.5 MB with brotli, 3.1 MB with gzip; uncompressed 8.0 MB."
