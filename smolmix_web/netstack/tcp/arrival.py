"""SEGMENT ARRIVES (RFC 9293 3.10.7), with the validation of RFC 5961.

One function per group of states; each reads like the section it implements. Where this departs from the letter:

* A pure ACK that is a little old is used for what it says and not answered: packets of a mix network overtake each
  other all the time, and each answer costs a packet. The byte before the window is answered (keep-alive probes).
* A segment at the right edge of the window counts as acceptable when it carries no text, or a peer that filled the
  window could not acknowledge anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConnectionRefused, ConnectionReset
from .connection import TcpConnection
from .segment import ACK, FIN, PSH, RST, SYN, Segment
from .seq import unwrap
from .states import MAY_RECEIVE, Event, State

_OLD_ACK_LIMIT = 1 << 24  # how far back an ACK may be a mere latecomer


def segment_arrives(connection: TcpConnection, segment: Segment, now: float) -> str | None:
    """Process one segment of this connection; returns why it was dropped, for the statistics, or None."""
    if connection.state is State.SYN_SENT:
        return _in_syn_sent(connection, segment, now)
    if connection.state is State.CLOSED:
        return "tcp_closed"
    return _synchronized(connection, segment, now)


def _in_syn_sent(c: TcpConnection, segment: Segment, now: float) -> str | None:
    """3.10.7.3."""
    flags = segment.flags
    sender = c.sender
    ack = unwrap(segment.ack, c.iss + 1)
    acknowledges = bool(flags & ACK)
    if acknowledges and ack != c.iss + 1:
        if not flags & RST:
            c.emit_reset(segment.ack)
        return "tcp_bad_ack"
    if flags & RST:
        if not acknowledges:
            return "tcp_bad_reset"
        c.fail(ConnectionRefused(f"{c.remote}: connection refused", phase="connect"), reset=False)
        return None
    if not flags & SYN:
        return "tcp_no_syn"
    c.start_receiving(segment.seq)
    c.apply_syn_options(segment, now)
    sender.set_window(segment.window, c.irs, ack)  # not scaled in a SYN
    if acknowledges:
        c.established(now, Event.RECV_SYN_ACK, c.echo_age(segment, now))
        c.receiver.ack_now = True
        _text_and_fin(c, segment, c.irs + 1, segment.payload, bool(flags & FIN), now)
    else:
        c.move(Event.RECV_SYN)
        c.syn_due = True
    return None


def _synchronized(c: TcpConnection, segment: Segment, now: float) -> str | None:
    """3.10.7.4, all states from SYN-RECEIVED on."""
    flags = segment.flags
    receiver = c.receiver
    rcv_nxt = receiver.rcv_nxt
    seq = unwrap(segment.seq, rcv_nxt)
    stamps = c.timestamps
    if stamps.active and not flags & (RST | SYN):
        if stamps.is_old(segment, now):
            return "tcp_paws" if c.challenge(now) else "tcp_challenge_limited"
        stamps.remember(segment, seq, now)
    if flags & (RST | SYN):
        if flags & RST:
            return _reset(c, seq, now)
        if c.state is State.SYN_RECEIVED and seq == c.irs:
            if not flags & ACK:
                c.syn_due = True  # the peer repeats its SYN: so do we
                return None
            # The other half of a simultaneous open: as an ACK, it is in order.
            return _ack_and_text(c, segment, seq + 1, b"", False, now)
        return None if c.challenge(now) else "tcp_challenge_limited"  # RFC 5961 4.2
    if not flags & ACK:
        return "tcp_no_ack"
    payload = segment.payload
    fin = bool(flags & FIN)
    if payload or fin:
        if seq > receiver.rcv_adv:
            return "tcp_out_of_window" if c.challenge(now) else "tcp_challenge_limited"
        if seq + len(payload) + fin <= rcv_nxt - _OLD_ACK_LIMIT:
            return "tcp_out_of_window" if c.challenge(now) else "tcp_challenge_limited"
    elif not rcv_nxt <= seq <= receiver.rcv_adv:
        if seq == rcv_nxt - 1:
            receiver.ack_now = True
        elif not rcv_nxt - _OLD_ACK_LIMIT <= seq < rcv_nxt:
            return "tcp_out_of_window" if c.challenge(now) else "tcp_challenge_limited"
    return _ack_and_text(c, segment, seq, payload, fin, now)


def _reset(c: TcpConnection, seq: int, now: float) -> str | None:
    """RFC 5961 3.2: only the exact next number resets; elsewhere in the window, ask."""
    receiver = c.receiver
    if seq == receiver.rcv_nxt:
        phase = c.phase()
        if c.state is State.SYN_RECEIVED:
            error = ConnectionRefused(f"{c.remote}: reset during the handshake", phase=phase)
            c.fail(error, reset=False)
        elif c.state in (State.CLOSING, State.LAST_ACK, State.TIME_WAIT) and not c.sender.queued:
            c.finish(None)  # 3.10.7.4: both sides had closed, and all text arrived
        else:
            c.fail(ConnectionReset(f"{c.remote}: connection reset by peer", phase=phase), reset=False)
        return None
    if receiver.rcv_nxt < seq < max(receiver.rcv_adv, receiver.rcv_nxt + 1):
        return None if c.challenge(now) else "tcp_challenge_limited"
    return "tcp_bad_reset"


def _ack_and_text(c: TcpConnection, segment: Segment, seq: int, payload: bytes, fin: bool, now: float) -> str | None:
    sender = c.sender
    ack = unwrap(segment.ack, sender.snd_una)
    window = segment.window << sender.window_scale
    state = c.state
    if state is State.SYN_RECEIVED:
        if ack != c.iss + 1:
            c.emit_reset(segment.ack)
            return "tcp_bad_ack"
        c.established(now, Event.RECV_ACK_OF_SYN, c.echo_age(segment, now))
        sender.set_window(window, seq, ack)
        c.accepted(now)
        state = c.state
    elif not sender.acceptable(ack):
        return "tcp_bad_ack" if c.challenge(now) else "tcp_challenge_limited"
    c.heard(now)
    if state is State.TIME_WAIT:
        if fin or payload:  # the peer missed our last ACK
            c.receiver.ack_now = True
            c.enter_time_wait(now)
        return None
    blocks = segment.sack
    blocks = _checked_blocks(c, blocks, ack, now) if blocks and sender.sack_permitted else ()
    age = c.echo_age(segment, now)
    sender.on_ack(seq, ack, window, blocks, bool(payload) or fin, now, age)
    if payload and age is not None:
        c.receiver.on_round_trip(age, now)
    if payload and c.receiver.queue_limit is not None:
        round_trip = age
        if not c.timestamps.active:
            round_trip = c.receiver.round_trip = c.rtt.srtt
        if round_trip is not None:
            c.receiver.queue_limit.arrived(len(payload), round_trip, c.receiver.mss, now)
    if sender.writable():
        c.announce()
    if sender.fin_acknowledged:
        _our_fin_acknowledged(c, now)
        if c.state is State.CLOSED:
            return None
    if payload or fin:
        _text_and_fin(c, segment, seq, payload, fin, now)
    return None


def _checked_blocks(c: TcpConnection, blocks: Sequence[tuple[int, int]], ack: int, now: float) -> list[tuple[int, int]]:
    """As positions; blocks that make no sense are left out (RFC 2018). A first block of acknowledged data, or of data
    that the second block covers too, is a D-SACK (RFC 2883 4)."""
    sender = c.sender
    una, nxt = sender.snd_una, sender.snd_nxt
    checked = []
    for left, right in blocks:
        start, end = unwrap(left, una), unwrap(right, una)
        if una <= start < end <= nxt:
            checked.append((start, end))
    start, end = unwrap(blocks[0][0], una), unwrap(blocks[0][1], una)
    if start < end <= nxt:
        second = checked[1] if len(checked) > 1 else None
        if end <= ack or (second is not None and second[0] <= start and end <= second[1]):
            sender.on_dsack(start, end, now)
    return checked


def _our_fin_acknowledged(c: TcpConnection, now: float) -> None:
    state = c.state
    if state is State.FIN_WAIT_1:
        c.fin_acknowledged(now)
        c.announce()
    elif state is State.CLOSING:
        c.move(Event.RECV_ACK_OF_FIN)
        c.enter_time_wait(now)
        c.announce()
    elif state is State.LAST_ACK:
        c.finish(None)


def _text_and_fin(c: TcpConnection, segment: Segment, seq: int, payload: bytes, fin: bool, now: float) -> None:
    receiver = c.receiver
    if c.state not in MAY_RECEIVE:
        if payload or fin:
            receiver.ack_now = True  # a repetition of what was taken before the FIN
        return
    if c.released and seq + len(payload) > receiver.rcv_nxt and payload:
        # Nobody will read this: say so (RFC 2525 2.17).
        c.fail(ConnectionReset("data for a closed socket", code="connection_released", phase="close"), reset=True)
        return
    if receiver.text(seq, payload, fin, now, bool(segment.flags & PSH)):
        c.announce()
    if receiver.fin_received:
        c.move(Event.RECV_FIN)
        if c.state is State.TIME_WAIT:
            c.enter_time_wait(now)
