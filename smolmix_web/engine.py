"""The synchronous core: gateway session, mixnet client, exit session and IP stack behind one receive/poll.

    frames -> GatewaySession -> MixnetClient -> ExitSession -> Stack -> sockets
    frames <- GatewaySession <- MixnetClient <- ExitSession <- Stack <- sockets

`receive(frame, now)` takes a WebSocket message, `poll(now)` gives the messages to send, `next_deadline()` says when
to poll although nothing arrived. No clock, no I/O, no asyncio: a whole tunnel runs in virtual time and repeats
exactly from its seed.

The mixnet client's queue is the bottleneck on purpose: IP packets leave the stack only while that queue is short,
so the stack's congestion control and fairness see the real rate of the tunnel.
"""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from .errors import DirectoryError, SmolmixError, StateError
from .exit.events import ExitConnected, ExitDenied, ExitDisconnected, OutgoingMessage, PolicyDenied
from .exit.session import ExitSession
from .exit.session import State as ExitState
from .mixnet.addresses import Recipient
from .mixnet.client import MixnetClient
from .mixnet.gateway.session import GatewaySession
from .mixnet.lanes import Lane
from .netstack import Endpoint, Stack, StackConfig
from .rand import RandomSource

QUEUE_TARGET = 12  # packets waiting for their sending slot before IP packets are held back: about 240 ms


