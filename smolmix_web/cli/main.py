"""The command line: fetch, dns, ws, udp, tcp, ping, proxy and what speaks with other clients (peer.py) through the
mixnet. Progress on stderr, results on stdout.

Importing it and `--help` need none of the optional libraries; a command says which one it lacks. See
docs/command-line.md.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__, extras
from ..dns.records import TYPES
from ..errors import NetworkError, OptionError, SmolmixError, TimeoutExpired, UsageError
from ..host.cpython import CPythonHost
from ..http import HttpRequest
from ..netstack.pcap import PcapWriter
from ..proxy import command as proxy_command
from ..tunnel import Tunnel
from ..tunnel.options import TunnelOptions
from ..websocket import Close
from . import completion, peer

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
EXIT_CODES = (
    "exit codes: 0 done; 1 it failed (one line on stderr says why, with --json also an object with `error` on stdout); "
    "2 the command line is wrong and nothing was sent; 130 interrupted"
)
PROGRAM = "smolmix-web"
_PIECE = 65_536
TIMEOUT = 300.0  # s for everything
ANSWER_TIMEOUT = 60.0  # s for a WebSocket or UDP answer

Command = Callable[[Tunnel, argparse.Namespace], Awaitable[dict[str, Any]]]


class _Parser(argparse.ArgumentParser):
    """Mistakes are raised like all others, and end with one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)", code="bad_arguments")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Network access through the Nym mixnet.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    common = _Parser(add_help=False)
    group = common.add_argument_group("tunnel")
    group.add_argument("--directory", action="append", metavar="URL", help="directory base URL; may be repeated")
    group.add_argument("--ipr", metavar="ADDRESS", help="Nym address of the exit; default: drawn by weight")
    group.add_argument("--gateway", metavar="ID", help="base58 identity of the entry gateway; default: drawn")
    group.add_argument("--ca", metavar="FILE", help="PEM file with extra roots, for TLS inside and outside the tunnel")
    group.add_argument("--no-tls", action="store_true", help="reach the gateway by ws://, as on a local network")
    group.add_argument("--no-poisson", action="store_true", help="send at once, without dummy packets")
    group.add_argument("--no-cover", action="store_true", help="no separate loop cover stream")
    group.add_argument("--traffic-rate", default="auto", help="part of the usual rate: auto, 1, 1/2, 1/4, 1/8 or 1/16")
    group.add_argument("--client-id", metavar="NAME", help="store the identity under this name and use it again")
    group.add_argument(
        "--storage-passphrase-file", metavar="FILE", help="its first line seals the stored identity; with --client-id"
    )
    group.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="S", help=f"for everything (default {TIMEOUT:g} s)"
    )
    group.add_argument("--pcap", metavar="FILE", help="write the tunnel's IP packets to a capture file")
    group.add_argument("--json", action="store_true", help="one JSON object on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", parents=[common], help="HTTP or HTTPS request; the body goes to stdout")
    fetch.add_argument("url")
    fetch.add_argument("-X", "--method", help="default GET, or POST with --data")
    fetch.add_argument("-H", "--header", action="append", default=[], metavar="NAME: VALUE")
    fetch.add_argument("-d", "--data", help="request body")
    fetch.add_argument("-o", "--output", metavar="FILE", help="write the body to a file")
    dns = commands.add_parser("dns", parents=[common], help="addresses, or records of another type, of a name")
    dns.add_argument("name", help="with --type PTR also an address")
    kind = dns.add_mutually_exclusive_group()
    kind.add_argument("--family", type=int, choices=(4, 6))
    kind.add_argument("--type", type=str.upper, choices=tuple(TYPES), help="records of this type, one a line")
    dns.add_argument("--server", help="ADDRESS:PORT, tcp://ADDRESS, tls://ADDRESS#NAME or https://ADDRESS/PATH#NAME")
    ws = commands.add_parser("ws", parents=[common], help="send stdin's lines as text messages and print the answers")
    ws.add_argument("url")
    ws.add_argument("-m", "--message", action="append", help="send this instead of stdin; may be repeated")
    udp = commands.add_parser("udp", parents=[common], help="send one datagram and print the answer")
    udp.add_argument("endpoint", metavar="HOST:PORT")
    udp.add_argument("text")
    tcp = commands.add_parser("tcp", parents=[common], help="connect stdin and stdout to a TCP port")
    tcp.add_argument("endpoint", metavar="HOST:PORT")
    tcp.add_argument("--tls", action="store_true")
    ping = commands.add_parser("ping", parents=[common], help="ICMP echo requests, one after the other")
    ping.add_argument("host")
    ping.add_argument("-c", "--count", type=int, default=4)
    ping.add_argument("-s", "--size", type=int, default=32, help="bytes of each request's body")
    ping.add_argument("--family", type=int, choices=(4, 6))
    proxy = commands.add_parser("proxy", parents=[common], help="SOCKS, HTTP and DNS for other programs, until Ctrl-C")
    proxy_command.add_arguments(proxy)
    peer.add_commands(commands, common)
    completion.add_parser(commands)
    return parser


