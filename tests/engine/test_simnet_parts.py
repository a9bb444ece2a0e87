"""The simulator itself: its clock, links, sockets, machine and cheap cryptography do what they promise."""

from __future__ import annotations

import asyncio
from statistics import fmean

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError, SphinxError
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx.constants import REGULAR
from smolmix_web.sphinx.node import FinalHop, ForwardHop, process_packet
from smolmix_web.sphinx.packet import Hop, build_packet
from tests.simnet.costs import DEFAULT_RATE, EVENT, WHOLE, thin_line
from tests.simnet.events import START, BusyLoop, EventQueue, run_simulated
from tests.simnet.fast_crypto import InsecureFastCrypto
from tests.simnet.host import SimHost
from tests.simnet.links import Link, LinkConditions, flip_bit
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.virtual_loop import Deadlock

FAST = InsecureFastCrypto()


# -- time


def test_events_happen_in_order_of_time_then_age() -> None:
    queue, seen = EventQueue(), []
    queue.after(2.0, seen.append, "c")
    queue.after(1.0, seen.append, "a")
    queue.after(1.0, seen.append, "b")
    queue.after(1.5, seen.append, "never").cancel()
    assert len(queue) == 3
    assert queue.run(1.2) and seen == ["a", "b"] and queue.now == START + 1.2
    assert not queue.run(0.1, lambda: len(seen) == 3)
    assert queue.run(10, lambda: len(seen) == 3) and queue.now == START + 2.0


def test_standing_still_is_an_error() -> None:
    queue = EventQueue()

    def again() -> None:
        queue.at(queue.now, again)

    again()
    with pytest.raises(BusyLoop):
        queue.run(1.0)


def test_tasks_and_events_share_one_clock() -> None:
    queue, seen = EventQueue(), []

    async def main() -> float:
        queue.after(0.25, seen.append, "event")
        await asyncio.sleep(0.2)
        seen.append("task")
        future = asyncio.get_running_loop().create_future()
        queue.after(3.0, future.set_result, None)
        await future
        return asyncio.get_running_loop().time()

    assert run_simulated(queue, main()) == pytest.approx(START + 3.2)
    assert seen == ["task", "event"]


def test_waiting_for_nobody_is_a_deadlock_and_turns_without_end_a_busy_loop() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Deadlock):
        run_simulated(EventQueue(), forever())
    with pytest.raises(BusyLoop):
        run_simulated(EventQueue(), busy())


# -- links


def arrivals(conditions: LinkConditions, count: int, *, stream: bool, gap: float = 0.0) -> list[tuple[float, int]]:
    queue, got = EventQueue(), []
    link = Link(queue, SeededRandom("link"), conditions, stream=stream)
    for number in range(count):
        queue.after(number * gap, link.send, number.to_bytes(2, "big") * 50, lambda data: got.append((queue.now, data)))
    queue.run(1000)
    return [(when - START, int.from_bytes(data[:2], "big")) for when, data in got]


def test_a_datagram_link_delays_loses_copies_and_reorders() -> None:
    assert arrivals(LinkConditions(latency=0.5), 2, stream=False) == [(0.5, 0), (0.5, 1)]
    jittered = arrivals(LinkConditions(latency=0.5, jitter=0.1), 2000, stream=False)
    assert fmean(when for when, _ in jittered) == pytest.approx(0.6, rel=0.02)
    assert [number for _, number in jittered] != sorted(number for _, number in jittered)
    assert 150 < 2000 - len(arrivals(LinkConditions(loss=0.1), 2000, stream=False)) < 250
    assert 2150 < len(arrivals(LinkConditions(duplicate=0.1), 2000, stream=False)) < 2250
    late = [when for when, _ in arrivals(LinkConditions(latency=0, reorder=0.1), 2000, stream=False) if when > 0]
    assert 150 < len(late) < 250 and late == pytest.approx([0.05] * len(late))
    assert arrivals(LinkConditions(down=True), 5, stream=False) == []


