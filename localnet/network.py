"""A whole Nym network on one machine, as one object.

    async with Network(NetworkConfig(seed=1)) as net:
        net.directory_url, net.ca_pem, net.exits[0].address, net.counters()

Everything listens on 127.0.0.1, on ports of the system's choosing. What can be changed while it runs: links
(`set_links`), the epoch and the keys (`advance_epochs`, `rotate_keys`), nodes (`stop_node`, `start_node`), the
directory (`directory.state`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .announced import AnnouncedNodes
from .capacity import ensure_capacity
from .certificates import Authority
from .config import NetworkConfig
from .control import Control
from .directory import BASE, BUILD, Directory, DirectoryState, Entry
from .errors import LocalnetError
from .exit_host import ExitHost
from .gateway import Gateway
from .http_server import HttpServer
from .keys import KeyRing
from .links import LinkTable
from .nodes import NodeGroup
from .observed import Watcher
from .plan import NodePlan, plan
from .processes import WorkerProcess
from .rotation import Epoch, RotationClock
from .scheduler import Scheduler
from .wire import Neighbour
from .world import World


class Network:
    """See the module. `start` and `close` may be called by hand instead of `async with`."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        self.config = config or NetworkConfig()
        self.seed = str(self.config.seed) if self.config.seed is not None else secrets.token_hex(16)
        self.clock = RotationClock(
            rotation=self.config.rotation,
            validity_epochs=self.config.validity_epochs,
            epoch_seconds=self.config.epoch_seconds,
            unix_time=time.time(),
        )
        self.authority = Authority()
        self.plans: list[NodePlan] = plan(self.config)
        self.gateways: list[Gateway] = []
        self.exits: list[ExitHost] = []
        self.directory_url = ""
        self.control_url = ""
        self.ca_path: Path | None = None
        self.watcher: Watcher | None = None
        self._doors: list[HttpServer] = []  # to the directory, beside its own
        self._started = False
        self._workers: list[WorkerProcess] = []
        self._reported: dict[str, Any] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def ca_pem(self) -> str:
        return self.authority.pem

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- life ---------------------------------------------------------------------------------------
    async def start(self) -> None:
        if self._started:
            raise LocalnetError("the network was started before", code="bad_state")
        self._started = True
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        config = self.config
        ensure_capacity(config)
        self.scheduler = Scheduler(asyncio.get_running_loop())
        self.links = LinkTable(self.scheduler, self.seed, config.links)
        self.world = World(self.authority, config.resolvers)
        tls = self.authority.context(["localhost", config.host]) if config.wss else None
        here = [node for node in self.plans if node.process == 0]
        self.nodes = NodeGroup(here, config, self.seed, self.clock, self.links, tls=tls)
        await self.world.start(config.host)
        ports = await self.nodes.start()
        for worker_ports in await self._start_workers():
            ports.update(worker_ports)
        self._entries = [self._entry(node, ports[node.name]) for node in self.plans]
        neighbours = [Neighbour(node.name, config.host, ports[node.name]) for node in self.plans]
        self.nodes.wire(neighbours)
        for worker in self._workers:
            await worker.command("wire", neighbours=[[n.name, n.host, n.port] for n in neighbours])
        self.gateways = [self.gateway(node.name) for node in self.plans if node.kind == "entry"]
        self.directory = Directory(
            DirectoryState(self.clock, self._entries, time.time, announced=self._announced()), self.ca_pem
        )
        for node in self.plans:
            if node.kind == "exit":
                number = len(self.exits) + 1
                gateway, dial_map = self.gateway(node.name), self.world.dial_map
                host = ExitHost(gateway, self.seed, self.directory, dial_map, config, number)
                self.entry(node.name).exit_address = str(host.address)
                self.exits.append(host)
        # Only now do the exits see a directory that lists them all.
        for host in self.exits:
            host.start()
        await self._start_http()

    async def _start_workers(self) -> list[dict[str, int]]:
        config = self.config
        self._workers = [WorkerProcess() for _ in range(1, config.processes)]
        for number, worker in enumerate(self._workers, 1):
            await worker.start(
                {
                    "config": config.for_worker(),
                    "seed": self.seed,
                    "clock": self.clock.state(),
                    "nodes": [node.name for node in self.plans if node.process == number],
                    "links": [{"pattern": rule.pattern, "settings": dict(rule.settings)} for rule in config.links],
                }
            )
        return [worker.ports for worker in self._workers]

    def _entry(self, node: NodePlan, mix_port: int) -> Entry:
        config = self.config
        here = self.nodes.nodes.get(node.name)
        keys = here.keys if here else KeyRing(self.nodes.crypto, self.seed, node.node_id, node.name, self.clock)
        entry = Entry(node, keys, config.host, mix_port, config.performance, version=node.version)
        if isinstance(here, Gateway):
            entry.ws_port, entry.wss_port = here.ws_port, here.wss_port
            entry.hostname = "localhost" if config.wss else None
        return entry

    def _announced(self) -> AnnouncedNodes | None:
        """As many as are missing."""
        missing = self.config.announce - len(self.plans)
        if missing <= 0:
            return None
        return AnnouncedNodes(self.seed, missing, self.clock.at(time.time()).rotation, BUILD)

    async def _start_http(self) -> None:
        config = self.config
        self._directory_server = HttpServer(self.directory.handle, name="directory")
        self._control_server = HttpServer(Control(self).handle, name="control")
        try:
            await self._directory_server.start(config.host, config.directory_port)
            await self._control_server.start(config.host, config.control_port)
        except OSError as error:
            raise LocalnetError(f"cannot listen: {error}", code="cannot_listen", phase="setup") from None
        self.directory_url = f"http://{config.host}:{self._directory_server.port}{BASE}"
        self.control_url = f"http://{config.host}:{self._control_server.port}/control"
        if config.ca_directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="localnet-")
            self.ca_path = self.authority.write(Path(self._temporary.name))
        else:
            self.ca_path = self.authority.write(Path(config.ca_directory))

    async def close(self) -> None:
        """Stop everything; works after a failed start too, and twice."""
        for server in (getattr(self, "_control_server", None), getattr(self, "_directory_server", None)):
            if server is not None:
                await server.close()
        for host in self.exits:
            host.stop()
        nodes: NodeGroup | None = getattr(self, "nodes", None)
        if nodes is not None:
            await nodes.stop()
        for worker in self._workers:
            await worker.close()
        world: World | None = getattr(self, "world", None)
        if world is not None:
            await world.close()
        scheduler: Scheduler | None = getattr(self, "scheduler", None)
        if scheduler is not None:
            scheduler.clear()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.cleanup()
            self._temporary = None

    # -- looking ------------------------------------------------------------------------------------
    def gateway(self, name: str) -> Gateway:
        """An entry gateway, or the gateway half of an exit."""
        node = self.nodes.node(name)
        if not isinstance(node, Gateway):
            raise LocalnetError(f"{name} is not a gateway", code="unknown_node")
        return node

    def exit(self, name: str) -> ExitHost:
        """An exit by name: its client, its service and their faults."""
        for host in self.exits:
            if host.name == name:
                return host
        raise LocalnetError(f"no exit named {name!r}", code="unknown_node")

    def entry(self, name: str) -> Entry:
        """A node's line in the directory, which may be changed."""
        for entry in self._entries:
            if entry.plan.name == name:
                return entry
        raise LocalnetError(f"no node named {name!r}", code="unknown_node")

    @property
    def names(self) -> dict[str, list[str]]:
        """The test names behind the exits, with their addresses."""
        return self.world.table()

    def counters(self) -> dict[str, Any]:
        """What everything counted. Nodes of other processes: as of the last `collect`."""
        return {
            "nodes": {**self.nodes.counters(), **self._reported.get("counters", {})},
            "exits": {host.name: host.counters() for host in self.exits},
            "dns": dict(self.world.dns.counters),
            "echo": dict(self.world.echo.counters),
            "origin": {"requests": len(self.world.origin.requests)},
            "directory": {"requests": len(self.directory.requests)},
        }

    def violations(self) -> dict[str, int]:
        """Counters of broken rules over all nodes, by name; empty when everybody behaved."""
        total: dict[str, int] = {}
        for counters in self.counters()["nodes"].values():
            for name, value in counters.items():
                if name.startswith("bad."):
                    total[name] = total.get(name, 0) + value
        return total

    def describe_links(self) -> dict[str, Any]:
        described = self.links.describe()
        described["links"].update(self._reported.get("links", {}))
        return described

    async def collect(self) -> dict[str, Any]:
        """Ask the other processes for their counters; then the same as `counters`."""
        reported: dict[str, Any] = {"counters": {}, "links": {}}
        for worker in self._workers:
            answer = await worker.command("counters")
            reported["counters"].update(answer["counters"])
            reported["links"].update(answer["links"])
        self._reported = reported
        return self.counters()

    def describe(self) -> dict[str, Any]:
        """All endpoints, as the command line prints them."""
        epoch = self.clock.at(time.time())
        return {
            "directory": self.directory_url,
            "control": self.control_url,
            "ca": str(self.ca_path),
            "seed": self.seed,
            "epoch": epoch.number,
            "rotation": epoch.rotation,
            "gateways": [
                {"name": gateway.name, "identity": gateway.identity_text, "url": gateway.url}
                for gateway in self.gateways
            ],
            "exits": [
                {"name": host.name, "address": str(host.address), "version": host.version, "url": host.gateway.url}
                for host in self.exits
            ],
            "mixes": [node.name for node in self.plans if node.kind == "mix"],
            "names": self.names,
        }

    def watch(self, watcher: Watcher | None) -> None:
        """From now on `watcher` is told what each party sees (`observed.py`); None ends it."""
        self.watcher = watcher
        for node in self.nodes.nodes.values():
            node.watcher = watcher
        for host in self.exits:
            host.service.router.watcher = watcher
        self.world.watch(watcher)
        for server in (self._directory_server, *self._doors):
            server.vantage, server.watcher = "directory", watcher

    def watch_directory(self, server: HttpServer) -> None:
        """Another door to the directory is watched with the rest from now on."""
        self._doors.append(server)
        server.vantage, server.watcher = "directory", self.watcher

    # -- changing -----------------------------------------------------------------------------------
    async def set_links(self, pattern: str, **settings: float) -> None:
        """Impairments (`latency`, `jitter`, `loss`, `duplicate`, `reorder`, `rate`) of all links that match."""
        self.links.set(pattern, **settings)
        for worker in self._workers:
            await worker.command("links", pattern=pattern, settings=settings)

    async def reset_links(self, pattern: str | None = None) -> None:
        """Take back the rules of this pattern, or all."""
        self.links.reset(pattern)
        for worker in self._workers:
            await worker.command("reset_links", pattern=pattern)

    async def advance_epochs(self, count: int = 1) -> Epoch:
        """Begin the epoch `count` later now."""
        epoch = self.clock.advance(count, time.time())
        for worker in self._workers:
            await worker.command("clock", clock=self.clock.state())
        for host in self.exits:
            host.refresh()
        return epoch

    async def rotate_keys(self) -> Epoch:
        """Begin the next key rotation now; the old keys stay valid for one epoch more."""
        return await self.advance_epochs(self.clock.epochs_to_next_rotation(time.time()))

    async def stop_node(self, name: str) -> None:
        """Crash a node: its connections break, what it held is lost."""
        await self._on_node(name, "stop_node")

    async def start_node(self, name: str) -> None:
        """Bring a stopped node back on its old ports, with its keys and registrations."""
        await self._on_node(name, "start_node")

    async def _on_node(self, name: str, action: str) -> None:
        process = next((node.process for node in self.plans if node.name == name), 0)
        if process:
            await self._workers[process - 1].command(action, name=name)
            return
        node = self.nodes.node(name)
        if action == "stop_node":
            await node.stop()
        elif not node.running:
            await node.start()
