"""The servers behind the exits, met directly on loopback: DNS, origin, echoes, and the map that leads there."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed

from localnet import names
from localnet.certificates import Authority
from localnet.http_server import HttpServer, Request, Response
from localnet.origin import body_bytes, body_sha256
from localnet.world import World

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Http = Callable[..., Any]


@pytest.fixture
async def authority() -> Authority:
    return Authority()


@pytest.fixture
async def world(authority: Authority) -> AsyncIterator[World]:
    world = World(authority, ("8.8.8.8",))
    await world.start("127.0.0.1")
    yield world
    await world.close()


@pytest.fixture
def site(world: World) -> str:
    return f"http://127.0.0.1:{world.http.port}"


# -- the map ---------------------------------------------------------------------------------------------


def test_every_name_has_public_looking_addresses() -> None:
    for name in names.NAMES:
        for address in (*name.ipv4, *name.ipv6):
            assert address.is_global and not address.is_multicast


def test_the_map_leads_to_loopback_or_nowhere(world: World) -> None:
    lookup = world.dial_map.lookup
    assert lookup("tcp", ip_address("203.0.114.10"), 443) == ("127.0.0.1", world.https.port)
    assert lookup("tcp", ip_address("2a0e:6a80:114::a"), 80) == ("127.0.0.1", world.http.port)
    assert lookup("udp", ip_address("8.8.8.8"), 53) == ("127.0.0.1", world.dns.udp_port)
    assert lookup("tcp", ip_address("8.8.8.8"), 53) == ("127.0.0.1", world.dns.port)
    assert lookup("tcp", ip_address("203.0.114.10"), 444) is None
    assert lookup("udp", ip_address("203.0.114.10"), 443) is None
    assert lookup("tcp", ip_address("93.184.216.34"), 80) is None
    assert {target[0] for target in world.dial_map.entries.values()} == {"127.0.0.1"}
    assert ip_address("8.8.8.8") in world.dial_map.hosts()


@pytest.mark.parametrize("target", [("192.0.2.1", 80), ("10.0.0.1", 80), ("8.8.8.8", 53)])
def test_only_loopback_can_be_mapped(target: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match="loopback"):
        names.DialMap().add("tcp", "203.0.114.1", 80, target)


def test_the_closed_name_refuses(world: World) -> None:
    target = world.dial_map.lookup("tcp", names.CLOSED.ipv4[0], 443)
    assert target is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(target, 2)


# -- DNS ---------------------------------------------------------------------------------------------------


def ask(world: World, name: str, kind: str, *, stream: bool = False, edns: bool = False) -> Any:
    query = dns.message.make_query(name, kind, use_edns=edns, payload=1232)
    answer = world.dns.answer(query.to_wire(), stream=stream)
    if answer is None:
        return None
    response = dns.message.from_wire(answer)
    assert response.id == query.id and query.is_response(response)
    return response


def addresses(response: Any) -> list[str]:
    kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
    return [item.address for rrset in response.answer if rrset.rdtype in kinds for item in rrset]


def test_dns_answers(world: World) -> None:
    assert addresses(ask(world, "origin.test", "A")) == ["203.0.114.10"]
    assert addresses(ask(world, "OrIgIn.TEST", "AAAA")) == ["2a0e:6a80:114::a"]
    assert addresses(ask(world, "ipv4.test", "AAAA")) == [] == ask(world, "ipv4.test", "AAAA").answer
    assert ask(world, "ipv4.test", "AAAA").rcode() == dns.rcode.NOERROR
    alias = ask(world, "www.test", "A")
    assert alias.answer[0].rdtype == dns.rdatatype.CNAME and addresses(alias) == ["203.0.114.10"]
    assert ask(world, "short.test", "A").answer[0].ttl == 1


def test_dns_failures(world: World) -> None:
    missing = ask(world, "nothing.test", "A")
    assert missing.rcode() == dns.rcode.NXDOMAIN and missing.authority[0].rdtype == dns.rdatatype.SOA
    assert ask(world, "example.com", "A").rcode() == dns.rcode.NXDOMAIN
    assert ask(world, names.SERVFAIL, "A").rcode() == dns.rcode.SERVFAIL
    assert ask(world, names.REFUSED, "A").rcode() == dns.rcode.REFUSED
    assert ask(world, names.SILENT, "A") is None


def test_large_answers_are_truncated_over_udp_only(world: World) -> None:
    for edns in (False, True):
        short = ask(world, "many.test", "A", edns=edns)
        assert short.flags & dns.flags.TC and short.answer == []
    whole = ask(world, "many.test", "A", stream=True)
    assert not whole.flags & dns.flags.TC and len(addresses(whole)) == 80


def test_dns_garbage_is_counted(world: World) -> None:
    query = dns.message.make_query("origin.test", "A").to_wire()
    for noise in (b"", b"x", bytes(12), query[:-1], bytes([query[0], query[1], 0x80]) + query[3:]):
        assert world.dns.answer(noise, stream=False) is None
    assert world.dns.counters["bad.query"] == 5


async def test_dns_over_its_sockets(world: World) -> None:
    query = dns.message.make_query("origin.test", "A").to_wire()
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()

    class Asker(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: Any) -> None:
            answered.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=("127.0.0.1", world.dns.udp_port))
    transport.sendto(query)
    async with asyncio.timeout(5):
        assert addresses(dns.message.from_wire(await answered)) == ["203.0.114.10"]
    transport.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.dns.port)
    for _ in range(2):  # a connection serves more than one query
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert addresses(dns.message.from_wire(await reader.readexactly(size))) == ["203.0.114.10"]
    writer.close()


# -- origin --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 65535, 65536, 65537, 300_000])
async def test_bytes_have_the_announced_hash(site: str, http: Http, count: int) -> None:
    answer = await http(f"{site}/bytes/{count}?seed=abc")
    assert answer.body == body_bytes(count, "abc") and answer.headers["content-length"] == str(count)
    expected = (await http(f"{site}/sha256/{count}?seed=abc")).body.decode()
    assert hashlib.sha256(answer.body).hexdigest() == expected == body_sha256(count, "abc")
    if count:
        assert answer.body != (await http(f"{site}/bytes/{count}?seed=other")).body


@pytest.mark.parametrize("path", ["stream/200000?chunk=1000", "unsized/200000", "bytes/200000"])
async def test_three_ways_to_end_a_body(site: str, http: Http, path: str) -> None:
    answer = await http(f"{site}/{path}")
    assert answer.body == body_bytes(200_000)
    assert ("transfer-encoding" in answer.headers) is path.startswith("stream")
    assert ("content-length" in answer.headers) is path.startswith("bytes")


async def test_truncated_bodies_end_early(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.port)
    writer.write(b"GET /truncated/1000 HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"content-length: 1000" in head.lower() and len(body) == 500
    writer.close()


async def test_echo_shows_the_request(site: str, http: Http) -> None:
    answer = (await http(f"{site}/echo?a=1&b=%20", "PUT", b"\xff\x00body", {"X-Name": "Wert"})).json()
    assert answer["method"] == "PUT" and answer["path"] == "/echo" and answer["query"] == {"a": "1", "b": " "}
    assert ["X-Name", "Wert"] in answer["headers"] and answer["length"] == 6 and answer["text"] is None
    upload = (await http(f"{site}/upload", "POST", bytes(100_000))).json()
    assert upload == {"length": 100_000, "sha256": hashlib.sha256(bytes(100_000)).hexdigest()}


async def test_redirects(site: str, http: Http) -> None:
    path, seen = "/redirect/3?to=/json&status=307", []
    for _ in range(10):
        answer = await http(site + path)
        if answer.status != 307:
            break
        path = answer.headers["location"]
        seen.append(path.partition("?")[0])
    assert seen == ["/redirect/2", "/redirect/1", "/json"] and answer.json()["hello"] == "origin"


@pytest.mark.parametrize(
    ("coding", "decode"), [("gzip", gzip.decompress), ("deflate", zlib.decompress), ("zstd", zstd.decompress)]
)
async def test_content_codings(site: str, http: Http, coding: str, decode: Callable[[bytes], bytes]) -> None:
    answer = await http(f"{site}/{coding}")
    assert answer.headers["content-encoding"] == coding
    assert json.loads(decode(answer.body))["coding"] == coding
    assert decode((await http(f"{site}/{coding}/5000")).body) == body_bytes(5000)


async def test_small_routes(site: str, http: Http) -> None:
    assert (await http(f"{site}/text")).body == b"Hello from the origin.\n"
    assert b"<!doctype html>" in (await http(f"{site}/html")).body
    assert (await http(f"{site}/status/418")).status == 418
    assert (await http(f"{site}/status/204")).body == b""
    assert (await http(f"{site}/cookies", headers={"Cookie": "a=1; b=2"})).json() == {"cookies": {"a": "1", "b": "2"}}
    assert len((await http(f"{site}/cookies")).headers.get_all("set-cookie")) == 2
    assert len((await http(f"{site}/headers/10000")).headers["x-filler"]) == 10_000
    assert (await http(f"{site}/slow?chunks=3&interval=0.01&size=5")).headers["content-length"] == "15"
    assert (await http(f"{site}/delay/0.01")).body == b"late\n"
    assert (await http(f"{site}/bytes/10", "HEAD")).headers["content-length"] == "10"
    assert b"/redirect/<n>" in (await http(f"{site}/")).body
    assert (await http(f"{site}/nowhere")).status == 404


@pytest.mark.parametrize("path", ["bytes/x", "bytes/-1", "bytes/99999999999999", "status/7", "delay/x", "slow?size=x"])
async def test_bad_parameters_are_400(site: str, http: Http, path: str) -> None:
    assert (await http(f"{site}/{path}")).status == 400


async def test_https_and_its_bad_relatives(world: World, authority: Authority, http: Http) -> None:
    trusting = ssl.create_default_context(cadata=authority.pem)

    def answer(host: str, server: HttpServer) -> dict[str, Any]:
        with (
            socket.create_connection(("127.0.0.1", server.port), 5) as plain,
            trusting.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.sendall(b"GET /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := secure.recv(65536):
                data += piece
            found: dict[str, Any] = json.loads(data.partition(b"\r\n\r\n")[2])
            return found

    assert (await asyncio.to_thread(answer, "origin.test", world.https))["secure"] is True
    for name, server in world._odd.items():
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(answer, name.name, server)


# -- the HTTP server -------------------------------------------------------------------------------------------


async def test_keep_alive_and_pipelining(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.port)
    writer.write(b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    writer.write(b"GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).count(b"Hello from the origin.") == 4
    assert world.http.connections == 1
    writer.close()


@pytest.mark.parametrize("noise", [b"\x16\x03\x01garbage\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n"])
async def test_malformed_requests_are_400_and_the_end(world: World, noise: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.port)
    writer.write(noise)
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_handler_that_fails_is_a_500_and_remembered(http: Http) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("oh")

    server = HttpServer(broken)
    await server.start()
    assert (await http(f"http://127.0.0.1:{server.port}/x")).status == 500
    assert server.errors == ["GET /x: RuntimeError('oh')"]
    await server.close()


async def test_bodies_are_asked_for_and_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.http_server.MAX_BODY", 1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.http.port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"hello")
        assert b'"length":5' in await reader.readuntil(b"}")
        writer.write(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + bytes(2000))
        assert (await reader.read()).startswith(b"HTTP/1.1 413")
    writer.close()


# -- echoes ------------------------------------------------------------------------------------------------------


async def test_tcp_and_udp_echo(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.echo.tcp_port)
    writer.write(bytes(range(256)) * 100)
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() == bytes(range(256)) * 100
    writer.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        loop = asyncio.get_running_loop()
        for data in (b"", b"hello", bytes(1400)):
            await loop.sock_sendto(udp, data, ("127.0.0.1", world.echo.udp_port))
            async with asyncio.timeout(5):
                assert await loop.sock_recv(udp, 2000) == data


@pytest.mark.parametrize("secure", [False, True])
async def test_websocket_echo(world: World, authority: Authority, secure: bool) -> None:
    tls = ssl.create_default_context(cadata=authority.pem) if secure else None
    port = world.echo.wss_port if secure else world.echo.ws_port
    url = f"{'wss' if secure else 'ws'}://ws.test/"
    async with websocket(
        url, host="127.0.0.1", port=port, ssl=tls, proxy=None, subprotocols=["a", "b"], max_size=1 << 24
    ) as connection:
        assert connection.subprotocol == "a"
        assert [type(e).__name__ for e in connection.protocol.extensions] == ["PerMessageDeflate"]
        for message in ("text", b"binary", "", "x" * 1_000_000):
            await connection.send(message)
            assert await connection.recv() == message
        await connection.send("close 4001 goodbye")
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert (connection.close_code, connection.close_reason) == (4001, "goodbye")
