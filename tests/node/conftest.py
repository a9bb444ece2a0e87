"""One local network and one project with the package installed, for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from localnet import Network, NetworkConfig
from tests.node.programs import Programs, modules, write_project

QUICK = {"disablePoissonTraffic": True, "disableCoverTraffic": True}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def network() -> AsyncIterator[Network]:
    async with Network(NetworkConfig(seed="node", exits=1)) as net:
        yield net


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    return folder


@pytest.fixture(scope="session")
def libraries(project: Path) -> Path:
    """Installed into the project; skipped where npm does not have them."""
    for path in modules("libraries").iterdir():
        target = project / "node_modules" / path.name
        if path.is_dir() and not target.exists() and path.name != ".bin":
            target.symlink_to(path)
    return project


@pytest.fixture
def programs(network: Network, project: Path, tmp_path: Path) -> Programs:
    options = {"directoryUrls": [network.directory_url], "forceTls": False, "caCertificates": network.ca_pem, **QUICK}
    return Programs(project, options, tmp_path / "data")
