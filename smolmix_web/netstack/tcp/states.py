"""The connection states of RFC 9293 3.3.2 and what moves a connection between them, as one table.

    CLOSED ──ACTIVE_OPEN──> SYN_SENT ──RECV_SYN_ACK──────────────> ESTABLISHED
       │                       └──RECV_SYN──┐ (simultaneous open)      ▲
       └──PASSIVE_OPEN──────────────> SYN_RECEIVED ──RECV_ACK_OF_SYN───┘

    ESTABLISHED ──CLOSE──> FIN_WAIT_1 ──RECV_ACK_OF_FIN──> FIN_WAIT_2 ──RECV_FIN──> TIME_WAIT
         │                     └──RECV_FIN──> CLOSING ──RECV_ACK_OF_FIN──> TIME_WAIT
         └──RECV_FIN──> CLOSE_WAIT ──CLOSE──> LAST_ACK ──RECV_ACK_OF_FIN──> CLOSED

RST, abort, timeouts and giving up in SYN_SENT lead from every state to CLOSED and are not in the table. LISTEN is
the state of a `TcpListener`, which makes a new connection for each SYN.
"""

from __future__ import annotations

import enum

from ...errors import StateError


class State(enum.IntEnum):
    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10


class Event(enum.IntEnum):
    ACTIVE_OPEN = 0
    PASSIVE_OPEN = 1
    RECV_SYN = 2
    RECV_SYN_ACK = 3
    RECV_ACK_OF_SYN = 4
    CLOSE = 5
    RECV_FIN = 6
    RECV_ACK_OF_FIN = 7
    TIME_WAIT_OVER = 8


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.CLOSED: {Event.ACTIVE_OPEN: State.SYN_SENT, Event.PASSIVE_OPEN: State.SYN_RECEIVED},
    State.SYN_SENT: {
        Event.RECV_SYN_ACK: State.ESTABLISHED,
        Event.RECV_SYN: State.SYN_RECEIVED,
    },
    State.SYN_RECEIVED: {Event.RECV_ACK_OF_SYN: State.ESTABLISHED},
    State.ESTABLISHED: {Event.CLOSE: State.FIN_WAIT_1, Event.RECV_FIN: State.CLOSE_WAIT},
    State.FIN_WAIT_1: {Event.RECV_ACK_OF_FIN: State.FIN_WAIT_2, Event.RECV_FIN: State.CLOSING},
    State.FIN_WAIT_2: {Event.RECV_FIN: State.TIME_WAIT},
    State.CLOSE_WAIT: {Event.CLOSE: State.LAST_ACK},
    State.CLOSING: {Event.RECV_ACK_OF_FIN: State.TIME_WAIT},
    State.LAST_ACK: {Event.RECV_ACK_OF_FIN: State.CLOSED},
    State.TIME_WAIT: {Event.TIME_WAIT_OVER: State.CLOSED},
}

OPENING = frozenset((State.SYN_SENT, State.SYN_RECEIVED))
# The application may still queue data (before the handshake is over it waits in the buffer).
MAY_SEND = frozenset((State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT))
# Text of arriving segments is taken.
MAY_RECEIVE = frozenset((State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2))
# Data or FIN may be (re)transmitted.
TRANSMITTING = frozenset((State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK))


def next_state(state: State, event: Event) -> State:
    """Raises StateError for a move that RFC 9293 does not know."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise StateError(f"TCP: {event.name} in state {state.name}") from None