def test_a_rate_spaces_what_is_sent_and_drops_what_does_not_fit() -> None:
    spaced = arrivals(LinkConditions(latency=0, rate=1000), 3, stream=False)
    assert [when for when, _ in spaced] == pytest.approx([0.1, 0.2, 0.3])
    assert len(arrivals(LinkConditions(rate=1000, queue=450), 50, stream=False)) == 5


def test_a_stream_link_keeps_order_and_loses_nothing() -> None:
    got = arrivals(LinkConditions(latency=0.1, jitter=0.2, loss=0.2), 500, stream=True, gap=0.001)
    assert [number for _, number in got] == list(range(500))
    assert got[-1][0] > 0.5


def test_a_flipped_bit_is_one_bit() -> None:
    data = bytes(100)
    flipped = flip_bit(SeededRandom("flip"), data)
    assert sum(byte.bit_count() for byte in flipped) == 1


# -- sockets and the machine


class Owner:
    def __init__(self, network: SimNetwork, host: SimHost) -> None:
        self.events: list[object] = []
        self.times: list[float] = []
        self._network = network
        self.socket = host.open_websocket("wss://entry1.sim:9001/", self)

    def _note(self, event: object) -> None:
        self.events.append(event)
        self.times.append(self._network.queue.now - START)

    def socket_opened(self) -> None:
        self._note("opened")
        self.socket.send('{"type":"supportedProtocol"}')

    def socket_message(self, frame: bytes | str) -> None:
        self._note(frame)

    def socket_closed(self, reason: str) -> None:
        self._note(reason)


ANSWER = '{"type":"supportedProtocol","version":6}'


def test_a_socket_opens_answers_and_ends_once() -> None:
    network = SimNetwork()
    owner = Owner(network, SimHost(network))
    network.queue.run(1)
    assert owner.events == ["opened", ANSWER]
    assert owner.times == pytest.approx([0.04, 0.06])
    owner.socket.close()
    assert len(owner.events) == 2  # never from inside the call
    network.queue.run(60)
    assert owner.events == ["opened", ANSWER, "closed by us"]
    assert network.gateway("entry1").connections == []


def test_sockets_fail_in_every_way() -> None:
    network = SimNetwork()
    host = SimHost(network)
    network.gateway("entry1").crash()
    refused = Owner(network, host)
    network.queue.run(20)
    assert refused.events == ["cannot connect: refused"]
    network.gateway("entry1").restart()
    network.blackholed_urls.add("wss://entry1.sim:9001/")
    black = Owner(network, host)
    network.queue.run(20)
    assert black.events == ["no connection in 15 s"] and black.times[0] == pytest.approx(35.0)
    network.blackholed_urls.clear()

    for strike, reason in (
        ("cut", "connection lost: reset"),
        ("server_close", "closed by the gateway (code 1000)"),
    ):
        owner = Owner(network, host)
        network.queue.run(1)
        getattr(owner.socket, strike)()
        network.queue.run(1)
        assert owner.events == ["opened", ANSWER, reason]

    silent = Owner(network, host)
    network.queue.run(1)
    silent.socket.vanish()
    silent.socket.send('{"type":"supportedProtocol"}')
    network.queue.run(100)
    assert silent.events == ["opened", ANSWER]
    assert network.gateway("entry1").connections == []


def test_a_frozen_socket_holds_what_is_sent_until_it_thaws() -> None:
    network = SimNetwork()
    owner = Owner(network, SimHost(network))
    network.queue.run(0.05)
    owner.socket.freeze()
    owner.socket.send('{"type":"supportedProtocol"}')
    network.queue.run(5)
    assert owner.events == ["opened"] and owner.socket.buffered == 28
    owner.socket.thaw()
    network.queue.run(1)
    assert owner.events == ["opened", ANSWER, ANSWER] and owner.socket.buffered == 0


