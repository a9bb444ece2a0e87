"""The list of public suffixes, against the cases that its publisher gives."""

from __future__ import annotations

import pytest

from smolmix_web.errors import HttpError
from smolmix_web.http import public_suffix
from smolmix_web.http.public_suffix import ascii_rules, load_public_suffixes, parse_public_suffixes
from tests.virtual_loop import run_virtual


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("com", True), ("example.com", False), ("co.uk", True), ("www.co.uk", False), ("uk", True), ("b.c.mm", False),
        ("c.mm", True), ("mm", True), ("test", True), ("anything.test", False), ("kobe.jp", True), ("c.kobe.jp", True),
        ("city.kobe.jp", False), ("b.c.kobe.jp", False), ("github.io", True), ("someone.github.io", False),
        ("xn--55qx5d.cn", True), ("x.xn--55qx5d.cn", False), ("xn--fiqs8s", True), ("a.xn--fiqs8s", False),
    ],
)  # fmt: skip
def test_the_list_that_ships(name: str, public: bool) -> None:
    assert run_virtual(load_public_suffixes()).is_public(name) == public


def test_rules_in_ascii_without_comments() -> None:
    text = ["// comment", "", "  ", "com", "*.CK  // ignored", "!www.ck", "\u516c\u53f8.cn", "!\u516c\u53f8.hk"]
    assert list(ascii_rules(text)) == ["com", "*.ck", "!www.ck", "xn--55qx5d.cn", "!xn--55qx5d.hk"]
    suffixes = parse_public_suffixes("\n".join(text))
    assert suffixes.is_public("any.ck") and not suffixes.is_public("www.ck")


def test_a_list_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def missing(*_: str) -> bool:
        return False

    monkeypatch.setattr(public_suffix, "_loaded", None)
    with monkeypatch.context() as patch:
        patch.setattr(public_suffix, "load_on_demand", missing)
        with pytest.raises(HttpError) as caught:
            run_virtual(load_public_suffixes())
        assert (caught.value.code, caught.value.phase) == ("no_public_suffixes", "request")
    assert run_virtual(load_public_suffixes()).is_public("com")
