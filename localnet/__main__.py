"""`python -m localnet`: start a network, print its endpoints, serve until Ctrl-C or for `--seconds`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
from collections.abc import Sequence

from .announced import MAIN_NETWORK
from .config import NetworkConfig
from .errors import ConfigError, LocalnetError
from .links import LinkRule
from .network import Network


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localnet",
        description="A small, complete Nym network on this machine, with test servers behind its exits.",
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="port of the directory (default: any free one)")
    add("--control-port", type=int, default=0, help="port of the control interface (default: any free one)")
    add("--mixes", type=int, default=2, metavar="N", help="mix nodes per layer (default 2)")
    add("--gateways", type=int, default=2, metavar="N", help="entry gateways (default 2)")
    add("--exits", type=int, default=2, metavar="N", help="exits (default 2)")
    add("--announce", type=int, default=0, metavar="N",
        help=f"nodes the directory lists, some invented ({MAIN_NETWORK}: as the main network)")  # fmt: skip
    add("--exit-version", action="append", metavar="X.Y.Z", help="version an exit announces; repeat for several exits")
    add("--seed", help="derive all node keys from this text (default: random)")
    add("--latency-ms", type=float, default=0.0, help="latency of every link")
    add("--jitter-ms", type=float, default=0.0, help="jitter of every link")
    add("--loss", type=float, default=0.0, help="share of packets lost on every link, 0 to 1")
    add("--duplicate", type=float, default=0.0, help="share of packets doubled on every link")
    add("--reorder", type=float, default=0.0, help="share of packets overtaken on every link")
    add("--rate", type=float, default=0.0, help="bytes per second of every link")
    add("--link", action="append", default=[], metavar="PATTERN:NAME=VALUE[,…]",
        help="settings of the links that match, e.g. 'client->*:latency=0.05,loss=0.01'; repeatable")  # fmt: skip
    add("--gateway-protocol", type=int, default=6, metavar="N", help="protocol the gateways announce (default 6)")
    add("--frame-version", type=int, default=8, choices=(7, 8), help="frames the nodes write (default 8)")
    add("--epoch-seconds", type=float, default=3600.0, help="length of an epoch (default 3600)")
    add("--validity-epochs", type=int, default=24, help="epochs per key rotation (default 24)")
    add("--wss", action="store_true", help="also listen for WebSockets with TLS, under the network's own CA")
    add("--processes", type=int, default=1, metavar="N", help="processes to use; mix nodes go to the further ones")
    add("--ca-dir", help="directory for ca.pem (default: a temporary one)")
    add("--seconds", type=float, help="stop after this time")
    add("--json", action="store_true", help="print the endpoints as one line of JSON")
    return parser


def config_from(arguments: argparse.Namespace) -> NetworkConfig:
    """The configuration of a command line. Raises `ConfigError`."""
    rules = []
    everywhere = {
        "latency": arguments.latency_ms / 1000,
        "jitter": arguments.jitter_ms / 1000,
        **{name: getattr(arguments, name) for name in ("loss", "duplicate", "reorder", "rate")},
    }
    set_everywhere = {name: value for name, value in everywhere.items() if value}
    if set_everywhere:
        rules.append(LinkRule("*", set_everywhere))
    for text in arguments.link:
        rules.append(_rule(text))
    return NetworkConfig(
        seed=arguments.seed,
        mixes_per_layer=arguments.mixes,
        gateways=arguments.gateways,
        exits=arguments.exits,
        announce=arguments.announce,
        exit_versions=tuple(arguments.exit_version or ("1.38.0",)),
        directory_port=arguments.port,
        control_port=arguments.control_port,
        gateway_protocol=arguments.gateway_protocol,
        frame_version=arguments.frame_version,
        epoch_seconds=arguments.epoch_seconds,
        validity_epochs=arguments.validity_epochs,
        wss=arguments.wss,
        processes=arguments.processes,
        ca_directory=arguments.ca_dir,
        links=tuple(rules),
    )


def _rule(text: str) -> LinkRule:
    pattern, _, settings = text.rpartition(":")
    values: dict[str, float] = {}
    try:
        for part in settings.split(","):
            name, _, value = part.partition("=")
            values[name.strip()] = float(value)
    except ValueError:
        raise ConfigError("--link", f"{text!r} is not PATTERN:NAME=VALUE[,…]") from None
    if not pattern:
        raise ConfigError("--link", f"{text!r} has no pattern")
    return LinkRule(pattern, values)


async def run(config: NetworkConfig, *, seconds: float | None, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Network(config) as network:
        gc.collect()
        gc.freeze()
        print(json.dumps(network.describe()) if as_json else summary(network), flush=True)
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass


def summary(network: Network) -> str:
    """The endpoints in plain lines."""
    lines = [
        f"directory  {network.directory_url}",
        f"control    {network.control_url}",
        f"CA         {network.ca_path}",
        *(f"gateway    {gateway.name}  {gateway.identity_text}  {gateway.url}" for gateway in network.gateways),
        *(f"exit       {host.name}  {host.version}  {host.address}" for host in network.exits),
        "mixes      " + " ".join(node.name for node in network.plans if node.kind == "mix"),
        *(f"name       {name:18} {' '.join(addresses[:2])}" for name, addresses in network.names.items()),
        f"seed       {network.seed}",
        "Ctrl-C stops the network.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parser().parse_args(arguments)
    try:
        asyncio.run(run(config_from(parsed), seconds=parsed.seconds, as_json=parsed.json))
    except (ConfigError, LocalnetError) as error:
        print(f"localnet: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
