"""TLS against OpenSSL: handshakes that work, every way in which they must not, and the end of the stream."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import certifi
import pytest
import trustme

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.tls import TlsStream, _certifi_pem, _default_roots
from smolmix_web.errors import ConnectionReset, SmolmixError, TimeoutExpired, TlsError
from tests.pipe import Pipe
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import virtual

Serve = Callable[[TlsServer], Awaitable[None]]


async def session(
    context: ssl.SSLContext, serve: Serve, root: str, name: str = "origin.test", timeout: float = 30.0
) -> tuple[TlsStream, asyncio.Task[None], Pipe]:
    near, far = Pipe.pair()

    async def server() -> None:
        tls = TlsServer(far, context)
        await tls.handshake()
        await serve(tls)

    task = asyncio.create_task(server())
    try:
        stream = await TlsStream.wrap(near, name, alpn=("http/1.1",), extra_roots=(root,), timeout=timeout)
    except BaseException:
        await asyncio.gather(task, return_exceptions=True)
        raise
    return stream, task, near


async def echo(tls: TlsServer) -> None:
    while data := await tls.read():
        await tls.write(data)
    await tls.close()


@virtual
async def test_tls13_echo_both_ways(certificate: trustme.LeafCert, root: str) -> None:
    stream, task, near = await session(server_context(certificate), echo, root)
    assert (stream.version, stream.alpn) == ("TLSv1.3", "http/1.1")
    assert stream.cipher.startswith("TLS_")
    assert len(stream.peer_certificate()) > 300
    message = bytes(range(256)) * 2000  # more than all buffers on the way
    writing = asyncio.create_task(stream.write(message))
    got = b""
    while len(got) < len(message):
        piece = await stream.read(10_000)
        assert 0 < len(piece) <= 10_000
        got += piece
    await writing
    assert got == message
    assert stream.is_quiet()
    await stream.close()
    await task
    assert near.closed


@virtual
async def test_tls12(certificate: trustme.LeafCert, root: str) -> None:
    context = server_context(certificate, maximum=ssl.TLSVersion.TLSv1_2)
    stream, task, _ = await session(context, echo, root)
    assert stream.version == "TLSv1.2"
    assert "ECDHE" in stream.cipher
    await stream.write(b"hello")
    assert await stream.read() == b"hello"
    await stream.close()
    await task


@pytest.mark.parametrize("name", ["192.0.2.1", "2001:db8::1", "[2001:db8::1]", "a.wild.test", "ORIGIN.test"])
def test_names_that_fit(certificate: trustme.LeafCert, root: str, name: str) -> None:
    @virtual
    async def run() -> None:
        stream, task, _ = await session(server_context(certificate), echo, root, name)
        await stream.close()
        await task

    run()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("other.test", "tls_certificate"),
        ("a.b.wild.test", "tls_certificate"),
        ("192.0.2.2", "tls_certificate"),
        ("not a name", "bad_name"),
        ("", "bad_name"),
    ],
)
def test_names_that_do_not_fit(certificate: trustme.LeafCert, root: str, name: str, code: str) -> None:
    @virtual
    async def run() -> None:
        near, far = Pipe.pair()
        server = asyncio.create_task(TlsServer(far, server_context(certificate)).handshake())
        with pytest.raises(TlsError) as caught:
            await TlsStream.wrap(near, name, extra_roots=(root,))
        assert (caught.value.code, caught.value.phase) == (code, "tls")
        (outcome,) = await asyncio.gather(server, return_exceptions=True)
        if code == "tls_certificate":
            assert caught.value.reason == "wrong_host"
            assert "bad certificate" in str(outcome)  # the alert reached the server
        assert near.closed

    run()


@virtual
async def test_unknown_issuer(certificate: trustme.LeafCert) -> None:
    stranger = trustme.CA().cert_pem.bytes().decode()
    for roots in ((), (stranger,)):
        near, far = Pipe.pair()
        server = asyncio.create_task(TlsServer(far, server_context(certificate)).handshake())
        with pytest.raises(TlsError) as caught:
            await TlsStream.wrap(near, "origin.test", extra_roots=roots)
        assert (caught.value.code, caught.value.reason) == ("tls_certificate", "unknown_issuer")
        (outcome,) = await asyncio.gather(server, return_exceptions=True)
        assert "unknown ca" in str(outcome)
        assert near.closed


@virtual
async def test_expired(expired_certificate: trustme.LeafCert, root: str) -> None:
    with pytest.raises(TlsError) as caught:
        await session(server_context(expired_certificate), echo, root)
    assert (caught.value.code, caught.value.reason) == ("tls_certificate", "expired")


@virtual
async def test_no_common_protocol(certificate: trustme.LeafCert, root: str) -> None:
    """OpenSSL ignores a mismatch of ALPN; then nothing is negotiated and the handshake stands."""
    stream, task, _ = await session(server_context(certificate, alpn=("other/1",)), echo, root)
    assert stream.alpn is None
    await stream.close()
    await task


@virtual
async def test_alert_of_the_server_is_named(certificate: trustme.LeafCert, root: str) -> None:
    context = server_context(certificate)
    context.set_ecdh_curve("secp521r1")  # a group the client does not have
    with pytest.raises(TlsError) as caught:
        await session(context, echo, root)
    assert (caught.value.code, caught.value.reason) == ("tls_alert", "handshake_failure")


@virtual
async def test_a_server_that_does_not_speak_tls(root: str) -> None:
    near, far = Pipe.pair()
    await far.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(TlsError) as caught:
        await TlsStream.wrap(near, "origin.test", extra_roots=(root,))
    assert (caught.value.code, caught.value.phase) == ("tls_protocol", "tls")


@virtual
async def test_server_closes_or_resets_during_the_handshake(root: str) -> None:
    near, far = Pipe.pair()
    await far.close()
    with pytest.raises(TlsError) as caught:
        await TlsStream.wrap(near, "origin.test", extra_roots=(root,))
    assert caught.value.code == "tls_truncated"
    near, far = Pipe.pair()
    far.abort()
    with pytest.raises(ConnectionReset) as reset:
        await TlsStream.wrap(near, "origin.test", extra_roots=(root,))
    assert reset.value.phase == "tls"


@virtual
async def test_silent_server_runs_into_the_deadline(root: str) -> None:
    clock = LoopClock()
    near, far = Pipe.pair()
    before = clock.now()
    with pytest.raises(TimeoutExpired) as caught:
        await TlsStream.wrap(near, "origin.test", extra_roots=(root,), timeout=7.0, clock=clock)
    assert caught.value.phase == "tls"
    assert clock.now() - before == pytest.approx(7.0)
    assert far.reset


@virtual
async def test_cancelling_frees_the_stream(root: str) -> None:
    near, far = Pipe.pair()
    task = asyncio.create_task(TlsStream.wrap(near, "origin.test", extra_roots=(root,)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert far.reset


@virtual
async def test_close_notify_is_an_end_and_a_cut_is_a_truncation(certificate: trustme.LeafCert, root: str) -> None:
    async def polite(tls: TlsServer) -> None:
        await tls.write(b"all of it")
        await tls.close()

    async def rude(tls: TlsServer) -> None:
        await tls.write(b"part of it")
        await tls.cut()

    for serve, text, truncated in ((polite, b"all of it", False), (rude, b"part of it", True)):
        stream, task, _ = await session(server_context(certificate), serve, root)
        await task
        assert await stream.read() == text
        assert await stream.read() == b""
        assert await stream.read() == b""
        assert stream.truncated is truncated
        assert not stream.is_quiet()


@virtual
async def test_plaintext_before_damage_is_delivered_first(certificate: trustme.LeafCert, root: str) -> None:
    async def damaging(tls: TlsServer) -> None:
        await tls.write(b"good")
        await tls.stream.write(b"\x17\x03\x03\x00\x20" + bytes(32))

    stream, task, near = await session(server_context(certificate), damaging, root)
    await task
    assert await stream.read() == b"good"
    with pytest.raises(TlsError) as caught:
        await stream.read()
    assert caught.value.code == "tls_protocol"
    with pytest.raises(TlsError):
        await stream.write(b"more")
    assert near.closed


@virtual
async def test_every_cut_of_the_handshake_is_refused(certificate: trustme.LeafCert, root: str) -> None:
    """The server's first flight, cut after every 100th byte: always a typed error, never a hang."""
    flight = await first_flight(certificate)
    for size in range(0, len(flight), 100):
        near, far = Pipe.pair()
        await far.write(flight[:size])
        await far.close()
        with pytest.raises(SmolmixError):
            await TlsStream.wrap(near, "origin.test", extra_roots=(root,), timeout=5)


