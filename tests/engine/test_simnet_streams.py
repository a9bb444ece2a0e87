"""Messages and streams between two clients of ours, in a network simulated in virtual time, on good and bad days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from smolmix_web.edge.peers import MAX_MESSAGE, Listener, PeerStream
from smolmix_web.errors import (
    Cancelled,
    DirectoryError,
    MessageError,
    MessageTooLong,
    SmolmixError,
    StateError,
    StreamError,
    TimeoutExpired,
    UsageError,
)
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.base58 import base58_encode
from smolmix_web.mixnet.lanes import Lane
from smolmix_web.mixnet.lp_frame import CONTROL, DATA, OPEN, LpFrame
from smolmix_web.netstack import Endpoint
from smolmix_web.rand import SeededRandom
from smolmix_web.streams import stream as rules
from smolmix_web.streams.control import EXTENDED, Control
from smolmix_web.streams.hub import BACKLOG, StreamHub
from smolmix_web.streams.mailbox import MAX_MESSAGES
from smolmix_web.streams.stream import CAPACITY, Stream
from smolmix_web.tunnel import Tunnel
from tests.simnet.cases import download
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.peer import SimPeer
from tests.simnet.tunnels import SimTunnel, left_over, open_tunnel, simulate
from tests.simnet.web import add_web
from tests.simnet.world import ORIGIN, SOURCE_PORT, pattern
from tests.streams import soak

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "exit": "none"}
BAD = {"loss": 0.025, "duplicate": 0.1, "reorder": 0.1, "jitter": 0.02}


def pinned(network: SimNetwork, gateway: str) -> str:
    return base58_encode(network.gateway(gateway).identity.public)


class Two:
    """`a` dials, `b` listens."""

    def __init__(self, network: SimNetwork, a: Tunnel, b: Tunnel) -> None:
        self.network, self.queue, self.a, self.b = network, network.queue, a, b
        self.listener: Listener = b.listen()

    async def connect(self, **options: Any) -> tuple[PeerStream, PeerStream]:
        dialed = await self.a.open_stream(self.b.address, **options)
        return dialed, await self.listener.accept(60)

    def hub(self, tunnel: Tunnel) -> StreamHub:
        engine = tunnel._engine
        assert engine is not None
        return engine.peers

    async def push(self, data: bytes, surbs: int | None = 0) -> None:
        """Bytes of the test's own making from `a` to `b`."""
        engine, driver = self.a._engine, self.a._driver
        assert engine is not None and driver is not None
        while engine.mixnet.room(Lane.CONTROL) < 100:
            await asyncio.sleep(0.05)
        engine.mixnet.send(Recipient.parse(self.b.address), data, surbs=surbs, now=self.queue.now)
        driver.wake()

    async def empty(self, seconds: float = 300.0) -> None:
        """No stream is left anywhere."""
        begun = self.queue.now
        while self.hub(self.a).streams or self.hub(self.b).streams:
            assert self.queue.now < begun + seconds, "streams are left"
            await asyncio.sleep(0.2)


def between_two(seed: str, test: Callable[[Two], Awaitable[None]], *, pins: bool = True, **options: Any) -> SimNetwork:
    network = SimNetwork(seed, exits=options.pop("exits", 0), **options.pop("settings", {}))
    hosts = SimHost(network, "a"), SimHost(network, "b")

    @asynccontextmanager
    async def tunnels() -> AsyncIterator[Two]:
        given = {**QUIET, **options}
        one = {"preferredGateway": pinned(network, "entry1")} if pins else {}
        two = {"preferredGateway": pinned(network, "entry2")} if pins else {}
        async with (
            open_tunnel(network, hosts[0], **given, **one) as a,
            open_tunnel(network, hosts[1], **given, **two) as b,
        ):
            yield Two(network, a, b)

    async def main() -> None:
        async with tunnels() as two:
            await test(two)
        await asyncio.sleep(0.5)
        for host in hosts:
            assert left_over(network, host) == {}

    simulate(network, main())
    return network


