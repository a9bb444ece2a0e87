"""Stands between Playwright and Firefox: passes WebDriver BiDi on, and forgives what a release does not know yet.

Playwright sets what it can emulate (colours, a screen) in every new context, and gives up where Firefox's long-term
release has no such command. Of what it emulates nothing is needed here: the answer "unknown command" becomes an empty
one, for `emulation.*` alone.

    python -m browserkit.firefox_relay FIREFOX ARGUMENTS...
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from buildtools.common import ROOT

LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
EMULATION = "emulation."


def write_starter(folder: Path, firefox: str) -> Path:
    """An executable that stands for `firefox`."""
    path = folder / "firefox"
    command = shlex.join([sys.executable, "-m", "browserkit.firefox_relay", firefox])
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} "$@"\n')
    path.chmod(0o755)
    return path


class Forgiving:
    """Which commands wait for an answer that may be "unknown command"."""

    def __init__(self) -> None:
        self._waiting: set[int] = set()

    def command(self, text: str) -> None:
        if EMULATION in text:
            message = json.loads(text)
            if message["method"].startswith(EMULATION):
                self._waiting.add(message["id"])

    def answer(self, text: str) -> str:
        if not self._waiting:
            return text
        message = json.loads(text)
        number = message.get("id")
        if number not in self._waiting:
            return text
        self._waiting.discard(number)
        if message.get("error") != "unknown command":
            return text
        return json.dumps({"type": "success", "id": number, "result": {}})


async def _pass_on(playwright: ServerConnection, address: str) -> None:
    assert playwright.request is not None
    url = address + playwright.request.path
    async with connect(url, max_size=None, compression=None, proxy=None) as firefox:
        forgiving = Forgiving()

        async def down() -> None:
            async for text in playwright:
                assert isinstance(text, str)
                forgiving.command(text)
                await firefox.send(text)

        async def up() -> None:
            async for text in firefox:
                assert isinstance(text, str)
                await playwright.send(forgiving.answer(text))

        tasks = [asyncio.create_task(down()), asyncio.create_task(up())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionClosed):
                raise outcome


async def main(command: Sequence[str]) -> int:
    firefox = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert firefox.stderr is not None
    while line := (await firefox.stderr.readline()).decode(errors="replace"):
        found = LISTENING.search(line)
        if found is None:
            print(line, end="", file=sys.stderr, flush=True)
            continue
        handler = functools.partial(_pass_on, address=found[1])
        async with serve(handler, "127.0.0.1", 0, max_size=None, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            print(f"WebDriver BiDi listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
            while await firefox.stderr.read(65_536):
                pass  # it would wait for us if nobody read
            return await firefox.wait()
    return await firefox.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
