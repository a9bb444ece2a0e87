"""Knobs of bad days at run time: sockets that close or freeze, bandwidth that is gone, answers that nobody should give.

Each is switched by the Python API or over the control interface, seen by a client, and taken back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidMessage

from localnet import Network
from localnet.directory import MALFORMED as MALFORMED_DOCUMENTS
from localnet.directory import Fault
from localnet.errors import ConfigError
from localnet.exit.malformed import MALFORMED as MALFORMED_REPLIES
from localnet.gateway_faults import MALFORMED as MALFORMED_PUSHES
from smolmix_web.errors import SmolmixError
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.mixnet.gateway import control

Http = Callable[..., Any]


async def act(net: Network, http: Http, where: str, **body: object) -> dict[str, Any]:
    answer = await http(f"{net.control_url}/{where}", "POST", body)
    assert answer.status == 200, answer.json()
    result: dict[str, Any] = answer.json()
    return result


async def opened(url: str) -> ClientConnection:
    return await websocket(url, open_timeout=10)


# -- sockets --------------------------------------------------------------------------------------------


async def test_connections_are_refused_and_accepted_again(net: Network, http: Http) -> None:
    url = net.gateways[0].url
    await act(net, http, "nodes/entry1", refuse_connections=True)
    with pytest.raises((InvalidMessage, ConnectionClosed, OSError)):
        await websocket(url)
    assert net.gateways[0].counters["refused.connection"] == 1
    await act(net, http, "nodes/entry1", refuse_connections=False)
    async with websocket(url):
        pass
    assert net.violations() == {}


async def test_connections_end_with_a_close_frame(net: Network, http: Http) -> None:
    async with websocket(net.gateways[0].url) as socket:
        assert (await act(net, http, "nodes/entry1", action="close_clients"))["closed"] == 1
        with pytest.raises(ConnectionClosed) as raised:
            await asyncio.wait_for(socket.recv(), 5)
        assert raised.value.rcvd is not None and raised.value.rcvd.code == 1001


async def test_a_frozen_gateway_is_silent_and_goes_on_where_it_was(net: Network, http: Http, connect: Any) -> None:
    async with connect(net) as client:
        assert (await act(net, http, "nodes/entry1", action="freeze_clients"))["frozen"] == 1
        await client.socket.send(control.SupportedProtocolRequest().encode())
        net.gateways[0].deliver(client.identity.public, b"waits")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.texts.get(), 0.3)
        late = asyncio.create_task(opened(net.gateways[0].url))
        await asyncio.sleep(0.3)
        assert client.payloads.empty() and not client.closed.is_set() and not late.done()
        await act(net, http, "nodes/entry1", action="thaw_clients")
        assert await asyncio.wait_for(client.payloads.get(), 5) == b"waits"
        assert isinstance(await asyncio.wait_for(client.texts.get(), 5), control.SupportedProtocol)
        await (await late).close()
    assert net.violations() == {}


# -- bandwidth ------------------------------------------------------------------------------------------


async def test_bandwidth_is_exhausted_and_claimed_anew(
    net: Network, http: Http, connect: Any, loop_packet: Callable[..., Any]
) -> None:
    async with connect(net) as client:
        assert (await act(net, http, "nodes/entry1", action="exhaust_bandwidth"))["exhausted"] == 1
        await client.forward(loop_packet(net, client))
        answer = await asyncio.wait_for(client.texts.get(), 5)
        assert isinstance(answer, control.OutOfBandwidth)
        await act(net, http, "nodes/entry1", enforce_tickets=True)
        await client.socket.send(control.ClaimFreeBandwidth().encode())
        assert isinstance(await asyncio.wait_for(client.texts.get(), 5), control.Error)
        await act(net, http, "nodes/entry1", enforce_tickets=False)
        await client.socket.send(control.ClaimFreeBandwidth().encode())
        assert isinstance(await asyncio.wait_for(client.texts.get(), 5), control.Bandwidth)
    assert net.gateways[0].counters["out_of_allowance"] == 1


# -- damage on links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "counter"),
    [("client->entry1", "bad.request"), ("entry1->*", "bad.packet."), ("mix2*->*", "bad.packet.")],
)
async def test_damaged_packets_are_counted_where_they_arrive(
    net: Network, http: Http, connect: Any, loop_packet: Callable[..., Any], pattern: str, counter: str
) -> None:
    await act(net, http, "links", pattern=pattern, corrupt=1.0)
    async with connect(net) as client:
        for _ in range(5):
            await client.forward(loop_packet(net, client))
        async with asyncio.timeout(10):
            while sum(value for name, value in net.violations().items() if name.startswith(counter)) < 5:
                await asyncio.sleep(0.02)
        assert client.payloads.empty()
    assert all(name.startswith(("bad.request", "bad.packet.", "bad.payload.")) for name in net.violations())


# -- malformed answers ----------------------------------------------------------------------------------


async def test_malformed_pushes(net: Network, http: Http, connect: Any) -> None:
    async with connect(net) as client:
        for kind in ("push_garbage", "push_short"):
            await act(net, http, "nodes/entry1", malformed=kind, times=1)
            net.gateways[0].deliver(client.identity.public, bytes(1643))
            assert net.gateways[0].counters[f"faults.{kind}"] == 1
        net.gateways[0].deliver(client.identity.public, b"good")
        assert await asyncio.wait_for(client.payloads.get(), 5) == b"good"
        assert client.malformed == 2


@pytest.mark.parametrize("kind", ["text_not_json", "text_unknown", "text_wrong_fields"])
async def test_malformed_texts(net: Network, http: Http, kind: str) -> None:
    await act(net, http, "nodes/entry1", malformed=kind, times=1)
    good = control.SupportedProtocol(net.gateways[0].protocol).encode()
    async with websocket(net.gateways[0].url) as socket:
        for turn in range(2):
            await socket.send(control.SupportedProtocolRequest().encode())
            text = str(await asyncio.wait_for(socket.recv(), 5))
            assert (text == good) is (turn == 1)
    with pytest.raises(SmolmixError):
        control.parse_response("{not json")


async def test_unknown_malformations_are_refused(net: Network, http: Http) -> None:
    for path, body in (
        ("nodes/entry1", {"malformed": "odd"}),
        ("nodes/entry1", {"malformed": "push_short", "times": 0}),
        ("exits/exit1", {"faults": {"malformed": "odd"}}),
        ("exits/exit1", {"settings": {"colour": 1}}),
        ("exits/exit1", {"settings": {"mtu": 10}}),
        ("exits/exit1", {"settings": {"policy": "allow all"}}),
        ("faults", {"path": "v1/x", "malformed": "odd"}),
        ("links", {"corrupt": 1.5}),
    ):
        assert (await http(f"{net.control_url}/{path}", "POST", body)).status == 400, body
    with pytest.raises(ConfigError):
        Fault(malformed="odd")
    assert net.gateways[0].faults.malformed is None


@pytest.mark.parametrize("kind", MALFORMED_DOCUMENTS)
async def test_malformed_documents(net: Network, http: Http, kind: str) -> None:
    path = "v2/nym-nodes/described"
    true = (await http(net.directory_url + path)).body
    await act(net, http, "faults", path=path, malformed=kind, times=1)
    wrong = (await http(net.directory_url + path)).body
    assert wrong != true
    if kind != "huge":  # which is for the loader to refuse: it is good JSON
        with pytest.raises(SmolmixError) as raised:
            query = DirectoryQuery.for_exits()
            while not query.done:
                for request in query.requests():
                    query.answer(request, wrong)
        assert raised.value.phase == "directory"
    assert (await http(net.directory_url + path)).body == true


def test_every_malformation_has_a_name() -> None:
    assert len(MALFORMED_PUSHES) == 8 and len(MALFORMED_REPLIES) == 8 and len(MALFORMED_DOCUMENTS) == 10
    assert json.dumps([*MALFORMED_PUSHES, *MALFORMED_REPLIES, *MALFORMED_DOCUMENTS])
