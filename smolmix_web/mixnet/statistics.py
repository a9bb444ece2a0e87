"""Counters of a mixnet client. They stay here: nothing is ever reported to anyone (client-behaviour 8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..sphinx.constants import ACK, REGULAR


@dataclass
class MixnetStatistics:
    """Numbers since the start; packets unless the name says otherwise."""

    # up
    packets_sent: int = 0  # all of them
    real_sent: int = 0  # first transmissions of fragments
    surb_packets_sent: int = 0  # of those, packets that bring a peer nothing but SURBs
    retransmitted: int = 0
    main_cover_sent: int = 0  # the main stream had nothing to send
    loop_cover_sent: int = 0  # of the cover stream
    messages_sent: int = 0
    bytes_sent: int = 0  # of messages handed to `send` and `send_reply`, when they begin to leave
    # down
    bodies_received: int = 0  # whatever the gateway pushed
    acks_received: int = 0  # for fragments that waited for one
    acks_for_cover: int = 0
    acks_unknown: int = 0  # late, repeated, or not ours
    fragments_received: int = 0
    cover_received: int = 0
    messages_received: int = 0
    bytes_received: int = 0  # data of messages delivered
    # trouble
    bad_bodies: int = 0  # malformed acks, fragments and messages
    duplicates: int = 0
    abandoned: int = 0  # fragments given up without an ack
    unroutable: int = 0  # fragments whose recipient's gateway left the network
    messages_dropped: int = 0  # delivered but not taken in time
    late_ticks: int = 0  # turns of a stream, or timers, that came far too late: the machine slept or was too busy
    # reply SURBs, as the side that gives them
    surbs_given: int = 0
    surbs_used: int = 0  # replies that came back
    surb_requests_received: int = 0
    surb_requests_refused: int = 0  # not from a peer of ours, or over the rate limit
    # reply SURBs, as the side that replies
    surbs_received: int = 0
    surbs_spent: int = 0
    surbs_dropped: int = 0  # too many, or too old
    surb_requests_sent: int = 0
    replies_dropped: int = 0  # fragments whose peer gives no more SURBs

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    def traffic(self) -> dict[str, dict[str, dict[str, int]]]:
        """The packets by kind: `up` and `down`, each with `packets` and `bytes`. All have one size: up that of a
        packet, down that of its payload, or of an ack. Nobody sends acks: the gateway that delivers does."""
        up = {
            "real": self.real_sent - self.surb_packets_sent,
            "cover": self.main_cover_sent + self.loop_cover_sent,
            "retransmitted": self.retransmitted,
            "surb": self.surb_packets_sent,
        }
        acks = self.acks_received + self.acks_for_cover + self.acks_unknown
        down = {
            "real": self.fragments_received - self.surb_requests_received,
            "cover": self.cover_received,
            "ack": acks,
            "surb": self.surb_requests_received,
        }
        down["other"] = max(0, self.bodies_received - sum(down.values()))  # repeated, malformed
        sizes = {kind: ACK.plaintext if kind == "ack" else REGULAR.body for kind in down}
        return {
            "up": {"packets": up, "bytes": {kind: count * REGULAR.wire for kind, count in up.items()}},
            "down": {"packets": down, "bytes": {kind: count * sizes[kind] for kind, count in down.items()}},
        }
