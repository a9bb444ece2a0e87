"""The rules of a gateway's WebSocket: registration, authentication, duplicates, allowance, traffic (gateway.md)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect as websocket

from localnet import Network
from localnet import gateway_session as session_module
from localnet import gateway_socket as socket_module
from localnet.raw_client import RawClient
from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import ClientHandshake
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.rand import SeededRandom

Connect = Callable[..., Any]
Packet = Callable[..., MixPacket]
Bare = Callable[..., RawClient]
GRANT = 64 * 1024**3


async def refused(client: RawClient, copies: int = 1) -> str:
    """The text of the refusal, after which the connection must end without a WebSocket close."""
    texts = [await client.expect(control.Error) for _ in range(copies)]
    async with asyncio.timeout(5):
        await client.closed.wait()
    assert client.texts.empty() and client.socket.close_code == 1006
    await client.close()
    return texts[0].message


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


# -- registration -----------------------------------------------------------------------------------


async def test_registration_then_authentication_on_a_second_socket(net: Network, bare: Bare) -> None:
    client = bare(net)
    await client.open()
    assert await client.probe() == 6 == await client.probe()
    answer = await client.register()
    assert (answer.protocol_version, answer.status, answer.upgrade_mode) == (6, True, False)
    await client.close()
    await client.open()
    await client.probe()
    accepted = await client.authenticate()
    assert (accepted.protocol_version, accepted.status, accepted.bandwidth_remaining) == (6, True, 0)
    assert await client.claim() == GRANT
    assert await client.claim() == 2 * GRANT
    await client.close()


@pytest.mark.parametrize(
    ("net", "sent", "echoed"),
    [({"gateway_protocol": 4}, 6, 4), ({"gateway_protocol": 5}, 4, 4), ({"gateway_protocol": 7}, 7, 7)],
    indirect=["net"],
)
async def test_versions_of_a_registration(net: Network, bare: Bare, sent: int, echoed: int) -> None:
    client = bare(net)
    client.version = sent
    await client.open()
    assert await client.probe() == net.config.gateway_protocol
    assert (await client.register()).protocol_version == echoed
    await client.close()


async def test_a_wrong_signature_ends_a_registration(net: Network, bare: Bare, crypto: Crypto) -> None:
    client, stranger = bare(net), bare(net)
    await client.open()
    handshake = ClientHandshake(crypto, client.rng, client.identity, client.address.gateway)
    await client.send(control.HandshakePayload(6, handshake.init()))
    answer = await client.expect(control.HandshakePayload)
    handshake._identity = stranger.identity
    await client.send(control.HandshakePayload(6, handshake.answer(answer.data)))
    await client.expect(control.HandshakeError)
    await refused(client, copies=2)
    assert len(net.gateways[0].clients) == 0


async def test_a_malformed_first_message_is_refused(net: Network, bare: Bare) -> None:
    client = bare(net)
    await client.open()
    await client.send(control.HandshakePayload(6, b"short"))
    assert "80" in await refused(client, copies=2)


async def test_noise_during_a_handshake_is_ignored(net: Network, bare: Bare, crypto: Crypto) -> None:
    client = bare(net)
    await client.open()
    handshake = ClientHandshake(crypto, client.rng, client.identity, client.address.gateway)
    await client.send(control.HandshakePayload(6, handshake.init()))
    answer = await client.expect(control.HandshakePayload)
    await client.socket.send(b"binary")
    await client.socket.send("not json")
    await client.send(control.HandshakePayload(6, handshake.answer(answer.data)))
    assert handshake.finish((await client.expect(control.HandshakePayload)).data)
    assert (await client.expect(control.Register)).status
    await client.close()


async def test_the_client_may_give_up(net: Network, bare: Bare, crypto: Crypto) -> None:
    client = bare(net)
    await client.open()
    handshake = ClientHandshake(crypto, client.rng, client.identity, client.address.gateway)
    await client.send(control.HandshakePayload(6, handshake.init()))
    await client.expect(control.HandshakePayload)
    await client.send(control.HandshakeError("received invalid signature"))
    assert "received invalid signature" in await refused(client, copies=2)


async def test_registering_while_connected_is_a_duplicate(net: Network, connect: Connect, bare: Bare) -> None:
    async with connect(net) as client:
        second = bare(net, keys=client.keys)
        await second.open()
        handshake = ClientHandshake(second.crypto, second.rng, second.identity, second.address.gateway)
        await second.send(control.HandshakePayload(6, handshake.init()))
        await refused(second, copies=2)
        assert await client.claim() == 2 * GRANT


# -- before authentication --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        b"binary",
        "not json",
        '{"type":"whatIsThis"}',
        '{"no":"type"}',
        '{"type":"claimFreeTestnetBandwidth"}',
        '{"type":"authenticate","address":"a","enc_address":"b","iv":"c"}',
        '{"type":"authenticateV2","protocolVersion":6}',
        "[" * 100_000,
    ],
)
async def test_anything_else_before_authentication_ends_the_connection(
    net: Network, bare: Bare, message: str | bytes
) -> None:
    client = bare(net)
    await client.open()
    await client.socket.send(message)
    await refused(client)
    assert net.gateways[0].counters["bad.early"] == 1


async def test_a_ping_before_authentication_is_a_violation(net: Network, bare: Bare) -> None:
    client = bare(net)
    await client.open()
    await client.socket.ping(b"hello")
    await client.expect(control.Error)
    async with asyncio.timeout(5):
        await client.closed.wait()
    await client.close()


async def test_silence_ends_the_connection(net: Network, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FIRST_MESSAGE_TIMEOUT", 0.3)
    client = bare(net)
    await client.open()
    for _ in range(3):  # every probe starts the time anew
        await asyncio.sleep(0.15)
        await client.probe()
    await refused(client)


async def test_a_handshake_left_alone_ends(net: Network, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HANDSHAKE_TIMEOUT", 0.05)
    client = bare(net)
    await client.open()
    handshake = ClientHandshake(client.crypto, client.rng, client.identity, client.address.gateway)
    await client.send(control.HandshakePayload(6, handshake.init()))
    await client.expect(control.HandshakePayload)
    await client.expect(control.HandshakeError)
    await refused(client, copies=2)


async def test_what_is_no_websocket_is_dropped(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "UPGRADE_TIMEOUT", 0.1)
    gateway = net.gateways[0]
    plain, garbage = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff\xfe what\r\n\r\n"
    for noise in (plain, garbage, b"\x16\x03\x01" + bytes(600), b"GET / HT"):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ws_port)
        writer.write(noise)
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
    await until(lambda: not gateway.sessions)
    assert gateway.counters["bad.websocket"] == 2 and gateway.counters["refused.timeout"] == 2


# -- authentication, in the order of the checks -------------------------------------------------------


async def registered(net: Network, bare: Bare) -> RawClient:
    """A client that registered and came back on a fresh socket."""
    client = bare(net)
    await client.open()
    await client.register()
    await client.close()
    await client.open()
    return client


def signed(client: RawClient, *, version: int = 6, offset: int = 0, key: bytes | None = None) -> control.AuthenticateV2:
    moment = int(time.time()) + offset
    key = client.shared_key if key is None else key
    return auth.sign_authentication(client.crypto, client.rng, client.identity, key, version, moment)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"version": 3}, "protocol 3"),
        ({"version": 7}, "protocol 7"),
        ({"offset": -121}, "s off"),
        ({"offset": 122}, "s off"),
        ({"key": b"w" * 32}, "address ciphertext"),
    ],
)
async def test_refused_authentications(net: Network, bare: Bare, options: dict[str, Any], reason: str) -> None:
    client = await registered(net, bare)
    await client.send(signed(client, **options))
    assert reason in await refused(client, copies=2)


async def test_a_signature_of_someone_else_is_refused(net: Network, bare: Bare) -> None:
    client, other = await registered(net, bare), bare(net)
    other.shared_key = client.shared_key
    mine, theirs = signed(client), signed(other)
    fields = {**vars(mine), "signature": theirs.signature}
    await client.send(control.AuthenticateV2(**fields))
    assert "signature" in await refused(client, copies=2)


async def test_an_unknown_client_is_told_so(net: Network, bare: Bare) -> None:
    client = bare(net)
    client.shared_key = b"k" * 32
    await client.open()
    await client.send(signed(client))
    assert "not registered" in await refused(client, copies=2)


async def test_a_time_stamp_serves_once(net: Network, bare: Bare) -> None:
    client = await registered(net, bare)
    moment = int(time.time())
    await client.authenticate(moment)
    await client.close()
    await until(lambda: not net.gateways[0].active)
    await client.open()
    await client.send(signed(client, offset=moment - int(time.time())))
    assert "used before" in await refused(client, copies=2)
    await client.open()
    await client.authenticate(moment + 1)
    await client.close()


@pytest.mark.parametrize("net", [{"gateway_protocol": 4}], indirect=True)
async def test_protocol_4_uses_the_old_packets(net: Network, bare: Bare, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        assert client.version == 4
        await client.forward(loop_packet(net, client))
        assert {len(await client.payload()), len(await client.payload())} == {21, 1643}


# -- duplicates -----------------------------------------------------------------------------------------


async def test_a_live_connection_stays_and_the_new_one_is_refused(net: Network, bare: Bare) -> None:
    client = await registered(net, bare)
    await client.authenticate()
    second = bare(net, keys=client.keys)
    second.shared_key = client.shared_key
    await second.open()
    await second.send(signed(second, offset=1))
    await refused(second, copies=2)
    assert await client.claim() == GRANT
    assert net.gateways[0].counters["refused.duplicate"] == 1
    await client.close()


async def test_a_dead_connection_gives_way(net: Network, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PONG_TIMEOUT", 0.1)
    client = await registered(net, bare)
    await client.authenticate()
    # Stops reading, as a peer whose machine sleeps: no pong will come.
    client.socket.transport.pause_reading()
    second = bare(net, keys=client.keys)
    second.shared_key = client.shared_key
    await second.open()
    await second.send(signed(second, offset=1))
    await second.send(control.ClaimFreeBandwidth())  # waits for the verdict as well
    assert (await second.expect(control.Authenticate)).status
    assert (await second.expect(control.Bandwidth)).available_total == GRANT
    assert len(net.gateways[0].sessions) == 1
    client.socket.transport.abort()
    await client.close()
    await second.close()


async def test_of_two_newcomers_at_once_one_gets_in(net: Network, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PONG_TIMEOUT", 0.2)
    client = await registered(net, bare)
    await client.authenticate()
    client.socket.transport.pause_reading()
    newcomers = [bare(net, keys=client.keys) for _ in range(2)]
    for offset, newcomer in enumerate(newcomers, 1):
        newcomer.shared_key = client.shared_key
        await newcomer.open()
        await newcomer.send(signed(newcomer, offset=offset))
    await newcomers[0].expect(control.Authenticate)
    await refused(newcomers[1], copies=2)
    assert len(net.gateways[0].sessions) == 1
    client.socket.transport.abort()
    for one in (client, newcomers[0]):
        await one.close()


async def test_an_authentication_older_than_the_active_session_is_stale(net: Network, bare: Bare) -> None:
    client = bare(net)
    await client.open()
    await client.register()  # the session's time is now, with fractions
    second = bare(net, keys=client.keys)
    second.shared_key = client.shared_key
    await second.open()
    await second.send(signed(second, offset=-1))
    assert "newer" in await refused(second, copies=2)
    await client.close()


# -- allowance ----------------------------------------------------------------------------------------------


async def test_every_packet_is_charged_and_answered_in_order(
    net: Network, connect: Connect, loop_packet: Packet
) -> None:
    async with connect(net) as client:
        for index in range(1, 4):
            await client.forward(loop_packet(net, client))
            await until(lambda index=index: client.sent_answers == index)  # type: ignore[misc]
            assert client.remaining == GRANT - 2413 * index


@pytest.mark.parametrize("net", [{"free_allowance": 3000}], indirect=True)
async def test_a_packet_beyond_the_allowance_is_dropped(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        await client.forward(loop_packet(net, client))
        await client.forward(loop_packet(net, client))
        assert await client.expect(control.OutOfBandwidth) == control.OutOfBandwidth(2413, 587)
        assert await client.claim() == 3587
        await client.forward(loop_packet(net, client))
        assert sorted([len(await client.payload()) for _ in range(4)]) == [21, 21, 1643, 1643]


@pytest.mark.parametrize("net", [{"enforce_tickets": True}], indirect=True)
async def test_with_enforced_tickets_the_claim_is_refused(net: Network, bare: Bare) -> None:
    client = bare(net)
    await client.open()
    await client.register()
    await client.send(control.ClaimFreeBandwidth())
    assert "credentials" in (await client.expect(control.Error)).message
    assert await client.probe() == 6  # the connection stays
    await client.close()


# -- after authentication --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        '{"type":"unknown"}',
        '{"type":"ecashCredential","enc_credential":[1],"iv":[0,0,0,0,0,0,0,0,0,0,0,0]}',
        '{"type":"handshakePayload","protocol_version":6,"data":[]}',
        '{"type":"encryptedRequest","ciphertext":[1,2],"nonce":[0,0,0,0,0,0,0,0,0,0,0,0]}',
        b"",
        b"\x02\x01" + bytes(12),
        b"\x02\x07" + bytes(40),
        b"\x02\x01" + bytes(2450),
    ],
)
async def test_mistakes_cost_an_error_and_no_more(
    net: Network, connect: Connect, loop_packet: Packet, message: str | bytes
) -> None:
    async with connect(net) as client:
        await client.socket.send(message)
        await client.expect(control.Error)
        await client.forward(loop_packet(net, client))
        await client.payload()
        assert net.violations() == {"bad.request": 1}


@pytest.mark.parametrize("kind", [0, 3, 255])
async def test_unknown_kinds_are_refused(net: Network, connect: Connect, loop_packet: Packet, kind: int) -> None:
    async with connect(net) as client:
        plaintext = loop_packet(net, client).to_bytes()
        await client.socket.send(frames.seal_frame(client.crypto, client.shared_key, bytes(12), kind, plaintext))
        assert str(kind) in (await client.expect(control.Error)).message


@pytest.mark.parametrize("spoil", [lambda p: p[:-1], lambda p: b"\x02" + p[1:], lambda p: p[:1] + b"\x03" + p[2:]])
async def test_malformed_packets_are_refused(
    net: Network, connect: Connect, loop_packet: Packet, spoil: Callable[[bytes], bytes]
) -> None:
    async with connect(net) as client:
        plaintext = spoil(loop_packet(net, client).to_bytes())
        await client.socket.send(frames.seal_frame(client.crypto, client.shared_key, bytes(12), 2, plaintext))
        await client.expect(control.Error)
        assert client.sent_answers == 0


async def test_packets_to_strangers_are_dropped(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        packet = loop_packet(net, client)
        await client.forward(packet._replace(first_hop=b"\x04\x00\x50\x7f\x00\x00\x01"))
        await until(lambda: client.sent_answers == 1)
        assert net.violations() == {"bad.unknown_hop": 1}


async def test_forget_me_and_remember_me(net: Network, connect: Connect) -> None:
    async with connect(net) as client:
        for request, answer in (
            ({"RememberMe": {"session_type": "Wasm"}}, {"RememberMeAck": {}}),
            (auth.FORGET_CLIENT, {"ForgetMeAck": {}}),
        ):
            await client.send(auth.seal_request(client.crypto, client.rng, client.shared_key, request))
            response = await client.expect(control.EncryptedResponse)
            assert auth.open_encrypted(client.crypto, client.shared_key, response) == answer
        assert len(net.gateways[0].clients) == 0
        await client.send(auth.seal_request(client.crypto, client.rng, client.shared_key, {"Other": 1}))
        await client.expect(control.Error)


async def test_messages_may_come_in_fragments(net: Network, connect: Connect, loop_packet: Packet) -> None:
    async with connect(net) as client:
        sealed = client.sealed(loop_packet(net, client))
        await client.socket.send([sealed[:1], sealed[1:1000], sealed[1000:]])
        await client.payload()
        await client.socket.send(['{"type":"claimFree', 'TestnetBandwidth"}'])
        await client.expect(control.Bandwidth)


# -- delivery --------------------------------------------------------------------------------------------------


async def test_messages_wait_for_an_absent_client_and_come_before_the_answer(
    net: Network, bare: Bare, loop_packet: Packet
) -> None:
    client = await registered(net, bare)
    await client.authenticate()
    await client.claim()
    gateway = net.gateways[0]
    await client.forward(loop_packet(net, client, delay=0.1))
    await client.close()
    await until(lambda: gateway.counters["stored"] == 2)
    await client.open()
    await client.authenticate(int(time.time()) + 2)
    assert client.payloads.qsize() == 2  # they were there when the answer came
    assert {len(await client.payload()), len(await client.payload())} == {21, 1643}
    assert gateway.counters["undeliverable"] == 0
    await client.close()


async def test_dropping_clients_cuts_them_off_and_they_may_return(net: Network, bare: Bare) -> None:
    client = await registered(net, bare)
    await client.authenticate()
    gateway = net.gateways[0]
    assert gateway.drop_clients() == 1
    async with asyncio.timeout(5):
        await client.closed.wait()
    assert client.socket.close_code == 1006 and not gateway.active and not gateway.sessions
    await client.open()
    await client.authenticate(int(time.time()) + 1)
    await client.close()


@pytest.mark.parametrize("net", [{"wss": True}], indirect=True)
async def test_secure_websocket(net: Network) -> None:
    context = ssl.create_default_context(cadata=net.ca_pem)
    url = f"wss://localhost:{net.gateways[0].wss_port}/"
    async with websocket(url, ssl=context, proxy=None) as socket:
        await socket.send('{"type":"supportedProtocol"}')
        assert await socket.recv() == '{"type":"supportedProtocol","version":6}'


async def test_a_thousand_random_messages_never_break_a_gateway(
    net: Network, connect: Connect, bare: Bare, loop_packet: Packet, rng: SeededRandom
) -> None:
    for _ in range(40):
        stranger = bare(net)
        await stranger.open()
        await stranger.socket.send(rng.bytes(rng.below(200)))
        await refused(stranger)
    async with connect(net) as client:
        for _ in range(1000):
            noise = rng.bytes(rng.below(100))
            await client.socket.send(noise if rng.below(2) else noise.decode("latin-1"))
        for _ in range(1000):
            await client.expect(control.Error)
        await client.forward(loop_packet(net, client))
        assert {len(await client.payload()), len(await client.payload())} == {21, 1643}
