"""Fixture `localnet`: a whole Nym network in this process, on loopback, with the world behind its exits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from localnet import Network, NetworkConfig


@pytest.fixture
async def localnet(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """A running network, fresh for each test.

    `@pytest.mark.parametrize("localnet", [{"gateway_protocol": 5}], indirect=True)` gives it other settings: the
    keywords of `NetworkConfig`.
    """
    settings = getattr(request, "param", {})
    async with Network(NetworkConfig(**{"seed": request.node.name, **settings})) as network:
        yield network
