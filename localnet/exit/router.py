"""The exit's side of the protocol: requests in, replies out, packets to and from the network behind
(docs/protocol/ipr.md 5.1-5.6).

Sans I/O: the owner passes messages to `receive` and packets to `deliver`, calls `poll` when `next_deadline` is due, and
takes replies. What clients do wrong is dropped and counted under `bad.`, as the real exit drops it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.errors import ExitError, MessageError, PacketError
from smolmix_web.exit import messages as m
from smolmix_web.exit.bundles import split
from smolmix_web.mixnet.lp_frame import DATA, LpFrame, is_stream_frame
from smolmix_web.netstack.icmp import ErrorKind
from smolmix_web.rand import RandomSource

from ..counters import Counters
from ..observed import Seen, Watcher
from . import packets
from .clients import ClientTable, ConnectedClient
from .config import ExitConfig, ExitFaults
from .policy import ExitPolicy, is_global
from .pool import AddressPool

_PLAUSIBLE_VERSIONS = range(3, 32)  # others are noise, not a version that deserves an answer


@dataclass(frozen=True)
class Reply:
    """A message for the client behind a sender tag."""

    sender_tag: bytes
    data: bytes
    max_retransmissions: int


@dataclass(frozen=True)
class _Origin:
    """Where a request came from, and so how its replies travel."""

    tag: bytes
    version: int
    stream_id: int | None


class ExitRouter:
    """`on_packet(client, packet, now)` gets what may leave; `on_gone(client)` tells that a client's flows must end."""

    def __init__(
        self,
        config: ExitConfig,
        rng: RandomSource,
        *,
        on_packet: Callable[[ConnectedClient, bytes, float], None],
        on_gone: Callable[[ConnectedClient], None],
        faults: ExitFaults | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.config = config
        self.faults = faults if faults is not None else ExitFaults()
        self.counters = counters if counters is not None else Counters()
        self.clients = ClientTable(AddressPool(rng, config.last_address))
        self.watcher: Watcher | None = None
        self._rng = rng
        self._on_packet = on_packet
        self._on_gone = on_gone
        self._take_policy()
        self._replies: list[Reply] = []
        self._next_sweep: float | None = None

    # -- what the owner calls -----------------------------------------------------------------------------------------

    def receive(self, data: bytes, sender_tag: bytes | None, now: float) -> None:
        """One mixnet message. Never raises."""
        self.counters.add("messages")
        if self.faults.mute:
            self.counters.add("faults.muted")
            return
        stream_id = None
        if is_stream_frame(data):
            try:
                frame = LpFrame.from_bytes(data)
            except MessageError:
                self.counters.add("bad.frame")
                return
            if not frame.payload:
                self.counters.add("opens")
                return
            stream_id, data = frame.stream_id, frame.payload
        if len(data) < 2:
            self.counters.add("bad.empty")
            return
        if sender_tag is None:
            self.counters.add("bad.no_sender_tag")
            return
        self._tell("message", sender_tag, data, now)
        self._dispatch(data, sender_tag, stream_id, now)

    def deliver(self, client: ConnectedClient, packet: bytes, now: float) -> None:
        """A packet for the client, from the network behind."""
        self.counters.add("packets_down")
        self._tell("down", client.tag, packet, now)
        bundle = client.encoder.append(packet)
        if bundle is not None:
            self._send_bundle(client, bundle)
            client.flush_at = None
        if len(client.encoder) and client.flush_at is None:
            client.flush_at = now + client.buffer_timeout

    def poll(self, now: float) -> None:
        """Flush bundles that are due and sweep out who has been silent for too long."""
        for client in self.clients:
            if client.flush_at is not None and now >= client.flush_at:
                client.flush_at = None
                bundle = client.encoder.flush()
                if bundle is not None:
                    self._send_bundle(client, bundle)
        if self._next_sweep is not None and now >= self._next_sweep:
            self._sweep(now)

    def next_deadline(self) -> float | None:
        times = [client.flush_at for client in self.clients if client.flush_at is not None]
        if self._next_sweep is not None:
            times.append(self._next_sweep)
        return min(times, default=None)

    def take_replies(self) -> list[Reply]:
        replies, self._replies = self._replies, []
        return replies

    def _take_policy(self) -> None:
        config = self.config
        self._policy = ExitPolicy.accept_all() if config.open_proxy else ExitPolicy.parse(config.policy)
        self._firewall = None if config.firewall is None else ExitPolicy.parse(config.firewall)

    def reconfigure(self, config: ExitConfig) -> None:
        """Other settings from now on; who is connected stays."""
        self.config = config
        self._take_policy()

    def forget_clients(self) -> None:
        """As after a restart: nobody is known, nobody is told."""
        for client in self.clients:
            self._remove(client)
        self.counters.add("faults.forgotten")

    def end_client(self, client: ConnectedClient, reason: m.UnrequestedReason, text: str = "") -> None:
        """Disconnect a client that did not ask for it, and tell it."""
        self._reply(_origin(client), m.UnrequestedDisconnect(reason, text))
        self._remove(client)

    def _tell(self, what: str, tag: bytes, data: bytes, now: float) -> None:
        if self.watcher is not None:
            self.watcher(Seen("exit", what, tag.hex(), now, data))

    # -- requests -----------------------------------------------------------------------------------------------------

    def _dispatch(self, data: bytes, tag: bytes, stream_id: int | None, now: float) -> None:
        version = data[0]
        if version not in self.config.versions:
            self.counters.add("bad.version")
            self._refuse_version(_Origin(tag, version, stream_id))
            return
        if (version >= m.FRAMED_FROM) != (stream_id is not None):
            self.counters.add("bad.transport")
            return
        try:
            _, request = m.decode_request(data)
        except ExitError:
            self.counters.add("bad.request")
            return
        origin = _Origin(tag, version, stream_id)
        match request:
            case m.DataRequest(bundle):
                self._data(origin, bundle, now)
            case m.ConnectRequest():
                self._connect(origin, request, now)
            case m.DisconnectRequest(request_id):
                self._disconnect(origin, request_id)
            case m.PingRequest(request_id):
                self._reply(origin, m.PongResponse(request_id))
            case m.HealthRequest(request_id):
                self._reply(origin, m.HealthResponse(request_id, self.config.build_information(), None))

    def _refuse_version(self, origin: _Origin) -> None:
        """In the highest version that the transport allows, so that the client can read it."""
        framed = origin.stream_id is not None
        usable = [version for version in self.config.versions if (version >= m.FRAMED_FROM) == framed]
        if self.config.announce_mismatch and usable and origin.version in _PLAUSIBLE_VERSIONS:
            info = m.InfoResponse(0, m.VersionMismatch(origin.version, max(usable)), m.InfoLevel.ERROR)
            self._reply(_Origin(origin.tag, max(usable), origin.stream_id), info)

    def _connect(self, origin: _Origin, request: m.ConnectRequest, now: float) -> None:
        self.counters.add("connects")
        if self.faults.ignore_connect:
            self.counters.add("faults.ignored_connect")
            return
        if self.faults.refuse_connect is not None:
            text = self.faults.refuse_text if self.faults.refuse_connect is m.ConnectReason.OTHER else ""
            self._reply(origin, m.ConnectFailure(request.request_id, self.faults.refuse_connect, text))
            return
        client = self.clients.by_tag(origin.tag)
        if client is not None and (origin.stream_id is not None or client.stream_id is not None):
            # A framed client that connects again starts afresh, with new addresses.
            self._remove(client)
            client = None
        if client is None:
            if len(self.clients) >= self.config.max_clients:
                self._reply(origin, m.ConnectFailure(request.request_id, m.ConnectReason.OTHER, "too many clients"))
                return
            timeout = self._buffer_timeout(request.buffer_timeout)
            client = self.clients.add(origin.tag, origin.version, origin.stream_id, timeout, now)
        if client is None:
            self._reply(origin, m.ConnectFailure(request.request_id, m.ConnectReason.NO_AVAILABLE_IP))
            return
        client.last_activity = now
        if self._next_sweep is None:
            self._next_sweep = now + self.config.sweep_interval
        mtu = self.config.mtu if origin.version >= m.V10 else None
        self._reply(origin, m.ConnectSuccess(request.request_id, client.ipv4, client.ipv6, mtu))

    def _buffer_timeout(self, requested: int | None) -> float:
        """Seconds; a client must not make us spin, nor wait for ever."""
        return min(1000, max(1, self.config.buffer_timeout_ms if requested is None else requested)) / 1000

    def _disconnect(self, origin: _Origin, request_id: int) -> None:
        client = self.clients.by_tag(origin.tag)
        if client is None:
            failure = m.DisconnectFailure(request_id, m.DisconnectReason.CLIENT_NOT_CONNECTED)
            self._reply(origin, failure)
            return
        self.counters.add("disconnects")
        self._remove(client)
        self._reply(origin, m.DisconnectSuccess(request_id))

    def _data(self, origin: _Origin, bundle: bytes, now: float) -> None:
        items, clean = split(bundle)
        if not clean:
            self.counters.add("bad.bundle")
        for packet in items:
            if self.faults.drop_uplink and self._rng.uniform() < self.faults.drop_uplink:
                self.counters.add("faults.dropped_uplink")
                continue
            try:
                info = packets.inspect(packet)
            except PacketError as error:
                self.counters.add("bad.fragment" if error.code == "fragment" else "bad.packet")
                continue
            client = self.clients.by_address(info.source)
            if client is None or client.tag != origin.tag:
                self.counters.add("bad.source_address")
                continue
            client.last_activity = now
            self.counters.add("packets_up")
            self._tell("up", client.tag, packet, now)
            self._route(client, packet, info, now)

    def _route(self, client: ConnectedClient, packet: bytes, info: packets.PacketInfo, now: float) -> None:
        allowed = self.config.allow_local_ips or is_global(info.destination)
        if not allowed:
            self.counters.add("refused.not_global")  # beside the next: a real exit warns its operator of each
        if not (allowed and self._policy.allows(info.destination, info.port)):
            self.counters.add("refused.policy")
            host = f"[{info.destination}]" if info.destination.version == 6 else str(info.destination)
            refusal = m.PolicyRefusal(f"{host}:{info.port}")
            self._reply(_origin(client), m.InfoResponse(0, refusal, m.InfoLevel.WARN))
        elif info.destination in self.faults.black_holes:
            self.counters.add("faults.black_holed")
        elif len(packet) > self.config.mtu:
            self.counters.add("refused.mtu")
            self._icmp(client, ErrorKind.FRAGMENTATION_NEEDED, packet, now)
        elif info.ttl <= 1:
            self.counters.add("refused.ttl")
            self._icmp(client, ErrorKind.TTL_EXCEEDED, packet, now)
        elif self._firewall is not None and not self._firewall.allows(info.destination, info.port):
            self.counters.add("refused.firewall")
            self._icmp(client, ErrorKind.PORT_UNREACHABLE, packet, now)
        else:
            self._on_packet(client, packet, now)

    def _icmp(self, client: ConnectedClient, kind: ErrorKind, packet: bytes, now: float) -> None:
        error = packets.icmp_error(kind, packet, self.config.mtu)
        if error is not None:
            self.deliver(client, error, now)

    # -- replies and the end ------------------------------------------------------------------------------------------

    def _reply(self, origin: _Origin, response: m.Response) -> None:
        """A control reply: sequence 0, repeated by the mixnet until acknowledged or hopeless."""
        self.counters.add("control_replies")
        self._queue(origin, 0, response, self.config.control_retransmissions)

    def _send_bundle(self, client: ConnectedClient, bundle: bytes) -> None:
        self.counters.add("data_replies")
        sequence = client.next_sequence()
        self._queue(_origin(client), sequence, m.DataResponse(bundle), self.config.data_retransmissions)

    def _queue(self, origin: _Origin, sequence: int, response: m.Response, retransmissions: int) -> None:
        data = m.encode_response(origin.version, response)
        if origin.stream_id is not None:
            data = LpFrame(origin.stream_id, DATA, sequence, data).to_bytes()
        self._replies.append(Reply(origin.tag, data, retransmissions))

    def _sweep(self, now: float) -> None:
        for client in self.clients:
            if now - client.last_activity >= self.config.inactivity_timeout:
                self.counters.add("timeouts")
                if self.config.announce_timeout:
                    self.end_client(client, m.UnrequestedReason.MIXNET_TRAFFIC_TIMEOUT)
                else:
                    self._remove(client)
        self._next_sweep = now + self.config.sweep_interval if len(self.clients) else None

    def _remove(self, client: ConnectedClient) -> None:
        self.clients.remove(client)
        self._on_gone(client)


def _origin(client: ConnectedClient) -> _Origin:
    return _Origin(client.tag, client.version, client.stream_id)
