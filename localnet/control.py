"""The control interface over HTTP: what `Network` can do at run time, as JSON under `/control`.

    GET    /control                       endpoints, epoch, links, counters
    GET    /control/counters              counters of all nodes
    GET    /control/links                 rules and every link's settings and counters
    POST   /control/links                 {"pattern": "client->*", "latency_ms": 50, "loss": 0.01, …}
    DELETE /control/links[?pattern=…]     take rules back
    POST   /control/rotate                next key rotation now
    POST   /control/epochs                {"count": 1}
    POST   /control/nodes/<name>          {"action": "stop" | "start" | "drop_clients" | "close_clients" |
                                            "freeze_clients" | "thaw_clients" | "forget_clients" | "exhaust_bandwidth"}
                                          {"refuse_connections": true, "malformed": "push_short", "times": 3}
                                          {"listed": false, "performance": "0.4", "version": "1.36.0", "protocol": 7}
    POST   /control/exits/<name>          {"action": "restart" | "forget_clients", "faults": {"drop": 0.1},
                                            "settings": {"mtu": 1280, "policy": "ExitPolicy reject *:*"}}
    POST   /control/faults                {"path": "v1/nym-nodes/rewarded-set", "status": 500, "delay": 1, "times": 2}
                                          {"path": "v2/nym-nodes/described", "malformed": "truncated"}
    DELETE /control/faults                all of them

Times are seconds, or milliseconds with the suffix `_ms`. A mistake is answered with 400 and `{"error", "message"}`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from smolmix_web.errors import SmolmixError

from .directory import CORS, Fault
from .errors import ConfigError
from .exit.malformed import MALFORMED
from .gateway import Gateway
from .http_server import BadRequest, Request, Response, json_response
from .links import SETTING_NAMES

if TYPE_CHECKING:
    from .network import Network


class Control:
    """The handler."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(204, [*CORS, ("access-control-allow-methods", "GET, POST, DELETE")])
        try:
            data = await self._dispatch(request)
        except BadRequest as error:
            return json_response({"error": "bad_request", "message": str(error)}, 400, list(CORS))
        except SmolmixError as error:
            return json_response({"error": error.code, "message": error.message}, 400, list(CORS))
        if data is None:
            return json_response({"error": "not_found", "message": request.path}, 404, list(CORS))
        return json_response(data, headers=list(CORS))

    async def _dispatch(self, request: Request) -> object | None:
        network = self._network
        path = [part for part in request.path.split("/") if part]
        match request.method, path:
            case "GET", ["control"]:
                counters = await network.collect()
                return {**network.describe(), "links": network.links.describe()["rules"], "counters": counters}
            case "GET", ["control", "counters"]:
                return await network.collect()
            case "GET", ["control", "links"]:
                await network.collect()
                return network.describe_links()
            case "POST", ["control", "links"]:
                pattern, settings = link_settings(_object(request))
                await network.set_links(pattern, **settings)
                return {"pattern": pattern, **settings}
            case "DELETE", ["control", "links"]:
                await network.reset_links(request.query.get("pattern"))
                return {}
            case "POST", ["control", "rotate"]:
                return _epoch(await network.rotate_keys())
            case "POST", ["control", "epochs"]:
                count = _object(request).get("count", 1)
                if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 1_000_000:
                    raise BadRequest("count: not a whole number from 0")
                return _epoch(await network.advance_epochs(count))
            case "POST", ["control", "nodes", name]:
                return await self._node(name, _object(request))
            case "POST", ["control", "exits", name]:
                return self._exit(name, _object(request))
            case "POST", ["control", "faults"]:
                return self._fault(_object(request))
            case "DELETE", ["control", "faults"]:
                network.directory.state.faults.clear()
                return {}
            case _:
                return None

    async def _node(self, name: str, wanted: dict[str, Any]) -> object:
        network = self._network
        entry = network.entry(name)
        result: dict[str, Any] = {"name": name}
        for key, value in wanted.items():
            match key, value:
                case "action", "stop":
                    await network.stop_node(name)
                case "action", "start":
                    await network.start_node(name)
                case "action", "drop_clients":
                    result["dropped"] = network.gateway(name).drop_clients()
                case "action", "close_clients":
                    result["closed"] = network.gateway(name).close_clients()
                case "action", "freeze_clients":
                    result["frozen"] = network.gateway(name).freeze_clients()
                case "action", "thaw_clients":
                    network.gateway(name).thaw_clients()
                case "action", "exhaust_bandwidth":
                    result["exhausted"] = network.gateway(name).exhaust_bandwidth()
                case "action", "forget_clients":
                    network.gateway(name).clients.clear()
                case "refuse_connections", bool():
                    network.gateway(name).faults.refuse_connections = value
                case "malformed", str() | None:
                    network.gateway(name).faults.malform(value, wanted.get("times"))
                case "times", int() if "malformed" in wanted:
                    pass
                case "listed", bool():
                    entry.listed = value
                case "performance" | "version", str():
                    setattr(entry, key, value)
                case "protocol", int() if not isinstance(value, bool) and 0 <= value <= 255:
                    network.gateway(name).protocol = value
                case "enforce_tickets", bool():
                    network.gateway(name).enforce_tickets = value
                case _:
                    raise BadRequest(f"{key}: {value!r} is not possible")
        node = network.nodes.nodes.get(name)
        if node is not None:
            result["running"] = node.running
        if isinstance(node, Gateway):
            result["sessions"] = len(node.sessions)
        return result

    def _exit(self, name: str, wanted: dict[str, Any]) -> object:
        host = self._network.exit(name)
        for key, value in wanted.items():
            match key, value:
                case "action", "restart":
                    host.restart()
                case "action", "forget_clients":
                    host.service.forget_clients()
                case "settings", dict():
                    host.service.reconfigure(**value)
                case "faults", dict():
                    for fault, setting in value.items():
                        _set_fault(host.service.faults, fault, setting)
                case _:
                    raise BadRequest(f"{key}: {value!r} is not possible")
        return {"name": name, "flows": host.service.flows}

    def _fault(self, wanted: dict[str, Any]) -> object:
        path = wanted.pop("path", None)
        if not isinstance(path, str):
            raise BadRequest("path: not a string")
        delay, status, times = wanted.pop("delay", 0.0), wanted.pop("status", None), wanted.pop("times", None)
        body, malformed = wanted.pop("body", None), wanted.pop("malformed", None)
        if wanted:
            raise BadRequest(f"{next(iter(wanted))}: unknown")
        if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= 600:
            raise BadRequest("delay: not a number from 0 to 600")
        for key, value, low, high in (("status", status, 200, 599), ("times", times, 1, 1_000_000)):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high
            ):
                raise BadRequest(f"{key}: not a whole number from {low} to {high}")
        self._network.directory.state.faults[path.strip("/")] = Fault(delay, status, body, times, malformed)
        return {"path": path.strip("/")}


