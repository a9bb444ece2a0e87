"""Messages and streams of other clients for asyncio: futures on top of `streams/`, as `sockets.py` is on the stack.

What waits is bounded in the core. A waiting coroutine is one future; everything that sends has a deadline of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..engine import Engine
from ..errors import Cancelled, MessageTooLong, SmolmixError, StateError, StreamError, UsageError
from ..mixnet.addresses import SENDER_TAG_LENGTH, Recipient
from ..mixnet.client import Delivery, Lane
from ..streams.control import FIRST_OWN
from ..streams.stream import Peer, Stream
from .deadline import Deadline
from .sockets import READ_SIZE, Net, Signal, Waiters

MAX_MESSAGE = 1024 * 1024  # bytes; about 13 s of the default traffic
MESSAGE_SURBS = 13  # three more than a replier keeps for asking, so that a short answer needs no round trip first
MAX_SURBS = 100
MESSAGE_TIMEOUT = 300.0  # s until a message that is not acknowledged is given up


class PeerNet:
    """What the edge needs of a running client: its event loop and its core."""

    def __init__(self, net: Net, engine: Engine) -> None:
        self.engine = engine
        self.now = net.now
        self.call_later = net.call_later
        self.wake = net.wake


@dataclass(frozen=True)
class Message:
    """Bytes of another client. `sender_tag` (16 bytes): whom `reply` answers, None for a sender that wants no answer.
    `source`: the address that we had written to, where this is the answer to that."""

    data: bytes
    sender_tag: bytes | None
    source: str | None = None


class Sent:
    """A message on its way."""

    def __init__(self, net: PeerNet) -> None:
        self._net = net
        self._signal = Signal("hear of the delivery")
        self.delivery = Delivery(lambda _: self._signal.fire())

    @property
    def state(self) -> str:
        """`sending`; `delivered`: the recipient's gateway has every part of it; `failed`."""
        if not self.delivery.ended:
            return "sending"
        return "delivered" if self.delivery.delivered else "failed"

    async def delivered(self, timeout: float = MESSAGE_TIMEOUT) -> None:
        """Wait for that. `StreamError` `not_delivered` with the reason (`not_acknowledged`, `unroutable`, `no_surbs`),
        `TimeoutExpired(phase="delivery")`."""
        async with Deadline(self._net, timeout, "delivery"):
            while not self.delivery.ended:
                await self._signal.wait()
        if self.delivery.failure is not None:
            text = "the message did not reach the recipient's gateway"
            raise StreamError(text, code="not_delivered", phase="delivery", reason=self.delivery.failure)


