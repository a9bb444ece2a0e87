"""What nodes and gateways remember: replay tags and clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localnet import ConfigError, NetworkConfig
from localnet.clients import KEPT_FOR, ClientStore
from localnet.plan import plan
from localnet.replay import ReplayFilter

NOON = 1_790_000_000.0 // 86400 * 86400 + 43200


# -- replay -------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=60))
def test_every_tag_passes_once(tags: list[bytes]) -> None:
    seen, replay = set(), ReplayFilter(1000)
    for tag in tags:
        assert replay.first_time(7, tag) is (tag[:8] not in seen)
        seen.add(tag[:8])


def test_rotations_are_apart_and_forgotten() -> None:
    replay, tag = ReplayFilter(100), b"t" * 32
    assert replay.first_time(1, tag) and replay.first_time(2, tag)
    replay.keep_only({2})
    assert len(replay) == 1
    assert replay.first_time(1, tag) and not replay.first_time(2, tag)


def test_the_filter_is_bounded_and_keeps_the_newest() -> None:
    replay = ReplayFilter(100)
    tags = [index.to_bytes(32, "little") for index in range(1000)]
    for tag in tags:
        assert replay.first_time(1, tag)
    assert len(replay) <= 100 and replay.forgotten >= 900
    assert not any(replay.first_time(1, tag) for tag in tags[-50:])


# -- clients ------------------------------------------------------------------------------------------


def test_the_allowance_ends_with_the_day() -> None:
    record = ClientStore(10).register(b"c" * 32, b"k" * 32)
    assert record.available(NOON) == 0 and not record.charge(1, NOON)
    assert record.grant(5000, NOON) == 5000
    assert record.charge(2413, NOON) and record.available(NOON) == 2587
    assert record.grant(1000, NOON) == 3587
    assert not record.charge(4000, NOON) and record.available(NOON) == 3587
    assert record.available(NOON + 43200) == 0 and not record.charge(1, NOON + 43200)
    assert record.grant(7, NOON + 43200) == 7


def test_registering_again_keeps_all_but_the_key() -> None:
    store = ClientStore(10)
    store.register(b"c" * 32, b"1" * 32).grant(99, NOON)
    store.store(b"c" * 32, b"message", NOON)
    record = store.register(b"c" * 32, b"2" * 32)
    assert record.shared_key == b"2" * 32 and record.available(NOON) == 99
    assert store.take_stored(b"c" * 32, NOON) == [b"message"]


def test_stored_messages_are_bounded_in_number_and_age() -> None:
    store = ClientStore(3)
    assert not store.store(b"c" * 32, b"nobody", NOON)
    store.register(b"c" * 32, b"k" * 32)
    for index in range(5):
        assert store.store(b"c" * 32, bytes([index]), NOON + index)
    assert store.take_stored(b"c" * 32, NOON + 6) == [b"\2", b"\3", b"\4"]
    assert store.take_stored(b"c" * 32, NOON + 6) == []
    store.store(b"c" * 32, b"old", NOON)
    assert store.take_stored(b"c" * 32, NOON + KEPT_FOR + 1) == []
    store.forget(b"c" * 32)
    assert store.get(b"c" * 32) is None


# -- configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("mixes_per_layer", 0),
        ("mixes_per_layer", 2.5),
        ("gateways", True),
        ("exits", -1),
        ("gateway_protocol", 256),
        ("frame_version", 6),
        ("validity_epochs", 1),
        ("epoch_seconds", 0),
        ("host", "0.0.0.0"),
        ("performance", "1.5"),
        ("performance", "much"),
        ("exit_versions", ()),
        ("processes", 0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        NetworkConfig(**{setting: value})
    assert caught.value.setting == setting


def test_a_worker_gets_what_its_plan_needs() -> None:
    config = NetworkConfig(mixes_per_layer=3, processes=3, gateways=1)
    assert plan(NetworkConfig(**config.for_worker())) == list(plan(config))


def test_the_plan_deals_mixes_to_processes() -> None:
    nodes = plan(NetworkConfig(processes=3))
    assert [node.name for node in nodes if node.kind == "mix"] == ["mix1a", "mix1b", "mix2a", "mix2b", "mix3a", "mix3b"]
    assert {node.process for node in nodes if node.kind != "mix"} == {0}
    for process in (1, 2):
        assert [node.layer for node in nodes if node.process == process] == [1, 2, 3]
    assert len({node.node_id for node in nodes}) == len(nodes)
