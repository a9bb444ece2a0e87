"""A whole Nym network in virtual time, from directory to exits, with a knob for everything that can go wrong.

    network = SimNetwork("seed")                    # 3 x 2 mixes, 2 entry gateways, 2 exits, a directory, a world
    network.conditions["mix_mix"].loss = 0.02       # links by kind: see KINDS
    network.gateway("entry1").crash()               # nodes and exits by name

The same seed gives the same run, event for event. Hosts and tunnels are in host.py and tunnels.py.
"""

from __future__ import annotations

from collections.abc import Callable

from localnet.counters import Counters
from localnet.directory import Directory, DirectoryState, Entry
from localnet.keys import KeyRing
from localnet.plan import NodePlan
from localnet.rotation import RotationClock
from smolmix_web.crypto.provider import Crypto
from smolmix_web.host.base import WebSocketEvents
from smolmix_web.mixnet.addresses import pack_node_address
from smolmix_web.mixnet.topology import Topology
from smolmix_web.netstack.tcp.config import MIX_LATENESS
from smolmix_web.netstack.tcp.congestion import CongestionFactory, PathModel
from smolmix_web.rand import SeededRandom

from .directory import DirectoryServer
from .events import EventQueue
from .exit import SimExit
from .fast_crypto import InsecureFastCrypto
from .gateway import SimGateway
from .links import Link, LinkConditions
from .node import SimNode
from .sockets import FrameFaults, SimSocket, Transcript
from .world import World

LAYERS = 3
MIX_PORT = 1789
WS_PORT, WSS_PORT = 9000, 9001
KINDS = ("client_up", "client_down", "gateway_mix", "mix_mix", "mix_gateway")
MIX_KINDS = ("gateway_mix", "mix_mix", "mix_gateway")


