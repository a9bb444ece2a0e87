from __future__ import annotations

from typing import Any

import pytest

from localnet.errors import ConfigError
from localnet.links import MAX_QUEUED_SECONDS, LinkRule, LinkSettings, LinkTable
from localnet.scheduler import Scheduler


@pytest.fixture
def table(hand_loop: Any) -> LinkTable:
    return LinkTable(Scheduler(hand_loop), "seed")


def arrivals(hand_loop: Any, table: LinkTable, count: int, *, size: int = 100, control: bool = False) -> list[Any]:
    """(index, moment after sending) of each arrival, in order."""
    seen: list[Any] = []
    link, begin = table.link("a", "b"), hand_loop.now
    for index in range(count):
        link.send(size, lambda i: seen.append((i, round(hand_loop.now - begin, 6))), index, control=control)
    hand_loop.turn(120)
    return seen


def test_a_clear_link_delivers_at_once(table: LinkTable) -> None:
    seen: list[int] = []
    table.link("a", "b").send(10, seen.append, 1)
    assert seen == [1]


def test_latency(hand_loop: Any, table: LinkTable) -> None:
    table.set("*", latency=0.25)
    assert arrivals(hand_loop, table, 2) == [(0, 0.25), (1, 0.25)]


def test_jitter_keeps_the_order(hand_loop: Any, table: LinkTable) -> None:
    table.set("*", latency=0.1, jitter=0.5)
    seen = arrivals(hand_loop, table, 200)
    assert [index for index, _ in seen] == list(range(200))
    assert seen[0][1] >= 0.1 and seen[-1][1] <= 0.6 and len({moment for _, moment in seen}) > 2


def test_loss_takes_its_share_but_no_control_messages(hand_loop: Any, table: LinkTable) -> None:
    table.set("*", loss=0.3)
    assert 550 < len(arrivals(hand_loop, table, 1000)) < 850
    assert len(arrivals(hand_loop, table, 1000, control=True)) == 1000
    table.set("*", loss=1.0)
    assert arrivals(hand_loop, table, 10) == []


def test_duplicates(hand_loop: Any, table: LinkTable) -> None:
    table.set("*", duplicate=1.0)
    assert [index for index, _ in arrivals(hand_loop, table, 3)] == [0, 0, 1, 1, 2, 2]


def test_reordering_lets_later_items_overtake(hand_loop: Any, table: LinkTable) -> None:
    table.set("*", reorder=0.3, latency=0.01)
    order = [index for index, _ in arrivals(hand_loop, table, 200)]
    assert sorted(order) == list(range(200)) and order != sorted(order)
    assert table.link("a", "b").reordered > 20


def test_rate_spaces_items_and_bounds_the_queue(hand_loop: Any, table: LinkTable) -> None:
    table.set("*", rate=1000.0)
    assert arrivals(hand_loop, table, 3, size=100) == [(0, 0.1), (1, 0.2), (2, 0.3)]
    assert len(arrivals(hand_loop, table, 1000, size=100)) <= MAX_QUEUED_SECONDS * 10 + 2
    assert table.link("a", "b").overflowed > 900


def test_later_rules_win_setting_by_setting(table: LinkTable) -> None:
    table.set("*", latency=0.1, loss=0.5)
    table.set("client->*", latency=0.2)
    assert table.resolve("client->entry1") == LinkSettings(latency=0.2, loss=0.5)
    assert table.resolve("entry1->mix1a") == LinkSettings(latency=0.1, loss=0.5)
    table.reset("client->*")
    assert table.resolve("client->entry1") == LinkSettings(latency=0.1, loss=0.5)


def test_rules_of_one_pattern_do_not_pile_up(table: LinkTable) -> None:
    for index in range(100):
        table.set("*", latency=index / 100)
    assert len(table.rules) == 1


def test_changes_reach_links_in_use_and_keep_the_order(hand_loop: Any, table: LinkTable) -> None:
    seen: list[int] = []
    table.set("*", latency=1.0)
    link = table.link("a", "b")
    link.send(1, seen.append, 1)
    table.reset()
    link.send(1, seen.append, 2)
    hand_loop.turn(0.5)
    assert seen == []
    hand_loop.turn(1)
    assert seen == [1, 2]
    link.send(1, seen.append, 3)
    assert seen == [1, 2, 3]


def test_the_same_seed_loses_the_same_items(hand_loop: Any) -> None:
    tables = [LinkTable(Scheduler(hand_loop), seed, [LinkRule("*", {"loss": 0.5})]) for seed in ("x", "x", "y")]
    lost = [[index for index, _ in arrivals(hand_loop, one, 100)] for one in tables]
    assert lost[0] == lost[1] != lost[2]


@pytest.mark.parametrize(
    "settings", [{"loss": 1.5}, {"latency": -1}, {"speed": 3}, {"loss": True}, {"loss": "x"}, {"latency": 1e9}]
)
def test_bad_settings_are_refused(table: LinkTable, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        table.set("*", **settings)
    assert table.rules == []
