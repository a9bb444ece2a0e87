"""A bare client for tests and load: registers at a gateway and passes single packets and payloads, nothing more.

It has no pacing, retransmission or reassembly; it shows what the network itself does. Handshake and frames come from
the client's own codecs, the WebSocket from `websockets`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import SmolmixError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import ClientHandshake
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import RandomSource

TIMEOUT = 10.0
Message = TypeVar("Message", bound=control.ControlMessage)


class RawClient:
    """One client of one gateway. Payloads pushed to it collect in `payloads`, texts in `texts`."""

    def __init__(
        self, crypto: Crypto, rng: RandomSource, url: str, gateway_identity: bytes, keys: ClientKeys | None = None
    ) -> None:
        self.crypto = crypto
        self.rng = rng
        self.url = url
        self.keys = keys or ClientKeys.generate(rng)
        self.identity = self.keys.identity(crypto)
        self.address = Recipient(
            self.identity.public, crypto.x25519_base(self.keys.encryption_secret), gateway_identity
        )
        self.shared_key = b""
        self.version = auth.NEWEST_PROTOCOL
        self.payloads: asyncio.Queue[bytes] = asyncio.Queue()
        self.texts: asyncio.Queue[control.ControlMessage] = asyncio.Queue()
        self.sent_answers = 0  # `send` texts, which are counted and not queued
        self.malformed = 0  # answers that could not be read
        self.remaining = 0
        self.closed = asyncio.Event()
        """Set when the gateway ended the connection."""
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    async def __aenter__(self) -> Self:
        await self.open()
        await self.register()
        await self.claim()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect the WebSocket."""
        self.closed.clear()
        self._socket = await connect(self.url, compression=None, max_size=1 << 20, ping_interval=None, proxy=None)
        self._reader = asyncio.get_running_loop().create_task(self._read(self._socket))

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        self._socket = self._reader = None

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                try:
                    self._take(message)
                except SmolmixError:
                    self.malformed += 1
        self.closed.set()

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.payloads.put_nowait(frames.open_frame(self.crypto, self.shared_key, message).plaintext)
            return
        text = control.parse_response(message)
        if isinstance(text, control.Send):
            self.sent_answers += 1
            self.remaining = text.remaining_bandwidth
        else:
            self.texts.put_nowait(text)

    async def send(self, message: control.ControlMessage) -> None:
        await self.socket.send(message.encode())

    async def expect(self, kind: type[Message]) -> Message:
        """The next text message, which must be of this kind."""
        async with asyncio.timeout(TIMEOUT):
            message = await self.texts.get()
        if not isinstance(message, kind):
            raise SmolmixError(f"expected {kind.__name__}, the gateway sent {message!r}", code="unexpected")
        return message

    async def probe(self) -> int:
        """The gateway's protocol version."""
        await self.send(control.SupportedProtocolRequest())
        return (await self.expect(control.SupportedProtocol)).version

    async def register(self) -> control.Register:
        """The four-message handshake; keeps the shared key."""
        handshake = ClientHandshake(self.crypto, self.rng, self.identity, self.address.gateway)
        await self.send(control.HandshakePayload(self.version, handshake.init()))
        answer = await self.expect(control.HandshakePayload)
        self.version = answer.protocol_version
        await self.send(control.HandshakePayload(self.version, handshake.answer(answer.data)))
        self.shared_key = handshake.finish((await self.expect(control.HandshakePayload)).data)
        return await self.expect(control.Register)

    async def authenticate(self, timestamp: int | None = None) -> control.Authenticate:
        """`authenticateV2` with the kept key."""
        moment = int(time.time()) if timestamp is None else timestamp
        request = auth.sign_authentication(self.crypto, self.rng, self.identity, self.shared_key, self.version, moment)
        await self.send(request)
        return await self.expect(control.Authenticate)

    async def claim(self) -> int:
        """The free allowance; the new balance."""
        await self.send(control.ClaimFreeBandwidth())
        self.remaining = (await self.expect(control.Bandwidth)).available_total
        return self.remaining

    def sealed(self, packet: MixPacket) -> bytes:
        """The WebSocket frame that forwards a packet."""
        old = self.version < auth.ROTATION_PROTOCOL
        kind = frames.FORWARD_V1 if old else frames.FORWARD_V2
        plaintext = packet.to_bytes(1 if old else 2)
        return frames.seal_frame(self.crypto, self.shared_key, self.rng.bytes(12), kind, plaintext)

    async def forward(self, packet: MixPacket) -> None:
        await self.socket.send(self.sealed(packet))

    async def payload(self, timeout: float = TIMEOUT) -> bytes:
        """The next payload pushed by the gateway."""
        async with asyncio.timeout(timeout):
            return await self.payloads.get()
