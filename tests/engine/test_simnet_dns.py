"""Names in a whole simulated network: what a question costs in messages, and what is left when the exit dies."""

from __future__ import annotations

import asyncio

import pytest

from smolmix_web.errors import SmolmixError
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, open_tunnel, simulate

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}


@pytest.mark.feature("DNS", "A and AAAA are asked in one bundle when the tunnel has both families")
def test_both_families_in_one_message_to_the_exit() -> None:
    network = SimNetwork("families")
    network.world.names["both.test"] = ["203.0.114.10", "2a0e:6a80:114::a"]
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            assert {address.version for address in tunnel._net().stack.addresses} == {4, 6}
            await asyncio.sleep(10)  # the exit has all the SURBs it wants
            before = tunnel.statistics()["exit"]
            found = await tunnel.resolve("both.test")
            assert [str(address) for address in found] == network.world.names["both.test"]
            after = tunnel.statistics()["exit"]
            assert after["packets_sent"] - before["packets_sent"] == 2
            assert after["messages_sent"] - before["messages_sent"] == 1

    simulate(network, main())


@pytest.mark.feature("DNS", "When the exit dies every question ends with a typed error, and nothing is left behind")
def test_the_exit_dies_under_many_questions() -> None:
    network = SimNetwork("dying exit")
    network.world.dns_silent = True
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, dnsTimeoutMs=6_000, **QUIET) as tunnel:
            asked = [asyncio.create_task(tunnel.lookup(f"n{n}.test", "TXT")) for n in range(8)]
            asked += [asyncio.create_task(tunnel.lookup("origin.test", server="tls://8.8.8.8")) for _ in range(2)]
            await asyncio.sleep(3)  # both resolvers are asked
            for one in network.exits:
                one.crash()
            results = await asyncio.gather(*asked, return_exceptions=True)
            codes = {result.code for result in results if isinstance(result, SmolmixError)}
            assert len(results) == 10 and codes <= {"dns_unreachable", "dns_timeout"} and codes
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())