class Engine:
    """One tunnel's protocols. The owner opens the socket, passes what happens to it, and sends what `poll` returns."""

    def __init__(
        self,
        rng: RandomSource,
        *,
        gateway: GatewaySession,
        mixnet: MixnetClient,
        exit_address: Recipient,
        exit_session: ExitSession,
        stack_config: StackConfig,
    ) -> None:
        self._rng = rng
        self.gateway = gateway
        self.mixnet = mixnet
        self.exit_address = exit_address
        self.exit = exit_session
        self.addresses: tuple[IPv4Address | IPv6Address, ...] = ()
        self.error: SmolmixError | None = None
        self._stack_config = stack_config
        self._stack: Stack | None = None
        self._held_back = False
        self.messages_dropped = 0
        self.strangers = 0

    @property
    def stack(self) -> Stack:
        """The IP stack; `StateError` before the exit gave us addresses."""
        if self._stack is None:
            raise StateError("the tunnel has no address yet", code="not_connected", phase="exit")
        return self._stack

    @property
    def ready(self) -> bool:
        """Sockets may be opened."""
        return self._stack is not None and self.error is None

    # -- the socket -------------------------------------------------------------------------------

    def connecting(self, now: float) -> None:
        """The owner begins to open the gateway's socket; the exit is asked as soon as the gateway is ready."""
        self.gateway.connecting(now)

    def opened(self, now: float) -> None:
        self.gateway.opened(now)

    def closed(self, now: float, reason: str) -> None:
        self.gateway.closed(now, reason)
        self._check_gateway(now)

    def receive(self, frame: bytes | str, now: float, unix_time: float) -> None:
        """One WebSocket message. Never raises for what peers sent."""
        self.gateway.receive(frame, now, unix_time)
        for body in self.gateway.take_bodies():
            self.mixnet.receive(body, now)
        for message in self.mixnet.take_messages():
            # Anybody may write to our address; only replies by the SURBs we gave the exit come from the exit.
            if message.source == self.exit_address:
                self.exit.receive(message.data, now)
            else:
                self.strangers += 1
        self._mirror_surbs()
        self._take_exit(now)

    def _mirror_surbs(self) -> None:
        """The mixnet client answers the exit's SURB requests by itself; the session's account must know."""
        account = self.mixnet.surb_account(self.exit_address)
        if account is not None:
            unseen = account.given + account.queued - self.exit.surbs.given
            if unseen > 0:
                self.exit.surbs_requested()
                self.exit.surbs_given(unseen)

    # -- time -------------------------------------------------------------------------------------

    def poll(self, now: float, unix_time: float) -> list[bytes | str]:
        """Run all timers that are due; the WebSocket messages to send, in order."""
        frames = self.gateway.poll(now, unix_time)
        self._check_gateway(now)
        if not self.gateway.can_forward:
            return frames
        if self.exit.state is ExitState.IDLE:
            self.exit.start(now, unix_time)
        self._pump_stack(now)
        for message in self.exit.poll(now):
            self._send(message, now)
        self._take_exit(now)
        frames += [self.gateway.forward(packet) for packet in self.mixnet.poll(now)]
        # What was just sent may have made room for the packets held back.
        self._pump_stack(now)
        return frames

    def _pump_stack(self, now: float) -> None:
        if self._stack is None:
            return
        room = min(QUEUE_TARGET - self.mixnet.queue_length, self.exit.send_space)
        self._held_back = room <= 0
        if room > 0:
            packets = self._stack.poll(now, room)
            self.exit.send_packets(packets, now)
            self._held_back = len(packets) == room

    def _send(self, message: OutgoingMessage, now: float) -> None:
        lane = _lane(message)
        lifetime = None if message.deadline is None else max(0.0, message.deadline - now)
        try:
            self.mixnet.send(
                self.exit_address,
                message.data,
                surbs=message.surbs,
                lane=lane,
                max_retransmissions=message.max_retransmissions,
                lifetime=lifetime,
                now=now,
            )
        except DirectoryError as error:
            self.fail(error, now)  # the exit's gateway left the network
        except StateError:
            self.messages_dropped += 1  # the lane is full: TCP and our own retries repair it

    def next_deadline(self) -> float | None:
        """When to poll although nothing arrived; in the past when there is something to send."""
        times = [self.gateway.next_deadline()]
        if self.gateway.can_forward:
            times += [self.exit.next_deadline(), self.mixnet.next_deadline()]
            # While packets are held back the next sending slot is what there is to wait for.
            if self._stack is not None and not self._held_back:
                times.append(self._stack.next_deadline())
        return min((time for time in times if time is not None), default=None)

    # -- what happened ----------------------------------------------------------------------------

    def _check_gateway(self, now: float) -> None:
        if self.gateway.error is not None:
            self.fail(self.gateway.error, now)

    def _take_exit(self, now: float) -> None:
        for event in self.exit.take_events():
            match event:
                case ExitConnected(ipv4, ipv6, mtu):
                    self.addresses = (ipv4, ipv6)
                    self._stack = Stack(self.addresses, mtu, self._rng, config=self._stack_config)
                case ExitDenied(_, error):
                    self.fail(error, now)
                case ExitDisconnected(_, error) if error is not None:
                    self.fail(error, now)
                case PolicyDenied(address, port) if self._stack is not None:
                    self._stack.refuse(Endpoint(address, port), "refused by the exit's policy")
        if self._stack is not None:
            for packet in self.exit.take_packets():
                self._stack.receive(packet, now)

    def fail(self, error: SmolmixError, now: float) -> None:
        """The tunnel is over: every socket ends with this error. The first error stays."""
        if self.error is None:
            self.error = error
            if self._stack is not None:
                self._stack.abort_all(error, now)

    def disconnect(self, now: float) -> None:
        """Give the exit's addresses back; poll on until `disconnected` or as long as you care."""
        self.exit.disconnect(now)

    @property
    def disconnected(self) -> bool:
        return self.exit.state in (ExitState.CLOSED, ExitState.FAILED) or not self.gateway.can_forward

    def statistics(self) -> dict[str, Any]:
        """Counters of all rooms by name; numbers only at the top level."""
        mixnet = self.mixnet.statistics
        return {
            **{name: value for name, value in asdict(mixnet).items() if isinstance(value, int | float)},
            "queue_length": self.mixnet.queue_length,
            "surb_balance": self.exit.surbs.balance,
            "bandwidth": self.gateway.bandwidth,
            "ip_packets_sent": self.exit.statistics.packets_sent,
            "ip_packets_received": self.exit.statistics.packets_received,
            "gateway": asdict(self.gateway.counters),
            "exit": asdict(self.exit.statistics),
            "stack": self._stack.statistics.to_dict() if self._stack is not None else {},
        }


def _lane(message: OutgoingMessage) -> Lane:
    if message.lane == "control":
        return Lane.CONTROL
    return Lane.SMALL if message.is_small else Lane.BULK
