"""`TCPSocket`, `UDPSocket` and `ping` in a browser, through the network: Direct Sockets' shapes, and their ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.browser.page_session import ApiPage, PageFailure, needs_byte_streams
from tests.browser.scripted_worker import HEAD

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

# -- TCP --------------------------------------------------------------------------------------------------


@pytest.mark.feature("Sockets", "TCPSocket: opened, closed, addresses")
@pytest.mark.feature("Sockets", "TCP: half close")
async def test_tcp_echo_with_half_close(shared: ApiPage) -> None:
    """The sending half ends first; what the peer still sends arrives, then its end."""
    got: Any = await shared.run(
        """const socket = new api.TCPSocket("echo.test", 50007, {noDelay: true, keepAliveDelay: 5000,
          sendBufferSize: 100000, receiveBufferSize: 100000, timeouts: {connect: 30000}});
        const early = [(await caught(() => socket.close())).name, (await caught(() => socket.readable)).name];
        const info = await socket.opened;
        const sent = Uint8Array.from({length: 150000}, (_, n) => n * n >> 3);
        const received = new Response(info.readable).arrayBuffer();
        const writer = info.writable.getWriter();
        await writer.write(sent.subarray(0, 50000));
        await writer.write(sent.buffer.slice(50000));
        const kept = sent.length;
        const locked = (await caught(() => socket.close())).name;
        await writer.close();
        const same = await sha256(await received) === await sha256(sent);
        await socket.closed;
        await socket.close();
        const { readable, writable, ...facts } = info;
        const tunnel = await api.getMixTunnel();
        return { early, locked, kept, same, same_streams: [readable === socket.readable, writable === socket.writable],
          local: [tunnel.state.addresses.includes(facts.localAddress), facts.localPort > 0],
          remote: [facts.remoteAddress, facts.remotePort], tls: facts.tls, left: await idle(tunnel) };"""
    )
    assert got == {
        "early": ["InvalidStateError", "InvalidStateError"],
        "locked": "InvalidStateError",
        "kept": 150_000,
        "same": True,
        "same_streams": [True, True],
        "local": [True, True],
        "remote": ["203.0.114.13", 50007],
        "tls": None,
        "left": 0,
    }


@pytest.mark.feature("Sockets", "TCP: close sends what was written, then ends")
@pytest.mark.feature("Sockets", "TCP: cancelling the readable leaves the writable open")
async def test_the_ways_in_which_a_tcp_socket_ends(shared: ApiPage) -> None:
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const open = (options) => tunnel.connectTcp("echo.test", 50007, options);
        const seen = {};
        // close(): no stream is locked, both end, `closed` resolves
        const one = await open();
        const writer = one.writable.getWriter();
        await writer.write(new Uint8Array(1000));
        writer.releaseLock();
        const closing = one.close();
        seen.close = await Promise.all([closing, one.closed, one.close()]).then(() => "closed");
        // cancelling the readable ends reading only
        const two = await open();
        await two.readable.cancel();
        const second = two.writable.getWriter();
        for (let n = 0; n < 3; n++) await second.write(new Uint8Array(70000));
        await second.close();
        seen.cancel = await two.closed.then(() => "closed");
        // aborting the writable resets
        const four = await open();
        const reading = four.readable.getReader().read().catch((error) => error);
        await four.writable.abort("why not");
        seen.abort = [await reading, await four.closed.catch((error) => error)];
        // what is no bytes breaks the connection, and says so
        const five = await open();
        const wrong = await caught(() => five.writable.getWriter().write("text"));
        seen.wrong = [wrong.name, (await five.closed.catch((error) => error)).name];
        // a signal, after the opening
        const control = new AbortController();
        const six = await open({signal: control.signal});
        const late = six.writable.getWriter().closed.catch((error) => error);
        control.abort("enough");
        seen.signal = [await six.closed.catch((error) => error), await late];
        const seven = tunnel.tcpSocket("echo.test", 50007);
        seven.abort();
        seen.early = [(await caught(() => seven.opened)).code, (await caught(() => seven.closed)).code];
        seen.left = await idle(tunnel);
        return seen;"""
    )
    assert got == {
        "close": "closed",
        "cancel": "closed",
        "abort": ["why not", "why not"],
        "wrong": ["TypeError", "TypeError"],
        "signal": ["enough", "enough"],
        "early": ["aborted", "aborted"],
        "left": 0,
    }


