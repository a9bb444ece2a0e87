"""What a gateway does wrong to its clients on purpose; may change at any time.

`malformed` names one kind of bad answer, given `times` times (None: until it is taken back):

    text_not_json        the next control messages are no JSON
    text_unknown         a control message of a type that does not exist
    text_wrong_fields    a control message of the right type, with fields of wrong types
    handshake            the handshake's answer has a bit changed
    push_garbage         a push of random bytes instead of a sealed payload
    push_short           a push of five bytes
    push_size            a sealed payload of a size that no packet has
    binary_in_text       a push as text
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from smolmix_web.mixnet.gateway import control
from smolmix_web.rand import RandomSource

from .errors import ConfigError

TEXTS = ("text_not_json", "text_unknown", "text_wrong_fields", "handshake")
PUSHES = ("push_garbage", "push_short", "push_size", "binary_in_text")
MALFORMED = (*TEXTS, *PUSHES)
WRONG_SIZE = 100


@dataclass
class GatewayFaults:
    refuse_connections: bool = False
    """Cut every new connection at once, without a word; those that are open stay."""
    malformed: str | None = None
    times: int | None = None

    def malform(self, kind: str | None, times: int | None = None) -> None:
        """Begin with bad answers of this kind, or end them."""
        if kind is not None and kind not in MALFORMED:
            raise ConfigError("malformed", f"{kind!r} is not one of {', '.join(MALFORMED)}")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ConfigError("times", f"{times!r} is not a whole number from 1")
        self.malformed, self.times = kind, times

    def _take(self, kinds: tuple[str, ...]) -> str | None:
        kind = self.malformed
        if kind not in kinds:
            return None
        if self.times is not None:
            self.times -= 1
            if self.times == 0:
                self.malformed = self.times = None
        return kind

    def text(self, message: control.ControlMessage) -> str | None:
        """What to send instead of a control message; None: the message itself."""
        if self.malformed == "handshake" and not isinstance(message, control.HandshakePayload):
            return None
        match self._take(TEXTS):
            case "text_not_json":
                return "{not json"
            case "text_unknown":
                return json.dumps({"type": "no_such_answer", "status": True})
            case "text_wrong_fields":
                fields = json.loads(message.encode())
                return json.dumps({name: value if name == "type" else [value] for name, value in fields.items()})
            case "handshake":
                assert isinstance(message, control.HandshakePayload)
                damaged = bytes([message.data[0] ^ 1]) + message.data[1:]
                return control.HandshakePayload(message.protocol_version, damaged).encode()
        return None

    def push(self, rng: RandomSource, payload: bytes) -> tuple[str | None, bytes]:
        """(kind of mistake or None, bytes): the payload to seal, or for a mistake that is not sealed the message."""
        kind = self._take(PUSHES)
        match kind:
            case "push_garbage":
                return kind, rng.bytes(len(payload) + 28)
            case "push_short":
                return kind, rng.bytes(5)
            case "push_size":
                return kind, rng.bytes(WRONG_SIZE)
            case "binary_in_text":
                return kind, b"AAAA"
        return None, payload
