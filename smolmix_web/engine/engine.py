"""The synchronous core: gateway session, mixnet client, exit session and IP stack behind one receive/poll.

    frames -> GatewaySession -> MixnetClient -> ExitSession -> Stack -> sockets
    frames <- GatewaySession <- MixnetClient <- ExitSession <- Stack <- sockets
                                MixnetClient <-> StreamHub <-> streams and messages of other clients

`receive(frame, now)` takes a WebSocket message, `poll(now)` gives messages to send and `send_due(now)` packets, and
`next_deadline()` says when to poll although nothing arrived. No clock, no I/O, no asyncio: a whole tunnel runs in
virtual time and repeats exactly from its seed.

The mixnet client's queue is the bottleneck on purpose: IP packets leave the stack only while that queue is short,
so the stack's congestion control and fairness see the real rate of the tunnel.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ..errors import DirectoryError, NetworkError, SmolmixError, StateError, TunnelError
from ..exit.events import ExitConnected, OutgoingMessage, PolicyDenied
from ..exit.link import ExitFailed, ExitLink, ExitLost
from ..exit.none import NoExit
from ..mixnet.base58 import name_of
from ..mixnet.client import MixnetClient
from ..mixnet.gateway.link import Command, GatewayLink, LinkState
from ..mixnet.ladder import Ladder
from ..mixnet.lanes import Lane
from ..mixnet.line import LineGauge
from ..mixnet.topology import Topology
from ..mixnet.work import ANSWER_CAME, OUT, SENT, WorkMeter
from ..netstack import Endpoint, Stack, StackConfig, State
from ..netstack.observer import Observer
from ..rand import RandomSource
from ..streams.hub import StreamHub
from .hearing import Hearing

QUEUE_TARGET = 12  # packets waiting for their sending slot before IP packets are held back: about 240 ms,
QUEUE_LEAST = 4  # and at least so many where slots are rare
DATA_LEAST = 2  # that may wait however many SURBs do
LOOK = 0.1  # s between looks at the rate
POLL_LEAST = 0.25  # s between polls while packets leave
FRAME_SIZE = 2452  # bytes of a regular packet as a gateway frame
MAX_BUFFERED = 256 * 1024  # bytes in the socket's own buffer before packets are held back
# SURBs of ours that the exit holds. It asks by itself below 60: this is for a request that does not arrive.
SURBS_LOW, SURBS_HIGH, SURBS_PATIENCE = 30, 54, 2.0
MAX_FLOWS = 64  # that the statistics tell of
STALL_LIMIT = 30.0  # s that it may stay so
LATE = 5.0  # s; a poll this late means that the machine slept
# The time that an exit gets to prove itself where it may have forgotten us: at least, and in round trips.
PATIENCE, PATIENCE_TRIPS = 0.6, 3.0


class Engine:
    """One tunnel's protocols. The owner opens and closes sockets as `take_command` says, passes what happens to the
    present one, and sends what `poll` returns. `error` is set once, when nothing more will be tried."""

    def __init__(
        self,
        rng: RandomSource,
        *,
        gateway: GatewayLink,
        mixnet: MixnetClient,
        exit_link: ExitLink | NoExit,
        stack_config: StackConfig,
        observer: Observer | None = None,
        traffic_rate: str | None = None,
        now: float = 0.0,
    ) -> None:
        """`traffic_rate`: a rung of the ladder to stay on, None for the one that fits."""
        self._rng = rng
        self.gateway = gateway
        self.mixnet = mixnet
        self.exit = exit_link
        self.peers = StreamHub(rng, mixnet, now)
        self.addresses: tuple[IPv4Address | IPv6Address, ...] = ()
        self.error: SmolmixError | None = None
        self._stack_config = stack_config
        self._observer = observer  # of every stack in turn, for captures and statistics
        self._stack: Stack | None = None
        self._peers_first = False
        self._gateway_up = False
        self._exit_attempt = (0, 0)
        self.hearing = Hearing()
        self._due: float | None = None
        self._congested = False
        self._congested_since: float | None = None
        # Without the main stream nothing is paced that could be slowed, and cover alone is next to nothing.
        self.ladder = Ladder(mixnet.streams.full_rate if mixnet.streams.main is not None else 0.0, traffic_rate)
        self.line = LineGauge()
        self._line_full = False
        self._work = WorkMeter()
        self._worked: tuple[str, float, int] | None = None  # what the newest call did, how much of it, and packets sent
        self._looked = float("-inf")
        mixnet.streams.set_slower(self.ladder.slower, 0.0)
        self._unix_offset: float | None = None
        self.wakes = 0  # times the machine slept, as far as it showed
        self._polled = 0.0
        self._poll_at = float("-inf")  # by all that is known since the last one
        self.messages_dropped = 0

    @property
    def stack(self) -> Stack:
        """The IP stack; `TunnelError` `tunnel_reconnecting` while there is no address."""
        if self._stack is None:
            message = "the tunnel has no address now"
            raise TunnelError(message, code="tunnel_reconnecting", phase=self.state[1] or "exit")
        return self._stack

    def has(self, stack: Stack) -> bool:
        """Is it still the stack of our addresses?"""
        return stack is self._stack

    @property
    def state(self) -> tuple[str, str | None]:
        """State and step for users: `connecting` until an exit took us, from then on `ready` or `reconnecting`.
        `ready` is said only while packets can leave and the exit has shown that it knows us; `suspended` from `suspend`
        to `resume`."""
        if self.error is not None:
            return "failed", None
        if self.gateway.state is LinkState.SUSPENDED:
            return "suspended", None
        step = None
        if not self.gateway.can_forward:
            step = "gateway"
        elif not self.mixnet.usable:
            step = "directory"
        elif not self.exit.proven:
            step = "exit"
        if step is None:
            return "ready", None
        return ("reconnecting" if self.exit.registrations else "connecting"), step

    @property
    def troubles(self) -> int:
        """Grows with each loss that may mean that what we know of the network is old."""
        return self.gateway.losses + self.exit.losses + self.exit.rounds + self.mixnet.ack_droughts

    @property
    def traffic(self) -> dict[str, str | None]:
        """The rate of what leaves by itself, for users: `rate`, a rung of the ladder, and `reason` (ladder.py)."""
        return {"rate": self.ladder.rate, "reason": self.ladder.reason}

    def want(self, now: float) -> None:
        """Somebody waits for the tunnel: what is away is asked soon."""
        self.gateway.want(now)
        self.exit.want(now)

    # -- the socket -------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        self.mixnet.pause(now)  # until the gateway is there: the ticks of the meantime are not made up for
        self.gateway.start(now)

    def take_command(self) -> Command | None:
        """What to do with the socket next; ask until None after every call that may have changed something."""
        return self.gateway.take_command()

    def opened(self, now: float) -> None:
        self.gateway.opened(now)

    def closed(self, now: float, reason: str) -> None:
        self.gateway.closed(now, reason)
        self._follow_gateway(now)

    def receive(self, frame: bytes | str, now: float, unix_time: float) -> bool:
        """One WebSocket message. Never raises for what peers sent. False when nothing came of it that would be a reason
        to poll: it was cover, the ack of cover, or the gateway's answer."""
        answers = self.gateway.answers
        self.gateway.receive(frame, now, unix_time)
        self._worked = None
        matters = False
        if self.gateway.answers > answers:
            self.line.answered(self.gateway.answers - answers, now, now - self.hearing.own)
            self._worked = ANSWER_CAME, 1, 0
        for body in self.gateway.take_bodies():
            matters |= self.mixnet.receive(body, now)
            self._worked = None if self.mixnet.work_received is None else (self.mixnet.work_received, 1, 0)
        self.line.received(len(frame), now, own=self._worked is not None)
        if self._worked is not None and not matters and self._can_send:
            return False
        for message in self.mixnet.take_messages():
            # Anybody may write to our address; only replies by the SURBs we gave the exit come from the exit.
            if message.source is not None and message.source == self.exit.recipient:
                self.exit.receive(message.data, now)
            else:
                self.peers.receive(message, now)
        if self.exit.session is not None and self.exit.recipient is not None:
            self.exit.session.path_proven(self.mixnet.proven, now)
            self.mixnet.note_missing(self.exit.recipient, self.exit.session.replies_missing, now)
        self._take_exit(now)
        return True

    def note_read(self, now: float, read: float) -> None:
        """All that arrived before `read` has been given to `receive`; deadlines of others are judged by that."""
        # What waited on a line that is gone tells nothing of the next one.
        waiting_since = self.line.waiting_since if self._gateway_up else None
        self.hearing.note(now, read, waiting_since)

    def note_buffered(self, size: int, now: float) -> bool:
        """Bytes that the socket has taken but not sent: a second gauge of the line. Beyond a bound nothing leaves until
        it drains, and one that does not drain is dead. True while beyond the bound."""
        self.line.note_buffered(size // FRAME_SIZE, now)
        self._congested = size > MAX_BUFFERED
        if not self._congested:
            self._congested_since = None
        elif self._congested_since is None:
            self._congested_since = now
        elif now >= self._congested_since + STALL_LIMIT:
            self._congested_since = None
            self.gateway.abandon(now, f"the socket takes nothing for {STALL_LIMIT:g} s")
            self._follow_gateway(now)
        return self._congested

    @property
    def _can_send(self) -> bool:
        return self.gateway.can_forward and not self._congested and not self._line_full

    # -- the rate -----------------------------------------------------------------------------------

    def worked(self, seconds: float, now: float) -> None:
        """How long the call before took, of `receive`, `send_due` (with the sending of what it gave) or `prepare`."""
        worked, self._worked = self._worked, None
        if worked is not None:
            kind, units, sent = worked
            self._work.note(kind, units, seconds, now, sent)

    @property
    def keeps_up(self) -> bool:
        """Our own traffic is known to leave the machine time for all else."""
        return self.ladder.fits

    @property
    def lacks_packet(self) -> bool:
        """Nothing, or not what it should be, lies ready for the next tick, of which there is time enough: something is
        to be made even before what has come is read."""
        return self.ladder.fits and self.mixnet.lacks_packet

    def _look(self, now: float) -> None:
        """Does the line take more, and does the rate fit?"""
        ladder, streams = self.ladder, self.mixnet.streams
        rate = self.ladder.packets
        heard = now - self.hearing.own  # what we have not read yet is not the line's fault
        full = self.line.full(rate, heard)
        if self._line_full and not full:
            self.mixnet.go_on(now)
        self.line.holds += full and not self._line_full
        self._line_full = full
        if now < self._looked + LOOK:
            return
        self._looked = now
        self.mixnet.making = self._work.making
        if ladder.step(
            now,
            packet_cost=self._work.packet,
            warm=self._work.warm,
            ticks=streams.ticks,
            late_ticks=streams.late_ticks,
            capacity=self.line.capacity(rate, heard),
        ):
            self._poll_at = float("-inf")
            streams.set_slower(ladder.slower, now)
            self.line.follow(self.ladder.packets, heard)

    # -- time -------------------------------------------------------------------------------------

    def must_poll(self, now: float) -> bool:
        """Is `poll` due, by the clock or by what was sent? Ticks alone are no reason."""
        return now >= self._poll_at or now >= self._polled + POLL_LEAST

    def poll(self, now: float, unix_time: float) -> list[bytes | str]:
        """Run all timers that are due; the WebSocket messages to send, in order."""
        self._poll_at = float("inf")  # until `next_deadline`
        self.notice_sleep(now, unix_time)
        self._look(now)
        frames = self.gateway.poll(now, unix_time, self.hearing.own)
        self._follow_gateway(now)
        self._take_exit(now)
        if not self._can_send:
            self._pump(now)
            return frames
        if not self.exit.started:
            self.exit.start(now, unix_time)
        self._pump(now)
        messages = self.exit.poll(now, unix_time, self.hearing.lag)
        if self.exit.attempt != self._exit_attempt:
            self._exit_attempt = self.exit.attempt
            self._forget_exit()
        for message in messages:
            self._send(message, now)
        if self.exit.session is not None and self.exit.session.take_check():
            self.mixnet.check_path(now)
        self._take_exit(now)
        self.mixnet.run_timers(now, self.hearing.lag)
        return frames

    def send_due(self, now: float) -> list[bytes]:
        """A packet that is due, and nothing else that `poll` does; call it until it gives none. Those of the streams
        were made ahead, so they cost next to nothing: call it before and after everything that takes time."""
        self._worked = None
        if not self.mixnet.due(now) or not self._can_send:
            return []
        self._look(now)
        if self._line_full:
            return []
        self.mixnet.take_made()
        waited = self.mixnet.queue_length
        frames = [self.gateway.forward(packet) for packet in self.mixnet.take(now, 1)]
        for _ in frames:
            self.line.sent(now)
        if self.mixnet.queue_length != waited:
            self._poll_at = float("-inf")  # there is room for more
        made = self.mixnet.take_made()
        self._worked = (OUT, made, len(frames)) if made else (SENT, len(frames), 0)
        return frames

    @property
    def unprepared(self) -> bool:
        """There is something for `prepare` to make, be it now or after the next tick."""
        return self._can_send and self.mixnet.unprepared

    def prepare(self, now: float) -> bool:
        """Call it after what `poll` gave has been sent: the next packets are made before they are due, one at a time.
        True when there is more to make, and the loop has nothing better to do."""
        self.mixnet.take_made()
        more = self._can_send and self.mixnet.prepare(now)
        self._worked = OUT, self.mixnet.take_made(), 0
        return more

    def _pump(self, now: float) -> None:
        """Let the stack and the streams fill the short queue; both want it all, so they take turns in being first."""
        self._peers_first = not self._peers_first
        if self._peers_first:
            self._pump_peers(now)
        self._pump_stack(now)
        if not self._peers_first:
            self._pump_peers(now)

    def _pump_peers(self, now: float) -> None:
        if self._can_send:
            self.peers.poll(now, self._queue_room)

    def _pump_stack(self, now: float) -> None:
        if self._stack is None:
            return
        # Without room nothing leaves, but the stack's timers run.
        self.exit.send_packets(self._stack.poll(now, self._room, self.hearing.lag), now)

    @property
    def _queue_room(self) -> int:
        """Packets that the short queue takes. However many SURBs wait in it, some data may, and passes them."""
        target = max(QUEUE_LEAST, QUEUE_TARGET // self.ladder.slower)
        return max(0, target - self.mixnet.queue_length, DATA_LEAST - self.mixnet.data_waiting)

    @property
    def _room(self) -> int:
        """IP packets that may leave the stack."""
        return min(self._queue_room, self.exit.send_space) if self._can_send else 0

    def _send(self, message: OutgoingMessage, now: float) -> None:
        assert self.exit.recipient is not None
        account = self.mixnet.surb_account(self.exit.recipient)
        plenty = account is not None and account.expected >= self.mixnet.config.surb_fill_ceiling
        lifetime = None if message.deadline is None else max(0.0, message.deadline - now)
        try:
            self.mixnet.send(
                self.exit.recipient,
                message.data,
                surbs=0 if plenty and message.lane == "data" else message.surbs,
                fill=True,
                lane=_lane(message),
                max_retransmissions=message.max_retransmissions,
                lifetime=lifetime,
                now=now,
            )
        except DirectoryError as error:
            self.exit.renew(error, now)  # the exit's gateway left the network
        except StateError:
            self.messages_dropped += 1  # the lane is full: TCP and our own retries repair it

    def next_deadline(self) -> float | None:
        """When to call again although nothing arrived: `poll` where `must_poll` says so, else `send_due`. In the past
        when there is something to send."""
        if self._poll_at == float("inf"):
            self._poll_at = self._next_poll()
        tick = self.mixnet.next_tick() if self._can_send else float("inf")
        due = min(self._poll_at, tick)
        self._due = None if due == float("inf") else due
        return self._due

    def _next_poll(self) -> float:
        times = [self.gateway.next_deadline()]
        if self._can_send:
            times += [self.exit.next_deadline(), self.mixnet.next_timer(), self.peers.next_deadline()]
        elif self._line_full and (deadline := self.line.next_deadline()) is not None:
            times.append(deadline + self.hearing.own)
        # While packets are held back, or there is no gateway, only the stack's timers count.
        if self._stack is not None:
            times.append(self._stack.next_deadline(full=not self._room))
        return min((time for time in times if time is not None), default=float("inf"))

    # -- the network around us ----------------------------------------------------------------------

    def set_topology(self, topology: Topology, now: float) -> None:
        """A new snapshot of the network."""
        before = self.mixnet.topology
        self.gateway.set_topology(topology, now)
        self.mixnet.set_topology(topology, now)
        if before is not None and before.rotation_id != topology.rotation_id:
            self.exit.rotated(now)
        self._follow_gateway(now)

    def network_changed(self, now: float, *, online: bool | None = True) -> None:
        """The machine came online, or slept: ask everybody at once instead of waiting. Not `online`: the host says that
        there is no network, see `GatewayLink.went_offline`. None: it may be another one, see `GatewayLink.doubt`."""
        if online is None:
            self.gateway.doubt(now)
            return
        if not online:
            self.gateway.went_offline(now)
            return
        self.gateway.retry_now(now)
        self._follow_gateway(now)
        if self.gateway.ready:
            self._exit_up(now)

    def suspend(self, now: float) -> None:
        """Nothing leaves and no socket is open until `resume`: the mixnet's timers stand still, the stack's run."""
        self.gateway.suspend()
        self._follow_gateway(now)

    def resume(self, now: float, unix_time: float) -> None:
        self.notice_sleep(now, unix_time)
        self.gateway.resume(now)

    def notice_sleep(self, now: float, unix_time: float) -> None:
        """A poll long after its deadline, or a wall clock that ran on without us: the machine slept. Ask before any
        use of the tunnel: the user's own timers may be due before ours."""
        # A deadline that was past when it was given says nothing about sleep.
        late = self._due is not None and now > max(self._due, self._polled) + LATE
        offset = unix_time - now
        missed = 0.0 if self._unix_offset is None else max(0.0, offset - self._unix_offset)
        jumped = self._unix_offset is not None and abs(offset - self._unix_offset) > LATE
        self._polled, self._unix_offset = now, offset
        if late or jumped:
            self._due = None
            self.wakes += 1
            self.exit.slept(missed)
            self.network_changed(now)
            self._take_exit(now)

    # -- what happened ------------------------------------------------------------------------------

    def _follow_gateway(self, now: float) -> None:
        """Stop and go with the gateway; after a change of gateway our address is another, and the exit must know."""
        if self.gateway.state is LinkState.FAILED:
            assert self.gateway.error is not None
            self.fail(self.gateway.error, now)
            return
        if self.gateway.ready == self._gateway_up:
            return
        self._gateway_up = self.gateway.ready
        if not self._gateway_up:
            self.mixnet.pause(now)
            self.peers.pause(now)
            self.exit.link_down(now)
            return
        moves = self.gateway.endpoint.identity != self.mixnet.address.gateway
        if moves:
            self.mixnet.move_to_gateway(self.gateway.endpoint.identity, now)
            if self.exit.started:
                moved = NetworkError("the tunnel moved to another gateway", code="tunnel_moved", phase="gateway")
                self.exit.renew(moved, now)
        self.line.restart(self.ladder.packets, self.gateway.trip)
        self._line_full = False
        self.mixnet.resume(now)
        self.peers.resume(now, moved=moves)
        self._exit_up(now)
        exit_ = self.exit.recipient
        if exit_ is not None and self.exit.connected and self._stack is not None and self._stack.connections:
            self.mixnet.restock(exit_, now)

    def _exit_up(self, now: float) -> None:
        trip = self.mixnet.round_trip
        self.exit.link_up(now, PATIENCE if trip is None else max(PATIENCE, PATIENCE_TRIPS * trip))

    def _take_exit(self, now: float) -> None:
        self.exit.follow(now)
        for event in self.exit.take_events():
            match event:
                case ExitConnected(ipv4, ipv6, mtu):
                    assert self.exit.recipient is not None
                    self.addresses = (ipv4, ipv6)
                    self.mixnet.keep_stock(self.exit.recipient, SURBS_LOW, SURBS_HIGH, now, patience=SURBS_PATIENCE)
                    self._stack = Stack(
                        self.addresses, mtu, self._rng, config=self._stack_config, observer=self._observer
                    )
                case ExitLost(error):
                    self._drop_stack(error, now)
                    # To the exit we are somebody new: what the old name still has there is not ours to use.
                    self._forget_exit()
                case ExitFailed(error):
                    self.fail(error, now)
                case PolicyDenied(address, port) if self._stack is not None:
                    self._stack.refuse(Endpoint(address, port), "refused by the exit's policy")
        if self._stack is not None:
            for packet in self.exit.take_packets():
                self._stack.receive(packet, now)

    def _forget_exit(self) -> None:
        if self.exit.recipient is not None:
            self.mixnet.forget_recipient(self.exit.recipient)

    def _drop_stack(self, error: SmolmixError, now: float) -> None:
        """Our addresses are gone: every socket ends with this error."""
        stack, self._stack = self._stack, None
        self.addresses = ()
        if stack is not None:
            stack.abort_all(error, now)

    def fail(self, error: SmolmixError, now: float) -> None:
        """The tunnel is over; the first error stays."""
        if self.error is None:
            self.error = error
            self._drop_stack(error, now)
            self.peers.end_all(error)

    @property
    def has_flows(self) -> bool:
        """TCP connections that are not closed."""
        return self._stack is not None and bool(self._stack.connections)

    @property
    def open_flows(self) -> int:
        """TCP connections that one side at least has not ended yet."""
        connections = self._stack.connections if self._stack is not None else ()
        return sum(connection.state is not State.TIME_WAIT for connection in connections)

    def disconnect(self, now: float) -> None:
        """Give the exit's addresses back; poll on until `disconnected` or as long as you care."""
        self.exit.disconnect(now)

    @property
    def disconnected(self) -> bool:
        return (self.exit.disconnected and not self.peers.leaving) or not self.gateway.can_forward

    def statistics(self) -> dict[str, Any]:
        """What docs/javascript.md lists, then counters of all rooms by name."""
        mixnet = self.mixnet.statistics
        session = self.exit.session
        exit_ = self.exit.recipient
        account = None if exit_ is None else self.mixnet.surb_account(exit_)
        connection = session.connection if session is not None else None
        topology, trip = self.mixnet.topology, self.mixnet.round_trip
        route, newest = self.mixnet.routes()
        return {
            **mixnet.traffic(),
            "queues": {**self.mixnet.queues(), "ip": self.exit.waiting},
            "surbs": {
                "held": account.held if account is not None else 0,
                "queued": account.queued if account is not None else 0,
                "missing": account.missing if account is not None else 0,
            },
            "lag_ms": round(self.hearing.lag * 1000),
            "round_trip_ms": None if trip is None else round(trip * 1000),
            "loss": None if self.mixnet.loss is None else round(self.mixnet.loss, 3),
            "path": {
                "gateway": self.gateway.endpoint.name,
                "route": [name_of(identity) for identity in route],
                "exit": None if exit_ is None else str(exit_),
                "exit_version": connection.version if connection is not None else None,
                "addresses": [str(address) for address in self.addresses],
                "mtu": connection.mtu if connection is not None else None,
                "epoch": topology.epoch_id if topology is not None else None,
                "key_rotation": topology.rotation_id if topology is not None else None,
            },
            "newest": [
                {"number": number, "kind": kind, "route": [name_of(identity) for identity in way]}
                for number, kind, way in newest
            ],
            "flows": self._flows(),
            **vars(mixnet),
            "traffic": {**self.traffic, **self.ladder.statistics(), "line": self.line.statistics()},
            "queue_length": self.mixnet.queue_length,
            "bandwidth": self.gateway.bandwidth,
            "gateway_losses": self.gateway.losses,
            "registrations": self.exit.registrations,
            "messages_dropped_by_engine": self.messages_dropped,
            **self.peers.to_dict(),
            "ip_packets_sent": session.statistics.packets_sent if session is not None else 0,
            "ip_packets_received": session.statistics.packets_received if session is not None else 0,
            "gateway": vars(self.gateway.all_counters()),
            "exit": {**vars(session.statistics)} if session is not None else {},
            "stack": self._stack.statistics.to_dict() if self._stack is not None else {},
        }

    def _flows(self) -> list[dict[str, Any]]:
        """The youngest `MAX_FLOWS` TCP connections, oldest first."""
        connections = self._stack.connections if self._stack is not None else ()
        flows = []
        for connection in connections[-MAX_FLOWS:]:
            info = connection.info(self._polled)
            flows.append(
                {
                    "name": connection.config.name,
                    "local": info.local,
                    "remote": info.remote,
                    "state": info.state,
                    "round_trip_ms": None if info.srtt is None else round(info.srtt * 1000),
                    "bytes_sent": info.bytes_sent,
                    "bytes_received": info.bytes_received,
                    "retransmits": info.retransmits,
                }
            )
        return flows


def _lane(message: OutgoingMessage) -> Lane:
    if message.lane == "control":
        return Lane.CONTROL
    return Lane.SMALL if message.is_small else Lane.BULK
