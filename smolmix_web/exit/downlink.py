"""The order of the exit's data frames: duplicates out, and a short wait for frames that overtook each other.

Every Sphinx packet is delayed on its own, so neighbours arrive swapped all the time. To a plain TCP a swap of three
looks like loss: the sender halves its rate and repeats. Waiting a fraction of a round trip for the missing frame
spares that, and a frame that is truly lost (data replies are never repeated by the exit) holds the others back no
longer than `hold` seconds or `window` frames (docs/protocol/ipr.md 4.3).

With `window` 0, the default of a session, every frame passes at once. In simulated downloads of 1 MB with the delays
of three mixes, windows of 16 to 32 frames made a sender with SACK 10 % faster at best, and much slower as soon as
frames were lost; they are for senders without SACK. The others get the same from our TCP, which tells of no hole before
it had time to fill (netstack/tcp/receiver.py), and so lets no flow wait for another one's frames.
"""

from __future__ import annotations

MODULUS = 1 << 32
_RESYNC = 1 << 16  # a jump this far ahead is no gap, it is another counter
_HISTORY = 512  # numbers behind the newest that the duplicate filter remembers


class Downlink:
    """Numbers 1, 2, ... of one stream, wrapping over 0; `frames` come out as payloads in order of delivery."""

    def __init__(self, window: int, hold: float) -> None:
        self._window = window
        self._hold = hold
        self._expected = 1
        self._held: dict[int, tuple[bytes, float]] = {}  # by number: payload, arrival
        self._newest = 0
        self._seen = 0  # bit n: number `_newest - n` has arrived
        self.duplicates = 0
        self.missing = 0  # numbers passed over, and not arrived since
        self.late = 0
        self.skipped = 0

    def receive(self, sequence: int, payload: bytes, now: float) -> list[bytes]:
        """Payloads that may be delivered now."""
        if not self._note(sequence):
            self.duplicates += 1
            return []
        if self._window == 0:
            return [payload]
        ahead = (sequence - self._expected) % MODULUS
        if ahead >= MODULUS // 2:
            self.late += 1  # given up on before; IP does not mind the order
            return [payload]
        if ahead >= _RESYNC:
            out = self._release(len(self._held))
            self._expected = _next(sequence)
            return [*out, payload]
        self._held[sequence] = (payload, now)
        out = self._run()
        while len(self._held) > self._window:
            out += self._release(1) + self._run()
        return out

    def poll(self, now: float) -> list[bytes]:
        """What has waited long enough."""
        out: list[bytes] = []
        while self._held and now >= self._deadline():
            out += self._release(1) + self._run()
        return out

    def next_deadline(self) -> float | None:
        return self._deadline() if self._held else None

    def _deadline(self) -> float:
        return min(arrival for _, arrival in self._held.values()) + self._hold

    def _run(self) -> list[bytes]:
        """Everything that is now in order."""
        out = []
        while self._expected in self._held:
            out.append(self._held.pop(self._expected)[0])
            self._expected = _next(self._expected)
        return out

    def _release(self, count: int) -> list[bytes]:
        """Give up on the gap: deliver the lowest held frames and expect what follows the last of them."""
        order = sorted(self._held, key=lambda sequence: (sequence - self._expected) % MODULUS)[:count]
        out = []
        for sequence in order:
            self.skipped += (sequence - self._expected) % MODULUS
            out.append(self._held.pop(sequence)[0])
            self._expected = _next(sequence)
        return out

    def _note(self, sequence: int) -> bool:
        """Enter the number into the history; False for a duplicate."""
        ahead = (sequence - self._newest) % MODULUS
        if 0 < ahead < MODULUS // 2:
            self._seen = (self._seen << ahead | 1) & ((1 << _HISTORY) - 1) if ahead < _HISTORY else 1
            self._newest = sequence
            if ahead < _RESYNC:
                self.missing += ahead - 1
            return True
        behind = (self._newest - sequence) % MODULUS
        if behind >= _HISTORY:
            return True  # older than the history; let it pass
        bit = 1 << behind
        if self._seen & bit:
            return False
        self._seen |= bit
        self.missing = max(0, self.missing - 1)
        return True


def _next(sequence: int) -> int:
    """The number after this one; 0 belongs to control replies."""
    return (sequence + 1) % MODULUS or 1
