"""From a name to a stream over two stacks in virtual time: addresses in order, options, TLS with roots of one's own."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
import trustme

from smolmix_web.dial import Dialer
from smolmix_web.dns import Resolver
from smolmix_web.edge.sockets import MAX_BUFFER, MIN_BUFFER, TcpOptions, TcpStream
from smolmix_web.edge.tls import TlsOptions
from smolmix_web.errors import ConnectionRefused, DnsError, OptionError, SmolmixError, TimeoutExpired, TlsError
from smolmix_web.netstack import Endpoint
from smolmix_web.rand import SeededRandom
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import virtual
from tests.wire import CLIENT, SERVER, SERVER6, Wire


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def root(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority.issue_cert("origin.test", str(SERVER)), alpn=("h2", "mine"))


async def hold(stream: TcpStream) -> None:
    await asyncio.sleep(100_000)


@virtual
async def test_literals_need_no_resolver() -> None:
    dialer = Dialer(Wire(ipv6=True).client, None)
    assert await dialer.addresses("192.0.2.1", 5) == [IPv4Address("192.0.2.1")]
    assert await dialer.addresses("[2001:db8::1]", 5) == [IPv6Address("2001:db8::1")]
    assert await dialer.addresses("2001:db8::1", 5, family=6) == [IPv6Address("2001:db8::1")]
    for host in ("192.0.513", "0xc0.0.2.1", "0300.0.2.1", "3221225985", "192.0.2.1.", "\uff11\uff19\uff12.0.2.1"):
        assert await dialer.addresses(host, 5) == [IPv4Address("192.0.2.1")]
    for host, family, code in (
        ("192.0.2.1", 6, "dns_no_data"),
        ("::1", 4, "dns_no_data"),
        ("name.test", None, "bad_name"),
    ):
        with pytest.raises(DnsError) as caught:
            await dialer.addresses(host, 5, family)
        assert (caught.value.code, caught.value.phase) == (code, "dns")


@virtual
async def test_a_look_up_has_its_limit() -> None:
    wire = Wire()
    resolver = Resolver(wire.client, (str(SERVER), 53), None, 60.0, SeededRandom("dial"))
    with pytest.raises(TimeoutExpired) as caught:
        await Dialer(wire.client, resolver).addresses("name.test", 3)
    assert caught.value.code == "dns_timeout"


@virtual
async def test_the_first_address_that_answers() -> None:
    wire = Wire()
    wire.server.stack.on_syn = lambda request, now: request.refuse(now)
    wire.server.stack.tcp_listen(80)
    dialer = Dialer(wire.client, None)
    other = IPv4Address("192.0.2.9")
    stream = await dialer.tcp([SERVER6, other], 80, 30)  # the tunnel has no IPv6
    assert (stream.remote, stream.local.address) == (Endpoint(other, 80), CLIENT)
    with pytest.raises(ConnectionRefused):
        await dialer.tcp([other, SERVER], 81, 30)
    wire.server.deliver = False
    began = wire.client.now()
    with pytest.raises(TimeoutExpired) as caught:
        await dialer.tcp([other, SERVER], 80, 30)
    assert caught.value.phase == "connect" and wire.client.now() - began == pytest.approx(30)


@pytest.mark.feature("Sockets", "TCP: noDelay, keepAliveDelay, sendBufferSize, receiveBufferSize")
@virtual
async def test_options_reach_the_connection() -> None:
    wire = Wire()
    wire.listen(80, hold)
    dialer = Dialer(wire.client, None, keepalive=12.0)
    plain = await dialer.tcp([SERVER], 80, 30)
    config = plain._connection.config
    assert config.nodelay and config.keepalive == 12.0 and config.receive_buffer < config.receive_buffer_max
    options = TcpOptions(nodelay=False, keepalive=5.0, send_buffer=10_000, receive_buffer=20_000)
    config = (await dialer.tcp([SERVER], 80, 30, options))._connection.config
    assert (config.nodelay, config.keepalive) == (False, 5.0)
    assert (config.send_buffer_initial, config.send_buffer) == (10_000, 10_000)
    assert (config.receive_buffer, config.receive_buffer_max) == (20_000, 20_000)
    for given, used in ((1, MIN_BUFFER), (1 << 40, MAX_BUFFER)):
        options = TcpOptions(send_buffer=given, receive_buffer=given)
        config = (await dialer.tcp([SERVER], 80, 30, options))._connection.config
        assert (config.send_buffer, config.receive_buffer_max) == (used, used)


@pytest.mark.feature("Sockets", "TCP: backpressure down to the peer")
@virtual
async def test_a_receive_buffer_bounds_what_the_peer_may_send() -> None:
    wire = Wire(delay=0.05)
    sent = 0

    async def flood(stream: TcpStream) -> None:
        nonlocal sent
        while True:
            await stream.write(bytes(1000))
            sent += 1000

    wire.listen(80, flood)
    stream = await Dialer(wire.client, None).tcp([SERVER], 80, 30, TcpOptions(receive_buffer=20_000))
    await asyncio.sleep(60)
    held = stream._connection.receive_available
    assert held <= 20_000
    assert held > 15_000
    got = 0
    while got < 200_000:
        got += len(await stream.read())
    await asyncio.sleep(60)
    assert stream._connection.receive_available <= 20_000
    stream.abort()


@pytest.mark.feature("Sockets", "TCP over TLS: ALPN, server name, own roots")
@pytest.mark.parametrize("own", ["of the tunnel", "besides", "instead"])
@virtual
async def test_roots_and_alpn(server: ssl.SSLContext, root: str, own: str) -> None:
    wire = Wire()

    async def serve(stream: TcpStream) -> None:
        tls = TlsServer(stream, server)
        await tls.handshake()
        await tls.write(await tls.read())

    wire.listen(443, serve)
    options = {
        "of the tunnel": TlsOptions(server_name="origin.test", alpn=("none", "mine")),
        "besides": TlsOptions("origin.test", ("none", "mine"), (root,)),
        "instead": TlsOptions("origin.test", ("none", "mine"), (root,), default_roots=False),
    }[own]
    dialer = Dialer(wire.client, None, extra_roots=(root,) if own == "of the tunnel" else ())
    stream = await dialer.tcp([SERVER], 443, 30)
    connected = await dialer.tls(stream, "wrong.test", 30, options)
    assert connected.tls is not None
    assert (connected.tls.version, connected.tls.alpn) == ("TLSv1.3", "mine")
    assert connected.remote == Endpoint(SERVER, 443)
    await connected.stream.write(b"through")
    assert await connected.stream.read() == b"through"
    plain = await dialer.tls(await dialer.tcp([SERVER], 443, 30), "origin.test", 30, replace(options, alpn=("none",)))
    assert plain.tls is not None and plain.tls.alpn is None


@pytest.mark.feature(
    "Sockets", "TCP over TLS: names as in URLs: international, with a final dot, addresses in any form"
)
@pytest.mark.parametrize(
    "spelled",
    ["origin.test", "ORIGIN.test.", "\uff4frigin\u3002test", "192.0.513", "B\u00fccher.test", "xn--bcher-kva.test."],
)
@virtual
async def test_spellings_of_a_server_name(authority: trustme.CA, root: str, spelled: str) -> None:
    wire = Wire()
    context = server_context(authority.issue_cert("origin.test", "192.0.2.1", "xn--bcher-kva.test"))

    async def serve(stream: TcpStream) -> None:
        await TlsServer(stream, context).handshake()

    wire.listen(443, serve)
    dialer = Dialer(wire.client, None, extra_roots=(root,))
    await dialer.tls(await dialer.tcp([SERVER], 443, 30), spelled, 30)
    options = TlsOptions(server_name=spelled)
    await dialer.tls(await dialer.tcp([SERVER], 443, 30), "wrong.test", 30, options)


@pytest.mark.parametrize("name", ["-a.test", "a-.test", "a!b.test", "a b", "a..b", "%61.test", "a" * 64])
@virtual
async def test_names_that_no_certificate_is_checked_for(root: str, name: str) -> None:
    wire = Wire()
    wire.listen(443, hold)
    dialer = Dialer(wire.client, None, extra_roots=(root,))
    with pytest.raises(TlsError) as caught:
        await dialer.tls(await dialer.tcp([SERVER], 443, 30), "origin.test", 30, TlsOptions(server_name=name))
    assert (caught.value.code, caught.value.phase) == ("bad_name", "tls")
    await asyncio.sleep(300)
    assert wire.client.open_connections() == 0


@pytest.mark.feature("Sockets", "TCP over TLS: an end that was cut off is told")
@pytest.mark.parametrize("end", ["close", "cut"])
@virtual
async def test_an_end_that_was_cut_off(server: ssl.SSLContext, root: str, end: str) -> None:
    wire = Wire()

    async def serve(stream: TcpStream) -> None:
        tls = TlsServer(stream, server)
        await tls.handshake()
        await tls.write(b"part")
        await getattr(tls, end)()

    wire.listen(443, serve)
    dialer = Dialer(wire.client, None, extra_roots=(root,))
    connected = await dialer.tls(await dialer.tcp([SERVER], 443, 30), "origin.test", 30)
    assert [chunk async for chunk in connected] == [b"part"]
    assert connected.truncated == (end == "cut")


@pytest.mark.feature("Sockets", "TCP over TLS: certificates are always checked")
@virtual
async def test_whom_not_to_trust(server: ssl.SSLContext, root: str) -> None:
    wire = Wire()

    async def serve(stream: TcpStream) -> None:
        await TlsServer(stream, server).handshake()

    wire.listen(443, serve)
    dialer = Dialer(wire.client, None, extra_roots=(root,))
    stranger = trustme.CA().cert_pem.bytes().decode()
    foreign = TlsOptions(ca_certificates=(stranger,), default_roots=False)
    cases: list[tuple[str, TlsOptions | None, str, str | None]] = [
        ("origin.test", foreign, "tls_certificate", "unknown_issuer"),
        ("origin.test", TlsOptions(default_roots=False), "no_roots", None),
        ("other.test", None, "tls_certificate", "wrong_host"),
        ("origin.test", TlsOptions(server_name="other.test"), "tls_certificate", "wrong_host"),
        ("origin.test", TlsOptions(ca_certificates=("nonsense",)), "bad_option", None),
    ]
    for host, options, code, reason in cases:
        stream = await dialer.tcp([SERVER], 443, 30)
        with pytest.raises((TlsError, OptionError)) as caught:
            await dialer.tls(stream, host, 30, options)
        error: SmolmixError = caught.value
        assert (error.code, error.phase, error.reason) == (code, "tls", reason), (host, options)
    await asyncio.sleep(300)
    assert wire.client.open_connections() == 0


@pytest.mark.parametrize(
    "wrong", [{"alpn": "h2"}, {"alpn": [5]}, {"alpn": ("",)}, {"alpn": ("ü",)}, {"ca_certificates": "PEM"}]
)
def test_tls_options_that_cannot_be_sent(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        TlsOptions(**wrong)  # type: ignore[arg-type]
