"""A gateway made of the server pieces that answers at once, for sessions and links under test."""

from __future__ import annotations

from collections.abc import Callable

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import GatewayError
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import GatewayHandshake
from smolmix_web.mixnet.keys import IdentityKeys
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom

UNIX = 1_790_000_000.25
GRANT = 68_719_476_736
TICKETS_ONLY = "This gateway is only accepting coconut credentials for bandwidth"


class ScriptedGateway:
    """Answers like a real gateway of a given protocol version; every knob is an attribute."""

    def __init__(self, crypto: Crypto, protocol: int = 6, number: int = 7) -> None:
        self.crypto = crypto
        self.rng = SeededRandom(f"gateway {number}")
        self.identity = IdentityKeys.from_seed(crypto, bytes([number]) * 32)
        self.protocol = protocol
        self.keys: dict[bytes, bytes] = {}
        self.last_timestamps: dict[bytes, int] = {}
        self.bandwidth = 0
        self.grant: int | None = GRANT
        self.refusal = TICKETS_ONLY
        self.stored: list[bytes] = []
        self.packets: list[MixPacket] = []
        self.silent: set[str] = set()  # request types that get no answer
        self.answers_packets = True
        self.garble: Callable[[str], str] | None = None
        self.seen: list[str] = []
        self._handshake: GatewayHandshake | None = None
        self._client: bytes | None = None

    def connected(self) -> None:
        """A new socket: a handshake begins anew on it."""
        self._handshake = None
        self._client = None

    def receive(self, frame: bytes | str, unix_time: float) -> list[bytes | str]:
        if isinstance(frame, bytes):
            return self._packet(frame)
        request = control.parse_request(frame)
        self.seen.append(request.type)
        if request.type in self.silent:
            return []
        answers = self._answer(request, unix_time)
        out: list[bytes | str] = []
        for answer in answers:
            text = answer if isinstance(answer, bytes) else answer.encode()
            out.append(self.garble(text) if self.garble and isinstance(text, str) else text)
        return out

    def _answer(self, request: control.ControlMessage, unix_time: float) -> list[control.ControlMessage | bytes]:
        match request:
            case control.SupportedProtocolRequest():
                return [control.SupportedProtocol(self.protocol)]
            case control.HandshakePayload(version, data):
                version = min(version, self.protocol)
                try:
                    if self._handshake is None:
                        self._handshake = GatewayHandshake(self.crypto, self.rng, self.identity)
                        return [control.HandshakePayload(version, self._handshake.answer(data))]
                    confirmed = self._handshake.finish(data)
                except GatewayError as error:
                    return [control.HandshakeError(error.message)]
                assert self._handshake.client_identity and self._handshake.shared_key
                self._client = self._handshake.client_identity
                self.keys[self._client] = self._handshake.shared_key
                return [control.HandshakePayload(version, confirmed), control.Register(version, True)]
            case control.AuthenticateV2():
                key = self.keys.get(request.client_identity)
                last = self.last_timestamps.get(request.client_identity)
                try:
                    auth.verify_authentication(
                        self.crypto,
                        request,
                        key,
                        unix_time=unix_time,
                        newest_protocol=min(6, self.protocol),
                        last_timestamp=last,
                    )
                except GatewayError as error:
                    return [control.Error(error.message)] * 2
                assert key is not None
                self._client = request.client_identity
                self.last_timestamps[self._client] = request.timestamp
                pushes: list[control.ControlMessage | bytes] = [
                    frames.seal_push(self.crypto, self.rng, key, body) for body in self.stored
                ]
                self.stored = []
                return [*pushes, control.Authenticate(request.protocol_version, True, self.bandwidth)]
            case control.ClaimFreeBandwidth():
                if self.grant is None:
                    return [control.Error(self.refusal)]
                self.bandwidth += self.grant
                return [control.Bandwidth(self.bandwidth)]
            case control.EncryptedRequest():
                assert self._client is not None
                request_json = auth.open_encrypted(self.crypto, self.key, request)
                assert request_json == auth.FORGET_CLIENT
                return [auth.seal_response(self.crypto, self.rng, self.key, {"ForgetMeAck": {}})]
        return [control.Error("not now")]

    @property
    def key(self) -> bytes:
        assert self._client is not None
        return self.keys[self._client]

    def push(self, body: bytes) -> bytes:
        return frames.seal_push(self.crypto, self.rng, self.key, body)

    def _packet(self, frame: bytes) -> list[bytes | str]:
        opened = frames.open_frame(self.crypto, self.key, frame)
        packet = MixPacket.from_bytes(opened.plaintext, version=opened.kind)
        if self.bandwidth < len(packet.packet):
            return [control.OutOfBandwidth(len(packet.packet), self.bandwidth).encode()]
        self.bandwidth -= len(packet.packet)
        self.packets.append(packet)
        return [control.Send(self.bandwidth).encode()] if self.answers_packets else []
