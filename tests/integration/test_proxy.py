"""The proxy in front of a real tunnel: curl, requests, raw SOCKS, datagrams, DNS; nothing resolved on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
import requests

from localnet import Network, names
from localnet.http_server import HttpServer, Request, Response
from localnet.origin import body_bytes
from smolmix_web.netstack import State
from smolmix_web.proxy.server import Place, Proxy, ProxyOptions
from smolmix_web.proxy.socks import decode_datagram, encode_datagram
from smolmix_web.tunnel import Tunnel
from tests.integration.tunnels import open_tunnel
from tests.proxy.stand_in import ANYWHERE, socks

pytestmark = pytest.mark.timeout(120)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names that this process asked its own resolver for: none may be."""
    asked: list[str] = []
    for function in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        original = getattr(socket, function)

        def spy(host: Any, *rest: Any, original: Any = original, **options: Any) -> Any:
            try:
                ip_address(host)
            except ValueError:
                asked.append(str(host))
            return original(host, *rest, **options)

        monkeypatch.setattr(socket, function, spy)
    yield asked
    assert asked == []


@asynccontextmanager
async def proxied(network: Network) -> AsyncIterator[tuple[Tunnel, Proxy]]:
    async with open_tunnel(network) as tunnel:
        proxy = Proxy(tunnel, ProxyOptions(socks=ANYWHERE, http=ANYWHERE, dns=ANYWHERE))
        await proxy.start()
        try:
            yield tunnel, proxy
        finally:
            await proxy.close(1.0)


async def curl(network: Network, *arguments: str) -> tuple[int, bytes, str]:
    """Exit code, body, and what `-w` wrote or curl said."""
    command = ["curl", "-sS", "--cacert", str(network.ca_path), "--max-time", "60", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env={"PATH": os.environ["PATH"]})
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err.decode()


def no_connections(tunnel: Tunnel) -> bool:
    assert tunnel._engine is not None
    return all(connection.state is State.TIME_WAIT for connection in tunnel._engine.stack.connections)


@needs_curl
@pytest.mark.feature("Proxy", "curl by SOCKS5, SOCKS4A and an HTTP proxy; names are resolved by the tunnel only")
async def test_curl(localnet: Network) -> None:
    async with proxied(localnet) as (_, proxy):
        address, http = str(proxy.places["socks"]), f"http://{proxy.places['http']}"
        ways = [
            ("--socks5-hostname", address),
            ("--socks5-hostname", f"alice:x@{address}"),
            ("--socks4a", address),
            ("--proxy", http),
        ]
        secure, plain = "https://origin.test/bytes/30000", "http://http.test/bytes/30000"
        found = await asyncio.gather(
            *(curl(localnet, *way, secure) for way in ways),
            *(curl(localnet, *way, plain) for way in (ways[0], ways[3])),
        )
        for code, body, err in found:
            assert (code, err) == (0, "") and body == body_bytes(30_000)
        upload = await curl(localnet, "--proxy", http, "http://http.test/upload", "-d", "x" * 10_000)
        assert json.loads(upload[1])["length"] == 10_000
        refused = await curl(localnet, "--socks5-hostname", address, "http://closed.test/")
        assert refused[0] == 97 and "(5)" in refused[2]
        unknown = await curl(localnet, "--proxy", http, "http://nowhere.test/", "-w", "%{http_code}", "-o", os.devnull)
        assert unknown[1] == b"502"
        onion = await curl(localnet, "--socks5-hostname", address, "http://secret.onion/")
        assert onion[0] == 97 and "(2)" in onion[2]
    assert localnet.violations() == {}


async def test_requests_by_its_own_socks_and_http(localnet: Network) -> None:
    async with proxied(localnet) as (_, proxy):

        def fetch(scheme: str, place: Place) -> list[bytes]:
            with requests.Session() as session:
                session.trust_env = False
                session.verify = str(localnet.ca_path)
                session.proxies = dict.fromkeys(("http", "https"), f"{scheme}://{place}")
                urls = ["https://origin.test/bytes/50000", "http://http.test/text", "https://origin.test/text"]
                return [session.get(url, timeout=60).content for url in urls]

        for scheme, name in (("socks5h", "socks"), ("http", "http")):
            bodies = await asyncio.to_thread(fetch, scheme, proxy.places[name])
            assert bodies == [body_bytes(50_000), b"Hello from the origin.\n", b"Hello from the origin.\n"]