class Messages:
    """`tunnel.messages`: raw messages, those of the reference's `send_plain_message` and `send_reply`.

    `usable` waits until packets can leave. What arrives before this was first asked for is not kept.
    """

    def __init__(self, net: PeerNet) -> None:
        self._net = net
        self._arrived = Signal("receive messages")
        self._error: SmolmixError | None = None
        mailbox = self._mailbox = net.engine.peers.mailbox
        mailbox.open = True
        mailbox.on_event = self._arrived.fire

    @property
    def lost(self) -> int:
        """Messages that arrived when 1024, or 8 MiB, were waiting to be received."""
        return self._mailbox.statistics.lost

    def send(
        self, address: str | Recipient, data: bytes, *, surbs: int | None = MESSAGE_SURBS, timeout: float | None = None
    ) -> Sent:
        """Queue a message for a Nym address. `surbs`: the recipient may send about so many packets back, and sees a tag
        by which to do it; None or 0: it cannot answer. `timeout`: s until it is given up.

        Errors: `MessageError` (`bad_recipient`, `bad_base58`), `DirectoryError` `gateway_unknown`, `StateError`
        `queue_full`, `MessageTooLong`.
        """
        self._check(data)
        surbs = check_surbs(surbs or 0, least=0)
        recipient = parse_recipient(address)
        sent, net = Sent(self._net), self._net
        net.engine.mixnet.send(
            recipient,
            bytes(data),
            surbs=surbs or None,
            fill=surbs > 0,
            lane=Lane.BULK,
            lifetime=timeout,
            delivery=sent.delivery,
            now=net.now(),
        )
        net.wake()
        return sent

    def reply(self, sender_tag: bytes, data: bytes, *, timeout: float | None = None) -> Sent:
        """Answer whoever is behind a tag; it costs a SURB for each 1.6 kB, and waits for more of them where need be.

        Errors: `StateError` (`unknown_sender_tag`, `queue_full`, `no_surbs`: all were used, only a new message of that
        sender brings others), `MessageTooLong`.
        """
        self._check(data)
        if not data:
            raise UsageError("a reply must not be empty", code="bad_message", phase="reply")
        if len(sender_tag) != SENDER_TAG_LENGTH:
            raise UsageError(f"a sender tag has {SENDER_TAG_LENGTH} bytes", code="bad_message", phase="reply")
        mixnet, sent = self._net.engine.mixnet, Sent(self._net)
        known = mixnet.reply_room(sender_tag) or mixnet.replies_waiting(sender_tag)
        if known and not mixnet.surbs_held(sender_tag) and not mixnet.replies_waiting(sender_tag):
            raise StateError("no SURBs of this sender are left", code="no_surbs", phase="reply")
        mixnet.send_reply(sender_tag, bytes(data), lifetime=timeout, delivery=sent.delivery, now=self._net.now())
        self._net.wake()
        return sent

    def surbs(self, sender_tag: bytes) -> int:
        """Reply SURBs that we hold of a tag; ten of them are kept for asking for more."""
        return self._net.engine.mixnet.surbs_held(sender_tag)

    async def receive(self, timeout: float | None = None) -> Message:
        """The next message. `TimeoutExpired(phase="receive")`; the tunnel's error once it is over."""
        if timeout is None:
            return await self._receive()
        async with Deadline(self._net, timeout, "receive"):
            return await self._receive()

    async def _receive(self) -> Message:
        while True:
            message = self._mailbox.take()
            if message is not None:
                source = None if message.source is None else str(message.source)
                return Message(message.data, message.sender_tag, source)
            if self._error is not None:
                raise self._error
            await self._arrived.wait()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Messages until the tunnel is closed; the error that ended it is raised."""
        while True:
            try:
                message = await self._receive()
            except SmolmixError:
                if self._error is not None and self._error.code == "tunnel_down":
                    return
                raise
            yield message

    def close(self, error: SmolmixError) -> None:
        """The tunnel is over."""
        self._error = self._error or error
        self._arrived.fire()

    def _check(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        if len(data) > MAX_MESSAGE:
            text = f"{len(data)} bytes are too many for a message, {MAX_MESSAGE} is the most"
            raise MessageTooLong(text, phase="send")


class PeerStream(Waiters):
    """A byte stream to another client: a `ByteStream`. One task may read while another writes.

    `remote`: the peer's address where we dialed it; who dialed us stays unknown.
    """

    def __init__(self, net: PeerNet, stream: Stream, remote: str | None = None) -> None:
        super().__init__()
        self.remote = remote
        self._net = net
        self._stream = stream
        self._drained = Signal("see everything arrive")
        stream.on_event = self._on_event

    @property
    def reliable(self) -> bool | None:
        """Is the peer one of ours, that acknowledges, repeats and ends? None: it has not shown yet."""
        peer = self._stream.peer
        return None if peer is Peer.UNKNOWN else peer is Peer.OURS

    def _on_event(self) -> None:
        for signal in (self._readable, self._writable, self._drained):
            signal.fire()
        if self._watcher is not None:
            self._watcher()

    async def read(self, limit: int = READ_SIZE) -> bytes:
        """Up to `limit` bytes, at least one; `b""` at the end, which only a peer of ours tells. Errors: `StreamError`
        (`stream_reset`, `stream_gap`, `stream_overflow`, `peer_refused`, ...), `TimeoutExpired` (`peer_timeout`,
        `stream_idle`)."""
        stream = self._stream
        while True:
            if self._failure is not None:
                raise self._failure
            if stream.available:
                piece = stream.read(limit)
                self._net.wake()
                return piece
            if stream.eof:
                return b""
            if stream.error is not None:
                raise stream.error
            await self._readable.wait()

    async def read_exactly(self, count: int) -> bytes:
        """`StreamError` `stream_truncated` when the stream ends before."""
        pieces, left = [], count
        while left:
            piece = await self.read(left)
            if not piece:
                raise StreamError(f"the stream ended {left} bytes too early", code="stream_truncated", phase="stream")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    async def write(self, data: bytes) -> None:
        """Returns when all of `data` stands in the send buffer."""
        view = memoryview(data)
        while True:
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise StateError("write after close", phase="stream")
            taken = self._stream.write(view)
            if taken:
                self._net.wake()
                view = view[taken:]
            if not view:
                return
            await self._writable.wait()

    async def drain(self, timeout: float | None = None) -> None:
        """Returns when everything written has arrived: at a peer of ours, or else at the gateway of the peer. Errors as
        of `read`, `TimeoutExpired(phase="delivery")`."""
        if timeout is not None:
            async with Deadline(self._net, timeout, "delivery"):
                await self.drain()
            return
        while not self._stream.drained:
            await self._drained.wait()
        error = self._failure or self._stream.error or self._stream.write_error
        if error is not None:
            raise error

    async def finished(self, timeout: float) -> None:
        """Close, and return when both sides know it: afterwards the tunnel may be closed without a loss. Errors as of
        `read`; `TimeoutExpired(phase="delivery")`."""
        stream = self._stream
        await self.close()
        async with Deadline(self._net, timeout, "delivery"):
            while not stream.over:
                await self._drained.wait()
        if stream.error is not None:
            raise stream.error

    async def send_eof(self) -> None:
        """End the sending half; reading goes on. A peer of ours reads the end, a reference client hears nothing."""
        self._stream.finish()
        self._closing = True
        self._net.wake()

    async def close(self) -> None:
        """Orderly, without waiting: what was written is sent for up to two minutes, nothing more is read."""
        if self._failure is None:
            self._stream.close()
            self._net.wake()
            self._end(StateError("the stream is closed", phase="stream"))

    def abort(self, error: SmolmixError | None = None, *, code: int = FIRST_OWN, text: str = "") -> None:
        """At once, and nothing written is sent any more. A peer of ours is told `code` (256 to 65535) and `text`."""
        if not FIRST_OWN <= code <= 0xFFFF:
            raise UsageError(f"code {code} is not in {FIRST_OWN}..65535", code="bad_code", phase="stream")
        if self._failure is None:
            failure = error or self._stream.error or Cancelled("the stream was aborted", phase="stream")
            self._stream.abort(failure, code, text)
            self._net.wake()
            self._end(failure)
            self._drained.fire()

    def is_quiet(self) -> bool:
        return self._failure is None and not self._closing and self._stream.quiet

    async def __aenter__(self) -> PeerStream:
        """Closed at the end of an `async with` block, aborted where that fails."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()