def test_faults_strike_at_the_given_frame() -> None:
    network = SimNetwork()
    network.faults.at("down", 0, "drop")
    owner = Owner(network, SimHost(network))
    network.queue.run(1)
    assert owner.events == ["opened"] and network.faults.struck == [("down", 0)]
    network.faults.at("up", 1, "corrupt")
    owner.socket.send('{"type":"supportedProtocol"}')
    network.queue.run(1)
    assert "is not JSON" in str(owner.events[1])


def test_a_sleeping_machine_gets_everything_when_it_wakes() -> None:
    network = SimNetwork()
    host = SimHost(network)
    fired: list[float] = []
    host.call_later(3.0, lambda: fired.append(host.now() - START))
    timer = host.call_later(4.0, lambda: fired.append(-1.0))
    assert host.timers == 2
    host.suspend(100.0)
    assert fired == []
    timer.cancel()
    network.queue.run(1)
    assert fired == [100.0] and host.timers == 0
    host.suspend(50.0, monotonic=False)
    assert host.now() - START == pytest.approx(101.0)
    assert host.unix_time() - network.unix_time() == pytest.approx(0.0)


# -- the cheap cryptography


def test_fast_crypto_agrees_and_refuses_like_the_real_one(crypto: Crypto, rng: SeededRandom) -> None:
    a, b = rng.bytes(32), rng.bytes(32)
    assert FAST.x25519(a, FAST.x25519_base(b)) == FAST.x25519(b, FAST.x25519_base(a))
    public = FAST.ed25519_public(a)
    assert public == crypto.ed25519_public(a)
    signature = FAST.ed25519_sign(a, b"text")
    assert FAST.ed25519_verify(public, b"text", signature)
    assert not FAST.ed25519_verify(public, b"Text", signature)
    assert not FAST.ed25519_verify(public, b"text", flip_bit(rng, signature))
    sealed = FAST.aes256_gcm_siv_seal(a, b[:12], b"text")
    assert FAST.aes256_gcm_siv_open(a, b[:12], sealed) == b"text"
    for key, nonce, box in (
        (b, b[:12], sealed),
        (a, a[:12], sealed),
        (a, b[:12], flip_bit(rng, sealed)),
        (a, b[:12], b""),
    ):
        with pytest.raises(CryptoError, match="tag"):
            FAST.aes256_gcm_siv_open(key, nonce, box)
    assert FAST.open_fragment(b, FAST.seal_fragment(a, FAST.x25519_base(b), b"text")) == b"text"

    both = (
        lambda c: c.x25519(a[:31], b),
        lambda c: c.x25519(a, b[:31]),
        lambda c: c.x25519(a, bytes(32)),
        lambda c: c.ed25519_public(a[:31]),
        lambda c: c.aes128_ctr(a, a, b""),
        lambda c: c.aes256_gcm_siv_seal(a[:16], b[:12], b""),
        lambda c: c.chacha20(a[:16], b""),
        lambda c: c.header_secrets(a, []),
        lambda c: c.payload_keys([a]),
        lambda c: c.keystreams([a], 10),
        lambda c: c.lioness_encrypt([a], bytes(100)),
        lambda c: c.open_fragment(a, b[:10]),
    )
    for call in both:
        codes = []
        for provider in (FAST, crypto):
            with pytest.raises(CryptoError) as raised:
                call(provider)
            codes.append(raised.value.code)
        assert codes[0] == codes[1]
    same_size = (
        lambda c: c.x25519_base(a),
        lambda c: c.ed25519_sign(a, b""),
        lambda c: c.aes128_ctr(a[:16], b[:16], b"text"),
        lambda c: c.aes256_gcm_siv_seal(a, b[:12], b"text"),
        lambda c: c.blake3(a),
        lambda c: c.node_secret(a, FAST.x25519_base(b)),
        lambda c: c.keystreams([a[:16]], 99)[0],
        lambda c: c.payload_keys([a[:16]])[0],
        lambda c: c.seal_fragment(a, crypto.x25519_base(b), b"text"),
        lambda c: c.header_secrets(a, [crypto.x25519_base(b)])[1][0],
    )
    for call in same_size:
        assert len(call(FAST)) == len(call(crypto))


