"""Giving reply SURBs: on request, within a rate, and unasked to keep a peer's pile up (client-behaviour 5.7, 5.8)."""

from __future__ import annotations

from ..errors import StateError
from .fragments import packets_needed
from .jobs import OutgoingMessage
from .lanes import Lane
from .messages import REPLIABLE_OVERHEAD, ContentKind, SurbRequest, surb_length
from .outbox import Outbox
from .reply_keys import LOW_PILE, SurbAccount, TokenBucket
from .statistics import MixnetStatistics
from .traffic import TrafficConfig

# Each reply earns the peer a new SURB, and some of them are lost on the way.
EARNED_PER_REPLY = 1.2
SURBS_PER_PACKET = 3


class SurbGiver:
    """Queues messages of additional SURBs. They are repeated without limit within the lifetime of a message."""

    def __init__(self, config: TrafficConfig, outbox: Outbox, statistics: MixnetStatistics, now: float) -> None:
        self._config = config
        self._outbox = outbox
        self._statistics = statistics
        self._low_since: dict[SurbAccount, float] = {}  # accounts below their mark
        self._tokens = TokenBucket(config.surb_answer_rate, config.surb_answer_max, now)

    def answer(self, request: SurbRequest, account: SurbAccount | None, now: float) -> None:
        """A SURB request came by a SURB of `account`; None: not by one of ours."""
        self._statistics.surb_requests_received += 1
        # The request came as a reply, but must not pay for itself.
        self._tokens.earn(-EARNED_PER_REPLY)
        if account is None or request.recipient.identity != account.recipient.identity:
            self._statistics.surb_requests_refused += 1
            return
        # Whoever asks holds few, whatever our mirror says.
        account.held = min(account.held, LOW_PILE)
        # What is queued already is part of the answer: a peer that waits long asks again.
        wanted = min(request.amount, self._config.surb_answer_max) - account.queued
        granted = self._tokens.take(wanted, now) if wanted > 0 else 0
        if wanted > 0 and self.give(account, granted) == 0:
            self._statistics.surb_requests_refused += 1

    def reply_came(self, account: SurbAccount, now: float) -> None:
        """A SURB of this account was used."""
        self._tokens.earn(EARNED_PER_REPLY)
        self.top_up(account, now)

    def top_up(self, account: SurbAccount, now: float) -> None:
        """Give unasked what keeps the pile between the marks of `MixnetClient.keep_stock`."""
        if account.expected >= account.low:
            self._low_since.pop(account, None)
        elif now >= self._low_since.setdefault(account, now) + account.patience:
            del self._low_since[account]
            self.give(account, account.high - account.expected)

    def fill_turn(self, account: SurbAccount) -> bool:
        """A turn of the main stream that nothing wants, and a peer whose pile is kept up: what it lacks to a full pile
        goes in the place of cover, a packet at a time. True when there is something to send."""
        lacking = self._config.surb_fill_ceiling - account.expected
        return account.low > 0 and lacking > 0 and self.give(account, min(lacking, SURBS_PER_PACKET)) > 0

    def run_timers(self, now: float) -> None:
        for account in list(self._low_since):
            self.top_up(account, now)

    def next_deadline(self) -> float | None:
        return min((since + account.patience for account, since in self._low_since.items()), default=None)

    def forget(self, account: SurbAccount) -> None:
        self._low_since.pop(account, None)

    def give(self, account: SurbAccount, count: int) -> int:
        """Queue `count` SURBs in small messages, so that the work of building them is spread; returns how many."""
        given = 0
        while given < count:
            batch = min(count - given, self._config.surb_batch)
            packets = packets_needed(REPLIABLE_OVERHEAD + batch * surb_length())
            message = OutgoingMessage(
                account,
                ContentKind.ADDITIONAL_SURBS,
                batch,
                b"",
                Lane.SURBS,
                packets,
                None,
                self._config.message_lifetime,
            )
            try:
                self._outbox.push(message)
            except StateError:
                break
            given += batch
        return given