class Listener:
    """Incoming streams, in an `async for` or by `accept`. One per tunnel at a time."""

    def __init__(self, net: PeerNet) -> None:
        self._net = net
        self._arrived = Signal("accept")
        self._ended = Signal("see the end")
        self._error: SmolmixError | None = None
        net.engine.peers.listen(self._arrived.fire)

    async def accept(self, timeout: float | None = None) -> PeerStream:
        """The next one. `TimeoutExpired(phase="accept")`, `StateError` after `close`, the tunnel's error."""
        if timeout is None:
            return await self._accept()
        async with Deadline(self._net, timeout, "accept"):
            return await self._accept()

    async def _accept(self) -> PeerStream:
        while True:
            if self._error is not None:
                raise self._error
            stream = self._net.engine.peers.accept()
            if stream is not None:
                return PeerStream(self._net, stream)
            await self._arrived.wait()

    async def __aiter__(self) -> AsyncIterator[PeerStream]:
        """Until `close`."""
        while True:
            try:
                stream = await self._accept()
            except StateError:
                return
            yield stream

    async def ended(self) -> SmolmixError:
        """Wait until no more are taken, and say why."""
        while self._error is None:
            await self._ended.wait()
        return self._error

    def close(self, error: SmolmixError | None = None) -> None:
        """No more are taken; those that nobody accepted are refused. Streams that were live on."""
        if self._error is None:
            self._error = error or StateError("the listener is closed", phase="accept")
            self._net.engine.peers.unlisten()
            self._net.wake()
            self._arrived.fire()
            self._ended.fire()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_recipient(address: str | Recipient) -> Recipient:
    """A Nym address; `MessageError` names the part that is wrong."""
    return address if isinstance(address, Recipient) else Recipient.parse(address)


def check_surbs(surbs: int, *, least: int) -> int:
    if not least <= surbs <= MAX_SURBS:
        raise UsageError(f"{surbs} SURBs are not in {least}..{MAX_SURBS}", code="bad_surbs")
    return surbs


async def open_stream(net: PeerNet, recipient: Recipient, surbs: int) -> PeerStream:
    """See `Tunnel.open_stream`."""
    stream = net.engine.peers.open(recipient, net.now(), surbs=surbs)
    net.wake()
    await asyncio.sleep(0)  # the Open stands before what the caller does next
    return PeerStream(net, stream, str(recipient))
