"""A request body that the page sends while the request is under way, in `write` messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

from .channel import Channel, Rewound, Write


class Upload(AsyncIterator[bytes]):
    """Pieces as the page gives them; each is acknowledged when the next one is asked for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._taken: int | None = None

    async def __anext__(self) -> bytes:
        if self._taken is not None:
            taken, self._taken = self._taken, None
            self._channel.send("written", bytes=taken)
        item = await self._channel.next_inbound()
        if not isinstance(item, Write):
            raise StopAsyncIteration
        self._taken = item.size
        return item.octets


class BlobUpload(Upload):
    """The page holds all of it: a redirect that repeats the request can have it from the beginning."""

    def __init__(self, channel: Channel, turn: int = 0) -> None:
        super().__init__(channel)
        self._turn = turn
        self._at_start = turn == 0

    def rewind(self) -> BlobUpload:
        """The page is told when the first piece is asked for: until then, another may still wait for pieces."""
        return BlobUpload(self._channel, self._turn + 1)

    async def __anext__(self) -> bytes:
        if not self._at_start:
            self._channel.send("rewind", turn=self._turn)
            while await self._channel.next_inbound() != Rewound(self._turn):
                pass  # written before the page heard of it
            self._at_start = True
        return await super().__anext__()