async def read_all(stream: PeerStream) -> bytes:
    got = bytearray()
    while piece := await stream.read():
        got += piece
    return bytes(got)


async def send_all(stream: PeerStream, data: bytes) -> None:
    await stream.write(data)
    await stream.send_eof()


async def both_ways(two: Two, size: int = 150_000) -> None:
    """`size` bytes each way at once, with all that a stream promises."""
    dialed, accepted = await two.connect()
    there, back = pattern(size, "there"), pattern(size, "back")
    writing = asyncio.gather(send_all(dialed, there), send_all(accepted, back))
    assert await asyncio.gather(read_all(dialed), read_all(accepted)) == [back, there]
    await writing
    await asyncio.gather(dialed.drain(60), accepted.drain(60))
    assert dialed.reliable and accepted.reliable
    await dialed.close()
    await accepted.close()


# -- messages


@pytest.mark.feature("Messages", "send, receive, reply by tag, delivery state")
def test_messages_and_replies() -> None:
    async def test(two: Two) -> None:
        a, b = two.a.messages, two.b.messages
        sent = a.send(two.b.address, b"question")
        assert sent.state == "sending"
        got = await b.receive(30)
        assert got.data == b"question" and got.sender_tag is not None and got.source is None
        await sent.delivered(30)
        assert sent.state == "delivered"
        answer = b.reply(got.sender_tag, b"answer")
        back = await a.receive(30)
        assert (back.data, back.sender_tag, back.source) == (b"answer", None, two.b.address)
        await answer.delivered(30)
        # Without SURBs nobody can answer, and nothing tells that two messages are of one sender.
        a.send(two.b.address, b"plain", surbs=None)
        assert await b.receive(30) == type(got)(b"plain", None, None)
        # Large ones in both directions: the replier asks for the SURBs it lacks.
        a.send(two.b.address, pattern(100_000))
        large = await b.receive(60)
        assert large.data == pattern(100_000) and large.sender_tag == got.sender_tag
        b.reply(got.sender_tag, pattern(200_000))
        assert (await a.receive(120)).data == pattern(200_000)
        seen = []
        for number in range(3):
            a.send(two.b.address, b"%d" % number, surbs=0)
        async for message in b:
            seen.append(message.data)
            if len(seen) == 3:
                break
        assert sorted(seen) == [b"0", b"1", b"2"]

    between_two("messages", test)


@pytest.mark.feature("Messages", "typed errors: no such gateway, no SURBs left, queue full, too large, not delivered")
def test_messages_that_cannot_be_sent() -> None:
    async def test(two: Two) -> None:
        a, b = two.a.messages, two.b.messages
        address = Recipient.parse(two.b.address)

        def error(kind: type[SmolmixError], code: str, call: Callable[[], object]) -> None:
            with pytest.raises(kind) as caught:
                call()
            assert caught.value.code == code

        error(DirectoryError, "gateway_unknown", lambda: a.send(address._replace(gateway=bytes(32)), b"x"))
        error(MessageError, "bad_recipient", lambda: a.send("nobody", b"x"))
        error(MessageTooLong, "message_too_long", lambda: a.send(address, bytes(MAX_MESSAGE + 1)))
        error(UsageError, "bad_surbs", lambda: a.send(address, b"x", surbs=101))
        error(StateError, "unknown_sender_tag", lambda: b.reply(bytes(16), b"x"))
        error(UsageError, "bad_message", lambda: b.reply(bytes(15), b"x"))
        for _ in range(2):
            a.send(address, bytes(300_000))
            error(StateError, "queue_full", lambda: a.send(address, bytes(300_000)))
            await b.receive(120)
        a.send(address, b"few", surbs=1)
        tag = (await b.receive(30)).sender_tag
        assert tag is not None
        a._net.engine.mixnet._accounts.forget(address)
        held = b.surbs(tag)
        assert held > 0
        # The peer is gone and gives no more; what is left goes into asking for them.
        two.network.gateway("entry1").crash()
        replies = [b.reply(tag, bytes(20_000)) for _ in range(20)]
        with pytest.raises(StreamError) as caught:
            await replies[-1].delivered(600)
        assert (caught.value.code, caught.value.reason, replies[-1].state) == ("not_delivered", "no_surbs", "failed")
        two.network.gateway("entry1").restart()

    between_two("bad messages", test)