@pytest.mark.feature("Sockets", "TCP: byob readers")
async def test_a_reader_brings_its_own_buffer(shared: ApiPage, engine: str) -> None:
    await needs_byte_streams(shared, engine)
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const open = () => tunnel.connectTcp("echo.test", 50007);
        const seen = {};
        const socket = await open();
        const writer = socket.writable.getWriter();
        await writer.write(new TextEncoder().encode("abcdef"));
        const reader = socket.readable.getReader({mode: "byob"});
        const buffer = new ArrayBuffer(4);
        const read = await reader.read(new Uint8Array(buffer));
        seen.byob = [buffer.byteLength, new TextDecoder().decode(read.value), read.done];
        const rest = await reader.read(new Uint8Array(10));
        const waiting = reader.read(new Uint8Array(10));
        await writer.close();
        const end = await waiting;
        seen.byob.push(new TextDecoder().decode(rest.value), end.done, end.value.byteLength);
        await socket.closed;
        // an end within an element of the reader's array is the reader's failure, not the connection's
        const odd = await open();
        const words = odd.readable.getReader({mode: "byob"}).read(new Uint16Array(4), {min: 4}).catch((error) => error);
        const bytes = odd.writable.getWriter();
        await bytes.write(new Uint8Array(3));
        await bytes.close();
        seen.odd = [(await words).name, await odd.closed.then(() => "closed")];
        seen.left = await idle(tunnel);
        return seen;"""
    )
    assert got == {"byob": [0, "abcd", False, "ef", True, 0], "odd": ["TypeError", "closed"], "left": 0}


@pytest.mark.feature("Sockets", "TCP: typed failures of opening")
@pytest.mark.feature("Sockets", "TCP: bad options are a TypeError")
async def test_tcp_sockets_that_do_not_open(shared: ApiPage) -> None:
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const codes = [];
        for (const [host, port, options] of [["closed.test", 80, {}], ["nowhere.test", 80, {}], ["203.0.113.9", 80, {}],
          ["ipv6.test", 50007, {dnsQueryType: "ipv4"}], ["silent.test", 80, {timeouts: {dns: 300}}],
          ["silent.test", 80, {timeouts: {total: 300}}], ["localhost", 80, {}]]) {
          const socket = new api.TCPSocket(host, port, options);
          const error = await caught(() => socket.opened);
          const closed = await caught(() => socket.closed);
          codes.push([error.name, error.code, error.phase, closed.code === error.code]);
        }
        const signal = AbortSignal.abort("no");
        const aborted = await new api.TCPSocket("echo.test", 50007, {signal}).opened.catch((error) => error);
        const refused = [];
        for (const bad of [[], ["h"], ["", 80], ["h", 0], ["h", 65536], ["h", 8.5], ["h", 80, null],
          ["h", 80, {keepAliveDelay: 999}], ["h", 80, {sendBufferSize: 0}], ["h", 80, {receiveBufferSize: 0}],
          ["h", 80, {dnsQueryType: "both"}], ["h", 80, {tls: 5}], ["h", 80, {tls: {alpn: "h2"}}],
          ["h", 80, {signal: {}}], ["h", 80, {timeouts: {nap: 5}}]]) {
          let name = "none";
          try { new api.TCPSocket(...bad); } catch (error) { name = error.constructor.name; }
          refused.push(name);
        }
        return [codes, aborted, refused, await idle(tunnel)];"""
    )
    expected = [
        ("connect_refused", "connect"),
        ("dns_not_found", "dns"),
        ("policy_denied", "connect"),
        ("dns_no_data", "dns"),
        ("dns_timeout", "dns"),
        ("total_timeout", "total"),
        ("special_name", "dns"),
    ]
    assert got[0] == [["TypeError", code, phase, True] for code, phase in expected]
    assert got[1:] == ["no", ["TypeError"] * 15, 0]


