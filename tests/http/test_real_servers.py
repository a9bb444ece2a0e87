"""Against servers that others have written, on loopback, with TLS by rustls on our side: hypercorn, nghttpd, and the
local network's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

from localnet.certificates import HTTP2, Authority
from localnet.http_server import HttpServer
from localnet.origin import Origin, body_sha256
from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import HttpError, SmolmixError
from smolmix_web.http import HttpClient, HttpRequest
from tests.loopback import LoopbackConnector

pytestmark = [
    pytest.mark.feature("HTTP", "with the servers of hypercorn and nghttp2, over TLS"),
    pytest.mark.timeout(60),
]
MEGABYTE = 1 << 20


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: /bytes/<n>, /sha256 of the body, /drip for ever, /early without reading the body."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    first, _, rest = scope["path"].lstrip("/").partition("/")
    status, body = 200, b""
    if first == "sha256":
        digest = hashlib.sha256()
        while True:
            message = await receive()
            digest.update(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = digest.hexdigest().encode()
    elif first == "bytes":
        body = bytes(int(rest))
    elif first == "early":
        status, body = 413, b"too much"
    headers = [(b"x-version", scope["http_version"].encode()), (b"x-path", scope["raw_path"])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    while first == "drip":
        await send({"type": "http.response.body", "body": bytes(1000), "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": body})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate chain and key."""
    folder = tmp_path_factory.mktemp("keys")
    issued = authority.issue_cert("a.test")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for certificate in issued.cert_chain_pems:
        certificate.write_to_path(folder / "cert.pem", append=True)
    return folder / "cert.pem", folder / "key.pem"


@contextlib.asynccontextmanager
async def hypercorn(files: tuple[Path, Path], protocols: list[str], **options: Any) -> AsyncIterator[int]:
    config = Config()
    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = map(str, files)
    config.alpn_protocols = protocols
    config.graceful_timeout = 0.1
    config.errorlog = logging.getLogger("tests.hypercorn")
    for name, value in options.items():
        setattr(config, name, value)
    stop = asyncio.Event()
    running = asyncio.create_task(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait([running], timeout=10)


@contextlib.contextmanager
def client_of(port: int, authority: trustme.CA) -> Iterator[tuple[HttpClient, LoopbackConnector]]:
    connector = LoopbackConnector(port, [authority.cert_pem.bytes().decode()])
    client = HttpClient(LoopClock(), connector=connector)
    yield client, connector
    client.close()


@pytest.mark.parametrize(("protocol", "version"), [("h2", "2"), ("http/1.1", "1.1")])
async def test_hypercorn(files: tuple[Path, Path], authority: trustme.CA, protocol: str, version: str) -> None:
    upload = bytes(range(256)) * (2 * MEGABYTE // 256)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(upload), 50_000):
            yield upload[start : start + 50_000]

    async with hypercorn(files, [protocol]) as port:
        with client_of(port, authority) as (client, connector):
            response = await client.fetch(HttpRequest("https://a.test/bytes/3000000?q=1"))
            assert response.timings.protocol == protocol and response.header("x-version") == version
            assert len(await response.read()) == 3_000_000

            async def get(size: int) -> int:
                return len(await (await client.fetch(HttpRequest(f"https://a.test/bytes/{size}"))).read())

            sizes = [index * 7_000 for index in range(30)]
            assert await asyncio.gather(*(get(size) for size in sizes)) == sizes
            assert connector.connections == (1 if protocol == "h2" else 6)
            digest = hashlib.sha256(upload).hexdigest().encode()
            for body in (upload, pieces()):
                response = await client.fetch(HttpRequest("https://a.test/sha256", "POST", body=body))
                assert await response.read() == digest
            response = await client.fetch(HttpRequest("https://a.test/early", "POST", body=upload))
            assert (response.status, await response.read()) == (413, b"too much")
            dripping = await client.fetch(HttpRequest("https://a.test/drip"))
            assert await dripping.read_chunk()
            dripping.abort()
            assert await get(10) == 10
            head = await client.fetch(HttpRequest("https://a.test/bytes/10", "HEAD"))
            assert head.status == 200 and await head.read() == b""


async def test_hypercorn_with_few_streams(files: tuple[Path, Path], authority: trustme.CA) -> None:
    async with hypercorn(files, ["h2"], h2_max_concurrent_streams=2) as port:
        with client_of(port, authority) as (client, connector):

            async def get(size: int) -> int:
                return len(await (await client.fetch(HttpRequest(f"https://a.test/bytes/{size}"))).read())

            await get(1)
            assert await asyncio.gather(*(get(size) for size in range(20))) == list(range(20))
            assert connector.connections == 1


async def test_hypercorn_that_closes_its_connections(files: tuple[Path, Path], authority: trustme.CA) -> None:
    """After 0.2 s of idleness, and after three requests: nothing fails."""
    async with hypercorn(files, ["h2"], keep_alive_timeout=0.2, keep_alive_max_requests=3) as port:
        with client_of(port, authority) as (client, connector):
            for pause in (0.0, 0.0, 0.0, 0.0, 0.4, 0.0):
                await asyncio.sleep(pause)
                response = await client.fetch(HttpRequest("https://a.test/bytes/100"))
                assert len(await response.read()) == 100
            assert connector.connections >= 2


@pytest.mark.skipif(shutil.which("nghttpd") is None, reason="nghttpd is not installed")
async def test_nghttpd(files: tuple[Path, Path], authority: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MEGABYTE))
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        "nghttpd", f"--htdocs={tmp_path}", str(port), str(files[1]), str(files[0])
    )
    try:
        with client_of(port, authority) as (client, _):
            for _ in range(100):
                with contextlib.suppress(OSError, SmolmixError):
                    response = await client.fetch(HttpRequest("https://a.test/file"))
                    break
                await asyncio.sleep(0.05)
            assert response.timings.protocol == "h2" and len(await response.read()) == MEGABYTE

            async def get() -> int:
                return len(await (await client.fetch(HttpRequest("https://a.test/file"))).read())

            assert await asyncio.gather(*(get() for _ in range(10))) == [MEGABYTE] * 10
            missing = await client.fetch(HttpRequest("https://a.test/missing"))
            assert missing.status == 404
            await missing.read()
    finally:
        server.terminate()
        await server.wait()


async def test_the_local_networks_server() -> None:
    origin, authority = Origin(), Authority()
    server = HttpServer(origin.handle, tls=authority.context(["h2.test"], alpn=HTTP2))
    await server.start()
    connector = LoopbackConnector(server.port, [authority.pem])
    client = HttpClient(LoopClock(), connector=connector)
    try:

        async def get(path: str, **request: Any) -> bytes:
            return await (await client.fetch(HttpRequest(f"https://h2.test{path}", **request))).read()

        for path in ("/bytes/700000", "/stream/700000"):
            assert hashlib.sha256(await get(path)).hexdigest() == body_sha256(700_000)
        await asyncio.gather(*(get(f"/bytes/{index * 1000}") for index in range(40)))
        assert b'"http_version":"2"' in await get("/echo", method="POST", body=b"text")
        assert b'"coding"' in await get("/gzip") and await get("/status/204") == b""
        assert await get("/redirect/2") == b"Hello from the origin.\n"
        with pytest.raises(SmolmixError):
            await get("/truncated/1000")
        with pytest.raises(HttpError) as caught:
            await get("/headers/70000")
        assert caught.value.code == "response_too_large"
        assert await get("/text") == b"Hello from the origin.\n"
        assert connector.connections == server.http2.connections <= 2
        assert not server.errors
    finally:
        client.close()
        await server.close()