def test_a_tag_whose_surbs_were_all_used() -> None:
    async def test(two: Two) -> None:
        mailbox = two.b.messages
        await two.push(b"no SURBs under a tag")
        tag = (await mailbox.receive(30)).sender_tag
        assert tag is not None
        with pytest.raises(StateError) as caught:
            mailbox.reply(tag, b"x")
        assert caught.value.code == "no_surbs"

    between_two("all used", test)


def test_a_message_that_does_not_arrive_fails_in_its_time() -> None:
    async def test(two: Two) -> None:
        two.network.gateway("entry2").crash()
        sent = two.a.messages.send(two.b.address, b"x", timeout=20.0)
        begun = two.queue.now
        with pytest.raises(StreamError) as caught:
            await sent.delivered()
        assert caught.value.reason == "not_acknowledged" and two.queue.now - begun < 45
        with pytest.raises(TimeoutExpired) as late:
            await two.a.messages.send(two.b.address, b"x").delivered(5)
        assert late.value.phase == "delivery"
        two.network.gateway("entry2").restart()

    between_two("undelivered", test)


def test_a_mailbox_is_bounded_and_closed_until_it_is_asked_for() -> None:
    async def test(two: Two) -> None:
        for _ in range(50):
            await two.push(b"early", None)
        await asyncio.sleep(5)
        assert two.b.statistics()["messages_refused"] == 50
        mailbox = two.b.messages
        for _ in range(MAX_MESSAGES + 76):
            await two.push(b"later", None)
        await asyncio.sleep(5)
        assert mailbox.lost == 76 and (await mailbox.receive(1)).data == b"later"
        await two.b.close()
        with pytest.raises(SmolmixError):
            for _ in range(MAX_MESSAGES):
                await mailbox.receive(1)

    between_two("mailbox", test)


# -- streams, when all is well


@pytest.mark.feature("Streams", "both ways at once, half close, end of stream, everything acknowledged end to end")
def test_a_stream_both_ways() -> None:
    async def test(two: Two) -> None:
        await both_ways(two)
        await two.empty(20)
        for tunnel in (two.a, two.b):
            assert two.hub(tunnel).statistics.repeated == 0 and two.hub(tunnel).next_deadline() is None

    network = between_two("both ways", test)
    assert network.violations() == {}


@pytest.mark.feature("Streams", "a tunnel without an exit: directory and gateway only")
def test_set_up_without_an_exit() -> None:
    async def test(two: Two) -> None:
        snapshot = two.a.snapshot()
        assert (snapshot["state"], snapshot["exit"], snapshot["addresses"]) == ("ready", None, [])
        for use in (two.a.fetch("http://origin.test/"), two.a.resolve("origin.test"), two.a.ping("origin.test")):
            with pytest.raises(StateError) as caught:
                await use
            assert caught.value.code == "no_exit"
        with pytest.raises(StateError):
            two.a.bind_udp()
        assert two.a.statistics()["path"]["exit"] is None
        assert not any("described" in path for one in two.network.directories.values() for path in one.requests)

    between_two("no exit", test)


@pytest.mark.feature("Streams", "beside fetch and sockets on one identity")
def test_a_stream_and_a_download_share_a_tunnel() -> None:
    async def test(two: Two) -> None:
        add_web(two.network.world, tls=False)
        begun = two.queue.now
        await download(200_000)(two.a)
        alone = two.queue.now - begun
        begun = two.queue.now
        await asyncio.gather(both_ways(two, 100_000), download(200_000)(two.a))
        assert two.queue.now - begun < 8 * alone + 20
        assert two.a.statistics()["registrations"] == 1

    between_two("shared", test, exits=2, exit="auto")