@pytest.mark.feature("Sockets", "TCP over TLS: ALPN, server name, own roots")
async def test_tls_over_tcp(shared: ApiPage) -> None:
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const socket = new api.TCPSocket("origin.test", 443, {tls: true});
        const { readable, writable, tls } = await socket.opened;
        const writer = writable.getWriter();
        const request = ["GET /text HTTP/1.1", "Host: origin.test", "Connection: close", "", ""].join("\\r\\n");
        await writer.write(new TextEncoder().encode(request));
        const text = await new Response(readable).text();
        await writer.close();
        await socket.closed;
        const codes = [];
        const { caCertificates } = args;
        const chosen = [];
        for (const alpn of [["http/1.1"], ["none", "http/1.1"], []]) {
          const socket = tunnel.tcpSocket("origin.test", 443, {tls: {alpn}});
          chosen.push((await socket.opened).tls.alpn);
          await socket.close();
        }
        for (const [host, options] of [["origin.test", {serverName: "other.test"}], ["self-signed.test", {}],
          ["origin.test", {defaultRoots: false}], ["origin.test", {caCertificates: "nonsense"}],
          ["origin.test", {defaultRoots: false, caCertificates}], ["203.0.114.10", {serverName: "origin.test"}]]) {
          const socket = tunnel.tcpSocket(host, 443, {tls: options});
          const error = await caught(() => socket.opened);
          codes.push(error ? [error.code, error.reason ?? error.option] : "opened");
          if (!error) await socket.close();
        }
        return [tls.version, tls.cipher.startsWith("TLS_"), text.split("\\r\\n")[0],
          text.endsWith("Hello from the origin.\\n"), chosen, codes, await idle(tunnel)];""",
        caCertificates=shared.options["caCertificates"],
    )
    assert got[:5] == ["TLSv1.3", True, "HTTP/1.1 200 OK", True, ["http/1.1", "http/1.1", None]]
    assert got[5:] == [
        [
            ["tls_certificate", "wrong_host"],
            ["tls_certificate", "unknown_issuer"],
            ["no_roots", None],
            ["bad_option", "caCertificates"],
            "opened",
            "opened",
        ],
        0,
    ]


@pytest.mark.feature("Sockets", "TCP: backpressure down to the peer")
async def test_what_is_not_read_stays_with_the_peer(shared: ApiPage) -> None:
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const arrived = async () => (await tunnel.statistics()).stack.bytes_in;
        const before = await arrived();
        const socket = await tunnel.connectTcp("origin.test", 80, {receiveBufferSize: 65536});
        const request = ["GET /bytes/3000000 HTTP/1.1", "Host: origin.test", "", ""].join("\\r\\n");
        await socket.writable.getWriter().write(new TextEncoder().encode(request));
        const reader = socket.readable.getReader();
        let read = (await reader.read()).value.length;
        await sleep(1500);
        const held = await arrived() - before;
        while (read < 250000) read += (await reader.read()).value.length;
        socket.abort();
        return [held, read];"""
    )
    held, read = got
    assert held < 65_536 * 4, "the window, one chunk in the worker and one in the page, and headers"
    assert read >= 250_000, "it goes on when it is read"


# -- UDP --------------------------------------------------------------------------------------------------