@pytest.mark.feature("Proxy", "100 connections at once; half close; aborts free their flows")
async def test_a_hundred_connections_half_closed_and_aborted(localnet: Network) -> None:
    async with proxied(localnet) as (tunnel, proxy):

        async def one(number: int) -> None:
            code, reader, writer = await socks(proxy, "echo.test", 50_007, user=f"user{number % 7}")
            assert code == 0
            data = body_bytes(500, str(number))
            writer.write(data)
            if number % 4 == 3:
                await reader.readexactly(100)
                writer.transport.abort()
                return
            writer.write_eof()
            assert await reader.read() == data
            writer.close()

        await asyncio.gather(*(one(number) for number in range(100)))
        async with asyncio.timeout(30):
            while proxy.statistics.open or not no_connections(tunnel):
                await asyncio.sleep(0.1)
        assert proxy.statistics.connections == 100


async def test_the_reply_codes_of_a_real_tunnel(localnet: Network) -> None:
    async with proxied(localnet) as (_, proxy):
        cases = [("closed.test", 80, 5), ("nowhere.test", 80, 4), ("echo.test", 7, 2), ("localhost", 80, 2)]
        codes = await asyncio.gather(*(socks(proxy, host, port) for host, port, _ in cases))
        assert [code for code, _, _ in codes] == [code for _, _, code in cases]


@pytest.mark.feature("Proxy", "SOCKS5 UDP ASSOCIATE, by name, IPv4 and IPv6")
async def test_datagrams(localnet: Network) -> None:
    async with proxied(localnet) as (_, proxy):
        reader, writer = await asyncio.open_connection(*proxy.places["socks"])
        writer.write(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        reply = (await reader.readexactly(12))[2:]
        assert reply[1] == 0 and reply[3] == 1
        place = (str(ip_address(reply[4:8])), int.from_bytes(reply[8:10], "big"))
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
                answers.put_nowait(data)

        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=place)
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        four, six = (await asyncio.gather(*(_addresses(proxy, kind) for kind in ("A", "AAAA"))))[:2]
        transport.sendto(b"\x00\x00\x00\x03\x09echo.test" + (50_007).to_bytes(2, "big") + b"by name")
        stranger.sendto(encode_datagram(ip_address(four), 50_007, b"of somebody else"), place)
        transport.sendto(encode_datagram(ip_address(four), 50_007, b"by IPv4"))
        transport.sendto(encode_datagram(ip_address(six), 50_007, b"by IPv6"))
        transport.sendto(b"nonsense")
        async with asyncio.timeout(30):
            found = {decode_datagram(await answers.get()).data for _ in range(3)}
        assert found == {b"by name", b"by IPv4", b"by IPv6"} and answers.empty()
        stranger.close()
        transport.close()
        writer.close()
        async with asyncio.timeout(5):
            while proxy.statistics.open:
                await asyncio.sleep(0.05)


async def _addresses(proxy: Proxy, kind: str) -> str:
    reply = await ask(proxy, "echo.test", kind)
    return str(reply.answer[0][0])


async def ask(proxy: Proxy, name: str, kind: str) -> Any:
    host, port = proxy.places["dns"]
    return await dns.asyncquery.udp(dns.message.make_query(name, kind), host, port=port, timeout=30)


@pytest.mark.feature("Proxy", "DNS forwarder over UDP and TCP")
async def test_dns(localnet: Network) -> None:
    async with proxied(localnet) as (_, proxy):
        mail, nowhere, service = await asyncio.gather(
            ask(proxy, "zone.test", "MX"), ask(proxy, "nowhere.test", "A"), ask(proxy, "zone.test", "HTTPS")
        )
        assert sorted(map(str, mail.answer[0])) == ["10 mail.zone.test.", "20 backup.zone.test."]
        assert nowhere.rcode() == dns.rcode.NXDOMAIN and 'alpn="h2,h3"' in str(service.answer[0])