def test_many_streams_at_once_share_and_end() -> None:
    async def test(two: Two) -> None:
        async def serve() -> None:
            for _ in range(20):
                stream = await two.listener.accept(60)
                tasks.append(asyncio.create_task(echo(stream)))

        async def echo(stream: PeerStream) -> None:
            await send_all(stream, await read_all(stream))

        tasks = [asyncio.create_task(serve())]
        streams = [await two.a.open_stream(two.b.address) for _ in range(20)]
        for number, stream in enumerate(streams):
            await send_all(stream, pattern(5_000, number))
        for number, stream in enumerate(streams):
            assert await read_all(stream) == pattern(5_000, number)
        await asyncio.gather(*tasks)
        await two.empty(30)

    between_two("many", test)


def test_who_dials_stays_unknown_and_who_listens_is_told_no_address() -> None:
    """Nothing that the acceptor's client is given holds any part of the dialer's address."""

    async def test(two: Two) -> None:
        engine = two.b._engine
        assert engine is not None
        seen: list[bytes] = []
        receive = engine.peers.receive
        engine.peers.receive = lambda message, now: (seen.append(message.data), receive(message, now))[1]  # type: ignore[method-assign, func-returns-value]
        await both_ways(two, 50_000)
        own = Recipient.parse(two.a.address)
        assert len(seen) > 30
        assert not any(own.identity in data or own.encryption in data or own.gateway in data for data in seen)

    between_two("anonymous", test)


# -- endings


def test_half_close_close_and_abort() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await send_all(dialed, b"request")
        assert await read_all(accepted) == b"request"
        with pytest.raises(StateError):
            await dialed.write(b"more")
        await accepted.write(pattern(50_000))
        await accepted.close()  # what was written still arrives, and so does the end
        assert await read_all(dialed) == pattern(50_000)
        await two.empty(60)

        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        assert await accepted.read() == b"x"
        accepted.abort(code=4711, text="enough")
        with pytest.raises(StreamError) as caught:
            await dialed.read()
        assert caught.value.code == "stream_reset" and caught.value.reset_code == 4711
        assert caught.value.reason == "code 4711: enough"
        with pytest.raises(StreamError):
            await dialed.write(b"y")
        with pytest.raises(Cancelled):
            await accepted.read()
        await two.empty(60)

        # A peer that closes while we write: the writer is told, the reader has its end.
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        await accepted.close()
        assert await dialed.read() == b""
        with pytest.raises(StreamError) as caught:
            while True:
                await dialed.write(bytes(10_000))
                await asyncio.sleep(1)
        assert caught.value.code == "stream_closed"
        await two.empty(60)

    between_two("endings", test)


def test_nobody_listens_or_too_many_knock() -> None:
    async def test(two: Two) -> None:
        with pytest.raises(StateError) as taken:
            two.b.listen()
        assert taken.value.code == "listener_taken"
        streams = [await two.a.open_stream(two.b.address) for _ in range(BACKLOG + 5)]
        await asyncio.sleep(10)
        refused = [stream for stream in streams if stream._stream.error is not None]
        assert len(refused) == 5 and two.hub(two.b).streams == BACKLOG
        assert {stream._stream.error.reason for stream in refused if stream._stream.error} == {"busy"}
        two.listener.close()
        for stream in streams:
            with pytest.raises(StreamError) as caught:
                await stream.read()
            assert caught.value.code == "peer_refused"
        stream = await two.a.open_stream(two.b.address)
        with pytest.raises(StreamError) as caught:
            await stream.read()
        assert caught.value.code == "peer_refused" and caught.value.reason == "nobody listens"
        with pytest.raises(StateError):
            await two.listener.accept()
        two.b.listen()  # another one may
        await two.empty(60)

    between_two("knock", test)


def test_bad_addresses_are_refused_before_anything_is_sent() -> None:
    async def test(two: Two) -> None:
        address = Recipient.parse(two.b.address)
        with pytest.raises(MessageError):
            await two.a.open_stream("nonsense")
        with pytest.raises(DirectoryError) as caught:
            await two.a.open_stream(str(address._replace(gateway=Recipient.parse(two.a.address).identity)))
        assert caught.value.code == "gateway_unknown"
        for surbs in (0, 101):
            with pytest.raises(UsageError):
                await two.a.open_stream(two.b.address, surbs=surbs)
        assert two.hub(two.a).streams == 0

    between_two("bad addresses", test)


