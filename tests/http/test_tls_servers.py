"""TLS servers of every kind, met by the client as a whole: which pages load, and what the others' errors say.

All over two IP stacks in virtual time, a round trip of one second. The servers are OpenSSL's, and plain bytes where
OpenSSL would not do what is asked.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from smolmix_web.dns import Answer as Address
from smolmix_web.dns import Resolver
from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import SmolmixError, TimeoutExpired, TlsError
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse, Timeouts
from smolmix_web.rand import SeededRandom
from tests.http_server import Answer, HttpServer
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import run_virtual
from tests.wire import Wire

pytestmark = pytest.mark.cpython  # OpenSSL and the making of certificates

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
Serve = Callable[[TcpStream], Awaitable[None]]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


class Anywhere(Resolver):
    """Every name is at the one server."""

    async def resolve(self, name: str, **_: Any) -> list[Address]:
        return [Address(IPv4Address("192.0.2.80"), 60)]


class World:
    """One server on port 443 and a client that trusts the authority."""

    def __init__(self, authority: trustme.CA, serve: Serve) -> None:
        self.wire = Wire()
        self.wire.listen(443, serve)
        net = self.wire.client
        resolver = Anywhere(net, ("192.0.2.1", 53), None, 30, SeededRandom("resolver"))
        root = authority.cert_pem.bytes().decode()
        self.client = HttpClient(net, resolver, extra_roots=[root], timeouts=Timeouts(tls=20))

    async def get(self) -> tuple[HttpResponse, bytes]:
        response = await self.client.fetch(HttpRequest("https://origin.test/"))
        return response, await response.read()

    async def fails(self, within: float = 6.0) -> SmolmixError:
        """The error, which comes in a few round trips and leaves nothing open."""
        before = self.wire.client.now()
        with pytest.raises(SmolmixError) as caught:
            await self.get()
        assert self.wire.client.now() - before <= within
        assert self.client.connection_count == 0
        await asyncio.sleep(70)
        assert self.wire.client.open_connections() == 0
        return caught.value


def openssl(context: ssl.SSLContext) -> Serve:
    """A server of pages behind OpenSSL; a client that it refuses gets the alert."""
    pages = HttpServer(lambda _: Answer(body=b"page"))

    async def serve(stream: TcpStream) -> None:
        tls = TlsServer(stream, context)
        try:
            await tls.handshake()
            await pages.serve(tls)  # type: ignore[arg-type]
        except OSError:  # ssl.SSLError
            await tls._flush()
            await stream.close()

    return serve


def raw(answer: bytes) -> Serve:
    """Answers a ClientHello with these bytes."""

    async def serve(stream: TcpStream) -> None:
        await stream.read()
        await stream.write(answer)
        await asyncio.sleep(1000)

    return serve


def context_of(certificate: trustme.LeafCert, **options: Any) -> ssl.SSLContext:
    return server_context(certificate, **options)


def self_signed() -> ssl.SSLContext:
    """A certificate for the right name that nobody but itself has signed, and that is no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "origin.test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("origin.test")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(certificate.public_bytes(serialization.Encoding.PEM) + pem).tempfile() as path:
        context.load_cert_chain(path)
    return context


def with_leaf(*names: str, **dates: Any) -> Callable[[trustme.CA], ssl.SSLContext]:
    return lambda authority: server_context(authority.issue_cert(*names, **dates))


CERTIFICATES: dict[str, tuple[Callable[[trustme.CA], ssl.SSLContext], str]] = {
    "expired": (with_leaf("origin.test", not_before=NOW - 9 * DAY, not_after=NOW - DAY), "expired"),
    "not yet valid": (with_leaf("origin.test", not_before=NOW + DAY, not_after=NOW + 9 * DAY), "not_yet_valid"),
    "another name": (with_leaf("other.test", "*.origin.test"), "wrong_host"),
    "an address only": (with_leaf("192.0.2.80"), "wrong_host"),
    "an unknown issuer": (lambda _: server_context(trustme.CA().issue_cert("origin.test")), "unknown_issuer"),
    "self-signed": (lambda _: self_signed(), "unknown_issuer"),
}


@pytest.mark.feature("HTTP", "certificates refused: expired, not yet valid, wrong name, unknown issuer, self-signed")
@pytest.mark.parametrize("what", CERTIFICATES)
def test_certificates(authority: trustme.CA, what: str) -> None:
    make, reason = CERTIFICATES[what]

    async def run() -> None:
        error = await World(authority, openssl(make(authority))).fails()
        assert isinstance(error, TlsError)
        assert (error.code, error.phase, error.reason, error.retryable) == ("tls_certificate", "tls", reason, False)

    run_virtual(run())


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.feature("HTTP", "TLS 1.2 and TLS 1.3")
def test_versions_that_work(authority: trustme.CA, maximum: ssl.TLSVersion) -> None:
    context = server_context(authority.issue_cert("origin.test"), maximum=maximum)

    async def run() -> None:
        response, body = await World(authority, openssl(context)).get()
        assert response.tls is not None and response.tls.version == maximum.name.replace("_", ".")
        assert body == b"page"

    run_virtual(run())


