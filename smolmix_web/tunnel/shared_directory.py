"""One directory for several tunnels: a question that several ask at about the same time travels once.

The set-up of a pool would fetch the whole list of nodes once for each tunnel. All else that a host has is passed on.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from ..host.base import Host, HttpAnswer, TimerHandle

KEPT_SECONDS = 30.0  # for tunnels that start together; later everybody asks anew

Question = tuple[str, float, int, str]


class SharedDirectory:
    """Stands where a host stands."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._asked: dict[Question, asyncio.Task[HttpAnswer]] = {}
        self._timers: dict[Question, TimerHandle] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    async def http_get(self, url: str, *, timeout: float, max_bytes: int, fields: Any = True) -> HttpAnswer:
        question = url, timeout, max_bytes, repr(fields)
        task = self._asked.get(question)
        if task is None:
            asking = self._host.http_get(url, timeout=timeout, max_bytes=max_bytes, fields=fields)
            task = self._asked[question] = asyncio.ensure_future(asking)
            task.add_done_callback(partial(self._answered, question))
        return await asyncio.shield(task)  # who asks may give up: the answer is for others too, and has its own limit

    def _answered(self, question: Question, task: asyncio.Task[HttpAnswer]) -> None:
        """An answer is kept for a while; a failure is for those alone who wait for it now."""
        if self._asked.get(question) is not task:
            return
        if task.cancelled() or task.exception() is not None:
            del self._asked[question]
        else:
            self._timers[question] = self._host.call_later(KEPT_SECONDS, partial(self._forget, question))

    def _forget(self, question: Question) -> None:
        self._asked.pop(question, None)
        self._timers.pop(question, None)

    def close(self) -> None:
        """What is still asked is given up."""
        asked, self._asked = self._asked, {}
        for task in asked.values():
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