def test_closing_a_tunnel_ends_its_streams_at_both_sides() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        await two.a.close()
        with pytest.raises(SmolmixError):
            await dialed.read()
        begun = two.queue.now
        with pytest.raises(SmolmixError) as caught:
            await accepted.read()
        assert caught.value.code in ("peer_timeout", "stream_reset") and two.queue.now - begun < rules.DEAD + 5

    between_two("closing", test)


# -- bad days


@pytest.mark.feature("Streams", "loss, duplicates and reordering, gateway restarts, key rotation during a transfer")
@pytest.mark.parametrize("seed", range(8))
def test_seeds_of_the_worst(seed: int) -> None:
    """More of them: python -m tests.streams.soak."""
    report = soak.run(seed)
    assert report.ok or all(report.ends)
    assert "internal" not in report.ends


def test_what_a_gateway_loses_for_good_is_sent_again() -> None:
    """Acknowledged by the mixnet and never delivered: only the other end can know."""

    async def test(two: Two) -> None:
        for name in ("entry1", "entry2"):
            two.network.gateway(name).faults.drop_pushes = 0.1
        await both_ways(two, 60_000)
        assert sum(two.hub(tunnel).to_dict()["streams_repeated"] for tunnel in (two.a, two.b)) > 5
        for name in ("entry1", "entry2"):
            two.network.gateway(name).faults.drop_pushes = 0.0
        await two.empty(400)

    between_two("lost for good", test)


@pytest.mark.parametrize("side", ["entry1", "entry2"])
@pytest.mark.feature("Streams", "a stream goes on after either side lost its gateway, also with another address")
def test_another_gateway_and_so_another_address(side: str) -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        there, back = pattern(900_000, 1), pattern(900_000, 2)
        writing = asyncio.gather(send_all(dialed, there), send_all(accepted, back))
        reading = asyncio.gather(read_all(dialed), read_all(accepted))
        await asyncio.sleep(0.4)
        mover = two.a if side == "entry1" else two.b
        before = mover.address
        two.network.gateway(side).crash()
        assert not reading.done()
        while mover.address == before:
            await asyncio.sleep(0.5)
        assert await reading == [back, there]
        await writing
        assert mover.address.split("@")[0] == before.split("@")[0]
        await dialed.close()
        await accepted.close()
        await two.empty(100)

    # Not pinned, but begun at known ones: a pinned gateway is waited for for ever.
    network = SimNetwork(f"moves {side}", gateways=4, exits=0)
    hosts = SimHost(network, "a"), SimHost(network, "b")

    async def main() -> None:
        for name in ("entry2", "entry3", "entry4"):
            network.gateway(name).faults.refuse_connections = True
        async with open_tunnel(network, hosts[0], **QUIET) as a:
            network.gateway("entry2").faults.refuse_connections = False
            network.gateway("entry1").faults.refuse_connections = True
            async with open_tunnel(network, hosts[1], **QUIET) as b:
                for gateway in network.gateways:
                    gateway.faults.refuse_connections = False
                await test(Two(network, a, b))

    simulate(network, main())


def test_a_transfer_over_a_key_rotation() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        there, back = pattern(600_000, 1), pattern(600_000, 2)
        writing = asyncio.gather(send_all(dialed, there), send_all(accepted, back))
        reading = asyncio.gather(read_all(dialed), read_all(accepted))
        await asyncio.sleep(0.4)
        two.network.rotate_keys()
        await two.a.refresh_topology()
        await asyncio.sleep(0.2)
        await two.b.refresh_topology()
        assert not reading.done()
        assert await reading == [back, there]
        await writing

    between_two("rotation", test)