@virtual
async def test_a_damaged_flight_is_refused(certificate: trustme.LeafCert, root: str) -> None:
    """One byte changed anywhere in the server's first flight."""
    flight = await first_flight(certificate)
    for position in range(0, len(flight), 37):
        near, far = Pipe.pair()
        await far.write(flight[:position] + bytes([flight[position] ^ 0x55]) + flight[position + 1 :])
        await far.close()
        with pytest.raises(SmolmixError):
            await TlsStream.wrap(near, "origin.test", extra_roots=(root,), timeout=5)
        assert near.closed


async def first_flight(certificate: trustme.LeafCert) -> bytes:
    near, far = Pipe.pair()
    client = asyncio.create_task(TlsStream.wrap(far, "origin.test", timeout=1))
    server = asyncio.create_task(TlsServer(near, server_context(certificate)).handshake())
    while not far.inbox:
        await asyncio.sleep(0)
    flight = bytes(far.inbox)
    client.cancel()
    server.cancel()
    await asyncio.gather(client, server, return_exceptions=True)
    assert len(flight) > 500
    return flight


@virtual
async def test_reader_and_writer_do_not_tear_records(certificate: trustme.LeafCert, root: str) -> None:
    """Full duplex through small buffers: what both tasks send stays whole."""

    async def duplex(tls: TlsServer) -> None:
        total = 0
        while total < 400_000:
            total += len(await tls.read())
            await tls.write(b"x" * 1000)
        await tls.close()

    stream, task, _ = await session(server_context(certificate), duplex, root)

    async def read_all() -> int:
        total = 0
        while data := await stream.read():
            total += len(data)
        return total

    reading = asyncio.create_task(read_all())
    for _ in range(40):
        await stream.write(b"y" * 10_000)
    await task
    assert await reading % 1000 == 0
    assert not stream.truncated


def test_the_default_roots_are_those_of_certifi() -> None:
    assert _certifi_pem() == Path(certifi.where()).read_bytes()
    assert _default_roots().root_cert_count() > 100
