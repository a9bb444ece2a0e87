"""The main process's side of a worker: start it, send commands, end it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from .config import MAX_LINE
from .errors import LocalnetError

ANSWER_TIMEOUT = 20.0


class WorkerProcess:
    """One `localnet.worker`, with the answers to its commands in order."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self.ports: dict[str, int] = {}

    async def start(self, first: dict[str, Any]) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "localnet.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C reaches the main process only, which then ends this one in order.
            process_group=0,
        )
        answer = await self._exchange(first)
        self.ports = {str(name): int(port) for name, port in answer["ports"].items()}

    async def command(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer; LocalnetError when it refuses or is gone."""
        answer = await self._exchange({"do": do, **arguments})
        if "error" in answer:
            raise LocalnetError(f"worker: {answer['error']}", code="worker_refused")
        result: dict[str, Any] = answer["ok"]
        return result

    async def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LocalnetError("worker: not started", code="worker_gone")
        async with self._lock:
            try:
                process.stdin.write(json.dumps(message).encode() + b"\n")
                await process.stdin.drain()
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    line = await process.stdout.readline()
            except (ConnectionError, TimeoutError) as error:
                raise LocalnetError(f"worker: {error!r}", code="worker_gone") from None
        if not line:
            raise LocalnetError("worker: it ended", code="worker_gone")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def close(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(LocalnetError):
            await self.command("quit")
        try:
            async with asyncio.timeout(5.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._process = None
