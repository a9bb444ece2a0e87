"""The control interface over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from localnet import Network

Http = Callable[..., Any]


async def test_overview_and_counters(net: Network, http: Http) -> None:
    overview = (await http(net.control_url)).json()
    assert overview["directory"] == net.directory_url and overview["rotation"] == 41
    assert [gateway["url"] for gateway in overview["gateways"]] == [gateway.url for gateway in net.gateways]
    assert set(overview["counters"]["nodes"]) == {node.name for node in net.plans}
    assert (await http(net.control_url + "/counters")).json()["directory"] == {"requests": 0}
    assert (await http(net.control_url + "/nothing")).status == 404
    preflight = await http(net.control_url, "OPTIONS")
    assert "DELETE" in " ".join(preflight.headers.get_all("access-control-allow-methods"))


async def test_links(net: Network, http: Http) -> None:
    url = net.control_url + "/links"
    answer = await http(url, "POST", {"pattern": "client->*", "latency_ms": 50, "loss": 0.1})
    assert answer.json() == {"pattern": "client->*", "latency": 0.05, "loss": 0.1}
    assert net.links.resolve("client->entry1").latency == 0.05
    listed = (await http(url)).json()
    assert listed["rules"] == [{"pattern": "client->*", "latency": 0.05, "loss": 0.1}]
    assert listed["links"]["client->entry1"]["loss"] == 0.1
    await http(url + "?pattern=client-%3E*", "DELETE")
    assert net.links.rules == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("links", {"loss": 2}),
        ("links", {"speed": 1}),
        ("links", {"loss_ms": 1}),
        ("links", {"pattern": 1}),
        ("links", {"loss": "much"}),
        ("links", [1]),
        ("links", b"{ not json"),
        ("epochs", {"count": -1}),
        ("nodes/mix9z", {"action": "stop"}),
        ("nodes/mix1a", {"action": "explode"}),
        ("nodes/mix1a", {"action": "drop_clients"}),
        ("nodes/entry1", {"protocol": 300}),
        ("faults", {"status": 500}),
        ("faults", {"path": "x", "status": 9}),
        ("faults", {"path": "x", "when": 1}),
        ("exits/exit9", {"action": "restart"}),
    ],
)
async def test_mistakes_are_400_and_explained(net: Network, http: Http, path: str, body: object) -> None:
    answer = await http(f"{net.control_url}/{path}", "POST", body)
    assert answer.status == 400 and set(answer.json()) == {"error", "message"}
    assert net.links.rules == [] and net.directory.state.faults == {}


async def test_rotation_and_epochs(net: Network, http: Http) -> None:
    assert (await http(net.control_url + "/epochs", "POST", {"count": 2})).json()["epoch"] == 1002
    assert (await http(net.control_url + "/rotate", "POST")).json()["rotation"] == 42
    assert net.directory.topology().rotation_id == 42


async def test_nodes(net: Network, http: Http) -> None:
    url = net.control_url + "/nodes/"
    assert (await http(url + "mix1a", "POST", {"action": "stop"})).json() == {"name": "mix1a", "running": False}
    assert (await http(url + "mix1a", "POST", {"action": "start"})).json()["running"] is True
    await http(url + "mix1a", "POST", {"listed": False})
    await http(url + "entry1", "POST", {"protocol": 4, "performance": "0.4", "enforce_tickets": True})
    assert net.gateways[0].protocol == 4 and net.gateways[0].enforce_tickets
    topology = net.directory.topology()
    assert len(topology.layers[0]) == 1 and len(topology.gateways) == 1
    assert (await http(url + "entry2", "POST", {"action": "drop_clients"})).json()["dropped"] == 0
    await http(url + "entry2", "POST", {"action": "forget_clients"})


async def test_directory_faults(net: Network, http: Http) -> None:
    path = "v2/nym-nodes/described"
    await http(net.control_url + "/faults", "POST", {"path": path, "status": 500, "body": {"no": "luck"}})
    answer = await http(net.directory_url + path)
    assert answer.status == 500 and answer.json() == {"no": "luck"}
    await http(net.control_url + "/faults", "DELETE")
    assert (await http(net.directory_url + path)).status == 200


@pytest.mark.parametrize("net", [{"exits": 1, "exit_cover": False}], indirect=True)
async def test_exits(net: Network, http: Http) -> None:
    url = net.control_url + "/exits/exit1"
    before = net.exits[0].service
    await http(url, "POST", {"faults": {"drop": 0.5, "mute": True}})
    assert before.faults.drop == 0.5 and before.faults.mute is True
    for wrong in ({"drop": True}, {"drop": -1}, {"mute": 1}, {"unknown": 1}, {"black_holes": 1}):
        assert (await http(url, "POST", {"faults": wrong})).status == 400
    assert (await http(url, "POST", {"action": "restart"})).json() == {"name": "exit1", "flows": 0}
    assert net.exits[0].service is not before
    assert (await http(url, "POST", {"action": "forget_clients"})).status == 200
