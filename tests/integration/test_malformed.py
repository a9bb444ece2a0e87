"""Answers that nobody should give, from gateway, exit and directory: the tunnel lives on, or fails with a typed error,
and works again when the answers are good."""

from __future__ import annotations

import asyncio
import time

import pytest

from localnet import Network
from localnet.directory import MALFORMED as MALFORMED_DOCUMENTS
from localnet.directory import Fault
from localnet.exit.malformed import MALFORMED as MALFORMED_REPLIES
from localnet.gateway_faults import MALFORMED as MALFORMED_ANSWERS
from smolmix_web.errors import SmolmixError
from tests.integration.tunnels import get, open_tunnel, tunnel_to

pytestmark = pytest.mark.timeout(90)

SMALL = {"gateways": 1, "exits": 1, "mixes_per_layer": 1}
small = pytest.mark.parametrize("localnet", [SMALL], indirect=True)


@small
@pytest.mark.parametrize("kind", MALFORMED_ANSWERS)
async def test_a_gateway_that_answers_nonsense_in_the_middle(localnet: Network, kind: str) -> None:
    gateway = localnet.gateways[0]
    async with open_tunnel(localnet, preferredGateway=gateway.identity_text) as tunnel:
        gateway.faults.malform(kind, 5)
        # A connection that has nothing to say gets no bad answers; this one has.
        async with asyncio.timeout(30):
            assert (await get(tunnel, "http://origin.test/bytes/20000"))[0] == 200
        gateway.faults.malform(None)
        async with asyncio.timeout(30):
            assert (await get(tunnel, "http://origin.test/bytes/20000"))[0] == 200


@small
@pytest.mark.parametrize("kind", ["text_not_json", "handshake"])
async def test_a_pinned_gateway_that_answers_nonsense_at_set_up(localnet: Network, kind: str) -> None:
    """Always: an error of its own within seconds. Once: the next attempt succeeds."""
    gateway = localnet.gateways[0]
    gateway.faults.malform(kind)
    tunnel = tunnel_to(localnet, preferredGateway=gateway.identity_text)
    began = time.monotonic()
    with pytest.raises(SmolmixError) as raised:
        await tunnel.start()
    assert (raised.value.code, raised.value.phase) == ("gateway_malformed", "gateway")
    assert time.monotonic() - began < 12
    await tunnel.close()
    gateway.faults.malform(kind, 1)
    async with open_tunnel(localnet, preferredGateway=gateway.identity_text) as tunnel:
        assert (await get(tunnel, "http://http.test/text"))[0] == 200


@small
@pytest.mark.parametrize("kind", MALFORMED_REPLIES)
async def test_an_exit_that_answers_nonsense(localnet: Network, kind: str) -> None:
    """While it does, requests fail in time with a type; afterwards the same tunnel works."""
    faults = localnet.exits[0].service.faults
    async with open_tunnel(localnet, dnsTimeoutMs=700) as tunnel:
        faults.malformed = kind
        began = time.monotonic()
        with pytest.raises(SmolmixError) as raised:
            await get(tunnel, "http://origin.test/text")
        assert (raised.value.code, raised.value.phase) == ("dns_timeout", "dns") and time.monotonic() - began < 10
        faults.malformed = None
        async with asyncio.timeout(30):
            assert (await get(tunnel, "http://origin.test/bytes/20000"))[0] == 200


@small
@pytest.mark.parametrize("kind", MALFORMED_DOCUMENTS)
@pytest.mark.parametrize("path", ["v1/nym-nodes/rewarded-set", "v2/nym-nodes/described"])
async def test_a_directory_that_answers_nonsense(localnet: Network, path: str, kind: str) -> None:
    """A typed error within seconds, unless the nonsense does not touch what is needed."""
    localnet.directory.state.faults[path] = Fault(malformed=kind)
    tunnel = tunnel_to(localnet)
    try:
        async with asyncio.timeout(20):
            await tunnel.start()
    except SmolmixError as error:
        assert error.phase == "directory" and error.code != "internal"
    else:
        assert (path, kind) in {("v1/nym-nodes/rewarded-set", "bad_keys")}, "it was taken for good"
    await tunnel.close()
    localnet.directory.state.faults.clear()
    async with open_tunnel(localnet) as tunnel:
        assert tunnel.state == "ready"
