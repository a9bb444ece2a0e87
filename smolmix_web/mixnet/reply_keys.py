"""Reply SURBs as the side that gives them: keys of the replies to come, and what each peer holds (client-behaviour 5).

A key is stored before its SURB leaves and is spent by the first reply. Accounts mirror the peer's pile: SURBs given
less replies seen, less replies known to be missing. What is lost unnoticed makes the mirror too high; a SURB request,
which a peer sends only when its pile is low, sets it right.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ..crypto.provider import Crypto
from ..rand import RandomSource
from ..sphinx.surb import ReplySurb
from .addresses import Recipient, new_sender_tag
from .traffic import TrafficConfig

# A peer asks when it holds less than its reserve and its buffer: 60 for the exits of the reference.
LOW_PILE = 60
MAX_ACCOUNTS = 256
MAX_USED = 16_384


@dataclass(slots=True, eq=False)
class SurbAccount:
    """What we gave one recipient. `held`: SURBs of the present key rotation that it should still have."""

    recipient: Recipient
    tag: bytes  # 16, by which it knows us
    held: int = 0
    queued: int = 0  # in messages that have not begun to leave
    given: int = 0
    used: int = 0
    missing: int = 0  # replies that are known to be lost or late
    low: int = 0  # see `MixnetClient.keep_stock`
    high: int = 0
    patience: float = 0.0

    @property
    def expected(self) -> int:
        """What the peer will hold once everything queued has arrived."""
        return self.held + self.queued


class Accounts:
    """One account per recipient, the least recently used ones forgotten beyond a bound."""

    def __init__(self, rng: RandomSource) -> None:
        self._rng = rng
        self._accounts: OrderedDict[Recipient, SurbAccount] = OrderedDict()

    def get(self, recipient: Recipient) -> SurbAccount:
        """The account of `recipient`, with a new sender tag when it is the first message."""
        account = self._accounts.get(recipient)
        if account is None:
            account = self._accounts[recipient] = SurbAccount(recipient, new_sender_tag(self._rng))
            if len(self._accounts) > MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(recipient)
        return account

    def find(self, recipient: Recipient) -> SurbAccount | None:
        return self._accounts.get(recipient)

    def forget(self, recipient: Recipient) -> SurbAccount | None:
        return self._accounts.pop(recipient, None)

    def __iter__(self) -> Iterator[SurbAccount]:
        return iter(self._accounts.values())

    def renew_tags(self) -> None:
        """All recipients are to take us for somebody new."""
        for account in self._accounts.values():
            account.tag = new_sender_tag(self._rng)

    def outdate(self) -> None:
        """The keys of the SURBs given so far are going out of use."""
        for account in self._accounts.values():
            account.held = 0


@dataclass(slots=True)
class _Key:
    key: bytes
    account: SurbAccount
    created: float
    epoch: int  # part of `account.held` while it is the present one


class ReplyKeys:
    """Digest of a SURB key -> the key; bounded in number and age, oldest first out."""

    def __init__(self, crypto: Crypto, config: TrafficConfig) -> None:
        self._crypto = crypto
        self._lifetime = config.reply_key_lifetime
        self._limit = config.max_reply_keys
        self._keys: dict[bytes, _Key] = {}
        self._used: OrderedDict[bytes, None] = OrderedDict()
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, surb: ReplySurb, account: SurbAccount, now: float) -> None:
        """Before the SURB leaves."""
        if len(self._keys) >= self._limit:
            self._remove(next(iter(self._keys)))
        self._keys[surb.key_digest(self._crypto)] = _Key(surb.encryption_key, account, now, self._epoch)
        account.held += 1
        account.given += 1

    def take(self, digest: bytes) -> tuple[bytes, SurbAccount] | None:
        """The key and whom it was given to; gone after this."""
        entry = self._remove(digest)
        if entry is None:
            return None
        entry.account.used += 1
        self._used[digest] = None
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)
        return entry.key, entry.account

    def was_used(self, digest: bytes) -> bool:
        """Does a body that starts so repeat a reply that was already opened?"""
        return digest in self._used

    def outdate(self) -> None:
        """The key rotation changed: older keys still open late replies, but are no part of what peers hold."""
        self._epoch += 1

    def expire(self, now: float) -> None:
        while self._keys:
            digest, entry = next(iter(self._keys.items()))
            if entry.created + self._lifetime > now:
                break
            self._remove(digest)

    def _remove(self, digest: bytes) -> _Key | None:
        entry = self._keys.pop(digest, None)
        if entry is not None and entry.epoch == self._epoch:
            entry.account.held = max(0, entry.account.held - 1)
        return entry


class TokenBucket:
    """`rate` per second in the long run and what is earned besides, `capacity` at once."""

    def __init__(self, rate: float, capacity: int, now: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._tokens = float(capacity)
        self._last = now

    def earn(self, amount: float) -> None:
        self._tokens = min(self._capacity, self._tokens + amount)

    def take(self, wanted: int, now: float) -> int:
        """As many of `wanted` as there are tokens."""
        self.earn(max(0.0, now - self._last) * self._rate)
        self._last = max(self._last, now)
        granted = max(0, min(wanted, int(self._tokens)))
        self._tokens -= granted
        return granted
