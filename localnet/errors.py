"""Errors of the local network: configuration and life cycle. What peers do wrong is counted, not raised."""

from __future__ import annotations

from smolmix_web.errors import SmolmixError, UsageError


class ConfigError(UsageError):
    """A setting of the network is unknown, ill-typed or out of range; `setting` names it."""

    default_code = "bad_setting"

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}", phase="setup")
        self.setting = setting


class LocalnetError(SmolmixError):
    """The network could not start, or a part of it broke."""

    default_code = "localnet"
