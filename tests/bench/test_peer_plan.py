"""The options of `bench.peer` say what is measured; what cannot be is refused before anything starts."""

from __future__ import annotations

import argparse

import pytest

from bench.peer_plan import FIGURES, GROUPS, MODES, SLOW, THIN, Plan, Sizes, add_arguments, plan_from, size_text

pytestmark = pytest.mark.cpython


def plan(*arguments: str) -> Plan:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return plan_from(parser.parse_args(arguments), parser)


def test_without_options_all_is_measured_without_limits() -> None:
    found = plan()
    assert found.whole and found.rounds == 3 and found.modes == tuple(MODES)
    (condition,) = found.conditions
    assert condition.name == "no limit" and condition.sizes == Sizes()
    assert found.figures == list(FIGURES)


def test_each_value_of_each_limit_is_a_condition() -> None:
    found = plan("--cpu", "1,0.25", "--line", "100,50", "--line-delay-ms", "20", "--loss", "0.01")
    assert [condition.name for condition in found.conditions] == [
        f"{share} of a core, a line of {line} kB/s and 20 ms, 1 % of packets lost on each link"
        for line in (100, 50)
        for share in ("1", "0.25")
    ]
    assert found.whole


def test_slow_conditions_have_smaller_sizes() -> None:
    assert [condition.sizes for condition in plan("--cpu", "1,0.5").conditions] == [Sizes(), SLOW]
    assert plan("--line", "50").conditions[0].sizes == THIN
    assert plan("--memory", "256").conditions[0].sizes == Sizes()
    assert SLOW.words() == {"download": "0.5 MB", "together": "6", "together_size": "20 kB", "upload": "200 kB"}
    assert size_text(3_000_000) == "3 MB"


def test_figures_and_modes_are_chosen_by_name() -> None:
    found = plan("--figures", "small,bytes,small", "--modes", "off")
    assert found.figures == ["first fetch", "second fetch"]
    assert found.modes == ("switches off",) and not found.whole
    assert not plan("--minutes", "1").whole
    assert "bytes" in GROUPS


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rounds", "0"],
        ["--cpu", "0"],
        ["--cpu", "half"],
        ["--line", "0"],
        ["--loss", "0.9"],
        ["--memory", "1"],
        ["--figures", "speed"],
        ["--modes", "on"],
        ["--minutes", "0"],
    ],
)
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        plan(*arguments)
    assert ended.value.code == 2 and arguments[0] in capsys.readouterr().err


def test_every_figure_has_a_text_that_the_sizes_fill() -> None:
    for figure in FIGURES.values():
        assert "{" not in figure.text.format(**Sizes().words())
        assert figure.better in ("less", "more", "")
