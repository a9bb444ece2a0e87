"""A process of its own for some mix nodes: `python -m localnet.worker`, driven by JSON lines on standard input.

The first line is `{"config": …, "seed": …, "clock": […], "nodes": [names]}`; the answer is `{"ports": {…}}`. Then one
answer per command: `wire`, `clock`, `links`, `reset_links`, `stop_node`, `start_node`, `counters`, `quit`. The end of
the input ends the process: it never outlives its parent.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from typing import Any

from .config import MAX_LINE, NetworkConfig
from .errors import LocalnetError
from .links import LinkRule, LinkTable
from .nodes import NodeGroup
from .plan import plan
from .rotation import RotationClock
from .scheduler import Scheduler
from .wire import Neighbour


class Worker:
    """Executes commands on its group of nodes."""

    def __init__(self, start: dict[str, Any]) -> None:
        config = NetworkConfig(**start["config"])
        seed = str(start["seed"])
        self.clock = RotationClock(
            rotation=config.rotation,
            validity_epochs=config.validity_epochs,
            epoch_seconds=config.epoch_seconds,
            unix_time=time.time(),
        )
        self.clock.restore((start["clock"][0], start["clock"][1]))
        rules = [LinkRule(rule["pattern"], rule["settings"]) for rule in start["links"]]
        links = LinkTable(Scheduler(asyncio.get_running_loop()), seed, rules)
        wanted = set(start["nodes"])
        plans = [node for node in plan(config) if node.name in wanted]
        self.group = NodeGroup(plans, config, seed, self.clock, links)

    async def execute(self, command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "wire":
                self.group.wire(Neighbour(name, host, port) for name, host, port in command["neighbours"])
            case "clock":
                self.clock.restore((command["clock"][0], command["clock"][1]))
            case "links":
                self.group.links.set(command["pattern"], **command["settings"])
            case "reset_links":
                self.group.links.reset(command["pattern"])
            case "stop_node":
                await self.group.node(command["name"]).stop()
            case "start_node":
                await self.group.node(command["name"]).start()
            case "counters":
                return {"counters": self.group.counters(), "links": self.group.describe_links()["links"]}
            case "quit":
                await self.group.stop()
            case unknown:
                raise LocalnetError(f"unknown command {unknown!r}", code="bad_command")
        return {}


async def serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def say(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    first = await reader.readline()
    if not first:
        return
    random.seed()
    worker = Worker(json.loads(first))
    say({"ports": await worker.group.start()})
    # The long-lived objects are made: the collector need not walk them for every packet's garbage.
    gc.collect()
    gc.freeze()
    while line := await reader.readline():
        command = json.loads(line)
        try:
            say({"ok": await worker.execute(command)})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
        if command.get("do") == "quit":
            return
    await worker.group.stop()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        sys.exit(130)
