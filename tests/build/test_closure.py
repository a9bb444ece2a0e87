"""What of the standard library a first load needs, worked out from imports."""

from __future__ import annotations

import pytest

from buildtools import closure
from buildtools.closure import Imports, module_name, needed_stdlib
from buildtools.common import TaskError


def table(**modules: tuple[list[str], list[str]]) -> dict[str, Imports]:
    named = {name.replace("__", "."): value for name, value in modules.items()}
    return {name: Imports(name, tuple(top), tuple(deep)) for name, (top, deep) in named.items()}


@pytest.fixture(autouse=True)
def no_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "START", ["start"])
    monkeypatch.setattr(closure, "LAZY", ["lazy.part"])


STDLIB = table(
    start=(["base"], ["rare"]), base=([], []), rare=([], []), lazy=([], []), lazy__part=([], []),
    used=(["used2.thing"], []), used2=([], []), deep=([], []), unused=([], []),
    pack=([], []), pack__inner=(["lzma"], []), lzma=([], []),
)  # fmt: skip


def test_imports_are_followed() -> None:
    packages = table(ours=(["used", "sys", "ours.other.name", "pack.inner.Thing"], ["deep.x"]), ours__other=([], []))
    needed, complaints = needed_stdlib(STDLIB, packages, {"sys"})
    assert complaints == []
    assert needed == {"start", "base", "lazy", "lazy.part", "used", "used2", "deep", "pack", "pack.inner"}


@pytest.mark.parametrize("name", ["numpy", "ours.gone.x", "dns.query"])
def test_an_import_of_what_is_not_shipped_is_named(name: str) -> None:
    _, complaints = needed_stdlib(STDLIB, table(ours=([], [name]), ours__here=([], [])), {"sys"})
    assert complaints == [f"ours imports {name}, which is not shipped"]


def test_guarded_and_registered_modules_may_be_missing() -> None:
    packages = table(ours=(["js.x", "cryptography.hazmat", "websockets.speedups.apply_mask"], []))
    assert needed_stdlib(STDLIB, packages, set())[1] == []


def test_modules_left_out_of_the_page_may_not_be_imported() -> None:
    _, complaints = needed_stdlib(STDLIB, table(smolmix_web__bridge=(["smolmix_web.cli.main"], [])), set())
    assert complaints == ["smolmix_web.bridge imports smolmix_web.cli.main, which is not shipped"]


def test_a_root_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "LAZY", ["start.gone"])
    _, complaints = needed_stdlib(STDLIB, {}, set())
    assert len(complaints) == 1
    with pytest.raises(TaskError, match=r"start\.gone"):
        closure.check(complaints)


@pytest.mark.parametrize(
    ("file", "module"),
    [("a/b.pyc", "a.b"), ("a/__init__.pyc", "a"), ("typing.py", "typing"), ("a/b/__init__.py", "a.b")],
)
def test_module_names(file: str, module: str) -> None:
    assert module_name(file) == module
