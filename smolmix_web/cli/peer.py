"""The part of the command line that speaks with other clients: listen, send, stream. No exit is asked for."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ..edge.peers import MESSAGE_SURBS, Message, PeerStream
from ..errors import UsageError
from ..streams.hub import OPEN_SURBS
from ..tunnel import Tunnel

DRAIN_TIMEOUT = 120.0  # s for the rest of a stream after its end
OPTIONS = {"exit": "none"}  # of the tunnel, for all of these commands

Stdin = Callable[[], AsyncIterator[bytes]]


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """The parsers, for `commands` of `cli.build_parser`."""
    listen = commands.add_parser("listen", parents=[common], help="print our address, then the messages of others")
    listen.add_argument("-n", "--count", type=int, default=0, help="end after so many messages")
    send = commands.add_parser("send", parents=[common], help="send one message to a Nym address")
    send.add_argument("address")
    send.add_argument("text")
    send.add_argument("--surbs", type=int, default=MESSAGE_SURBS, help="reply SURBs; 0: nobody can answer")
    send.add_argument("--wait", type=float, default=0.0, metavar="S", help="print the answer that comes within S")
    stream = commands.add_parser("stream", parents=[common], help="connect stdin and stdout to another client")
    stream.add_argument("address", nargs="?", help="a Nym address; none with --listen")
    stream.add_argument("--listen", action="store_true", help="print our address on stderr and wait for one stream")
    stream.add_argument("--surbs", type=int, default=OPEN_SURBS, help="reply SURBs on the first message")


async def run_listen(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    messages = tunnel.messages
    _say(args, {"address": tunnel.address}, tunnel.address)
    received = 0
    async for message in messages:
        shown = _shown(message)
        _say(args, shown, shown.get("text", shown.get("base64", "")))
        received += 1
        if received == args.count:
            break
    return {"received": received}


async def run_send(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
    messages = tunnel.messages
    await messages.send(args.address, args.text.encode(), surbs=args.surbs or None).delivered()
    result: dict[str, Any] = {"address": args.address, "delivered": True}
    if args.wait:
        while True:
            answer = await messages.receive(args.wait)
            if answer.source is not None:
                break
        result["answer"] = _shown(answer)
        if not args.json:
            print(result["answer"].get("text", result["answer"].get("base64")), flush=True)
    return result


def run_stream(stdin: Stdin) -> Callable[[Tunnel, argparse.Namespace], Awaitable[dict[str, Any]]]:
    """`stdin` gives standard input as it comes."""

    async def run(tunnel: Tunnel, args: argparse.Namespace) -> dict[str, Any]:
        if args.listen is (args.address is not None):
            raise UsageError("stream needs an address, or --listen", code="usage")
        if args.listen:
            with tunnel.listen() as listener:
                print(tunnel.address, file=sys.stderr, flush=True)
                stream = await listener.accept()
        else:
            stream = await tunnel.open_stream(args.address, surbs=args.surbs)
        return await _connect(stream, args, stdin)

    return run


async def _connect(stream: PeerStream, args: argparse.Namespace, stdin: Stdin) -> dict[str, Any]:
    """Until the peer's end. A peer that cannot tell its end is left when all of ours has arrived at its gateway."""
    sent = received = 0
    output = bytearray()

    async def send() -> None:
        nonlocal sent
        async for data in stdin():
            await stream.write(data)
            sent += len(data)
        await stream.send_eof()
        await stream.drain(DRAIN_TIMEOUT)

    async def receive() -> None:
        nonlocal received
        while data := await stream.read():
            received += len(data)
            if args.json:
                output.extend(data)
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()

    sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and not sending.exception() and not stream.reliable:
            receiving.cancel()
        else:
            await receiving
            if args.listen:
                sending.cancel()  # as netcat: who was called has no more to say when the caller has ended
                await stream.send_eof()
                await stream.drain(DRAIN_TIMEOUT)
            else:
                await sending
        await stream.finished(DRAIN_TIMEOUT)
    except BaseException:
        stream.abort()
        raise
    finally:
        sending.cancel()
        receiving.cancel()
    result: dict[str, Any] = {"sent": sent, "received": received, "reliable": stream.reliable}
    if args.json:
        result["base64"] = base64.b64encode(output).decode()
    return result


def _shown(message: Message) -> dict[str, Any]:
    tag = None if message.sender_tag is None else message.sender_tag.hex()
    shown: dict[str, Any] = {"sender_tag": tag, "source": message.source}
    try:
        shown["text"] = message.data.decode()
    except UnicodeDecodeError:
        shown["base64"] = base64.b64encode(message.data).decode()
    return shown


def _say(args: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    print(json.dumps(record) if args.json else text, flush=True)
