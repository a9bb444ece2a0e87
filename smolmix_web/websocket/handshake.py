"""The opening handshake (RFC 6455 4.1) on a connected stream: request out, answer checked by `websockets`, Sans-I/O.

Imported at the first WebSocket: a page that only fetches does not pay for the library.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ..errors import WebSocketError
from ..http.headers import USER_AGENT
from ..http.url import Url
from ..sockets import READ_SIZE, ByteStream
from .extensions import DeflateOffer, MessageCheck
from .messages import MAX_CONTROL

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)\d\d[ \r\n]")
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ?([^\r\n]*)")

MAX_INTERIM = 65_536  # bytes of the head of an interim response

# The protocol's own logger would write to the console of the page.
_SILENT = logging.getLogger("smolmix_web.websocket")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class _Client(ClientProtocol):
    check: MessageCheck

    def process_extensions(self, headers: Headers) -> list[Extension]:
        # What stands first comes last in receiving. Frames may come with the answer, so this is the moment.
        return [self.check, *super().process_extensions(headers)]


async def shake_hands(
    stream: ByteStream,
    target: Url,
    protocols: Sequence[str],
    headers: list[tuple[str, str]],
    *,
    compression: bool,
    max_size: int,
) -> tuple[ClientProtocol, Response]:
    """The open protocol, which may hold frames that came with the answer, and the answer.

    Raises `WebSocketError` codes `bad_status` (`reason`: the status) and `websocket_handshake`.
    """
    protocol = _Client(
        WebSocketURI(target.secure, target.host, target.port, target.path, target.query or ""),
        extensions=[DeflateOffer()] if compression else None,
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        # This limit holds for control frames too: they must fit when a message has nearly reached its own.
        max_size=max_size + MAX_CONTROL,
        logger=_SILENT,
    )
    protocol.check = MessageCheck(max_size)
    request = protocol.connect()
    if not any(name.lower() == "user-agent" for name, _ in headers):
        request.headers["User-Agent"] = USER_AGENT
    for name, value in headers:
        request.headers[name] = value
    protocol.send_request(request)
    for out in protocol.data_to_send():
        await stream.write(out)
    head = bytearray()
    given = 0  # bytes of it that the protocol has
    while True:
        data = await stream.read(READ_SIZE)
        head += data
        if not given:
            _drop_interim(head)
            if data and _may_be_interim(head):
                continue
        protocol.receive_data(head[given:])
        given = len(head)
        if not data:
            protocol.receive_eof()
        if protocol.handshake_exc is not None:
            raise _refused(protocol.handshake_exc)
        if protocol.state.name != "CONNECTING":
            response, *frames = protocol.events_received()
            assert isinstance(response, Response)
            protocol.events = frames  # the connection takes them
            return protocol, response
        if not data:
            raise _failed("the server closed during the handshake")
        if _HEAD_END.search(head) and (status := _STATUS.match(head)):
            # The protocol waits for the body of a refusal, which nobody wants.
            raise _bad_status(int(status[1]), status[2].decode("latin-1"))


def _drop_interim(head: bytearray) -> None:
    """Other responses may come before the final one (RFC 9110 15.2), such as 103; the protocol does not expect them."""
    while _INTERIM.match(head) and (end := _HEAD_END.search(head)):
        del head[: end.end()]


def _may_be_interim(head: bytearray) -> bool:
    """The beginning is not there, or is one and its end is not."""
    short = len(head) < 13 and b"\n" not in head
    return short or (_INTERIM.match(head) is not None and len(head) <= MAX_INTERIM)


def extensions_text(response: Response) -> str:
    """The extensions in use with their parameters, as the server wrote them."""
    return ", ".join(response.headers.get_all("Sec-WebSocket-Extensions"))


def _refused(error: Exception) -> WebSocketError:
    response = getattr(error, "response", None)
    if isinstance(response, Response):
        return _bad_status(response.status_code, response.reason_phrase)
    cause = f": {error.__cause__}" if error.__cause__ is not None else ""
    return _failed(f"{error}{cause}")


def _bad_status(status: int, phrase: str) -> WebSocketError:
    text = f"the server answered {status} {phrase}".rstrip()
    return WebSocketError(text, code="bad_status", phase="open", reason=str(status))


def _failed(text: str) -> WebSocketError:
    return WebSocketError(text, code="websocket_handshake", phase="open")
