"""Requests to the exit process that wait for their answers, each with its deadline: ping and health (ipr.md 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import StateError, TimeoutExpired
from .events import RequestFailed

MAX_PENDING = 64


@dataclass(frozen=True)
class _Request:
    what: str
    sent: float
    deadline: float


class PendingRequests:
    """By request id."""

    def __init__(self) -> None:
        self._requests: dict[int, _Request] = {}

    def add(self, request_id: int, what: str, now: float, timeout: float) -> None:
        """`StateError` `busy` beyond the bound."""
        if len(self._requests) >= MAX_PENDING:
            raise StateError(f"{what}: {MAX_PENDING} requests wait for an answer", code="busy", phase="exit")
        self._requests[request_id] = _Request(what, now, now + timeout)

    def answered(self, request_id: int, what: str, now: float) -> float | None:
        """The seconds that the answer took; None where nobody waits for it."""
        request = self._requests.get(request_id)
        if request is None or request.what != what:
            return None
        del self._requests[request_id]
        return now - request.sent

    def expired(self, now: float) -> list[RequestFailed]:
        overdue = [request_id for request_id, request in self._requests.items() if now >= request.deadline]
        return [self._fail(request_id, "no answer to {what} within {waited:g} s") for request_id in overdue]

    def end(self) -> list[RequestFailed]:
        """The session is over."""
        return [self._fail(one, "the session ended before {what} was answered") for one in list(self._requests)]

    def next_deadline(self) -> float | None:
        return min((request.deadline for request in self._requests.values()), default=None)

    def _fail(self, request_id: int, text: str) -> RequestFailed:
        request = self._requests.pop(request_id)
        text = text.format(what=request.what, waited=request.deadline - request.sent)
        return RequestFailed(request_id, TimeoutExpired(text, code="exit_timeout", phase="exit"))