def test_a_machine_that_slept_blames_nobody() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"before ")
        assert await accepted.read() == b"before "
        host = two.a._host
        assert isinstance(host, SimHost)
        # The other one hears nothing meanwhile, for less than it would take for gone.
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: None)
        host.suspend(150.0)
        await dialed.write(b"after")
        assert await asyncio.wait_for(accepted.read(), 60) == b"after"
        await accepted.write(b"yes")
        assert await asyncio.wait_for(dialed.read(), 60) == b"yes"

    between_two("slept", test)


def test_a_peer_that_vanishes_is_missed_in_time() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        host = two.b._host
        assert isinstance(host, SimHost)
        host._asleep = True  # its machine stands still, and its gateway has not noticed
        begun = two.queue.now
        await dialed.write(b"into the void")
        with pytest.raises(TimeoutExpired) as caught:
            await dialed.read()
        assert caught.value.code == "peer_timeout" and two.queue.now - begun < rules.DEAD + 5
        host._asleep = False
        host.suspend(0.0)  # what waited for it comes now
        await asyncio.sleep(1.0)

    between_two("vanishes", test)


def test_a_peer_that_started_anew_knows_nothing_of_the_stream() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        hub = two.hub(two.b)
        hub._entries.clear()
        hub._ready.clear()
        begun = two.queue.now
        await dialed.write(b"y")
        with pytest.raises(StreamError) as caught:
            await dialed.read()
        assert caught.value.reason == "unknown stream" and two.queue.now - begun < 40

    between_two("anew", test)


def test_an_idle_stream_lives() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        await asyncio.sleep(4000)
        assert dialed.is_quiet() and accepted.is_quiet()
        await accepted.write(b"y")
        assert await dialed.read() == b"y"

    between_two("idle", test)


@pytest.mark.feature("Streams", "flow control down to the reader, and a bulk transfer is never short of SURBs")
def test_a_peer_that_never_reads_holds_the_writer_back() -> None:
    async def test(two: Two) -> None:
        for turn in range(2):
            dialed, accepted = await two.connect()
            await dialed.write(b"x")
            await accepted.read()
            writer, reader = (dialed, accepted) if turn else (accepted, dialed)
            total = 2 * CAPACITY
            writing = asyncio.create_task(send_all(writer, pattern(total)))
            await asyncio.sleep(400)
            assert not writing.done()
            held = reader._stream.available
            assert CAPACITY - 2000 < held <= CAPACITY
            assert reader._stream.error is None and writer._stream.error is None
            assert await read_all(reader) == pattern(total)
            await writing
            # Nothing starved: no more requests for SURBs than the transfer needs.
            await dialed.close()
            await accepted.close()

    between_two("never reads", test)


def test_a_bulk_transfer_of_the_anonymous_side_gets_its_surbs_in_time() -> None:
    async def test(two: Two) -> None:
        rates = []
        for turn in range(2):
            dialed, accepted = await two.connect()
            await dialed.write(b"x")
            await accepted.read()
            writer, reader = (accepted, dialed) if turn else (dialed, accepted)
            begun = two.queue.now
            writing = asyncio.create_task(send_all(writer, pattern(300_000)))
            assert await read_all(reader) == pattern(300_000)
            await writing
            rates.append(300 / (two.queue.now - begun))
            await dialed.close()
            await accepted.close()
        # 50 packets a second, of which a few acknowledge or bring SURBs.
        assert min(rates) > 0.75 * 50 * 1.575, rates
        assert two.b.statistics()["surb_requests_sent"] < 12
        # Nothing is asked for or repeated without need.
        assert two.b.statistics()["streams_repeated"] == 0

    between_two("economy", test, disablePoissonTraffic=False, disableCoverTraffic=False)


