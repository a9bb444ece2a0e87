"""Packets that a download costs through the local network, in real time. The exact bounds are in
tests/engine/test_simnet_economy.py; here some packets are repeated because a busy machine answers late."""

from __future__ import annotations

import hashlib

import pytest

from localnet import Network
from localnet.origin import body_sha256
from tests.integration.tunnels import get, open_tunnel

pytestmark = pytest.mark.timeout(90)

SIZE = 1_000_000


@pytest.mark.parametrize(
    ("localnet", "body"),
    [({"exit_options": {"mtu": 1420}}, 1_250), ({"exit_options": {"mtu": 1500}}, 1_350)],
    indirect=["localnet"],
)
async def test_a_download_of_1_mb_without_pacing(localnet: Network, body: int) -> None:
    async with open_tunnel(localnet, disableCoverTraffic=True) as tunnel:
        before = tunnel.statistics()
        status, data = await get(tunnel, f"http://origin.test/bytes/{SIZE}")
        assert (status, hashlib.sha256(data).hexdigest()) == (200, body_sha256(SIZE))
        after = tunnel.statistics()
    spent = {name: after[name] - before[name] for name in ("real_sent", "retransmitted", "fragments_received")}
    down = spent["fragments_received"]
    print(spent, f"{SIZE / down:.0f} bytes of body per packet down")
    assert spent["real_sent"] / down <= 0.40
    # The mixnet client may not make a habit of it.
    assert spent["retransmitted"] <= spent["real_sent"] / 3
    assert SIZE / down >= body
