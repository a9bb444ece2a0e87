"""The live statistics of a tunnel: true, complete, and as docs/javascript.md says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.netstack import Endpoint
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.simnet.world import ORIGIN, SINK_PORT, SOURCE_PORT, pattern

SIZE = 200_000
PACKET, PAYLOAD, ACK = 2413, 1643, 21


def total(side: dict[str, dict[str, int]]) -> int:
    return sum(side["packets"].values())


@pytest.mark.feature("Python", "live statistics: traffic by kind, queues, SURBs, round trip, loss, path")
def test_statistics_say_what_the_gateway_sees() -> None:
    network = SimNetwork("statistics")
    network.transcript.keep = True
    tunnel = SimTunnel(network)
    tunnel.start()
    network.impair(loss=0.03)
    down = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"%d\n" % SIZE)
    up = tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(30_000), close=True)
    assert tunnel.run(120, lambda: down.done and up.done)
    tunnel.run(5)
    seen: dict[str, Any] = tunnel.engine.statistics()
    json.dumps(seen)  # it crosses to the page
    binary = [frame for frame in network.transcript.frames if frame.binary]
    assert total(seen["up"]) == seen["packets_sent"] == len([f for f in binary if f.direction == "up"])
    in_the_air = 3
    assert abs(total(seen["down"]) - len([f for f in binary if f.direction == "down"])) <= in_the_air
    packets = seen["up"]["packets"]
    assert all(packets[kind] > 0 for kind in ("real", "cover", "retransmitted", "surb")), packets
    assert seen["up"]["bytes"]["real"] == packets["real"] * PACKET
    assert packets["surb"] >= seen["surbs_given"] / 20 and packets["real"] >= 30_000 / 1400
    received = seen["down"]["packets"]
    assert received["real"] >= SIZE / 1400 and received["surb"] == seen["surb_requests_received"] > 0
    assert seen["down"]["bytes"]["ack"] == received["ack"] * ACK and received["ack"] > 200
    assert seen["down"]["bytes"]["cover"] == received["cover"] * PAYLOAD
    # Three lossy links there and three back for the ack.
    assert 0.02 < seen["loss"] < 0.4 and 50 < seen["round_trip_ms"] < 500
    assert set(seen["queues"]) == {
        "surbs", "control", "retransmission", "small", "bulk", "ready", "in_flight", "ip",
    }  # fmt: skip
    account = tunnel.engine.mixnet.surb_account(tunnel.engine.exit.recipient)
    assert account is not None and 0 < seen["surbs"]["held"] == account.held <= 200 + 3  # late ones that count again
    path = seen["path"]
    assert path["gateway"] == base58_encode(network.gateway("entry1").identity.public)
    assert path["exit"] == str(network.exit("exit1").address) and path["exit_version"] == 10 and path["mtu"] == 1420
    layers = [{base58_encode(node.identity) for node in layer} for layer in network.topology().layers]
    assert all(name in layer for name, layer in zip(path["route"][:3], layers, strict=True))
    assert path["route"][3] == path["exit"].split("@")[1]
    newest = seen["newest"]
    last = seen["packets_sent"]
    assert [packet["number"] for packet in newest] == list(range(last - 7, last + 1))
    assert {packet["kind"] for packet in newest} <= set(packets)
    ends = {"cover": path["gateway"]}  # cover comes back to us, the rest goes to the exit's gateway
    for packet in newest:
        assert all(name in layer for name, layer in zip(packet["route"][:3], layers, strict=True))
        assert packet["route"][3] == ends.get(packet["kind"], path["route"][3])
    assert path["addresses"] == [str(address) for address in tunnel.engine.addresses] and len(path["addresses"]) == 2
    assert path["key_rotation"] == network.clock.at(network.unix_time()).rotation


@pytest.mark.feature("Python", "live statistics: open TCP connections, each with state, bytes and round trip")
def test_open_flows() -> None:
    network = SimNetwork("flows")
    tunnel = SimTunnel(network)
    tunnel.start()
    flow = tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(3_000))
    assert tunnel.run(60, lambda: tunnel.engine.statistics()["flows"][0]["bytes_sent"] == 3_000)
    (seen,) = tunnel.engine.statistics()["flows"]
    assert seen["remote"] == str(Endpoint(ORIGIN, SINK_PORT)) and seen["local"] == str(flow.connection.local)
    assert seen["state"] == "ESTABLISHED" and seen["name"] is None and seen["bytes_received"] == 0
    assert 50 < seen["round_trip_ms"] < 2_000
    for _ in range(80):
        tunnel.connect(Endpoint(ORIGIN, SINK_PORT), b"")
    flows = tunnel.engine.statistics()["flows"]
    assert len(flows) == 64 and seen["local"] not in [other["local"] for other in flows]  # the youngest ones


def test_statistics_before_anything_happened() -> None:
    tunnel = SimTunnel(SimNetwork("nothing yet"))
    seen = tunnel.engine.statistics()
    assert total(seen["up"]) == total(seen["down"]) == 0
    assert (seen["round_trip_ms"], seen["loss"], seen["path"]["route"], seen["path"]["mtu"]) == (None, None, [], None)
    assert seen["newest"] == seen["flows"] == []


def test_queues_are_those_that_wait() -> None:
    network = SimNetwork("queues")
    tunnel = SimTunnel(network)
    tunnel.start()
    tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(200_000), close=True)
    tunnel.run(3)
    queues = tunnel.engine.statistics()["queues"]
    assert queues["bulk"] > 0 and queues["in_flight"] > 0 and 0 < queues["ready"] <= 3
    assert sum(queues[lane] for lane in ("surbs", "control", "retransmission", "small", "bulk")) + queues["ready"] == (
        tunnel.engine.mixnet.queue_length
    )
