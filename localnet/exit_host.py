"""An exit: a gateway with a client of its own inside, whose messages go to the exit service (ipr 5.7)."""

from __future__ import annotations

from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.rand import SeededRandom

from .config import NetworkConfig
from .directory import Directory
from .gateway import Gateway
from .names import DialMap


class ExitHost:
    """One exit. `address` is the Nym address clients send to."""

    def __init__(
        self, gateway: Gateway, seed: str, directory: Directory, dial_map: DialMap, config: NetworkConfig
    ) -> None:
        self.gateway = gateway
        self.name = gateway.name
        self.keys = ClientKeys.generate(SeededRandom(f"{seed}/{self.name}/client"))
        crypto = gateway.crypto
        self.address = Recipient(
            self.keys.identity(crypto).public,
            crypto.x25519_base(self.keys.encryption_secret),
            gateway.identity.public,
        )
        self._directory = directory
        self._dial_map = dial_map
        self._config = config

    @property
    def version(self) -> str:
        return next(e.version for e in self._directory.state.entries if e.plan.name == self.name)

    async def start(self) -> None:
        """Connect the client to its gateway."""

    async def stop(self) -> None:
        """End the service."""

    def counters(self) -> dict[str, int]:
        return {}
