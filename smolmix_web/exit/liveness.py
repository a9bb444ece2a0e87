"""Are our addresses still ours? Keep-alive and probing of the exit (docs/protocol/ipr.md 5.6, K1 to K3).

The exit forgets, without a word, who has sent no data for 60 s. So while connected some data leaves at least every
`keepalive` seconds; and when data leaves but nothing comes back for `suspicion` seconds, a probe asks. The probe is an
ICMP echo to the exit's own address: the policy refuses it to a registered client, which is an answer, and an exit that
forgot us says nothing.
"""

from __future__ import annotations

import enum
import struct
from ipaddress import IPv4Address

EXIT_ADDRESS = IPv4Address("10.0.0.1")
KEEPALIVE = 25.0  # s
SUSPICION = 8.0  # s
PROBE_TIMEOUT = 4.0  # s per attempt
PROBE_ATTEMPTS = 3
LATE = 5.0  # s; a timer this late means that the machine slept, not that the exit is gone

_ICMP_ECHO_REPLY = 0
_ICMP_ECHO = 8
_PROTOCOL_ICMP = 1


class Verdict(enum.Enum):
    NOTHING = enum.auto()
    PROBE = enum.auto()
    DEAD = enum.auto()


class Liveness:
    """Times of our data and of the exit's signs of life; `poll` says what to do."""

    def __init__(
        self,
        now: float,
        *,
        keepalive: float = KEEPALIVE,
        suspicion: float = SUSPICION,
        timeout: float = PROBE_TIMEOUT,
        attempts: int = PROBE_ATTEMPTS,
    ) -> None:
        self._keepalive = keepalive
        self._suspicion = suspicion
        self._timeout = timeout
        self._attempts = attempts
        self._last_data = now
        self._unanswered_since: float | None = None
        self._tries = 0
        self._answer_by = 0.0
        self._paused = False

    @property
    def asked_before(self) -> bool:
        """The probe under way is not the first one of its doubt."""
        return self._tries > 1

    def data_sent(self, now: float) -> None:
        self._last_data = now
        if self._unanswered_since is None:
            self._unanswered_since = now

    def alive(self) -> None:
        """The exit treated us as connected: data, or a policy refusal."""
        self._unanswered_since = None
        self._tries = 0

    def doubt(self, now: float) -> None:
        """Ask at the next poll: something suggests that the exit lost us."""
        self._paused = False
        self._tries = 0
        self._unanswered_since = now - self._suspicion

    def pause(self) -> None:
        """Nothing can be sent or received; no conclusions until `doubt`."""
        self._paused = True

    def poll(self, now: float) -> Verdict:
        due = self.next_deadline()
        if due is None or now < due:
            return Verdict.NOTHING
        if self._tries >= self._attempts and now < due + LATE:
            return Verdict.DEAD
        self._tries = 1 if now >= due + LATE else self._tries + 1
        self._answer_by = now + self._timeout
        return Verdict.PROBE

    def next_deadline(self) -> float | None:
        if self._paused:
            return None
        if self._tries:
            return self._answer_by
        due = self._last_data + self._keepalive
        if self._unanswered_since is not None:
            due = min(due, self._unanswered_since + self._suspicion)
        return due


def echo_request(source: IPv4Address, identifier: int, sequence: int) -> bytes:
    """An IPv4 packet of 28 bytes: ICMP echo without payload from `source` to the exit."""
    icmp = struct.pack(">BBHHH", _ICMP_ECHO, 0, 0, identifier, sequence)
    icmp = icmp[:2] + _checksum(icmp) + icmp[4:]
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0x4000, 64, _PROTOCOL_ICMP, 0, source.packed, EXIT_ADDRESS.packed
    )
    return header[:10] + _checksum(header) + header[12:] + icmp


def is_echo_reply(packet: bytes, identifier: int) -> bool:
    """Whether this is the exit's answer to one of our probes (an exit that allows local addresses sends it)."""
    return (
        len(packet) == 28
        and packet[0] == 0x45
        and packet[9] == _PROTOCOL_ICMP
        and packet[12:16] == EXIT_ADDRESS.packed
        and packet[20:22] == bytes((_ICMP_ECHO_REPLY, 0))
        and packet[24:26] == identifier.to_bytes(2, "big")
    )


def _checksum(data: bytes) -> bytes:
    """RFC 1071, for an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")