@pytest.mark.feature("HTTP", "a server of TLS 1.1 or older is refused with a typed error")
def test_tls_1_1_alone(authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("origin.test"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def run() -> None:
        error = await World(authority, openssl(context)).fails()
        assert (error.code, error.phase, error.reason) == ("tls_alert", "tls", "protocol_version")
        # One that does not refuse, but answers in its old way.
        hello = b"\x03\x02" + bytes(32) + b"\x00" + b"\xc0\x13" + b"\x00"
        record = b"\x02" + len(hello).to_bytes(3, "big") + hello
        error = await World(authority, raw(b"\x16\x03\x02" + len(record).to_bytes(2, "big") + record)).fails()
        assert (error.code, error.phase) == ("tls_handshake", "tls")

    run_virtual(run())


@pytest.mark.feature("HTTP", "a server that wants a certificate of the client: a typed error at once")
@pytest.mark.parametrize(
    ("maximum", "reason"),
    [(ssl.TLSVersion.TLSv1_3, "certificate_required"), (ssl.TLSVersion.TLSv1_2, "handshake_failure")],
)
def test_a_certificate_of_the_client(authority: trustme.CA, maximum: ssl.TLSVersion, reason: str) -> None:
    context = server_context(authority.issue_cert("origin.test"), maximum=maximum)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)

    async def run() -> None:
        error = await World(authority, openssl(context)).fails()
        assert (error.code, error.phase, error.reason) == ("tls_alert", "tls", reason)

    run_virtual(run())


@pytest.mark.feature("HTTP", "ALPN: a server that knows none, and one that insists on another protocol")
def test_no_common_protocol(authority: trustme.CA) -> None:
    async def run() -> None:
        for alpn in ((), ("other/1",)):
            context = server_context(authority.issue_cert("origin.test"), alpn=alpn)
            response, body = await World(authority, openssl(context)).get()
            assert response.tls is not None and response.tls.alpn is None and body == b"page"
        alert = b"\x15\x03\x03\x00\x02\x02\x78"  # OpenSSL sends it from C only
        error = await World(authority, raw(alert)).fails()
        assert (error.code, error.phase, error.reason) == ("tls_alert", "tls", "no_application_protocol")

    run_virtual(run())


def test_nothing_in_common(authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("origin.test"))
    context.set_ecdh_curve("secp521r1")

    async def run() -> None:
        error = await World(authority, openssl(context)).fails()
        assert (error.code, error.phase, error.reason) == ("tls_alert", "tls", "handshake_failure")

    run_virtual(run())


@pytest.mark.feature("HTTP", "silence, nonsense and an early end in the handshake: typed errors")
def test_servers_that_do_not_shake_hands(authority: trustme.CA) -> None:
    async def silent(stream: TcpStream) -> None:
        await asyncio.sleep(1000)

    async def ends(stream: TcpStream) -> None:
        await stream.read()
        await stream.close()

    async def resets(stream: TcpStream) -> None:
        await stream.read()
        stream.abort()

    async def stops(stream: TcpStream) -> None:
        """In the middle of its hello."""
        await stream.read()
        await stream.write(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03")
        await asyncio.sleep(1000)

    async def drips(stream: TcpStream) -> None:
        """A byte now and then does not keep the client waiting."""
        await stream.read()
        for byte in b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(100):
            await stream.write(bytes([byte]))
            await asyncio.sleep(5)

    async def run() -> None:
        for serve, code in ((silent, "tls_timeout"), (stops, "tls_timeout"), (drips, "tls_timeout")):
            error = await World(authority, serve).fails(within=21.0)
            assert isinstance(error, TimeoutExpired) and (error.code, error.phase) == (code, "tls")
            assert error.retryable
        for serve, code in ((ends, "tls_truncated"), (resets, "connection_reset")):
            error = await World(authority, serve).fails()
            assert (error.code, error.phase, error.retryable) == (code, "tls", True)
        plain = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        for nonsense in (plain, b"220 mail.test ESMTP\r\n", b"\0" * 100, b"\x16\x03\x03\xff\xff"):
            error = await World(authority, raw(nonsense)).fails()
            assert (error.code, error.phase) == ("tls_protocol", "tls")

    run_virtual(run())


@pytest.mark.parametrize(
    ("alert", "code", "reason"),
    [
        (10, "tls_alert", "unexpected_message"),
        (40, "tls_alert", "handshake_failure"),
        (44, "tls_alert", "certificate_revoked"),  # what a server says of ours is not what we say of the server's
        (45, "tls_alert", "certificate_expired"),
        (48, "tls_alert", "unknown_ca"),
        (80, "tls_alert", "internal_error"),
        (112, "tls_alert", "unrecognised_name"),
        (116, "tls_alert", "certificate_required"),
    ],
)
def test_alerts_of_the_server(authority: trustme.CA, alert: int, code: str, reason: str | None) -> None:
    async def run() -> None:
        error = await World(authority, raw(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))).fails()
        assert (error.code, error.phase, error.reason) == (code, "tls", reason)

    run_virtual(run())


def test_every_alert_has_a_type(authority: trustme.CA) -> None:
    async def run() -> None:
        for alert in range(1, 256):
            error = await World(authority, raw(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))).fails()
            assert (error.code, error.phase) == ("tls_alert", "tls") and error.reason

    run_virtual(run())