def options_from(args: argparse.Namespace) -> TunnelOptions:
    """Tunnel options of the command line; `OptionError` names what is wrong."""
    given: dict[str, Any] = {
        "directoryUrls": args.directory,
        "preferredIpr": args.ipr,
        "preferredGateway": args.gateway,
        "forceTls": not args.no_tls,
        "disablePoissonTraffic": args.no_poisson,
        "disableCoverTraffic": args.no_cover,
        "trafficRate": args.traffic_rate,
        "clientId": args.client_id,
        "debug": not args.quiet,
        **(peer.OPTIONS if args.command in PEER_COMMANDS else {}),
    }
    if args.storage_passphrase_file is not None:
        given["storagePassphrase"] = read_passphrase(args.storage_passphrase_file)
    if args.ca is not None:
        given["caCertificates"] = Path(args.ca).read_text(encoding="utf-8")
    return TunnelOptions.from_mapping(given)


def read_passphrase(path: str) -> str:
    """First line of a file, without its end. A file, because arguments can be seen by other users."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline(65_536).rstrip("\r\n")
    except UnicodeDecodeError:
        raise OptionError("storagePassphrase", f"{path} is not UTF-8 text") from None


def parse_endpoint(text: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port`. Raises `UsageError`."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", code="bad_endpoint")
    return host.strip("[]"), int(port)


async def run_fetch(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    headers = []
    for line in args.header:
        name, separator, value = line.partition(":")
        if not separator:
            raise UsageError(f"header {line!r} is not NAME: VALUE", code="bad_header")
        headers.append((name.strip(), value.strip()))
    method = args.method or ("POST" if args.data is not None else "GET")
    started = time.monotonic()
    response = await tunnel.fetch(HttpRequest(url=args.url, method=method, headers=headers, body=args.data))
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    with contextlib.ExitStack() as files:
        target: Any = None
        if args.output is not None:
            target = files.enter_context(open(args.output, "wb"))
        elif not args.json:
            target = sys.stdout.buffer
        async for chunk in response:
            digest.update(chunk)
            size += len(chunk)
            if target is not None:
                target.write(chunk)
            else:
                kept += chunk
        if target is not None:
            target.flush()
    result: dict[str, Any] = {
        "url": response.url,
        "status": response.status,
        "reason": response.reason,
        "headers": [list(pair) for pair in response.headers],
        "bytes": size,
        "sha256": digest.hexdigest(),
        "tls": response.tls.version if response.tls is not None else None,
        "ms": round((time.monotonic() - started) * 1000),
    }
    if args.json and args.output is None:
        try:
            result["text"] = kept.decode()
        except UnicodeDecodeError:
            result["base64"] = base64.b64encode(kept).decode()
    return result


async def run_dns(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    """Addresses; with a type or a server, records with all they have."""
    if args.type is None and args.server is None:
        addresses = [str(address) for address in await tunnel.resolve(args.name, family=args.family)]
        if not args.json:
            print("\n".join(addresses))
        return {"name": args.name, "addresses": addresses}
    answer = await tunnel.lookup(args.name, args.type or ("AAAA" if args.family == 6 else "A"), server=args.server)
    result = answer.to_dict()
    if not args.json:
        for record in result["records"]:
            values = [f"{name}={value}" for name, value in record.items() if name not in ("name", "ttl", "type")]
            print(record["name"], record["ttl"], record["type"], *values)
    return result


async def run_ws(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    """One answer is awaited for each message."""
    socket = await tunnel.connect_websocket(args.url)
    received: list[str] = []
    try:
        messages = args.message if args.message is not None else [line.rstrip("\n") for line in sys.stdin]
        for message in messages:
            await socket.send(message)
            try:
                answer = await asyncio.wait_for(socket.receive(), ANSWER_TIMEOUT)
            except TimeoutError:
                raise TimeoutExpired(f"{args.url}: no answer in {ANSWER_TIMEOUT:g} s", phase="receive") from None
            if isinstance(answer, Close):
                break
            received.append(answer if isinstance(answer, str) else base64.b64encode(answer).decode())
            if not args.json:
                print(received[-1], flush=True)
        closed = await socket.close(1000)
    finally:
        socket.abort()
    return {"url": args.url, "sent": messages, "received": received, "close": [closed.code, closed.reason]}


async def run_udp(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    host, port = parse_endpoint(args.endpoint)
    address = (await tunnel.resolve(host))[0]
    socket = tunnel.bind_udp()
    try:
        socket.send_to(args.text.encode(), address, port)
        data, source = await socket.receive(ANSWER_TIMEOUT)
    finally:
        socket.close()
    text = data.decode("utf-8", "backslashreplace")
    if not args.json:
        print(text)
    return {"from": f"{source.address}:{source.port}", "text": text}


async def _stdin() -> AsyncIterator[bytes]:
    """Standard input as it comes; a regular file cannot be waited for and never needs it."""
    if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
        while data := sys.stdin.buffer.read(_PIECE):
            yield data
        return
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while data := await reader.read(_PIECE):
            yield data
    finally:
        transport.close()


async def run_tcp(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    host, port = parse_endpoint(args.endpoint)
    connected = await tunnel.connect_tcp(host, port, tls=args.tls)
    stream = connected.stream
    sent = received = 0
    output = bytearray()

    async def send_stdin() -> None:
        nonlocal sent
        async for data in _stdin():
            await stream.write(data)
            sent += len(data)
        await stream.send_eof()

    sender = asyncio.create_task(send_stdin())
    try:
        while data := await stream.read():
            received += len(data)
            if args.json:
                output += data
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
    finally:
        sender.cancel()
        stream.abort()
    result: dict[str, Any] = {"endpoint": args.endpoint, "sent": sent, "received": received}
    if args.json:
        result["base64"] = base64.b64encode(output).decode()
    return result


async def run_ping(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    """What got no answer is told and counted; only when nothing did, the last error is raised."""
    times: list[float] = []
    address, failure = None, None
    for number in range(1, args.count + 1):
        try:
            reply = await tunnel.ping(args.host, size=args.size, family=args.family)
        except (NetworkError, TimeoutExpired) as error:
            failure, shown = error, error.message
        else:
            address = str(reply.address)
            times.append(round(reply.rtt * 1000, 1))
            shown = f"{address}: {times[-1]} ms"
        if not args.json:
            print(f"{number}: {shown}", flush=True)
    if failure is not None and not times:
        raise failure
    return {"host": args.host, "address": address, "sent": args.count, "ms": times}


COMMANDS: dict[str, Command] = {
    "fetch": run_fetch,
    "dns": run_dns,
    "ws": run_ws,
    "udp": run_udp,
    "tcp": run_tcp,
    "ping": run_ping,
    "proxy": proxy_command.run_proxy,
}
PEER_COMMANDS: dict[str, Command] = {
    "listen": peer.run_listen,
    "send": peer.run_send,
    "stream": peer.run_stream(_stdin),
}
COMMANDS |= PEER_COMMANDS


def endless(args: argparse.Namespace) -> bool:
    """Does it run until it is interrupted? Then `--timeout` is for the set-up alone."""
    return args.command in ("proxy", "listen") or (args.command == "stream" and bool(args.listen))


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Set a tunnel up, run the command, close the tunnel."""
    options = options_from(args)
    host = CPythonHost(verbose=not args.quiet, ca_file=args.ca)
    with contextlib.ExitStack() as files:
        observer = None
        if args.pcap is not None:
            capture = files.enter_context(open(args.pcap, "wb"))
            observer = PcapWriter(capture, unix_offset=host.unix_time() - host.now())
        tunnel = Tunnel(options, host, observer=observer)
        try:
            async with asyncio.timeout(args.timeout) as limit:
                started = time.monotonic()
                await tunnel.start()
                setup_ms = round((time.monotonic() - started) * 1000)
                if endless(args):
                    limit.reschedule(None)
                result = await COMMANDS[args.command](tunnel, args)
                return {**result, "setup_ms": setup_ms}
        except TimeoutError:
            raise TimeoutExpired(f"not done in {args.timeout:g} s", phase="total") from None
        finally:
            await tunnel.close()


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    try:
        parser = build_parser()
        args = parser.parse_args(words)
        if args.command == "completion":
            print(completion.script(parser, args.shell))
            return 0
        extras.require("cpython")
        result = asyncio.run(run(args))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (SmolmixError, OSError) as error:
        return _failed(error, as_json="--json" in words)
    if args.json:
        print(json.dumps(result))
    return 0


def _failed(error: SmolmixError | OSError, *, as_json: bool) -> int:
    """Tell what went wrong; the exit code for it."""
    if not isinstance(error, SmolmixError):
        error = SmolmixError(str(error), code="system")
    if as_json:
        print(json.dumps({"error": error.to_dict()}))
    where = f" [{error.phase}]" if error.phase else ""
    print(f"{PROGRAM}: {error.code}{where}: {error.message}", file=sys.stderr)
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
