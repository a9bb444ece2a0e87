"""What a gateway remembers of its clients: shared key, last authentication, allowance, messages kept while away.

Everything is held in memory and bounded. It outlives a gateway's `stop` and `start`, as a database would
(gateway 6, 7.2).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

MAX_CLIENTS = 100_000
KEPT_FOR = 24 * 3600.0
DAY = 86400


@dataclass
class ClientRecord:
    """One registered client."""

    shared_key: bytes
    last_timestamp: int | None = None
    allowance: int = 0
    allowance_ends: float = 0.0
    inbox: deque[tuple[float, bytes]] = field(default_factory=deque)

    def available(self, unix_time: float) -> int:
        """The allowance left in bytes; an expired one is 0."""
        return self.allowance if unix_time < self.allowance_ends else 0

    def grant(self, amount: int, unix_time: float) -> int:
        """Add to the balance until the end of the UTC day; the new balance (gateway 6.2)."""
        self.allowance = self.available(unix_time) + amount
        self.allowance_ends = (int(unix_time) // DAY + 1) * DAY
        return self.allowance

    def charge(self, amount: int, unix_time: float) -> bool:
        """Take from the balance, or change nothing and return False."""
        if unix_time >= self.allowance_ends:
            self.allowance = 0
        if self.allowance < amount:
            return False
        self.allowance -= amount
        return True


class ClientStore:
    """Records by client identity (32 bytes), the least recently registered given up first when too many."""

    def __init__(self, stored_messages: int) -> None:
        self._records: OrderedDict[bytes, ClientRecord] = OrderedDict()
        self._stored_messages = stored_messages

    def __len__(self) -> int:
        return len(self._records)

    def get(self, identity: bytes) -> ClientRecord | None:
        return self._records.get(identity)

    def register(self, identity: bytes, shared_key: bytes) -> ClientRecord:
        """A new record, or the old one with a new key: balance and inbox stay."""
        record = self._records.get(identity)
        if record is None:
            record = self._records[identity] = ClientRecord(shared_key)
            if len(self._records) > MAX_CLIENTS:
                self._records.popitem(last=False)
        record.shared_key = shared_key
        self._records.move_to_end(identity)
        return record

    def forget(self, identity: bytes) -> None:
        self._records.pop(identity, None)

    def exhaust(self) -> int:
        """Take away what is left of every allowance; of how many clients."""
        for record in self._records.values():
            record.allowance = 0
        return len(self._records)

    def clear(self) -> None:
        """Lose everything, as a gateway that lost its database."""
        self._records.clear()

    def store(self, identity: bytes, message: bytes, unix_time: float) -> bool:
        """Keep a message for an absent client; the oldest give way. False for unknown clients."""
        record = self._records.get(identity)
        if record is None or self._stored_messages == 0:
            return False
        record.inbox.append((unix_time, message))
        while len(record.inbox) > self._stored_messages or record.inbox[0][0] < unix_time - KEPT_FOR:
            record.inbox.popleft()
        return True

    def take_stored(self, identity: bytes, unix_time: float) -> list[bytes]:
        """All messages kept for a client, in order of arrival; they are gone afterwards."""
        record = self._records.get(identity)
        if record is None:
            return []
        messages = [message for stored, message in record.inbox if stored >= unix_time - KEPT_FOR]
        record.inbox.clear()
        return messages
