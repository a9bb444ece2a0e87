"""The bytes of a request over HTTP/1.1: names as the caller wrote them, bodies framed, nothing that breaks a line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import HttpError
from smolmix_web.http import HttpClient, HttpRequest
from smolmix_web.http.connection import request_head
from smolmix_web.http.headers import DEFAULTS
from tests.http_server import PipeConnector
from tests.virtual_loop import virtual

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def sent(end: bytes, **request: Any) -> bytes:
    """What a server gets, up to `end`."""
    got = bytearray()

    async def serve(stream: ByteStream) -> None:
        while not got.endswith(end):
            got.extend(await stream.read())
        await stream.write(OK)

    client = HttpClient(LoopClock(), connector=PipeConnector(serve))
    response = await client.fetch(HttpRequest("http://a.test/path?q", **request))
    assert response.status == 200
    client.close()
    return bytes(got)


def without_defaults(data: bytes) -> list[bytes]:
    head = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = {name.lower().encode() for name, _ in DEFAULTS} | {b"accept-encoding"}
    return [line for line in head if line.split(b":")[0].lower() not in names]


@virtual
async def test_names_keep_their_case_and_order() -> None:
    data = await sent(b"\r\n\r\n", headers=[("X-MiXeD", "a"), ("lower", "\xe9"), ("UPPER", ""), ("x-mixed", "b")])
    assert without_defaults(data) == [
        b"GET /path?q HTTP/1.1", b"Host: a.test", b"Connection: keep-alive",
        b"X-MiXeD: a", b"lower: \xe9", b"UPPER: ", b"x-mixed: b",
    ]  # fmt: skip


@virtual
async def test_a_body_of_known_length() -> None:
    data = await sent(b"hello", method="POST", body=b"hello")
    assert without_defaults(data) == [
        b"POST /path?q HTTP/1.1", b"Host: a.test", b"Connection: keep-alive", b"Content-Length: 5",
    ]  # fmt: skip
    assert data.endswith(b"\r\n\r\nhello")
    long = b"x" * 100_000
    assert (await sent(b"y", method="PUT", body=long + b"y")).endswith(b"\r\n\r\n" + long + b"y")


@virtual
async def test_a_body_of_unknown_length_goes_in_chunks_and_none_is_empty() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"", b"hello", b"", b"w" * 17, b""):
            yield piece

    data = await sent(b"0\r\n\r\n", method="POST", body=body())
    assert without_defaults(data)[3:] == [b"Transfer-Encoding: chunked"]
    assert data.partition(b"\r\n\r\n")[2] == b"5\r\nhello\r\n11\r\n" + b"w" * 17 + b"\r\n0\r\n\r\n"


@pytest.mark.feature("HTTP", "header fields in the order of a browser")
@virtual
async def test_the_order_is_chromiums_and_the_official_clients() -> None:
    data = await sent(b"hello", method="POST", body=b"hello")
    names = [line.partition(b":")[0].decode() for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    order = "Host Connection Content-Length User-Agent Accept Accept-Language Accept-Encoding"
    assert " ".join(names) == order


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/a\0", "/\xe9", "/a\tb"])
def test_a_target_that_breaks_the_line_goes_nowhere(target: str) -> None:
    with pytest.raises(HttpError) as caught:
        request_head("GET", target, [])
    assert (caught.value.code, caught.value.phase) == ("bad_request", "request")


@pytest.mark.parametrize("field", [("a", "b\r\nc: d"), ("a", "\n"), ("a\r", "b"), ("a", "\0")])
def test_a_field_that_breaks_the_line_goes_nowhere(field: tuple[str, str]) -> None:
    with pytest.raises(HttpError):
        request_head("GET", "/", [field])
