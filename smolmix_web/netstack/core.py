"""What the TCP, UDP and ICMP layers of a stack share: addresses, path MTUs, the scheduler, notices, counters."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Protocol

from ..errors import AddressError
from ..rand import RandomSource
from . import icmp, ip
from .addresses import Endpoint, IpAddress, is_group, is_martian_source
from .config import StackConfig
from .icmp import ErrorKind
from .identifiers import Identifiers
from .limits import TokenBucket
from .observer import Observer
from .scheduler import Scheduler
from .statistics import StackStatistics


class Notified(Protocol):
    """Something with an application behind it."""

    on_event: Callable[[], None] | None
    notified: bool


class Core:
    def __init__(
        self,
        addresses: Sequence[IpAddress],
        mtu: int,
        rng: RandomSource,
        accept_any: bool,
        config: StackConfig,
    ) -> None:
        self.addresses = tuple(addresses)
        self.packed = frozenset(address.packed for address in addresses)
        self.mtu = mtu
        self.accept_any = accept_any
        self.config = config
        self.rng = rng
        self.ids = ip.identifications(rng) if config.tcp.linux else repeat(0)
        self.identifiers = Identifiers(rng, config.ephemeral_ports)
        self.scheduler = Scheduler(config.max_control_packets)
        self.statistics = StackStatistics()
        self.observer: Observer | None = None
        self.lag = 0.0  # s: what came in so much time may not have been given to us yet
        self._path_mtu: OrderedDict[bytes, int] = OrderedDict()
        self._errors = TokenBucket(config.error_rate)
        self._calls: deque[Callable[[], None]] = deque()
        self._settling = False

    # -- addresses and paths

    def is_local(self, packed: bytes) -> bool:
        return packed in self.packed or (self.accept_any and not is_group(packed))

    def local_address_for(self, remote: Endpoint) -> Endpoint:
        """Our address of that family, with port 0. Raises AddressError for a destination we cannot reach."""
        packed = remote.address.packed
        if is_martian_source(packed) or not 0 <= remote.port <= 0xFFFF:
            raise AddressError(f"{remote} is no address of a host", phase="connect")
        for address in self.addresses:
            if address.version == remote.address.version:
                return Endpoint(address, 0)
        raise AddressError(f"no IPv{remote.address.version} address to reach {remote} from", code="no_family")

    def path_mtu(self, remote: bytes) -> int:
        return min(self.mtu, self._path_mtu.get(remote, 0xFFFF))

    def lower_path_mtu(self, remote: bytes, mtu: int) -> None:
        if mtu < self.path_mtu(remote):
            self._path_mtu[remote] = mtu
            self._path_mtu.move_to_end(remote)
            if len(self._path_mtu) > self.config.path_mtu_entries:
                self._path_mtu.popitem(last=False)

    def path_mss(self, remote: bytes) -> int:
        return self.path_mtu(remote) - ip.header_size(remote) - 20

    # -- packets

    def emit(self, packet: bytes) -> bool:
        if self.scheduler.emit(packet):
            return True
        self.statistics.dropped["control_queue_full"] += 1
        return False

    def emit_error(self, kind: ErrorKind, packet: bytes, source: bytes, now: float, *, mtu: int = 0) -> bool:
        """Tell the sender of `packet`, limited in rate and never about an ICMP error."""
        sender = packet[12:16] if len(source) == 4 else packet[8:24]
        if not icmp.may_be_answered(packet) or is_martian_source(sender):
            return False
        if not self._errors.take(now):
            self.statistics.dropped["error_rate"] += 1
            return False
        self.statistics.icmp_errors_out += 1
        return self.emit(icmp.build_error(kind, packet, source, next(self.ids), mtu=mtu))

    # -- notices

    def notify(self, flow: Notified) -> None:
        """Call `flow.on_event` when the present call ends; once, however often it is asked for."""
        if not flow.notified:
            flow.notified = True
            self._calls.append(lambda: self._tell(flow))

    @staticmethod
    def _tell(flow: Notified) -> None:
        flow.notified = False
        if flow.on_event is not None:
            flow.on_event()

    def later(self, call: Callable[[], None]) -> None:
        """Run this with the notices."""
        self._calls.append(call)

    def settle(self) -> None:
        """Deliver notices. What they cause in turn is delivered by the same loop."""
        if self._settling:
            return
        self._settling = True
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            self._settling = False
