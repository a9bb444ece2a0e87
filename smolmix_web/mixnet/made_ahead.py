"""Packets made ahead of their ticks, so that a tick only has to send, and when a packet leaves does not depend on what
it carries (docs/traffic.md).

A packet of a message may carry SURBs and take ten times as long as cover. So some cover lies ready first, then packets
of messages, then single SURBs for the messages to come; each turn makes one of them. Data passes packets of SURBs that
lie ready, or whoever asks for something would wait for as many ticks more; some of them go all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .factory import PacketFactory
from .outbox import Outbox, OutgoingPacket
from .preparer import PreparedPacket
from .streams import Streams
from .topology import Topology

READY, READY_COVER = 3, 4  # packets of data, and of SURBs as many; and of cover
IN_A_ROW = 3  # packets of data that pass SURBs
READY_SURBS = 12  # SURBs for the messages to come
FIRST_READY, FIRST_WAIT = 8, 2.0  # packets of messages made before the first of all ticks, and s that it waits for them
QUIET = 0.004  # s before a tick in which nothing is made: more than one packet takes in a browser


class MadeAhead:
    """`fill_turn`: gives SURBs where a turn would be cover's, if any are wanted; called while no message waits."""

    def __init__(
        self,
        factory: PacketFactory,
        outbox: Outbox,
        streams: Streams,
        fill_turn: Callable[[], None],
        *,
        main_stream: bool,
    ) -> None:
        self._factory = factory
        self._outbox = outbox
        self._streams = streams
        self._give = fill_turn
        self._main_stream = main_stream
        self._data: deque[OutgoingPacket] = deque()
        self._surbs: deque[OutgoingPacket] = deque()  # nothing else in them
        self._in_a_row = 0  # packets of data since one of SURBs has left
        self._cover: deque[PreparedPacket] = deque()
        self._used = False  # somebody makes packets ahead
        self._begins = False  # the streams wait for the first messages
        self._passed_over = False  # at the last tick, for which nothing lay ready

    def __len__(self) -> int:
        """Packets of messages."""
        return len(self._data) + len(self._surbs)

    @property
    def surbs(self) -> int:
        """Those of them that carry SURBs alone."""
        return len(self._surbs)

    @property
    def cover(self) -> int:
        return len(self._cover)

    # -- the first tick -----------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """The first of all ticks waits for the messages that wait by now: every start has the same, and code that runs
        for the first time would make cover for each tick and nothing else."""
        self._begins = True
        self._streams.hold(now + FIRST_WAIT)

    def restart(self, now: float) -> None:
        """The streams go on, or begin, whatever lies ready."""
        self._begins = False
        self._streams.restart(now)

    # -- at a tick ----------------------------------------------------------------------------------------

    def take_message(self, topology: Topology, now: float) -> OutgoingPacket | None:
        """The next packet of a message; None: this tick is cover's."""
        if self._surbs and (not self._data or self._in_a_row >= IN_A_ROW):
            self._in_a_row = 0
            return self._surbs.popleft()
        if self._data:
            self._in_a_row += 1
            return self._data.popleft()
        # A tick does not wait for a packet that may carry SURBs and be long in making: cover takes it, and the next one
        # if cover lies ready then.
        if self._used and self._main_stream and (self._cover or not self._passed_over):
            self._passed_over = not self._cover
            return None
        self._passed_over = False
        self._fill_turn()
        return self._outbox.next_packet(topology, now)

    def take_cover(self, topology: Topology) -> PreparedPacket:
        return self._cover.popleft() if self._cover else self._factory.cover(topology)

    def _fill_turn(self) -> None:
        """Nobody can tell SURBs from the dummy that would leave otherwise, and a full pile is a fast start."""
        if self._main_stream and not len(self) and not self._outbox.has_packets:
            self._give()

    # -- between ticks ------------------------------------------------------------------------------------

    def prepare(self, topology: Topology, now: float, making: float) -> bool:
        """Make one packet or SURB, if one is wanted; True when another one is. `making`: s that a packet takes."""
        self._used = True
        self._fill_turn()
        if self._may_prepare(now, making):
            outgoing = None
            if (self._cover or self._begins) and self._wants_message():
                if self._outbox.lacks_surbs():
                    self._outbox.make_spare_surb(topology)
                    return True
                outgoing = self._outbox.next_packet(topology, now)
            if outgoing is not None:
                (self._surbs if outgoing.kind == "surb" else self._data).append(outgoing)
            elif len(self._cover) < READY_COVER:
                self._cover.append(self._factory.cover(topology))
            elif self._outbox.lacks_spare_surb(READY_SURBS):
                self._outbox.make_spare_surb(topology)
        if self._begins and self._cover:
            self.restart(now)
        return self._may_prepare(now, making)

    @property
    def lacks_anything(self) -> bool:
        """There is something to make, be it now or after the next tick."""
        if not self._streams.full_rate:
            return False
        lacks_cover = len(self._cover) < READY_COVER
        return self._wants_message() or lacks_cover or self._outbox.lacks_spare_surb(READY_SURBS)

    @property
    def lacks_packet(self) -> bool:
        """Nothing lies ready for the next tick, or cover alone while a message waits."""
        return not self._cover or (not self._ready_of_next and self._wants_message())

    def drop(self, *, outdated: bool) -> None:
        """Another topology or address: what lies ready has the old routes, and SURBs that may be `outdated`."""
        self._cover.clear()
        self._outbox.drop_spare_surbs()
        for ready in (self._data, self._surbs):
            kept = [packet for packet in reversed(ready) if not self._outbox.remake(packet, outdated=outdated)]
            ready.clear()
            ready.extend(reversed(kept))

    def _may_prepare(self, now: float, making: float) -> bool:
        if not self.lacks_anything:
            return False
        # Right before a tick nothing is made that would delay it, unless nothing at all is ready for it.
        return not self._cover or self._streams.deadline - now >= max(QUIET, making)

    def _wants_message(self) -> bool:
        if not self._main_stream or not self._outbox.has_packets:
            return False
        return len(self._ready_of_next) < (FIRST_READY if self._begins else READY)

    @property
    def _ready_of_next(self) -> deque[OutgoingPacket]:
        """Where the next packet of a message will lie."""
        return self._surbs if self._outbox.gives_surbs_next else self._data