@pytest.mark.feature("Streams", "at least 60 % of a download's rate from a peer that sends as exits do")
def test_from_a_peer_that_is_not_paced_a_stream_is_as_fast_as_a_download() -> None:
    """Exits do not pace what they send; a stream from a peer that does not either must not wait for SURBs or credit."""
    size = 300_000
    tunnel = SimTunnel(SimNetwork("as fast"))
    tunnel.start()
    begun = tunnel.queue.now
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"%d\n" % size)
    assert tunnel.run(60, lambda: transfer.done) and len(transfer.received) == size
    download = tunnel.queue.now - begun

    left = bytearray(pattern(size))

    def serve(stream: Stream) -> None:
        def step() -> None:
            while left and stream.space:
                del left[: stream.write(bytes(left[:65_536]))]
            if not left:
                stream.finish()
            peer.wake()

        stream.on_event = step
        step()

    peer = SimPeer(tunnel.network, "entry2", serve)
    begun = tunnel.queue.now
    stream = tunnel.engine.peers.open(peer.address, tunnel.host.now())
    got = bytearray()

    def collect() -> None:
        while piece := stream.read(65_536):
            got.extend(piece)
        tunnel.driver.wake()

    stream.on_event = collect
    tunnel.driver.wake()
    assert tunnel.run(60, lambda: stream.eof) and got == pattern(size)
    assert tunnel.queue.now - begun < download / 0.6
    tunnel.stop()


def test_surbs_that_stay_out_hold_a_transfer_up_and_do_not_break_it() -> None:
    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        engine = two.a._engine
        assert engine is not None
        mixnet = engine.mixnet
        send, give = mixnet.send, mixnet._giver.give
        mixnet.send = lambda *args, **given: send(*args, **{**given, "surbs": 0, "fill": False})  # type: ignore[method-assign]
        mixnet._giver.give = lambda *_: 0  # type: ignore[method-assign]
        writing = asyncio.create_task(send_all(accepted, pattern(600_000)))
        await asyncio.sleep(100)
        assert not writing.done() and dialed._stream.error is None and accepted._stream.error is None
        mixnet.send, mixnet._giver.give = send, give  # type: ignore[method-assign]
        assert await read_all(dialed) == pattern(600_000)
        await writing

    between_two("starved", test)


# -- those who mean harm


def test_floods_of_opens_and_unknown_ids_are_bounded() -> None:
    async def test(two: Two) -> None:
        hub, rng = two.hub(two.b), SeededRandom("flood")
        good_dialed, good = await two.connect()
        for _ in range(40):
            for kind in (OPEN, DATA, CONTROL):
                for _ in range(20):
                    record = Control(0, 0).to_bytes() if kind == CONTROL else bytes(900)
                    frame = LpFrame(rng.below(1 << 64), kind, rng.below(1 << 32), record, EXTENDED)
                    await two.push(frame.to_bytes())
            await asyncio.sleep(0.5)
        assert hub.streams == BACKLOG + 1 and len(hub._orphans) <= 64 and len(hub._gone) <= 512
        assert hub.statistics.refused > 700
        sent = two.b.statistics()["messages_sent"]
        await asyncio.sleep(60)
        assert two.b.statistics()["messages_sent"] - sent < 60 * 40, "answers to nonsense are within a rate"
        await good_dialed.write(b"still works")
        assert await good.read() == b"still works"
        two.listener.close()

    between_two("flood", test)


def test_malformed_frames_byte_by_byte() -> None:
    """Every truncation and every flipped bit of a frame of a living stream, from its peer: counted, or a typed end."""

    async def test(two: Two) -> None:
        dialed, accepted = await two.connect()
        await dialed.write(b"x")
        await accepted.read()
        hub, stream_id = two.hub(two.b), dialed._stream.stream_id
        before = hub.statistics.malformed
        whole = LpFrame(stream_id, CONTROL, 0, Control(0, 1 << 20, heard=True, ask=True).to_bytes()).to_bytes()
        for end in range(16, len(whole)):
            await two.push(whole[:end])
        await two.push(whole + b"\0")
        await asyncio.sleep(5)
        assert hub.statistics.malformed == before + len(whole) - 16 + 1
        assert accepted._stream.error is None
        for bit in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            await two.push(bytes(changed))
        await asyncio.sleep(5)
        if accepted._stream.error is not None:
            assert accepted._stream.error.code in ("stream_reset", "stream_gap")
        two.hub(two.b)  # and the client goes on
        await both_ways(two, 5_000)

    between_two("malformed", test)