@needs_curl
@pytest.mark.feature("Proxy", "command line: live line, --json, stop by a signal that lets downloads end")
async def test_the_command(localnet: Network, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("alice:secret\n")
    arguments = ["proxy", "--socks", "127.0.0.1:0", "--http", "127.0.0.1:0", "--credentials-file", str(credentials)]
    tunnel = ["--directory", localnet.directory_url, "--no-tls", "--no-poisson", "--ca", str(localnet.ca_path)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "smolmix_web", *arguments, *tunnel, "--json", "--quiet", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            listening = json.loads(await process.stdout.readline())["listening"]
        place = listening["socks"]
        right, wrong = await asyncio.gather(
            curl(localnet, "--socks5-hostname", f"alice:secret@{place}", "https://origin.test/text"),
            curl(localnet, "--socks5-hostname", f"alice:guess@{place}", "https://origin.test/text"),
        )
        assert right[:2] == (0, b"Hello from the origin.\n") and wrong[0] == 97
        slow = asyncio.create_task(
            curl(localnet, "--proxy", f"http://alice:secret@{listening['http']}", "http://http.test/slow?chunks=15")
        )
        await asyncio.sleep(1.0)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            code, body, err = await slow
            assert (code, len(body)) == (0, 1_500), err
            result = json.loads(await process.stdout.read())
            assert await process.wait() == 0
        assert result["failed"] == 1 and result["requests"] == 2 and result["bytes_received"] > 1_500
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def git(*arguments: str, **environment: str) -> str:
    pipe = asyncio.subprocess.PIPE
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env={**base, **environment}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.feature("Proxy", "git clone over https, by SOCKS5 and by HTTP")
async def test_git_clone(localnet: Network, tmp_path: Path) -> None:
    source, bare = tmp_path / "source", tmp_path / "bare.git"
    await git("init", "--quiet", str(source))
    (source / "data.bin").write_bytes(body_bytes(200_000))
    me = ("-c", "user.name=a", "-c", "user.email=a@b.test")
    await git("-C", str(source), "add", "data.bin")
    await git("-C", str(source), *me, "commit", "--quiet", "-m", "data")
    await git("clone", "--quiet", "--bare", str(source), str(bare))
    await git("-C", str(bare), "update-server-info")  # files are enough to serve it

    async def serve(request: Request) -> Response:
        file = (tmp_path / request.path.lstrip("/")).resolve()
        found = file.is_file() and file.is_relative_to(bare)
        return Response(200, [], file.read_bytes()) if found else Response(404)

    server = HttpServer(serve, tls=localnet.authority.context([names.CLOSED.name]))
    await server.start("127.0.0.1")
    localnet.world.dial_map.add_name(names.CLOSED, "tcp", 443, ("127.0.0.1", server.port))
    try:
        async with proxied(localnet) as (_, proxy):
            for scheme, name in (("socks5h", "socks"), ("http", "http")):
                target = tmp_path / name
                way = f"http.proxy={scheme}://{proxy.places[name]}"
                url = f"https://{names.CLOSED.name}/bare.git"
                await git("-c", way, "clone", "--quiet", url, str(target), GIT_SSL_CAINFO=str(localnet.ca_path))
                assert (target / "data.bin").read_bytes() == body_bytes(200_000)
    finally:
        await server.close()
    assert localnet.violations() == {}


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_thousand_short_connections_leave_nothing(localnet: Network) -> None:
    """Tasks, flows, descriptors: after twice as many as many are there as after the first few."""
    async with proxied(localnet) as (tunnel, proxy):

        async def one(number: int) -> None:
            code, reader, writer = await socks(proxy, "echo.test", 50_007)
            assert code == 0
            writer.write(b"short")
            writer.write_eof()
            assert await reader.read() == b"short"
            writer.close()
            await writer.wait_closed()

        async def settled() -> tuple[int, int, int]:
            async with asyncio.timeout(60):
                while proxy.statistics.open or not no_connections(tunnel):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0.5)
            gc.collect()
            relevant = [task for task in asyncio.all_tasks() if "proxy" in repr(task.get_coro())]
            return len(relevant), len(os.listdir("/proc/self/fd")), proxy.statistics.open

        for number in range(20):
            await one(number)
        few = await settled()
        for begin in range(0, 1_000, 25):
            await asyncio.gather(*(one(begin + number) for number in range(25)))
        many = await settled()
        assert proxy.statistics.connections == 1_020 and many[0] <= few[0] and many[2] == 0
        assert many[1] <= few[1] + 2, (few, many)  # descriptors of pooled parts of the network itself may differ
        print(few, many)
    assert localnet.violations() == {}


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_throughput_beside_fetch(localnet: Network) -> None:
    """Of 10 MB through the proxy and by `fetch`, by turns; the machine's noise is in both."""
    async with proxied(localnet) as (tunnel, proxy):
        loop = asyncio.get_running_loop()
        times: dict[str, list[float]] = {"proxy": [], "fetch": []}
        for _ in range(3):
            begun = loop.time()
            response = await tunnel.fetch("http://http.test/bytes/10000000")
            assert len(await response.read()) == 10_000_000
            times["fetch"].append(loop.time() - begun)
            begun = loop.time()
            _, reader, writer = await socks(proxy, "http.test", 80)
            writer.write(b"GET /bytes/10000000 HTTP/1.0\r\nHost: http.test\r\n\r\n")
            assert len(await reader.read()) > 10_000_000
            times["proxy"].append(loop.time() - begun)
            writer.close()
        print(times)
        assert min(times["proxy"]) <= min(times["fetch"]) / 0.9
