"""The opening handshake (RFC 6455 4.1) on a connected stream: request out, the answer read as those of `fetch` are.

Imported at the first WebSocket: a page that only fetches does not pay for the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from websockets.exceptions import InvalidHandshake
from websockets.extensions import Extension
from websockets.headers import build_extension, parse_extension
from websockets.utils import accept_key, generate_key

from ..edge.sockets import READ_SIZE, ByteStream
from ..errors import HttpError, WebSocketError
from ..http.connection import request_head
from ..http.headers import LANGUAGES, USER_AGENT, Headers, get_all, split_list
from ..http.reader import Head, HeadReader
from ..http.url import Url
from .extensions import Deflate, DeflateOffer
from .protocol import Protocol

# Of a body that is not read: as Chromium says it, without TLS and with.
CODINGS = ("gzip, deflate", "gzip, deflate, br, zstd")


@dataclass
class Agreed:
    """What the two sides came to. `protocol` may hold frames that came with the answer."""

    protocol: Protocol
    headers: Headers  # of the answer, names in lower case
    subprotocol: str  # "" for none
    extensions: str  # in use, with their parameters, as the server wrote them


async def shake_hands(
    stream: ByteStream,
    target: Url,
    protocols: Sequence[str],
    headers: Headers,
    *,
    compression: bool,
    max_size: int,
    plain: bool = False,
) -> Agreed:
    """Raises `WebSocketError` codes `bad_status` (`reason`: the status) and `websocket_handshake`."""
    key = generate_key()
    compression = compression and not plain
    make = _plain_request if plain else _request
    await stream.write(make(target, key, protocols, headers, compression))
    reader = HeadReader(secure=target.secure, upgrade=True)
    head = await _read_head(stream, reader)
    if head.status != 101:
        text = f"the server answered {head.status} {head.reason}".rstrip()
        raise WebSocketError(text, code="bad_status", phase="open", reason=str(head.status))
    answer = head.headers
    _check_upgrade(answer, key)
    subprotocol = _subprotocol(answer, protocols)
    deflate = _deflate(answer, compression)
    protocol = Protocol(max_size, deflate)
    protocol.feed(reader.rest)
    return Agreed(protocol, answer, subprotocol, ", ".join(get_all(answer, "sec-websocket-extensions")))


def _request(target: Url, key: str, protocols: Sequence[str], headers: Headers, compression: bool) -> bytes:
    """What a server would see of Chromium, whose name we bear, in its order."""
    given = {name.lower() for name, _ in headers}
    defaults = (
        ("Pragma", "no-cache"),
        ("Cache-Control", "no-cache"),
        ("User-Agent", USER_AGENT),
        ("Upgrade", "websocket"),
    )
    fields = [("Host", target.authority), ("Connection", "Upgrade")]
    fields += [field for field in defaults if field[0].lower() not in given]
    fields += headers
    fields += [("Sec-WebSocket-Version", "13"), ("Accept-Encoding", CODINGS[target.secure])]
    if "accept-language" not in given:
        fields.append(("Accept-Language", LANGUAGES))
    fields.append(("Sec-WebSocket-Key", key))
    if compression:
        offer = DeflateOffer()
        fields.append(("Sec-WebSocket-Extensions", build_extension([(offer.name, offer.get_request_params())])))
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    return request_head("GET", target.target, fields)


def _plain_request(target: Url, key: str, protocols: Sequence[str], headers: Headers, compression: bool) -> bytes:
    """As the official client, with a caller's headers at the end."""
    fields = [("Host", target.authority), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    fields += [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    return request_head("GET", target.target, [*fields, *headers])


async def _read_head(stream: ByteStream, reader: HeadReader) -> Head:
    try:
        while data := await stream.read(READ_SIZE):
            if (head := reader.feed(data)) is not None:
                return head
    except HttpError as error:
        raise _failed(error.message) from error
    raise _failed("the server closed during the handshake")


def _check_upgrade(answer: Headers, key: str) -> None:
    """Each once and nothing else in it, but for `Connection`, which may have other options."""
    if [value.lower() for value in get_all(answer, "upgrade")] != ["websocket"]:
        raise _failed("the answer has no 'Upgrade: websocket', or more than that")
    if "upgrade" not in [option.lower() for option in split_list(get_all(answer, "connection"))]:
        raise _failed("the answer has no 'Connection: Upgrade'")
    if get_all(answer, "sec-websocket-accept") != [accept_key(key)]:
        raise _failed("Sec-WebSocket-Accept is missing or wrong")


def _subprotocol(answer: Headers, protocols: Sequence[str]) -> str:
    """One of those asked for, when any were asked for (WebSockets Standard, establish a connection)."""
    chosen = get_all(answer, "sec-websocket-protocol")
    if not protocols and not chosen:
        return ""
    if len(chosen) != 1 or chosen[0] not in protocols:
        raise _failed("the answer's subprotocol is not one of those asked for")
    return chosen[0]


def _deflate(answer: Headers, compression: bool) -> Deflate | None:
    """What the answer says of extensions is permessage-deflate, once, or nothing."""
    given = get_all(answer, "sec-websocket-extensions")
    if not given:
        return None
    offer = DeflateOffer()
    accepted: list[Extension] = []
    try:
        if not all(split_list(given)):
            raise _failed("Sec-WebSocket-Extensions has an empty element")
        for name, parameters in [extension for value in given for extension in parse_extension(value)]:
            if not compression or name != offer.name:
                raise _failed(f"the answer has an extension that was not asked for: {name:.40}")
            accepted.append(offer.process_response_params(parameters, accepted))
    except InvalidHandshake as error:
        raise _failed(f"Sec-WebSocket-Extensions: {error}") from None
    (deflate,) = accepted
    assert isinstance(deflate, Deflate)
    return deflate


def _failed(text: str) -> WebSocketError:
    return WebSocketError(text, code="websocket_handshake", phase="open")
