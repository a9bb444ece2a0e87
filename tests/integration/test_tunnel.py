"""The CPython client against a whole local network: everything a user does, through real packets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from ipaddress import IPv4Address, IPv6Address

import pytest
import trustme

from localnet import Network
from localnet.origin import body_sha256
from smolmix_web.edge.tls import TlsOptions
from smolmix_web.errors import HttpError, OptionError, SmolmixError, TlsError
from smolmix_web.http import HttpRequest, Timeouts
from smolmix_web.netstack import Endpoint
from smolmix_web.websocket import Close
from tests.integration.tunnels import get, open_tunnel, tunnel_to

pytestmark = pytest.mark.timeout(90)


async def test_everything_over_one_tunnel_with_the_standard_traffic(localnet: Network) -> None:
    snapshots: list[tuple[str, str | None]] = []
    tunnel = tunnel_to(
        localnet,
        disablePoissonTraffic=False,
        on_change=lambda snapshot: snapshots.append((snapshot["state"], snapshot["step"])),
    )
    await tunnel.start()
    try:
        assert await tunnel.resolve("origin.test") == [IPv4Address("203.0.114.10"), IPv6Address("2a0e:6a80:114::a")]

        response = await tunnel.fetch(HttpRequest(url="https://origin.test/bytes/200000"))
        body = await response.read()
        assert (response.status, len(body)) == (200, 200_000)
        assert hashlib.sha256(body).hexdigest() == body_sha256(200_000)
        assert response.tls is not None and response.tls.version == "TLSv1.3"

        async with await tunnel.connect_websocket("wss://ws.test/", ["chat"], {"X-Own": "1"}) as socket:
            assert socket.subprotocol == "chat" and socket.extensions.startswith("permessage-deflate")
            answers = aiter(socket)
            for message in ("text", b"\x00\x01binary"):
                await socket.send(message)
                assert await anext(answers) == message
            await socket.send("close 4000 bye")
            assert [message async for message in answers] == []
        assert socket.closed == Close(4000, "bye", True)

        udp = tunnel.bind_udp()
        udp.send_to(b"datagram", IPv4Address("203.0.114.13"), 50_007)
        assert (await udp.receive(20))[0] == b"datagram"
        udp.close()

        tcp = await tunnel.connect_tcp("echo.test", 50_007)
        await tcp.stream.write(b"stream")
        assert await tcp.stream.read() == b"stream"
        await tcp.stream.send_eof()
        assert await tcp.stream.read() == b""
    finally:
        await tunnel.close()
    assert snapshots == [
        ("connecting", "directory"),
        ("connecting", "gateway"),
        ("connecting", "exit"),
        ("ready", None),
        ("shutting_down", None),
        ("shutdown", None),
    ]
    statistics = tunnel.statistics()
    assert statistics["main_cover_sent"] > 0 and statistics["loop_cover_sent"] > 0
    assert localnet.violations() == {}


@pytest.mark.parametrize("localnet", [{"gateway_protocol": version} for version in (4, 5, 6, 7)], indirect=True)
async def test_gateways_of_every_protocol(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        assert (await get(tunnel, "http://http.test/bytes/5000"))[0] == 200
    assert localnet.violations() == {}


@pytest.mark.parametrize(
    ("localnet", "version"),
    [({"exit_versions": ("1.38.0",)}, 10), ({"exit_versions": ("1.36.0",)}, 9)],
    indirect=["localnet"],
)
async def test_exits_of_both_versions(localnet: Network, version: int) -> None:
    async with open_tunnel(localnet) as tunnel:
        assert tunnel.exit_version == version
        assert (await get(tunnel, "https://origin.test/bytes/5000"))[0] == 200


@pytest.mark.parametrize("localnet", [{"exit_options": {"versions": (8, 9), "announce_mismatch": True}}], indirect=True)
async def test_an_exit_that_announces_v10_but_speaks_v9(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        assert tunnel.exit_version == 9


async def test_http_the_way_applications_use_it(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        status, body = await get(
            tunnel, "https://origin.test/echo", method="POST", headers=[("x-test", "yes")], body=b"posted"
        )
        echoed = json.loads(body)
        assert status == 200 and echoed["method"] == "POST" and "posted" in json.dumps(echoed)

        response = await tunnel.fetch(HttpRequest(url="https://origin.test/redirect/3"))
        assert response.status == 200 and response.redirected
        await response.read()
        for coding in ("gzip", "deflate", "zstd"):
            status, body = await get(tunnel, f"https://origin.test/{coding}")
            assert status == 200 and len(body) > 0, coding

        bodies = await asyncio.gather(*(get(tunnel, f"https://origin.test/bytes/20000?seed={i}") for i in range(8)))
        assert [hashlib.sha256(body).hexdigest() for _, body in bodies] == [
            body_sha256(20_000, str(i)) for i in range(8)
        ]


async def test_failures_are_typed_and_leave_the_tunnel_usable(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        cases = {
            "http://nowhere.test/": ("dns_not_found", "dns"),
            "http://closed.test/": ("connect_refused", "connect"),
            "http://203.0.113.9/": ("policy_denied", "connect"),
            "http://origin.test:25/": ("policy_denied", "connect"),
            "https://wrong-name.test/": ("tls_certificate", "tls"),
            "https://self-signed.test/": ("tls_certificate", "tls"),
            "https://expired.test/": ("tls_certificate", "tls"),
        }
        for url, expected in cases.items():
            with pytest.raises(SmolmixError) as raised:
                await get(tunnel, url)
            assert (raised.value.code, raised.value.phase) == expected, url
        for bad in ("ftp://origin.test/", "https:///", "https://origin.test:99999/"):
            with pytest.raises(HttpError):
                await get(tunnel, bad)
        assert (await get(tunnel, "https://origin.test/text"))[0] == 200


@pytest.mark.feature("Sockets", "TCP over TLS: own roots in place of the others, for the whole tunnel")
async def test_own_roots_alone(localnet: Network) -> None:
    with pytest.raises(OptionError) as refused:
        tunnel_to(localnet, caCertificates=None, defaultRoots=False)
    assert refused.value.option == "defaultRoots"
    stranger = trustme.CA().cert_pem.bytes().decode()
    async with open_tunnel(localnet, defaultRoots=False) as tunnel:
        assert (await get(tunnel, "https://origin.test/text"))[0] == 200
        connected = await tunnel.connect_tcp("origin.test", 443, tls=True)
        connected.stream.abort()
        foreign = TlsOptions(ca_certificates=(stranger,), default_roots=False)
        for work in (
            tunnel.connect_tcp("origin.test", 443, tls=foreign),
            tunnel.connect_tcp("self-signed.test", 443, tls=True),
            tunnel.connect_websocket("wss://self-signed.test/"),
        ):
            with pytest.raises(TlsError) as raised:
                await work
            assert (raised.value.code, raised.value.reason) == ("tls_certificate", "unknown_issuer")


async def test_only_given_roots_are_trusted(localnet: Network) -> None:
    async with open_tunnel(localnet, caCertificates=None) as tunnel:
        with pytest.raises(TlsError) as raised:
            await get(tunnel, "https://origin.test/text")
        assert raised.value.code == "tls_certificate"


async def test_aborting_a_download_frees_its_flow(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        response = await tunnel.fetch(HttpRequest(url="http://origin.test/bytes/3000000"))
        await response.read_chunk()
        response.abort()
        task = asyncio.create_task(get(tunnel, "http://origin.test/bytes/3000000"))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await get(tunnel, "http://origin.test/bytes/1000"))[0] == 200


@pytest.mark.feature("Sockets", "TCP, UDP and ping over IPv4 and IPv6")
@pytest.mark.parametrize("family", [4, 6])
async def test_sockets_of_both_families(localnet: Network, family: int) -> None:
    async with open_tunnel(localnet) as tunnel:
        [address] = await tunnel.resolve("echo.test", family=family)
        assert address.version == family
        async with await tunnel.connect_tcp("echo.test", 50_007, family=family) as tcp:
            assert tcp.local is not None and tcp.remote == Endpoint(address, 50_007)
            assert str(tcp.local.address) in tunnel.snapshot()["addresses"]
            await tcp.stream.write(b"stream")
            await tcp.stream.send_eof()
            assert b"".join([chunk async for chunk in tcp]) == b"stream"
        with await tunnel.connect_udp("echo.test", 50_007, family=family) as udp:
            udp.send(b"datagram")
            assert await udp.receive(20) == (b"datagram", Endpoint(address, 50_007))
        local = tunnel.snapshot()["addresses"][0 if family == 4 else 1]
        with tunnel.bind_udp(address=local) as bound:
            bound.send_to(b"bound", address, 50_007)
            assert (await bound.receive(20))[0] == b"bound"
        reply = await tunnel.ping("echo.test", family=family, size=100)
        assert reply.address == address and 0 < reply.rtt < 20


@pytest.mark.feature("Sockets", "typed errors of sockets and ping")
async def test_sockets_that_fail(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        cases = [
            (tunnel.connect_tcp("203.0.113.9", 80), "policy_denied", "connect"),
            (tunnel.connect_tcp("echo.test", 0), "bad_port", "connect"),
            (tunnel.connect_tcp("192.0.2.1", 80, family=6), "dns_no_data", "dns"),
            (tunnel.connect_tcp("origin.test", 80, tls=True, timeouts=Timeouts(tls=5.0)), "tls_protocol", "tls"),
            (tunnel.connect_udp("nowhere.test", 7), "dns_not_found", "dns"),
            (tunnel.connect_udp("echo.test", 70_000), "bad_port", "udp"),
            (tunnel.ping("203.0.113.9", timeout=5), "policy_denied", "ping"),
            (tunnel.ping("203.0.114.250", timeout=1), "ping_timeout", "ping"),
            (tunnel.ping("origin.test", size=-1), "bad_size", "ping"),
            (tunnel.ping("origin.test", size=5_000), "message_too_long", "ping"),
        ]
        for work, code, phase in cases:
            with pytest.raises(SmolmixError) as raised:
                await work
            assert (raised.value.code, raised.value.phase) == (code, phase)
        with pytest.raises(SmolmixError) as raised:
            tunnel.bind_udp(address="192.0.2.1")
        assert raised.value.code == "bad_address"
        with pytest.raises(ZeroDivisionError):
            async with await tunnel.connect_tcp("echo.test", 50_007) as tcp:
                raise ZeroDivisionError
        with pytest.raises(SmolmixError) as raised:
            await tcp.stream.read()
        assert raised.value.code == "aborted", "an error in the block resets the connection"


async def test_a_bad_network_only_costs_time(localnet: Network) -> None:
    await localnet.set_links("*", latency=0.01, jitter=0.02, loss=0.01)
    async with open_tunnel(localnet) as tunnel:
        status, body = await get(tunnel, "https://origin.test/bytes/150000")
        assert status == 200 and hashlib.sha256(body).hexdigest() == body_sha256(150_000)


async def test_a_key_rotation_during_a_download(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        task = asyncio.create_task(get(tunnel, "https://origin.test/bytes/600000"))
        await asyncio.sleep(0.5)
        await localnet.rotate_keys()
        await tunnel.refresh_topology()
        status, body = await task
        assert status == 200 and hashlib.sha256(body).hexdigest() == body_sha256(600_000)