def test_sphinx_works_on_fast_crypto_and_notices_every_change(rng: SeededRandom) -> None:
    secrets = [rng.bytes(32) for _ in range(4)]
    route = [Hop(bytes((4, 0, 1, number)).ljust(32, b"\0"), FAST.x25519_base(s)) for number, s in enumerate(secrets)]
    destination, message = rng.bytes(32), rng.bytes(2048)
    packet = build_packet(FAST, rng, route, [1, 2, 3, 4], destination, message, payload_size=REGULAR.payload)
    assert len(packet) == REGULAR.wire
    for _ in range(40):
        with pytest.raises(SphinxError):
            travel(secrets, flip_bit(rng, packet))
    hop = travel(secrets, packet)
    assert (hop.destination, hop.message) == (destination, message)


def travel(secrets: list[bytes], packet: bytes) -> FinalHop:
    for number, secret in enumerate(secrets):
        hop = process_packet(FAST, secret, packet)
        if isinstance(hop, FinalHop):
            assert number == len(secrets) - 1
            return hop
        assert isinstance(hop, ForwardHop) and hop.delay_ns == number + 1
        packet = hop.packet
    raise AssertionError("no final hop")


# -- a slow machine on a thin line


@pytest.mark.parametrize("load", [0.25, 0.75])
def test_default_traffic_takes_its_share_of_a_slow_machine(load: float) -> None:
    tunnel = SimTunnel(SimNetwork(f"slow machine {load}"), trafficRate="1")
    tunnel.host.load = load
    tunnel.start()
    worked, begun = tunnel.host.worked, tunnel.queue.now
    tunnel.run(15)
    share = (tunnel.host.worked - worked) / (tunnel.queue.now - begun)
    assert share == pytest.approx(load, rel=0.12)


def test_what_comes_for_a_machine_that_works_waits_in_order_while_the_world_goes_on() -> None:
    host = SimHost(SimNetwork())
    queue, seen = host.network.queue, []
    host.load = 1.0

    def work() -> None:
        host.spend(WHOLE * DEFAULT_RATE)  # one second
        seen.append(("work", queue.now - START))

    def frame(number: int) -> None:
        seen.append((number, round(queue.now - START, 9)))

    host.call_soon(work)
    host.call_later(0.2, lambda: frame(2))
    queue.after(0.1, host._arrived, frame, 1)
    queue.after(0.3, seen.append, "world")
    queue.after(0.5, lambda: seen.append(host.frames_waiting))
    queue.run(0.6)  # what takes longer is not torn
    assert seen == ["world", 1, ("work", 1.0)]
    queue.run(0.5)
    handed_over = round(1.0 + EVENT / WHOLE / DEFAULT_RATE, 9)
    assert seen[3:] == [(1, handed_over), (2, handed_over)] and host.frames_waiting == 0
    assert host.worked == pytest.approx(handed_over)


def test_a_thin_line_holds_bytes_that_the_socket_does_not_show() -> None:
    network = SimNetwork()
    thin_line(network, 10, buffer=16_000, delay=0.5)
    link, seen = Link(network.queue, network.rng, network.conditions["client_up"], stream=True), []
    for _ in range(4):
        link.send(bytes(5_000), lambda _: seen.append(round(network.queue.now - START, 6)))
    assert (link.backlog(), link.visible()) == (20_000, 4_000)
    network.queue.run(1.0)
    assert (link.backlog(), link.visible()) == (10_000, 0)
    network.queue.run(5.0)
    assert seen == [1.0, 1.5, 2.0, 2.5]
