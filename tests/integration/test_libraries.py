"""httpx, requests, urllib3, urllib, aiohttp and asyncio over a tunnel, and `patch`; a spy on this machine's sockets."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.resolver
import httpx
import pytest
import requests
import urllib3

import smolmix_web
from localnet import Network
from localnet.origin import body_bytes
from smolmix_web.asyncio_streams import as_os_error
from smolmix_web.integrations.aiohttp_connector import MixConnector
from smolmix_web.integrations.blocking import BlockingTunnel
from smolmix_web.integrations.dnspython_backend import MixBackend
from smolmix_web.integrations.httpx_transport import MixTransport
from smolmix_web.integrations.urllib3_pools import MixPoolManager, mix_session
from smolmix_web.integrations.urllib_opener import mix_opener
from tests.integration.tunnels import open_tunnel

pytestmark = pytest.mark.timeout(120)

TEXT = b"Hello from the origin.\n"
SECURE, PLAIN = "https://origin.test", "http://http.test"


class Spy:
    """Of what leaves this process: names looked up, and addresses that are not this machine's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            self._watch(monkeypatch, socket, name, first=0)
        for name, first in (("connect", 1), ("connect_ex", 1), ("sendto", -1)):
            self._watch(monkeypatch, socket.socket, name, first=first)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, first: int) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            address = args[first][0] if isinstance(args[first], tuple) else args[first]
            if isinstance(address, str) and not address.startswith("/") and not self._here(address):
                self.seen.append(f"{name} {address}")
            return original(*args, **options)

        monkeypatch.setattr(owner, name, watched)

    @staticmethod
    def _here(text: str) -> bool:
        try:
            return ip_address(text).is_loopback
        except ValueError:
            return text == "localhost"


@pytest.fixture(autouse=True)
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    watching = Spy(monkeypatch)
    yield watching
    assert watching.seen == []


def options(network: Network) -> dict[str, Any]:
    return {
        "directory_urls": [network.directory_url],
        "force_tls": False,
        "ca_certificates": network.ca_pem,
        "disable_poisson_traffic": True,
    }


