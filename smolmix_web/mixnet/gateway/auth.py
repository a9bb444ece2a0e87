"""Authentication of a registered client, and requests under the shared key; both roles (gateway.md 4.1, 5.4)."""

from __future__ import annotations

import json

from ...crypto.provider import Crypto
from ...errors import CryptoError, GatewayError
from ...rand import RandomSource
from ..json_text import load_json
from ..keys import IdentityKeys
from .control import AuthenticateV2, EncryptedRequest, EncryptedResponse

OLDEST_PROTOCOL = 4  # authenticateV2 and AES-256-GCM-SIV keys
ROTATION_PROTOCOL = 5  # forwarded packets carry the key rotation
NEWEST_PROTOCOL = 6
ALLOWED_SKEW = 120  # seconds between the client's clock and the gateway's

FORGET_CLIENT = {"ForgetMe": {"client": True, "stats": True}}


def choose_protocol(announced: int) -> int:
    """The version to speak with a gateway that announced `announced` (gateway.md 2.1).

    Raises `GatewayError` code `gateway_too_old` below 4; newer than ours gives ours.
    """
    if announced < OLDEST_PROTOCOL:
        raise GatewayError(
            f"the gateway speaks protocol {announced}, at least {OLDEST_PROTOCOL} is needed",
            code="gateway_too_old",
            phase="gateway",
        )
    return min(announced, NEWEST_PROTOCOL)


def _signed_bytes(version: int, identity: bytes, ciphertext: bytes, nonce: bytes, timestamp: int) -> bytes:
    return bytes((version,)) + identity + ciphertext + nonce + timestamp.to_bytes(8, "big")


def sign_authentication(
    crypto: Crypto, rng: RandomSource, identity: IdentityKeys, shared_key: bytes, version: int, timestamp: int
) -> AuthenticateV2:
    """The client's request; `timestamp` in whole Unix seconds, newer than that of any earlier request."""
    nonce = rng.bytes(12)
    ciphertext = crypto.aes256_gcm_siv_seal(shared_key, nonce, identity.public)
    signature = crypto.ed25519_sign(
        identity.seed, _signed_bytes(version, identity.public, ciphertext, nonce, timestamp)
    )
    return AuthenticateV2(version, identity.public, ciphertext, nonce, timestamp, signature)


def verify_authentication(
    crypto: Crypto,
    request: AuthenticateV2,
    shared_key: bytes | None,
    *,
    unix_time: float,
    newest_protocol: int = NEWEST_PROTOCOL,
    last_timestamp: int | None = None,
) -> None:
    """The gateway's checks 1 to 6 in their order. `shared_key`: what is stored for this client, if anything.

    Raises `GatewayError` with code `authentication_refused`, or `not_registered`.
    """

    def refuse(problem: str, code: str = "authentication_refused") -> GatewayError:
        return GatewayError(f"authentication: {problem}", code=code, phase="gateway")

    if not OLDEST_PROTOCOL <= request.protocol_version <= newest_protocol:
        raise refuse(f"protocol {request.protocol_version} is not in {OLDEST_PROTOCOL}..{newest_protocol}")
    if abs(unix_time - request.timestamp) > ALLOWED_SKEW:
        raise refuse(f"the request's time is {abs(unix_time - request.timestamp):.0f} s off")
    signed = _signed_bytes(
        request.protocol_version,
        request.client_identity,
        request.address_ciphertext,
        request.nonce,
        request.timestamp,
    )
    if not crypto.ed25519_verify(request.client_identity, signed, request.signature):
        raise refuse("the signature does not verify")
    if shared_key is None:
        raise refuse("the client is not registered here", "not_registered")
    # AES-GCM-SIV is deterministic, so encrypting again shows that both hold the same key.
    if crypto.aes256_gcm_siv_seal(shared_key, request.nonce, request.client_identity) != request.address_ciphertext:
        raise refuse("the address ciphertext does not match the stored key")
    if last_timestamp is not None and request.timestamp <= last_timestamp:
        raise refuse("the request's time was used before")


# -- requests under the shared key --------------------------------------------------------------------


def seal_request(crypto: Crypto, rng: RandomSource, shared_key: bytes, request: object) -> EncryptedRequest:
    """`request` as JSON, e.g. `FORGET_CLIENT`, encrypted."""
    nonce = rng.bytes(12)
    text = json.dumps(request, separators=(",", ":")).encode()
    return EncryptedRequest(crypto.aes256_gcm_siv_seal(shared_key, nonce, text), nonce)


def seal_response(crypto: Crypto, rng: RandomSource, shared_key: bytes, response: object) -> EncryptedResponse:
    """The gateway's answer, e.g. `{"ForgetMeAck": {}}`."""
    nonce = rng.bytes(12)
    text = json.dumps(response, separators=(",", ":")).encode()
    return EncryptedResponse(crypto.aes256_gcm_siv_seal(shared_key, nonce, text), nonce)


def open_encrypted(
    crypto: Crypto, shared_key: bytes, message: EncryptedRequest | EncryptedResponse
) -> dict[str, object]:
    """The JSON object inside, for either direction. Raises `GatewayError` code `bad_message`."""
    try:
        value = load_json(crypto.aes256_gcm_siv_open(shared_key, message.nonce, message.ciphertext))
    except (CryptoError, ValueError, RecursionError):
        raise GatewayError(f"{message.type}: does not decrypt to JSON", code="bad_message", phase="gateway") from None
    if not isinstance(value, dict):
        raise GatewayError(f"{message.type}: is not a JSON object", code="bad_message", phase="gateway")
    return value
