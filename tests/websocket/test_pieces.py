"""What comes of a server's bytes does not depend on how they were cut on their way: the tables, cut anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import SmolmixError
from smolmix_web.websocket import Close, connect
from tests.beside.case import RESET, Closed, Script, WebSocketCase
from tests.beside.raw_server import RawServer
from tests.beside.tables import expected, mismatch, websocket_cases
from tests.http_server import PipeConnector
from tests.virtual_loop import run_virtual

pytestmark = pytest.mark.feature("WebSocket", "every kind of frame, in any pieces")

SHORT = 3000  # bytes of a case that is cut into single ones


@dataclass
class Cut:
    """A stream whose writes arrive `step` bytes at a time."""

    stream: ByteStream
    step: int

    async def read(self, limit: int = 65536) -> bytes:
        return await self.stream.read(limit)

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.step):
            await self.stream.write(data[start : start + self.step])

    async def close(self) -> None:
        await self.stream.close()

    def abort(self) -> None:
        self.stream.abort()


def _joined(script: Script) -> Script:
    """Without its pauses."""
    data = b"".join(step for step in script if isinstance(step, bytes))
    return [data, *(step for step in script if isinstance(step, str))]


def _size(case: WebSocketCase) -> int:
    return len(case.handshake) + sum(len(step) for step in case.script if isinstance(step, bytes))


async def _talk(case: WebSocketCase, step: int) -> Closed:
    server = RawServer(case, "http://a.test")
    connector = PipeConnector(lambda stream: server.serve(Cut(stream, step)))
    try:
        socket = await connect(LoopClock(), None, "ws://a.test/", case.protocols, connector=connector)
    except SmolmixError as error:
        assert error.phase is not None and connector.open_count == 0
        return Closed(code=1006, clean=False, opened=False)
    messages: list[str | bytes] = []
    while not isinstance(received := await socket.receive(), Close):
        messages.append(received)
    return Closed(messages, received.code, received.reason if received.clean else "", received.clean)


CASES = [case for case in websocket_cases() if case.closes is None]


@pytest.mark.parametrize("kind", sorted({case.kind for case in CASES}))
def test_any_pieces_come_to_the_same(kind: str) -> None:
    """Byte by byte, three at a time, and all that the script says in one piece."""
    for case in (case for case in CASES if case.kind == kind):
        want = replace(expected(case, native=False), error=False)
        variants = []
        if RESET not in case.script:  # it overtakes what was sent before
            variants.append((replace(case, script=_joined(case.script)), SHORT * 1000))
        if _size(case) <= SHORT:
            variants += [(case, 1), (case, 3)]
        for variant, step in variants:
            got = run_virtual(_talk(variant, step))
            assert mismatch(want, got, codes=True, partial=True) == [], (case.name, step)


@pytest.mark.parametrize("kind", sorted({case.kind for case in CASES}))
def test_every_beginning_ends(kind: str) -> None:
    """Cut off after any byte: messages that came whole, and a typed end, at once."""

    class Short(Cut):
        async def write(self, data: bytes) -> None:
            if self.step > 0:
                await self.stream.write(data[: self.step])
                self.step -= len(data)
                if self.step <= 0:
                    await self.stream.close()

    async def talk(case: WebSocketCase, size: int) -> None:
        server = RawServer(case, "http://a.test")
        connector = PipeConnector(lambda stream: server.serve(Short(stream, size)))
        begin = LoopClock().now()
        messages: list[str | bytes] = []
        try:
            socket = await connect(LoopClock(), None, "ws://a.test/", case.protocols, connector=connector)
            while not isinstance(received := await socket.receive(), Close):
                messages.append(received)
        except SmolmixError as error:
            assert error.phase is not None and error.code in ("websocket_handshake", "bad_status")
        else:
            assert received.clean or received.error is not None
            whole = list(expected(case, native=False).messages)
            assert messages == whole[: len(messages)]
        assert LoopClock().now() - begin < 10

    for case in [case for case in CASES if case.kind == kind and _size(case) < 400][:12]:
        single = replace(case, script=_joined([step for step in case.script if isinstance(step, bytes)]))
        for size in range(1, _size(case), 3):
            run_virtual(talk(single, size))