@pytest.mark.feature("Sockets", "UDPSocket: bound, with streams")
@pytest.mark.feature("Sockets", "UDPSocket: connected, with streams")
async def test_udp_streams(shared: ApiPage) -> None:
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const seen = {};
        const bound = new api.UDPSocket({localAddress: "0.0.0.0", receiveBufferSize: 50000});
        const info = await bound.opened;
        seen.bound = [info.localAddress, info.localPort > 0, info.remoteAddress ?? null];
        const writer = info.writable.getWriter();
        const reader = info.readable.getReader();
        const to = {remoteAddress: "echo.test", remotePort: 50007, dnsQueryType: "ipv4"};
        await writer.write({data: new Uint8Array([1, 2, 3]), ...to});
        const { value } = await reader.read();
        seen.message = [[...value.data], value.remoteAddress, value.remotePort];
        seen.locked = (await caught(() => bound.close())).name;
        // an ICMP error about one of many peers does not end the stream of all
        await writer.write({data: new Uint8Array(1), remoteAddress: "closed.test", remotePort: 7});
        await writer.write({data: new Uint8Array([4]), remoteAddress: value.remoteAddress, remotePort: 50007});
        seen.next = [...(await reader.read()).value.data];
        seen.nowhere = (await caught(() => writer.write({data: new Uint8Array(1)}))).name;
        reader.releaseLock();
        writer.releaseLock();
        await bound.close();
        seen.closed = await bound.closed.then(() => "closed");

        const connected = new api.UDPSocket({remoteAddress: "echo.test", remotePort: 50007});
        const { readable, writable, ...facts } = await connected.opened;
        seen.connected = [facts.remoteAddress, facts.remotePort, tunnel.state.addresses.includes(facts.localAddress)];
        const other = writable.getWriter();
        for (const text of ["a", "", "c"]) await other.write({data: new TextEncoder().encode(text)});
        const texts = [];
        const taker = readable.getReader();  // not every engine iterates over a stream
        while (texts.length < 3) texts.push(new TextDecoder().decode((await taker.read()).value.data));
        await taker.cancel();
        seen.texts = texts.sort();
        await other.close();
        seen.both = await connected.closed.then(() => "closed");

        const wrong = new api.UDPSocket({remoteAddress: "echo.test", remotePort: 50007});
        const destination = {data: new Uint8Array(1), remoteAddress: "echo.test", remotePort: 7};
        seen.wrong = (await caught(async () => (await wrong.opened).writable.getWriter().write(destination))).name;
        wrong.abort("over");
        seen.over = [await wrong.closed.catch((error) => error)];
        const early = tunnel.udpSocket();
        early.abort("early");
        const told = (promise) => promise.catch((error) => error);
        seen.over.push(await told(early.opened), await told(early.closed), await told(early.receive()));
        const control = new AbortController();
        const stopped = tunnel.udpSocket({signal: control.signal});
        await stopped.opened;
        control.abort("stop");
        seen.over.push(await stopped.closed.catch((error) => error));
        // of the only peer it is the end
        const refused = new api.UDPSocket({remoteAddress: "closed.test", remotePort: 7});
        const { readable: hopeless, writable: useless } = await refused.opened;
        await useless.getWriter().write({data: new Uint8Array(1)});
        const failure = await caught(() => hopeless.getReader().read());
        seen.refused = [failure.code, (await caught(() => refused.closed)).code === failure.code];
        seen.left = await idle(tunnel);
        return seen;"""
    )
    assert got.pop("refused") in (["port_unreachable", True], ["policy_denied", True])
    assert got == {
        "bound": ["0.0.0.0", True, None],
        "message": [[1, 2, 3], "203.0.114.13", 50007],
        "locked": "InvalidStateError",
        "next": [4],
        "nowhere": "TypeError",
        "closed": "closed",
        "connected": ["203.0.114.13", 50007, True],
        "texts": ["", "a", "c"],
        "both": "closed",
        "wrong": "TypeError",
        "over": ["over", "early", "early", "early", "stop"],
        "left": 0,
    }


@pytest.mark.feature("Sockets", "UDPSocket: one datagram may fail alone")
async def test_udp_echo(shared: ApiPage) -> None:
    """A name that does not resolve and a datagram that does not fit fail alone; the socket goes on."""
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const socket = await tunnel.bindUdp();
        await socket.send(new Uint8Array([1, 2, 3]), "echo.test", 50007);
        const first = await socket.receive();
        const name = await caught(() => socket.send(new Uint8Array(1), "nowhere.test", 7));
        const size = await caught(() => socket.send(new Uint8Array(70000), "echo.test", 50007));
        const kind = await caught(() => socket.send("text", "echo.test", 50007));
        await socket.send(new TextEncoder().encode("again"), first.remoteAddress, first.remotePort);
        const seen = [];
        for await (const { data } of socket) {
          seen.push(new TextDecoder().decode(data));
          setTimeout(() => socket.close(), 100);  // ends the iteration, which waits for one more
        }
        const after = await caught(() => socket.receive());
        return [[...first.data], first.remoteAddress, first.remotePort, name.code, size.code, kind.name, seen,
          after.code, socket.localPort > 0, await idle(tunnel)];"""
    )
    assert got[:3] == [[1, 2, 3], "203.0.114.13", 50007]
    assert got[3:] == ["dns_not_found", "message_too_long", "TypeError", ["again"], "connection_closed", True, 0]


