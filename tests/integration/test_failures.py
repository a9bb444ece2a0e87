"""A directory, gateway or exit that is down, refuses or lies: a typed error within its deadline, never a hang."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from typing import Any

import pytest

from localnet import Network
from localnet.directory import Fault
from localnet.origin import body_sha256
from smolmix_web.errors import OptionError, SmolmixError, StateError, TunnelError
from smolmix_web.exit.messages import ConnectReason
from smolmix_web.tunnel import Tunnel
from tests.integration.tunnels import get, open_tunnel, tunnel_to

pytestmark = pytest.mark.timeout(90)


async def refused(network: Network, within: float, **options: Any) -> SmolmixError:
    """The error of a start that must fail in this many seconds, and of which nothing stays open."""
    tunnel = tunnel_to(network, **options)
    started = time.monotonic()
    with pytest.raises(SmolmixError) as raised:
        await tunnel.start()
    assert time.monotonic() - started < within
    assert tunnel.state == "failed" and tunnel.error is raised.value
    assert tunnel.snapshot()["error"]["code"] == raised.value.code
    with pytest.raises(TunnelError):
        await tunnel.resolve("origin.test")
    await tunnel.close()
    return raised.value


def gateway_name(network: Network, tunnel: Tunnel) -> str:
    """The node that is the tunnel's gateway now: an entry gateway, or one that hosts an exit."""
    named = network.describe()
    by_identity = {one["identity"]: one["name"] for one in named["gateways"]}
    by_identity |= {one["address"].split("@")[1]: one["name"] for one in named["exits"]}
    return str(by_identity[tunnel.snapshot()["gateway"]])


async def test_the_directory_is_down(localnet: Network) -> None:
    error = await refused(localnet, 5, directoryUrls=["http://127.0.0.1:9/api/"])
    assert (error.code, error.phase) == ("unreachable", "directory")


async def test_the_second_directory_serves_when_the_first_is_down(localnet: Network) -> None:
    async with open_tunnel(localnet, directoryUrls=["http://127.0.0.1:9/api/", localnet.directory_url]) as tunnel:
        assert tunnel.state == "ready"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(status=500), "http_status"),
        (Fault(status=200, body="not what was asked for"), "bad_response"),
        (Fault(status=200, body={"epoch_id": -1}), "bad_response"),
    ],
)
async def test_the_directory_answers_nonsense(localnet: Network, fault: Fault, code: str) -> None:
    localnet.directory.state.faults["v1/nym-nodes/rewarded-set"] = fault
    error = await refused(localnet, 5)
    assert (error.code, error.phase) == (code, "directory")
    assert "rewarded-set" in error.message


async def test_no_gateway_offers_tls(localnet: Network) -> None:
    error = await refused(localnet, 5, forceTls=True)
    assert (error.code, error.phase) == ("no_gateway", "directory")


async def test_the_preferred_gateway_is_not_listed(localnet: Network) -> None:
    error = await refused(localnet, 5, preferredGateway="4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM")
    assert (error.code, error.phase) == ("gateway_unknown", "directory")


@pytest.mark.parametrize("localnet", [{"enforce_tickets": True}], indirect=True)
async def test_the_gateway_wants_tickets(localnet: Network) -> None:
    """All of them: those that were drawn one after the other, and the one that is pinned."""
    error = await refused(localnet, 5)
    assert (error.code, error.phase, error.reason) == ("bandwidth_refused", "gateway", "credentials_only")
    pinned = localnet.gateways[0]
    asked = pinned.counters["refused.claim"]
    error = await refused(localnet, 5, preferredGateway=pinned.identity_text)
    assert (error.code, error.phase, error.reason) == ("bandwidth_refused", "gateway", "credentials_only")
    assert "zk-nyms" in error.message and "preferredGateway" in error.message and not error.retryable
    assert pinned.counters["refused.claim"] == asked + 1, "asked once"


async def test_a_gateway_that_wants_no_tickets_is_found(localnet: Network) -> None:
    localnet.gateways[0].enforce_tickets = True
    for _ in range(4):
        async with open_tunnel(localnet) as tunnel:
            assert tunnel.snapshot()["gateway"] != localnet.gateways[0].identity_text


