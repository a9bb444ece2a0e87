"""The measured operations do what their names say; how fast is not judged here."""

from __future__ import annotations

from bench.packet_costs import Workload, measure
from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.gateway.frames import FORWARD_V2, open_frame
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom


def test_the_frame_holds_a_regular_packet_for_the_first_layer(crypto: Crypto, rng: SeededRandom) -> None:
    workload = Workload(crypto, rng)
    frame = workload.build_frame()
    assert len(frame) == 2452
    opened = open_frame(crypto, workload.frame_key, frame)
    assert opened.kind == FORWARD_V2
    packet = MixPacket.from_bytes(opened.plaintext)
    assert len(packet.packet) == 2413
    assert packet.first_hop in {node.hop.address[:7] for node in workload.network.layers[0]}


def test_the_pushed_reply_carries_the_fragment(crypto: Crypto, rng: SeededRandom) -> None:
    workload = Workload(crypto, rng)
    assert len(workload.pushed) == 2 + 12 + 1643 + 16
    workload.receive_reply()
    workload.hop()
    workload.build_surb()


def test_measure_names_its_numbers(crypto: Crypto) -> None:
    costs = measure(crypto, ["build_packet", "hop"], rounds=3, batch=1, warm_up=0)
    assert list(costs) == ["build_packet_us", "hop_us"]
    assert all(value > 0 for value in costs.values())