class SimNetwork:
    """See the module. `crypto` defaults to `InsecureFastCrypto`; clients must use the network's."""

    def __init__(
        self,
        seed: object = 0,
        *,
        crypto: Crypto | None = None,
        mixes_per_layer: int = 2,
        gateways: int = 2,
        exits: int = 2,
        exit_version: str = "1.38.0",
        exit_settings: dict[str, object] | None = None,
        exit_cover: bool = False,
        server_congestion: CongestionFactory = PathModel,
        server_lateness: float = MIX_LATENESS,
        latency: float = 0.010,
        epoch_seconds: float = 3600.0,
        validity_epochs: int = 24,
        rotation: int = 41,
    ) -> None:
        self.seed = f"simulation {seed}"
        self.crypto: Crypto = crypto or InsecureFastCrypto()
        self.queue = EventQueue()
        self.rng = SeededRandom(f"{self.seed}/network")
        self.clock = RotationClock(
            rotation=rotation,
            validity_epochs=validity_epochs,
            epoch_seconds=epoch_seconds,
            unix_time=self.queue.unix_time(),
        )
        self.exit_cover = exit_cover
        self.server_congestion = server_congestion
        self.server_lateness = server_lateness  # 0: as a server that knows nothing of mixes
        self.conditions = {kind: LinkConditions(latency=latency) for kind in KINDS}
        self.faults = FrameFaults()
        self.transcript = Transcript()
        self.sockets: list[SimSocket] = []
        self.world = World(self.queue)
        self.blackholed_urls: set[str] = set()
        self._links: dict[tuple[str, str], Link] = {}
        self._by_address: dict[bytes, SimNode] = {}
        self._by_door: dict[tuple[str, int], SimGateway] = {}
        entries: list[Entry] = []
        self.nodes: dict[str, SimNode] = {}
        for layer in range(1, LAYERS + 1):
            for index in range(mixes_per_layer):
                number = len(entries) + 1
                plan = NodePlan(number, f"mix{layer}{'abcdefghij'[index]}", "mix", layer)
                entries.append(self._add(plan))
        for index in range(gateways):
            entries.append(self._add(NodePlan(101 + index, f"entry{index + 1}", "entry")))
        self.exits: list[SimExit] = []
        for index in range(exits):
            plan = NodePlan(201 + index, f"exit{index + 1}", "exit", version=exit_version)
            entries.append(self._add(plan))
            gateway = self.gateway(plan.name)
            exit_ = SimExit(self, gateway, exit_version, exit_settings or {})
            entries[-1].exit_address = str(exit_.address)
            entries[-1].version = exit_version
            self.exits.append(exit_)
        state = DirectoryState(self.clock, entries, self.queue.unix_time)
        self.documents = Directory(state, "")
        self.directories = {name: DirectoryServer(name) for name in ("directory1.sim", "directory2.sim")}
        self._topology: tuple[object, Topology] | None = None
        for exit_ in self.exits:
            exit_.start()
        self.queue.after(1.0, self._watch_directory)

    def _add(self, plan: NodePlan) -> Entry:
        number = len(self.nodes) + 1
        host = f"198.18.0.{number}"
        keys = KeyRing(self.crypto, self.seed, plan.node_id, plan.name, self.clock)  # type: ignore[arg-type]
        address = pack_node_address(host, MIX_PORT)
        entry = Entry(plan, keys, host, MIX_PORT, "0.99")
        if plan.kind == "mix":
            node = SimNode(self, keys, address)
        else:
            gateway = SimGateway(self, keys, address, host)
            entry.ws_port, entry.wss_port, entry.hostname = WS_PORT, WSS_PORT, gateway.hostname
            self._by_door[gateway.hostname, WSS_PORT] = self._by_door[gateway.hostname, WS_PORT] = gateway
            node = gateway
        self.nodes[plan.name] = node
        self._by_address[address] = node
        return entry

    # -- who is who

    def node(self, name: str) -> SimNode:
        return self.nodes[name]

    def gateway(self, name: str) -> SimGateway:
        node = self.nodes[name]
        assert isinstance(node, SimGateway)
        return node

    @property
    def gateways(self) -> list[SimGateway]:
        """All gateways, those of exits too."""
        return [node for node in self.nodes.values() if isinstance(node, SimGateway)]

    def exit(self, name: str) -> SimExit:
        return next(one for one in self.exits if one.name == name)

    def node_at(self, address: bytes) -> SimNode | None:
        return self._by_address.get(address)

    def entry(self, name: str) -> Entry:
        """The node's lines in the directory: `listed`, `performance`, `version`, `hostname` may be changed."""
        return next(one for one in self.documents.state.entries if one.plan.name == name)

    @property
    def directory_urls(self) -> list[str]:
        return [server.url for server in self.directories.values()]

    @property
    def directory(self) -> DirectoryServer:
        """The first one."""
        return next(iter(self.directories.values()))

    def unix_time(self) -> float:
        return self.queue.unix_time()

    # -- links

    def link(self, sender: SimNode, receiver: SimNode) -> Link:
        key = sender.name, receiver.name
        link = self._links.get(key)
        if link is None:
            kind = "gateway_mix" if sender.kind == "gateway" else "mix_mix"
            if receiver.kind == "gateway":
                kind = "mix_gateway"
            link = self._links[key] = Link(self.queue, self.rng, self.conditions[kind], stream=False)
        return link

    def impair(self, kinds: tuple[str, ...] = MIX_KINDS, **changes: float) -> None:
        """Change conditions of kinds of links: `network.impair(loss=0.02, jitter=0.03)`."""
        for kind in kinds:
            for name, value in changes.items():
                if not hasattr(self.conditions[kind], name):
                    raise AttributeError(name)
                setattr(self.conditions[kind], name, value)

    def isolate(self, sender: str, receiver: str, conditions: LinkConditions | None = None) -> None:
        """Give one link conditions of its own; none: a dead link."""
        self.link(self.node(sender), self.node(receiver)).conditions = conditions or LinkConditions(down=True)

    # -- sockets

    def connect(self, url: str, events: WebSocketEvents, dispatch: Callable[..., None]) -> SimSocket:
        """A host opens a WebSocket."""
        up = Link(self.queue, self.rng, self.conditions["client_up"], stream=True)
        down = Link(self.queue, self.rng, self.conditions["client_down"], stream=True)
        socket = SimSocket(self, url, events, dispatch, up, down, self.transcript)
        self.sockets.append(socket)
        socket.start()
        return socket

    def arrived(self, socket: SimSocket) -> None:
        """The upgrade request is where the URL leads."""
        if socket.url in self.blackholed_urls or socket.state != "opening":
            return
        host, _, port = socket.url.split("//", 1)[1].rstrip("/").rpartition(":")
        gateway = self._by_door.get((host, int(port)))
        if gateway is None:
            socket.refused()
        else:
            gateway.accept(socket)

    @property
    def open_sockets(self) -> list[SimSocket]:
        return [socket for socket in self.sockets if socket.state != "closed"]

    def gateway_of(self, socket: SimSocket) -> SimGateway:
        host, _, port = socket.url.split("//", 1)[1].rstrip("/").rpartition(":")
        return self._by_door[host, int(port)]

    # -- topology and time

    def topology(self) -> Topology:
        """What a client with the true documents uses now."""
        state = self.documents.state
        key = (
            self.clock.at(self.unix_time()).rotation,
            tuple((entry.plan.name, entry.listed, entry.performance) for entry in state.entries),
        )
        if self._topology is None or self._topology[0] != key:
            self._topology = key, self.documents.topology()
        return self._topology[1]

    def _watch_directory(self) -> None:
        """The exits take every change of the directory within a second."""
        topology = self.topology()
        for exit_ in self.exits:
            if exit_.running and exit_.client.topology is not topology:
                exit_.client.set_topology(topology, self.queue.now)
                exit_.wake()
        self.queue.after(1.0, self._watch_directory)

    def rotate_keys(self, *, forget_old: bool = False) -> None:
        """The next key rotation begins now; the old keys hold for one more epoch unless `forget_old`."""
        epochs = self.clock.epochs_to_next_rotation(self.unix_time())
        self.clock.advance(epochs + (1 if forget_old else 0), self.unix_time())

    def unlist(self, name: str) -> None:
        """The node leaves the directory; it runs on."""
        self.entry(name).listed = False

    # -- what was seen

    def violations(self) -> dict[str, int]:
        """What nodes, gateways and exits were sent against the rules, by `who.what`."""
        counters: dict[str, Counters] = {name: node.counters for name, node in self.nodes.items()}
        counters |= {f"{one.name}.exit": one.counters for one in self.exits}
        return {
            f"{name}.{what}": count
            for name, counter in counters.items()
            for what, count in sorted(counter.items())
            if what.startswith("bad.") and count
        }

    def clients_connected(self) -> int:
        """Clients that the exits know."""
        return sum(len(one.router.clients) for one in self.exits if one.running)

    @property
    def exit_flows(self) -> int:
        return sum(one.flows for one in self.exits)