@pytest.mark.feature("Sockets", "UDPSocket: bad options are refused")
async def test_udp_sockets_that_do_not_open(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const socket = await tunnel.bindUdp({port: 5353});
        const twice = await caught(() => tunnel.bindUdp({port: 5353}));
        await socket.close();
        const address = await caught(() => new api.UDPSocket({localAddress: "192.0.2.77"}).opened);
        const name = await caught(() => new api.UDPSocket({remoteAddress: "nowhere.test", remotePort: 7}).opened);
        const refused = [];
        for (const bad of [null, {remoteAddress: "h"}, {remotePort: 7}, {remoteAddress: "h", remotePort: 0},
          {localPort: -1}, {remoteAddress: "h", remotePort: 7, localAddress: "::"}, {dnsQueryType: "ipv4"},
          {ipv6Only: true}, {receiveBufferSize: 0}]) {
          let kind = "none";
          try { new api.UDPSocket(bad); } catch (error) { kind = error.constructor.name; }
          refused.push(kind);
        }
        return [twice.code, address.code, name.code, refused, await idle(tunnel)];"""
    )
    assert got == ["address_in_use", "bad_address", "dns_not_found", ["TypeError"] * 9, 0]


# -- ping -------------------------------------------------------------------------------------------------


@pytest.mark.feature("Sockets", "ping")
async def test_ping(shared: ApiPage) -> None:
    got: Any = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const began = performance.now();
        const reply = await api.mixPing("origin.test");
        const six = await tunnel.ping("ipv6.test", {dnsQueryType: "ipv6", size: 100});
        const took = performance.now() - began;
        const codes = [];
        for (const [host, options] of [["nowhere.test", {}], ["203.0.114.99", {timeout: 300}],
          ["origin.test", {size: 60000}]]) {
          const error = await caught(() => tunnel.ping(host, options));
          codes.push([error.code, error.phase]);
        }
        const signal = AbortSignal.timeout(200);
        const aborted = await tunnel.ping("203.0.114.99", {signal}).catch((error) => error.name);
        const bad = [await caught(() => tunnel.ping("")), await caught(() => tunnel.ping("h", {timeout: 0}))];
        const facts = [reply.address, reply.rtt > 0 && reply.rtt < took, six.address];
        return [...facts, codes, aborted, bad.map(({name}) => name), await idle(tunnel)];"""
    )
    codes = [["dns_not_found", "dns"], ["ping_timeout", "ping"], ["message_too_long", "ping"]]
    assert got == ["203.0.114.10", True, "2a0e:6a80:114::a", codes, "TimeoutError", ["TypeError"] * 2, 0]


@pytest.mark.feature("Sockets", "without a tunnel, promises reject")
async def test_without_a_tunnel(fresh: ApiPage) -> None:
    got = await fresh.run(
        """const tcp = new api.TCPSocket("h", 80), udp = new api.UDPSocket();
        return [await caught(() => tcp.opened), await caught(() => tcp.closed), await caught(() => udp.opened),
          await caught(() => udp.closed), await caught(() => api.mixPing("h"))].map(({code}) => code);"""
    )
    assert got == ["tunnel_down"] * 5


async def test_a_failure_crosses_with_its_fields(shared: ApiPage) -> None:
    with pytest.raises(PageFailure) as failure:
        await shared.run("""await new api.TCPSocket("closed.test", 80).opened;""")
    assert (failure.value.code, failure.value.phase, failure.value.kind) == (
        "connect_refused",
        "connect",
        "ConnectionRefused",
    )


# -- the page's half alone --------------------------------------------------------------------------------


@pytest.mark.feature("Sockets", "a worker that crashes ends open sockets")
async def test_a_crash_ends_open_sockets(scripted: ApiPage) -> None:
    got: Any = await scripted.run(
        HEAD
        + """const tcp = new api.TCPSocket("h", 80), udp = new api.UDPSocket();
        const { id } = await heard("tcp");
        say({type: "opened", id, detail: {tls: null}});
        const other = (await heard("udp")).id;
        say({type: "opened", id: other, detail: {}});
        const { readable, writable } = await tcp.opened;
        const datagrams = await udp.opened;
        const pending = [tcp.closed, udp.closed, readable.getReader().read(), datagrams.readable.getReader().read(),
          writable.getWriter().write(new Uint8Array(5)), udp.send(new Uint8Array(5), "h", 7), udp.receive()];
        await heard("write");
        say({die: "out of memory"});
        const outcome = (promise) => promise.then(() => "no error", (error) => error.code);
        const errors = await Promise.all(pending.map(outcome));
        return [errors, await caught(() => datagrams.writable.getWriter().closed).then(({code}) => code)];"""
    )
    assert got == [["worker_crashed"] * 7, "worker_crashed"]


