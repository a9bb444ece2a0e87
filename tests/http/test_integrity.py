"""Subresource Integrity: which hashes count, and a body that is held back until it is known to be the right one."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import HttpError, SmolmixError
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse, integrity
from smolmix_web.http.integrity import parse_integrity
from tests.http_server import Answer, Handler, HttpServer, PipeConnector
from tests.virtual_loop import run_virtual, virtual

TEXT = b"alert('Hello, world.');" * 5000


def digest(algorithm: str, data: bytes = TEXT) -> str:
    return f"{algorithm}-{b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def raw(algorithm: str, data: bytes = TEXT) -> bytes:
    return hashlib.new(algorithm, data).digest()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None), ("  ", None), ("md5-x sha1-y", None), ("sha256", None), ("x", None), ("-", None),
        ("sha256-", None), (f"\x0b{digest('sha256')}\x1c", None),
        (f"\f{digest('sha256')}\x0b", ("sha256", {raw("sha256")})),
        (digest("sha256").rstrip("="), ("sha256", {raw("sha256")})),
        (digest("sha512") + "==", ("sha512", {raw("sha512")})),
        (digest("sha256").replace("sha256", "sha-256"), ("sha256", {raw("sha256")})),
        (f"'{digest('sha256')}'", None), (f"{digest('sha256')}.", None),
        (f"{digest('sha256')},{digest('sha384')}", None),
        (f"sha512-!!! {digest('sha256')}", ("sha256", {raw("sha256")})), ("sha256-=", ("sha256", {b""})),
        ("sha256-A", ("sha256", {b""})), (f"sha512-abcd {digest('sha256')}", ("sha512", {b"i\xb7\x1d"})),
        (f"{digest('sha256')} ed25519-abcd", ("ed25519", set())), ("ed25519-", None),
        (digest("sha256"), ("sha256", {raw("sha256")})),
        (f" {digest('sha384')}\n\t{digest('sha384', b'x')} ", ("sha384", {raw("sha384"), raw("sha384", b"x")})),
        (f"{digest('sha256')} {digest('sha512')} {digest('sha384')} new-x", ("sha512", {raw("sha512")})),
        (digest("sha256") + "?ct=text/plain?x", ("sha256", {raw("sha256")})),
        (digest("sha256").replace("sha", "SHA"), ("sha256", {raw("sha256")})),
        ("sha256-" + urlsafe_b64encode(raw("sha256", b"3")).decode(), ("sha256", {raw("sha256", b"3")})),
        ("sha256-!!!", None), ("sha256-\u20ac", None),
    ],
)  # fmt: skip
def test_parse(text: str, expected: tuple[str, set[bytes]] | None) -> None:
    assert parse_integrity(text) == (expected and (expected[0], frozenset(expected[1])))


@given(st.text(alphabet="sha256-384512?=+/ABCabc \u20ac", max_size=60))
def test_any_text_names_hashes_or_none(text: str) -> None:
    found = parse_integrity(text)
    assert found is None or (found[0] in integrity.ALGORITHMS and found[1])


def client_for(handler: Handler) -> tuple[HttpClient, PipeConnector]:
    connector = PipeConnector(HttpServer(handler).serve)
    return HttpClient(LoopClock(), connector=connector), connector


async def fetch(client: HttpClient, integrity: str, **more: Any) -> HttpResponse:
    return await client.fetch(HttpRequest("http://a.test/", integrity=integrity, **more))


@pytest.mark.feature("Fetch", "integrity: sha256, sha384, sha512, of several the strongest")
@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (digest("sha256"), True),
        (digest("sha384"), True),
        (digest("sha512"), True),
        (f"{digest('sha512', b'x')} {digest('sha512')}", True),
        (f"{digest('sha256', b'x')} {digest('sha512')}", True),
        (f"{digest('sha256')} {digest('sha512', b'x')}", False),
        (digest("sha256", b""), False),
        ("sha256-=", False),
        ("sha256-", True),
        ("sha256-" + b64encode(raw("sha384")).decode(), False),
        ("md5-anything", True),
    ],
)
def test_only_the_body_that_was_named(text: str, fits: bool) -> None:
    @virtual
    async def run() -> None:
        packed = gzip.compress(TEXT)
        client, connector = client_for(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=packed))
        for _ in range(2):
            if fits:
                response = await fetch(client, text)
                pieces = [piece async for piece in response]
                assert b"".join(pieces) == TEXT and all(len(piece) <= 65536 for piece in pieces)
                assert await response.read() == b"" and response.finished
            else:
                with pytest.raises(HttpError) as caught:
                    await fetch(client, text)
                assert (caught.value.code, caught.value.phase) == ("integrity_mismatch", "body")
        # Read to its end: the connection was not wasted, and nobody holds it.
        assert client.connection_count == len(connector.near) == 1

    run()


@pytest.mark.feature("Fetch", "integrity: nothing of the body is seen before it is checked")
def test_the_response_waits_for_its_last_byte() -> None:
    @virtual
    async def run() -> None:
        async def slow() -> Any:
            for start in range(0, len(TEXT), 10_000):
                await asyncio.sleep(10)
                yield TEXT[start : start + 10_000]

        client, _ = client_for(lambda _: Answer(body=slow(), headers=[("Transfer-Encoding", "chunked")]))
        clock = LoopClock()
        before = clock.now()
        response = await fetch(client, digest("sha256"))
        assert clock.now() - before == pytest.approx(10 * -(-len(TEXT) // 10_000))
        assert response.finished
        await asyncio.sleep(1000)  # memory knows no deadline
        assert await response.read() == TEXT

    run()


@virtual
async def test_deadlines_aborts_and_breaks_while_it_waits() -> None:
    async def half(stream: ByteStream) -> None:
        await stream.read()
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT[:10_000])

    connector = PipeConnector(half)
    client = HttpClient(LoopClock(), connector=connector)
    for more, code in (({"timeout": 5.0}, "total_timeout"), ({}, "idle_timeout")):
        with pytest.raises(SmolmixError) as caught:
            await fetch(client, digest("sha256"), **more)
        assert caught.value.code == code
        assert client.connection_count == 0 and connector.open_count == 0
    task = asyncio.create_task(fetch(client, digest("sha256")))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.connection_count == 0 and connector.open_count == 0


@pytest.mark.feature("Fetch", "integrity: the body that is held back is bounded")
def test_a_body_too_long_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "MAX_HELD", 50_000)

    async def run() -> None:
        client, connector = client_for(lambda _: Answer(body=TEXT))
        with pytest.raises(HttpError) as caught:
            await fetch(client, digest("sha256"))
        assert (caught.value.code, caught.value.phase) == ("body_too_large", "body")
        assert client.connection_count == 0 and connector.open_count == 0

    run_virtual(run())


@virtual
async def test_a_response_without_a_body_is_an_empty_one() -> None:
    for method, status in (("HEAD", 200), ("GET", 204), ("GET", 200)):
        client, _ = client_for(lambda _, status=status: Answer(status, [("Content-Length", "0")]))
        assert (await fetch(client, digest("sha256", b""), method=method)).status == status
        with pytest.raises(HttpError) as caught:
            await fetch(client, digest("sha256"), method=method)
        assert caught.value.code == "integrity_mismatch"


@virtual
async def test_a_limit_on_decoded_bytes_counts_them_once() -> None:
    packed = gzip.compress(TEXT)
    client, _ = client_for(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=packed))
    response = await fetch(client, digest("sha256"), max_decoded=len(TEXT))
    assert await response.read() == TEXT


def test_a_signature_that_cannot_be_checked_is_none() -> None:
    """Where a key is named the body is not even read."""

    @virtual
    async def run() -> None:
        client, connector = client_for(lambda _: Answer(body=TEXT))
        with pytest.raises(HttpError) as caught:
            await fetch(client, f"{digest('sha256')} ed25519-abcd")
        assert (caught.value.code, client.connection_count) == ("integrity_mismatch", 0)
        assert len(connector.near) == 1

    run()
