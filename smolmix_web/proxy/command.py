"""`smolmix-web proxy`: options, a live line of what passes, and a stop by Ctrl-C that lets what is under way end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

from .. import extras
from ..errors import OptionError, UsageError
from ..tunnel import Tunnel

STATUS_INTERVAL = 1.0  # s
DEFAULTS = {"socks": "127.0.0.1:1080", "http": "127.0.0.1:8080", "dns": "127.0.0.1:5353"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without any of the three listeners named, the first is opened at its usual place."""
    for name, text in (
        ("socks", "SOCKS5, SOCKS4 and SOCKS4A"),
        ("http", "HTTP: CONNECT, and requests for http URLs"),
        ("dns", "DNS over UDP and TCP"),
    ):
        parser.add_argument(
            f"--{name}", nargs="?", const=DEFAULTS[name], metavar="ADDRESS:PORT", help=f"{text}; {DEFAULTS[name]}"
        )
    parser.add_argument("--anywhere", action="store_true", help="listen also where others can reach it")
    parser.add_argument(
        "--credentials-file", metavar="FILE", help="its first line, USER:PASSWORD, is asked of SOCKS5 and HTTP clients"
    )
    parser.add_argument("--max-connections", type=int, default=512, metavar="N", help="at once (default 512)")
    parser.add_argument("--grace", type=float, default=5.0, metavar="S", help="for what is under way at the end")


async def run_proxy(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    """Until SIGINT or SIGTERM, or until the tunnel fails for good: its error is raised."""
    extras.require("proxy")
    from .server import Proxy

    proxy = Proxy(tunnel, options_from(args))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _stopped_by_signals(loop, stop):
        await proxy.start()
        listening = {name: str(place) for name, place in proxy.places.items()}
        if args.json:
            print(json.dumps({"listening": listening}), flush=True)
        else:
            for name, place in listening.items():
                print(f"{name} {place}", flush=True)
        try:
            while not stop.is_set() and tunnel.state not in ("failed", "shutdown"):
                if not args.quiet:
                    _show(status_line(proxy, tunnel))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), STATUS_INTERVAL)
        finally:
            if not args.quiet:
                _show("")
            stop.clear()  # a second signal does not wait
            closing = asyncio.create_task(proxy.close(args.grace))
            hurry = asyncio.create_task(stop.wait())
            await asyncio.wait((closing, hurry), return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            await (closing if closing.done() else proxy.close(0.0))
            await closing
    if tunnel.error is not None:
        raise tunnel.error
    return {"listening": listening, **proxy.statistics.to_dict()}


@contextlib.contextmanager
def _stopped_by_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Any:
    added = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop.set)
            added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)


def options_from(args: argparse.Namespace) -> Any:
    """`ProxyOptions` of the command line. Raises `UsageError`, `OptionError`."""
    from .server import Credentials, Place, ProxyOptions

    places: dict[str, Place] = {}
    for name in DEFAULTS:
        text = getattr(args, name)
        if text is not None:
            places[name] = Place(*_place(name, text))
    if not places:
        places["socks"] = Place(*_place("socks", DEFAULTS["socks"]))
    credentials = None
    if args.credentials_file is not None:
        line = Path(args.credentials_file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        user, separator, password = line.partition(":")
        if not separator or not user:
            raise OptionError("credentials", f"{args.credentials_file} does not begin with USER:PASSWORD")
        credentials = Credentials(user, password)
    return ProxyOptions(**places, credentials=credentials, anywhere=args.anywhere, max_connections=args.max_connections)


def _place(name: str, text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--{name} {text!r} is not ADDRESS:PORT", code="bad_endpoint")
    return host.strip("[]") or "127.0.0.1", int(port)


def status_line(proxy: Any, tunnel: Tunnel) -> str:
    counts = proxy.statistics
    state = tunnel.state + (f" ({tunnel.step})" if tunnel.step else "")
    return (
        f"{state}: {counts.open} open, {counts.waiting} waiting, {counts.connections} in all, {counts.failed} failed, "
        f"{_size(counts.bytes_sent)} out, {_size(counts.bytes_received)} in"
    )


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _show(line: str) -> None:
    """One line that is written over again; only where somebody looks at it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