@pytest.mark.feature("Sockets", "TCP: close sends what was written, then ends")
async def test_close_has_a_limit(scripted: ApiPage) -> None:
    """A write that the peer never takes holds `close` up for two minutes, not for ever."""
    await scripted.page.clock.install()
    opening = scripted.run(
        HEAD
        + """const socket = new api.TCPSocket("h", 80);
        const { id } = await heard("tcp");
        say({type: "opened", id, detail: {tls: null}});
        const { writable } = await socket.opened;
        const writer = writable.getWriter();
        void writer.write(new Uint8Array(5)).catch(() => {});
        writer.releaseLock();
        await heard("write");
        const closing = socket.close();
        await heard("discard");
        document.title = "closing";
        const error = await caught(() => closing);
        return [error.code, error.phase, error.retryable, (await heard("abort")).id === id, seen.length];"""
    )
    running = asyncio.create_task(opening)
    await scripted.page.wait_for_function("document.title === 'closing'", polling=50)
    await scripted.page.clock.fast_forward(119_000)
    await asyncio.sleep(0.1)
    assert not running.done()
    await scripted.page.clock.fast_forward(2_000)
    assert await running == ["close_timeout", "close", True, True, 0]


async def test_an_end_that_was_cut_off(scripted: ApiPage) -> None:
    got: Any = await scripted.run(
        HEAD
        + """const seen_truncated = [];
        for (const truncated of [false, true]) {
          const socket = new api.TCPSocket("h", 443, {tls: true});
          const { id } = await heard("tcp");
          say({type: "opened", id, detail: {tls: null}});
          const { readable } = await socket.opened;
          say({type: "eof", id, truncated});
          const before = socket.truncated;
          const { done } = await readable.getReader().read();
          seen_truncated.push([before, done, socket.truncated]);
        }
        return seen_truncated;"""
    )
    assert got == [[False, True, False], [False, True, True]]


async def test_what_a_socket_asks_for(scripted: ApiPage) -> None:
    got: Any = await scripted.run(
        HEAD
        + """new api.TCPSocket("h", 80);
        const plain = await heard("tcp");
        new api.TCPSocket("h", 80, {noDelay: false, keepAliveDelay: 1000, sendBufferSize: 1, receiveBufferSize: 2,
          dnsQueryType: "ipv6", tls: {serverName: "n", alpn: ["h2"], caCertificates: "PEM", defaultRoots: false},
          timeouts: {dns: 1, total: Infinity, tls: undefined}});
        const full = await heard("tcp");
        new api.UDPSocket();
        const bound = await heard("udp");
        new api.UDPSocket({remoteAddress: "h", remotePort: 7, dnsQueryType: "ipv4", receiveBufferSize: 5});
        const connected = await heard("udp");
        void tunnel.ping("h");
        const ping = await heard("ping");
        const finite = Object.entries(full.request.timeouts).map(([name, ms]) => [name, String(ms)]);
        return [plain, {...full.request, timeouts: finite}, bound.request, connected.request, {...ping, id: 0}]
          .map((message) => message.request ?? message);"""
    )
    nothing = {"keepAliveDelay": None, "sendBufferSize": None, "receiveBufferSize": None, "isolation": None}
    tls = {"serverName": "n", "alpn": ["h2"], "caCertificates": ["PEM"], "defaultRoots": False}
    full = {
        "noDelay": False,
        "keepAliveDelay": 1000,
        "sendBufferSize": 1,
        "receiveBufferSize": 2,
        "tls": tls,
        "isolation": None,
    }
    udp = {"localAddress": None, "port": 0, "host": None, "remotePort": None, "family": None, "isolation": None}
    assert got == [
        {"host": "h", "port": 80, "family": None, "tls": None, "noDelay": True, "timeouts": {}, **nothing},
        {"host": "h", "port": 80, "family": 6, **full, "timeouts": [["dns", "1"], ["total", "Infinity"]]},
        {**udp, "receiveBufferSize": None},
        {**udp, "host": "h", "remotePort": 7, "family": 4, "receiveBufferSize": 5},
        {"type": "ping", "id": 0, "host": "h", "family": None, "timeout": 20000, "size": 32, "isolation": None},
    ]
