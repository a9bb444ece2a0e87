"""Proportional Rate Reduction (RFC 6937, with the safe reduction bound that looks at losses): how fast recovery goes
from the window before a loss to the one after it, without a pause and without a burst."""

from __future__ import annotations


class Prr:
    __slots__ = ("_delivered", "_out", "_recover_fs", "_ssthresh", "active")

    def __init__(self) -> None:
        self.active = False
        self._delivered = self._out = self._recover_fs = self._ssthresh = 0

    def start(self, in_flight: int, ssthresh: int) -> None:
        """`in_flight` when the loss was found: RecoverFS."""
        self.active = True
        self._recover_fs = max(in_flight, 1)
        self._ssthresh = ssthresh
        self._delivered = self._out = 0

    def stop(self) -> None:
        self.active = False

    def sent(self, size: int) -> None:
        self._out += size

    def window(self, delivered: int, pipe: int, mss: int, lossless: bool) -> int:
        """The congestion window after an ACK that showed `delivered` bytes; `lossless` when it made progress and
        named no further loss."""
        self._delivered += delivered
        if pipe > self._ssthresh:
            count = -(-self._delivered * self._ssthresh // self._recover_fs) - self._out
        else:
            limit = self._delivered - self._out
            if lossless:
                limit = max(limit, delivered) + mss
            count = min(self._ssthresh - pipe, limit)
        if not self._out:
            count = max(count, mss)  # the first retransmission leaves at once
        return pipe + max(count, 0)