def _set_fault(faults: object, name: str, value: object) -> None:
    """Switches and numbers; the other faults of an exit are set from Python only."""
    present = getattr(faults, name, None)
    malformed = name == "malformed" and (value is None or (isinstance(value, str) and value in MALFORMED))
    if malformed or (isinstance(present, bool) and isinstance(value, bool)):
        setattr(faults, name, value)
    elif (
        isinstance(present, float)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= 600
    ):
        setattr(faults, name, float(value))
    else:
        raise BadRequest(f"faults.{name}: {value!r} is not possible")


def _object(request: Request) -> dict[str, Any]:
    data = request.json()
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadRequest("body: not a JSON object")
    return data


def _epoch(epoch: Any) -> dict[str, Any]:
    return {"epoch": epoch.number, "rotation": epoch.rotation, "started": epoch.started, "now": time.time()}


def link_settings(wanted: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """(pattern, settings) of a request to change links; `latency_ms` and `jitter_ms` are milliseconds."""
    wanted = dict(wanted)
    pattern = wanted.pop("pattern", "*")
    if not isinstance(pattern, str):
        raise ConfigError("pattern", "not a string")
    settings: dict[str, float] = {}
    for key, value in wanted.items():
        name = key.removesuffix("_ms")
        if name not in SETTING_NAMES or (key != name and name not in ("latency", "jitter")):
            raise ConfigError(key, f"unknown; known are {', '.join(SETTING_NAMES)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(key, f"{value!r} is not a number")
        settings[name] = value / 1000 if key != name else value
    return pattern, settings