@pytest.mark.parametrize("localnet", [{"gateway_protocol": 3}], indirect=True)
async def test_the_gateway_is_too_old(localnet: Network) -> None:
    error = await refused(localnet, 5)
    assert (error.code, error.phase) == ("gateway_too_old", "gateway")


async def test_all_gateways_are_down(localnet: Network) -> None:
    for name in ("entry1", "entry2", "exit1", "exit2"):
        await localnet.stop_node(name)
    error = await refused(localnet, 20)
    assert (error.code, error.phase) == ("gateway_closed", "gateway")


async def test_the_exit_refuses(localnet: Network) -> None:
    for host in localnet.exits:
        host.service.faults.refuse_connect = ConnectReason.NO_AVAILABLE_IP
    error = await refused(localnet, 5)
    assert (error.code, error.phase) == ("exit_refused", "exit")


async def test_the_exit_is_silent(localnet: Network) -> None:
    for host in localnet.exits:
        host.service.faults.mute = True
    error = await refused(localnet, 6, connectTimeoutMs=2_000)
    assert (error.code, error.phase) == ("exit_timeout", "exit")


async def test_a_download_survives_the_loss_of_its_gateway(localnet: Network) -> None:
    states: list[str] = []
    tunnel = tunnel_to(localnet, on_change=lambda snapshot: states.append(snapshot["state"]))
    await tunnel.start()
    download = asyncio.create_task(get(tunnel, "https://origin.test/bytes/700000"))
    await asyncio.sleep(0.5)
    name = gateway_name(localnet, tunnel)
    await localnet.stop_node(name)
    await asyncio.sleep(2)
    assert tunnel.state == "reconnecting"
    await localnet.start_node(name)
    status, body = await asyncio.wait_for(download, 60)
    assert (status, hashlib.sha256(body).hexdigest()) == (200, body_sha256(700_000))
    await tunnel.close()
    # Of two in a row that are equal the step is another: first the gateway, then the exit that proves itself.
    assert [state for state, _ in itertools.groupby(states) if state != "connecting"] == [
        "ready",
        "reconnecting",
        "ready",
        "shutting_down",
        "shutdown",
    ]


async def test_sockets_end_when_the_exit_forgets_us_and_new_ones_work(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        # What is only being opened would be opened again.
        response = await tunnel.fetch("http://origin.test/bytes/3000000")
        download = asyncio.create_task(response.read())
        await asyncio.sleep(0.5)
        for host in localnet.exits:
            host.service.forget_clients()
        with pytest.raises(SmolmixError) as raised:
            await asyncio.wait_for(download, 60)
        assert raised.value.code in ("exit_dead", "exit_disconnected")
        async with asyncio.timeout(20):
            while tunnel.state != "ready":
                await asyncio.sleep(0.05)
        assert (await get(tunnel, "https://origin.test/text"))[0] == 200


async def test_cancelling_a_set_up_leaves_nothing_open(localnet: Network) -> None:
    await localnet.set_links("*", latency=0.5)
    tunnel = tunnel_to(localnet)
    task = asyncio.create_task(tunnel.start())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tunnel.state == "shutdown"
    with pytest.raises(StateError):
        await tunnel.start()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"noSuchOption": 1}, "noSuchOption"),
        ({"forceTls": "yes"}, "forceTls"),
        ({"connectTimeoutMs": -5}, "connectTimeoutMs"),
        ({"primaryDns": "8.8.8.8"}, "primaryDns"),
        ({"primaryDns": "dns.example:53"}, "primaryDns"),
        ({"directoryUrls": []}, "directoryUrls"),
        ({"directoryUrls": ["ftp://x/"]}, "directoryUrls"),
        ({"preferredIpr": "nonsense"}, "preferredIpr"),
        ({"preferredGateway": "0OIl"}, "preferredGateway"),
        ({"caCertificates": ["no PEM"]}, "caCertificates"),
        ({"caCertificates": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]}, "caCertificates"),
        ({"crypto": "mine"}, "crypto"),
        ({"crypto": "browser"}, "crypto"),
    ],
)
async def test_bad_options_are_refused_by_name(localnet: Network, options: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionError) as raised:
        tunnel_to(localnet, **options)
    assert raised.value.option == name
    assert name in raised.value.message
