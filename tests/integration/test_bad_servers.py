"""Web servers that answer badly, behind a whole network: typed errors in seconds, and a tunnel that goes on.

What exactly is refused stands in tests/http; here are real sockets at both ends, and the tunnel's own flows.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from localnet import Network, names
from smolmix_web.errors import SmolmixError
from smolmix_web.http import Timeouts
from smolmix_web.tunnel import Tunnel
from tests.integration.tunnels import get, open_tunnel

pytestmark = pytest.mark.timeout(90)

OK = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(b"text" * 1000)
# Path: what is sent, whether the connection ends then, the code.
ANSWERS: dict[str, tuple[bytes, bool, str]] = {
    "nothing": (b"", True, "empty_response"),
    "garbage": (b"220 mail.test ESMTP\r\n", False, "http_protocol"),
    "header": (OK + b"X: \0\r\n\r\n", False, "http_protocol"),
    "many-headers": (OK + b"X: y\r\n" * 1001 + b"\r\n", False, "response_too_large"),
    "lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", False, "http_protocol"),
    "chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", False, "http_protocol"),
    "half": (OK + b"Content-Length: 100000\r\n\r\n" + bytes(50_000), True, "truncated_body"),
    "half-chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nhalf", True, "truncated_body"),
    "gzip": (
        OK + b"Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + PACKED[:10] + b"\xff" * 20,
        False, "bad_content_encoding",
    ),
    "informational": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 70, False, "http_protocol"),
    "silence": (b"", False, "response_timeout"),
    "pause": (OK + b"Content-Length: 10\r\n\r\nhalf", False, "idle_timeout"),
}  # fmt: skip


@asynccontextmanager
async def bad_server(network: Network) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """On port 80 of closed.test; gives the connections that are open."""
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            data, close, _ = ANSWERS[request.split(b" ")[1].decode().strip("/")]
            writer.write(data)
            await writer.drain()
            if not close:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            connections.remove(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    network.world.dial_map.add_name(names.CLOSED, "tcp", 80, ("127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield connections
    finally:
        server.close()


async def fails(tunnel: Tunnel, url: str, within: float, response: float = 3) -> SmolmixError:
    began = time.monotonic()
    with pytest.raises(SmolmixError) as caught:
        await get(tunnel, url, timeouts=Timeouts(response=response, idle=3))
    assert time.monotonic() - began < within
    return caught.value


@pytest.mark.feature("HTTP", "bad servers behind a whole network: typed errors, and the tunnel goes on")
async def test_every_bad_answer(localnet: Network) -> None:
    async with bad_server(localnet) as connections, open_tunnel(localnet) as tunnel:
        assert (await get(tunnel, "http://origin.test/text"))[0] == 200
        codes = {path: (await fails(tunnel, f"http://closed.test/{path}", 20)).code for path in ANSWERS}
        assert codes == {path: code for path, (_, _, code) in ANSWERS.items()}
        # Every flow was freed: the server hears of it too.
        async with asyncio.timeout(20):
            while connections:
                await asyncio.sleep(0.05)
        assert (await get(tunnel, "http://origin.test/bytes/20000"))[0] == 200


async def test_all_of_them_at_once(localnet: Network) -> None:
    """Beside good requests, which notice nothing."""
    async with bad_server(localnet) as connections, open_tunnel(localnet) as tunnel:
        bad = [fails(tunnel, f"http://closed.test/{path}", 60, response=8) for path in ANSWERS]
        good = [get(tunnel, f"https://origin.test/bytes/20000?seed={index}") for index in range(6)]
        results = await asyncio.gather(*bad, *good)
        assert {one.code for one in results[: len(bad)] if isinstance(one, SmolmixError)} == {
            code for _, _, code in ANSWERS.values()
        }
        assert all(isinstance(one, tuple) and (one[0], len(one[1])) == (200, 20_000) for one in results[len(bad) :])
        async with asyncio.timeout(20):
            while connections:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("expired.test", "expired"), ("wrong-name.test", "wrong_host"), ("self-signed.test", "unknown_issuer")],
)
async def test_certificates(localnet: Network, host: str, reason: str) -> None:
    async with open_tunnel(localnet) as tunnel:
        error = await fails(tunnel, f"https://{host}/", 20)
        assert (error.code, error.phase, error.reason) == ("tls_certificate", "tls", reason)
        error = await fails(tunnel, "https://origin.test:80/", 20)
        assert (error.code, error.phase) == ("tls_protocol", "tls")
