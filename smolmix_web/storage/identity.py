"""The stored identity: the client's three secrets and what its gateways and it agreed on, as plain bytes.

    identity seed 32 | encryption secret 32 | ack key 16 | count 1 | registrations

    registration:  gateway identity 32 | shared key 32 | registered 8 | authenticated 8 | length 2 | URL

Numbers are big-endian, times whole Unix seconds, URLs UTF-8. Registrations stand in the order of their last use, the
newest first: the first one is the gateway to begin with. These bytes exist in memory only; see `envelope`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import StorageError
from ..mixnet.keys import ClientKeys

MAX_REGISTRATIONS = 16
MAX_URL = 1024  # bytes

_KEYS = struct.Struct(">32s32s16sB")
_REGISTRATION = struct.Struct(">32s32sQQH")


@dataclass(frozen=True)
class Registration:
    """What one gateway knows us by. Times in Unix seconds, 0 when it never happened."""

    gateway: bytes  # identity, 32
    shared_key: bytes = field(repr=False)  # 32
    url: str
    registered_at: int
    authenticated_at: int = 0  # of the newest authentication request: the next one must be later


@dataclass(frozen=True)
class StoredIdentity:
    """Registrations in the order of their last use, the newest first, at most `MAX_REGISTRATIONS`."""

    keys: ClientKeys
    registrations: tuple[Registration, ...] = ()

    @property
    def shared_keys(self) -> dict[bytes, bytes]:
        return {one.gateway: one.shared_key for one in self.registrations}

    @property
    def timestamps(self) -> dict[bytes, int]:
        return {one.gateway: one.authenticated_at for one in self.registrations}

    @property
    def last_gateway(self) -> bytes | None:
        """Identity of the gateway to begin with."""
        return self.registrations[0].gateway if self.registrations else None

    def updated(
        self, gateway: bytes, url: str, shared_keys: Mapping[bytes, bytes], authenticated_at: int, unix_time: float
    ) -> StoredIdentity:
        """This identity after `gateway` took us: that registration first, and none without a shared key any more.

        Equal to this one when nothing has changed.
        """
        old = {one.gateway: one for one in self.registrations}
        present = old.get(gateway)
        if present is None or present.shared_key != shared_keys[gateway]:
            present = Registration(gateway, shared_keys[gateway], url, max(0, int(unix_time)))
        present = replace(present, url=url, authenticated_at=authenticated_at)
        rest = [one for one in self.registrations if one.gateway != gateway]
        kept = [one for one in rest if shared_keys.get(one.gateway) == one.shared_key]
        return replace(self, registrations=(present, *kept)[:MAX_REGISTRATIONS])

    def to_bytes(self) -> bytes:
        keys, parts = self.keys, []
        for one in self.registrations:
            url = one.url.encode()
            if len(url) > MAX_URL:
                raise StorageError(f"a gateway's URL has {len(url)} bytes, more than {MAX_URL}", code="store_too_large")
            times = (one.registered_at, one.authenticated_at)
            parts.append(_REGISTRATION.pack(one.gateway, one.shared_key, *times, len(url)) + url)
        head = _KEYS.pack(keys.identity_seed, keys.encryption_secret, keys.ack_key, len(parts))
        return head + b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredIdentity:
        """Inverse of `to_bytes`; `StorageError` code `store_damaged` names the offset."""
        if len(data) < _KEYS.size:
            raise _damaged("the keys are cut off", len(data))
        seed, secret, ack_key, count = _KEYS.unpack_from(data)
        if count > MAX_REGISTRATIONS:
            raise _damaged(f"{count} registrations, more than {MAX_REGISTRATIONS}", _KEYS.size - 1)
        registrations: list[Registration] = []
        at = _KEYS.size
        for _ in range(count):
            if len(data) < at + _REGISTRATION.size:
                raise _damaged("a registration is cut off", at)
            gateway, shared_key, registered, authenticated, length = _REGISTRATION.unpack_from(data, at)
            at += _REGISTRATION.size
            raw = data[at : at + length]
            if len(raw) != length or length > MAX_URL:
                raise _damaged("a gateway's URL is cut off or too long", at)
            try:
                url = raw.decode()
            except UnicodeDecodeError:
                raise _damaged("a gateway's URL is not UTF-8", at) from None
            if any(one.gateway == gateway for one in registrations):
                raise _damaged("a gateway stands there twice", at)
            registrations.append(Registration(gateway, shared_key, url, registered, authenticated))
            at += length
        if at != len(data):
            raise _damaged(f"{len(data) - at} bytes too many", at)
        return cls(ClientKeys(seed, secret, ack_key), tuple(registrations))


def _damaged(what: str, at: int) -> StorageError:
    return StorageError(f"stored identity: {what} (offset {at})", code="store_damaged")