@pytest.mark.feature("Python", "httpx.AsyncClient over a tunnel")
async def test_httpx_async(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel, httpx.AsyncClient(transport=MixTransport(tunnel), timeout=60) as client:
        response = await client.get(f"{SECURE}/bytes/100000")
        assert (response.status_code, response.content) == (200, body_bytes(100_000))
        assert response.http_version in ("HTTP/1.1", "HTTP/2")
        response = await client.post(f"{PLAIN}/echo", json={"a": 1}, headers={"X-Own": "1"})
        assert response.json()["text"] == '{"a":1}' and ["x-own", "1"] in [
            [name.lower(), value] for name, value in response.json()["headers"]
        ]

        async def pieces() -> Any:
            for number in range(3):
                yield b"piece %d" % number

        response = await client.post(f"{PLAIN}/upload", content=pieces())
        assert response.json()["length"] == 21
        response = await client.get(f"{PLAIN}/gzip")
        assert response.json()["coding"] == "gzip"
        response = await client.get(f"{PLAIN}/redirect/2", follow_redirects=True)
        assert response.content == TEXT and len(response.history) == 2
        async with client.stream("GET", f"{PLAIN}/bytes/1000000") as response:
            async for chunk in response.aiter_bytes():
                assert chunk
                break  # the rest is given up
        for url, kind in (
            ("http://nowhere.test/", httpx.ConnectError),
            ("http://closed.test/", httpx.ConnectError),
            ("https://expired.test/", httpx.ConnectError),
            (f"{PLAIN}/truncated/1000", httpx.RemoteProtocolError),
        ):
            with pytest.raises(kind) as raised:
                await client.get(url)
            assert isinstance(raised.value.__cause__, smolmix_web.SmolmixError)
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{PLAIN}/delay/30", timeout=httpx.Timeout(30, read=1.0))


@pytest.mark.feature("Python", "httpx.Client, requests, urllib3 and urllib.request over a tunnel on its own thread")
async def test_blocking_libraries(localnet: Network) -> None:
    ca = str(localnet.ca_path)
    context = ssl.create_default_context(cafile=ca)

    def use() -> None:
        with BlockingTunnel(**options(localnet)) as tunnel:
            with httpx.Client(transport=MixTransport(tunnel), timeout=60) as client:
                assert client.get(f"{SECURE}/bytes/50000").content == body_bytes(50_000)
                assert client.post(f"{PLAIN}/upload", content=iter([b"one", b"two"])).json()["length"] == 6
                with pytest.raises(httpx.ConnectError):
                    client.get("http://nowhere.test/")
            with mix_session(tunnel) as session:
                session.verify = ca
                assert session.get(f"{SECURE}/bytes/50000", timeout=60).content == body_bytes(50_000)
                assert session.post(f"{PLAIN}/upload", data=iter([b"one", b"two"]), timeout=60).json()["length"] == 6
                assert session.get(f"{SECURE}/redirect/2", timeout=60).content == TEXT
                with pytest.raises(requests.exceptions.SSLError):
                    session.get("https://expired.test/", timeout=60)
                for url in ("http://nowhere.test/", "http://closed.test/"):
                    with pytest.raises(requests.exceptions.ConnectionError):
                        session.get(url, timeout=60)
                with pytest.raises(requests.exceptions.ReadTimeout):
                    session.get(f"{PLAIN}/delay/30", timeout=(60, 1))
                with pytest.raises(requests.exceptions.ProxyError):
                    session.get(f"{PLAIN}/text", proxies={"http": "http://127.0.0.1:1"}, timeout=60)
            pools = MixPoolManager(tunnel, ca_certs=ca)
            assert pools.request("GET", f"{SECURE}/text").data == TEXT
            with pytest.raises(urllib3.exceptions.MaxRetryError):
                pools.request("GET", "http://nowhere.test/", retries=0)
            opener = mix_opener(tunnel, context=context)
            assert opener.open(f"{SECURE}/text", timeout=60).read() == TEXT
            assert opener.open(f"{PLAIN}/text").read() == TEXT
            with pytest.raises(urllib.error.URLError):
                opener.open("http://nowhere.test/")
            assert tunnel.call(lambda t: t.resolve("origin.test", family=4)) == [ip_address("203.0.114.10")]
        with pytest.raises(smolmix_web.SmolmixError):
            tunnel.fetch(f"{PLAIN}/text")

    await asyncio.to_thread(use)
    assert localnet.violations() == {}


@pytest.mark.feature("Python", "aiohttp.ClientSession over a tunnel")
async def test_aiohttp(localnet: Network) -> None:
    context = ssl.create_default_context(cafile=str(localnet.ca_path))
    async with open_tunnel(localnet) as tunnel, aiohttp.ClientSession(connector=MixConnector(tunnel)) as session:
        async with session.get(f"{SECURE}/bytes/100000") as response:
            assert await response.read() == body_bytes(100_000)
        async with session.get(f"{SECURE}/text", ssl=context) as response:
            assert await response.read() == TEXT
        async with session.post(f"{PLAIN}/upload", data=b"x" * 10_000) as response:
            assert (await response.json())["length"] == 10_000
        async with session.ws_connect("wss://ws.test/") as socket_:
            await socket_.send_str("hello")
            assert (await socket_.receive()).data == "hello"
        for url, kind in (
            ("http://nowhere.test/", aiohttp.ClientConnectorError),
            ("https://expired.test/", aiohttp.ClientConnectorSSLError),
        ):
            with pytest.raises(kind):
                await session.get(url)
        with pytest.raises(aiohttp.ClientError, match="always checked"):
            await session.get(f"{SECURE}/text", ssl=False)


@pytest.mark.feature("Python", "asyncio: open_connection, create_connection")
async def test_asyncio_streams(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        reader, writer = await tunnel.open_connection("echo.test", 50_007)
        writer.write(b"line\n")
        assert await reader.readline() == b"line\n"
        assert writer.get_extra_info("peername")[1] == 50_007
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        reader, writer = await tunnel.open_connection("origin.test", 443, tls=True)
        writer.write(b"GET /text HTTP/1.0\r\nHost: origin.test\r\n\r\n")
        assert (await reader.read()).endswith(TEXT) and writer.get_extra_info("tls").version == "TLSv1.3"
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await tunnel.open_connection("closed.test", 80)
        with pytest.raises(socket.gaierror):
            await tunnel.create_connection(asyncio.Protocol, "nowhere.test", 80)


@pytest.mark.feature("Python", "dnspython over a tunnel: UDP, TCP, TLS")
async def test_dnspython(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        backend = MixBackend(tunnel)
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["1.1.1.1"]
        resolver.lifetime = 30
        answer = await resolver.resolve("zone.test", "MX", backend=backend)
        assert sorted(map(str, answer)) == ["10 mail.zone.test.", "20 backup.zone.test."]
        answer = await resolver.resolve("origin.test", "A", tcp=True, backend=backend)
        assert [str(record) for record in answer] == ["203.0.114.10"]
        with pytest.raises(dns.resolver.NXDOMAIN):
            await resolver.resolve("nowhere.test", "A", backend=backend)
        query = dns.message.make_query("origin.test", "A")
        context = ssl.create_default_context()
        reply = await dns.asyncquery.tls(
            query, "1.1.1.1", timeout=30, ssl_context=context, server_hostname="1.1.1.1", backend=backend
        )
        assert str(reply.answer[0][0]) == "203.0.114.10"
        with pytest.raises(ConnectionRefusedError):  # nothing listens there
            await dns.asyncquery.udp(query, "203.0.114.99", timeout=30, backend=backend)


@pytest.mark.feature("Python", "patch(): every library through the tunnel, nothing to the clear net")
async def test_patch(localnet: Network, tmp_path: Path) -> None:
    ca = str(localnet.ca_path)
    context = ssl.create_default_context(cafile=ca)
    before = {name: getattr(socket, name) for name in ("create_connection", "getaddrinfo")}
    patched = await asyncio.to_thread(lambda: smolmix_web.patch(**options(localnet)))
    try:
        assert patched.names == ("socket", "asyncio", "urllib3", "requests", "httpx", "aiohttp", "guard")
        with pytest.raises(smolmix_web.SmolmixError):
            smolmix_web.patch()

        def blocking() -> None:
            assert urllib.request.urlopen(f"{SECURE}/text", context=context, timeout=60).read() == TEXT
            assert requests.get(f"{SECURE}/text", verify=ca, timeout=60).content == TEXT
            assert urllib3.PoolManager(ca_certs=ca).request("GET", f"{SECURE}/text").data == TEXT
            assert httpx.get(f"{SECURE}/text", timeout=60).content == TEXT
            connection = http.client.HTTPConnection("http.test", timeout=60)
            connection.request("GET", "/text")
            assert connection.getresponse().read() == TEXT
            connection.close()
            for name in ("getaddrinfo", "gethostbyname"):
                with pytest.raises(PermissionError, match="tunnel"):
                    getattr(socket, name)("origin.test", *([80] if name == "getaddrinfo" else []))
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as raw:
                    with pytest.raises(PermissionError, match="tunnel"):
                        raw.connect(("203.0.114.10", 80))
                    if kind == socket.SOCK_DGRAM:
                        with pytest.raises(PermissionError, match="tunnel"):
                            raw.sendto(b"x", ("203.0.114.10", 53))
                        with pytest.raises(PermissionError, match="tunnel"):
                            raw.sendmsg([b"x"], [], 0, ("203.0.114.10", 53))

        await asyncio.to_thread(blocking)
        reader, writer = await asyncio.open_connection("origin.test", 443, ssl=context)
        writer.write(b"GET /text HTTP/1.0\r\nHost: origin.test\r\n\r\n")
        assert (await reader.read()).endswith(TEXT)
        writer.close()
        async with httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(f"{SECURE}/text")).content == TEXT
        async with aiohttp.ClientSession() as session, session.get(f"{SECURE}/text", ssl=context) as response:
            assert await response.read() == TEXT
    finally:
        await asyncio.to_thread(smolmix_web.unpatch)
    assert {name: getattr(socket, name) for name in before} == before
    assert "getaddrinfo" in vars(socket) and patched.tunnel._tunnel is None
    smolmix_web.unpatch()
    assert localnet.violations() == {}


def test_errors_keep_their_cause() -> None:
    error = as_os_error(smolmix_web.SmolmixError("odd"))
    assert isinstance(error.__cause__, smolmix_web.SmolmixError)
