"""The page's half alone: a scripted worker in place of the real one says exactly what a test wants it to say."""

from __future__ import annotations

import pytest

from tests.browser.page_session import ApiPage
from tests.browser.scripted_worker import HEAD

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.mark.feature("Fetch", "backpressure: a chunk for each pull, one read ahead")
async def test_one_chunk_for_each_pull_and_none_before(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const fetching = api.mixFetch("http://o/");
        const { id, request, data } = await heard("fetch");
        answer(id);
        const response = await fetching;
        await sleep(50);
        const before = seen.length;
        const reader = response.body.getReader();
        const first = reader.read();
        await heard("pull");
        chunk(id, 1);
        const one = (await first).value;
        await sleep(50);
        const between = seen.length;
        const second = reader.read();
        await heard("pull");
        say({type: "end", id});
        return [request.method, request.streaming, data, before, [...one], between, (await second).done];"""
    )
    assert got == ["GET", False, None, 0, [1], 0, True]


@pytest.mark.feature("Fetch", "cancelling a body frees its flow")
async def test_cancelling_a_body_aborts_its_id(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const fetching = api.mixFetch("http://o/");
        const { id } = await heard("fetch");
        answer(id);
        await (await fetching).body.cancel();
        const aborted = await heard("abort");
        chunk(id, 1);  // was on its way
        say({type: "error", id, error: {name: "X", code: "x", phase: null, message: "late"}});
        await sleep(50);
        return aborted.id === id;"""
    )
    assert got is True
    assert scripted.console == []


@pytest.mark.feature("Worker", "backpressure upward: a write is acknowledged when the tunnel has taken it")
async def test_upload_waits_for_written(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """let pulled = 0;
        const source = { pull(controller) { pulled++; controller.enqueue(new Uint8Array(100_000)); } };
        const body = new ReadableStream(source, {highWaterMark: 0});
        const fetching = api.mixFetch("http://o/", {method: "POST", body});
        const { id, request } = await heard("fetch");
        const first = await heard("write");
        await sleep(50);
        const held = [pulled, seen.length];
        say({type: "written", id, bytes: first.data.length});
        const rest = await heard("write");
        answer(id, 413);
        const response = await fetching;
        ended(id);  // the server has heard enough
        await sleep(50);
        const sizes = [first.data.length, rest.data.length];
        return [request.streaming, held, ...sizes, response.status, pulled, seen.length];"""
    )
    assert got == [True, [1, 0], 65536, 100_000 - 65536, 413, 1, 0]


async def test_a_head_that_is_no_response(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const fetching = caught(() => api.mixFetch("http://o/"));
        const { id } = await heard("fetch");
        say({type: "response", id, head: {...head(), headers: [["no name", "x"]]}});
        const error = await fetching;
        return [error.name, error.code, error.phase, (await heard("abort")).id === id];"""
    )
    assert got == ["TypeError", "http_protocol", "response", True]


@pytest.mark.feature("Worker", "a tunnel that fails ends everything with one error; set-up works again")
async def test_a_tunnel_that_fails_takes_everything_with_it(scripted: ApiPage) -> None:
    """One error for all; the worker is gone; a new set-up gets a new one."""
    got = await scripted.run(
        HEAD
        + """const pending = [caught(() => api.mixFetch("http://o/")), caught(() => api.mixDNS("n")),
          caught(() => tunnel.statistics()), caught(() => tunnel.connectTcp("h", 1)), caught(() => tunnel.bindUdp())];
        const socket = new api.MixWebSocket("ws://o/");
        pending.push(caught(() => socket.opened()));
        await heard("websocket");
        say({state: ["failed", {name: "GatewayError", code: "gateway_closed", phase: "gateway", message: "gone"}]});
        const errors = await Promise.all(pending);
        const later = await caught(() => api.mixDNS("n"));
        const state = await api.getTunnelState();
        await api.setupMixTunnel({});
        const after = (await api.getTunnelState()).state;
        return [errors.map(({code}) => code), errors[0].kind, later.code, later.phase, state, after];"""
    )
    error = {"name": "GatewayError", "code": "gateway_closed", "phase": "gateway", "message": "gone"}
    error |= {"reason": None, "retryable": False}
    state = {"state": "failed", "step": None, "error": error, "warnings": [], "gateway": "G", "address": None}
    state |= {"exit": "E", "addresses": [], "traffic": None}
    assert got == [["gateway_closed"] * 6, "GatewayError", "tunnel_down", "gateway", state, "ready"]


@pytest.mark.feature(
    "Worker", "a crash rejects everything pending at once, also what is on its way up; set-up works again"
)
async def test_a_worker_that_says_it_crashed(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const pending = caught(() => api.mixDNS("n"));
        await heard("resolve");
        say({type: "crashed", message: "Python stopped"});
        const error = await pending;
        return [error.code, error.phase, error.message, (await api.getTunnelState()).state];"""
    )
    assert got == ["worker_crashed", "worker", "Python stopped", "failed"]


async def test_a_crash_for_want_of_memory_says_so(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const pending = caught(() => api.mixDNS("n"));
        await heard("resolve");
        say({type: "crashed", message: "Python stopped: RangeError: Array buffer allocation failed"});
        const error = await pending;
        return [error.code, error.reason, error.retryable];"""
    )
    assert got == ["worker_crashed", "out_of_memory", True]


@pytest.mark.feature("WebSocket", "bufferedAmount, and a bound for what waits")
async def test_messages_of_a_websocket_wait_in_the_page(scripted: ApiPage) -> None:
    """At most 64 are in the worker; a close comes after all of them."""
    got = await scripted.run(
        HEAD
        + """const socket = new api.MixWebSocket("ws://o/");
        const { id } = await heard("websocket");
        say({type: "opened", id, detail: {protocol: "", extensions: ""}});
        await socket.opened();
        for (let n = 0; n < 100; n++) socket.send(new Uint8Array(10));
        socket.send("ü");
        socket.close(4000, "bye");
        const count = (type) => seen.filter((message) => message.type === type).length;
        while (count("write") < 64) await sleep(1);
        await sleep(50);
        const first = [count("write"), count("close"), socket.bufferedAmount];
        for (let n = 0; n < 100; n++) say({type: "written", id, bytes: 10});
        const close = await heard("close");
        while (socket.bufferedAmount > 2) await sleep(1);  // the answers to the last writes are on their way
        const rest = [count("write"), socket.bufferedAmount];
        say({type: "closed", id, code: 4000, reason: "bye", clean: true});
        await new Promise((resolve) => { socket.onclose = resolve; });
        return [first, rest, close.code, close.reason];"""
    )
    assert got == [[64, 0, 1002], [101, 2], 4000, "bye"]


@pytest.mark.feature("WebSocket", "bufferedAmount, and a bound for what waits")
async def test_more_than_a_page_may_have_waiting(scripted: ApiPage) -> None:
    """Beyond 256 MiB the connection ends; what waited is reported to whoever waits for it."""
    got = await scripted.run(
        HEAD
        + """const socket = new api.MixWebSocket("ws://o/");
        const { id } = await heard("websocket");
        say({type: "opened", id, detail: {protocol: "", extensions: ""}});
        await socket.opened();
        const events = [];
        for (const type of ["error", "close"]) socket.addEventListener(type, (event) => events.push(event));
        const big = new Blob(Array(64).fill(new Uint8Array(1 << 20)));
        const sends = [socket.send(new Uint8Array(2 << 20)), ...Array.from({length: 4}, () => socket.send(big))];
        const outcomes = await Promise.all(sends.map((one) => one.catch((error) => error.code)));
        await heard("abort");
        return [outcomes, events.map(({type}) => type), events[0].error.code, events[1].code, socket.readyState,
          socket.bufferedAmount === (258 << 20)];"""
    )
    assert got == [["buffer_full"] * 5, ["error", "close"], "buffer_full", 1006, 3, True]


@pytest.mark.feature("WebSocket", "backpressure: messages that nobody takes hold the server back")
async def test_a_message_of_a_websocket_is_pulled_once_the_page_has_taken_it(scripted: ApiPage) -> None:
    """Each by its own, after its listeners; also what comes while the page closes, which it does not see."""
    got = await scripted.run(
        HEAD
        + """const socket = new api.MixWebSocket("ws://o/");
        const { id } = await heard("websocket");
        say({type: "opened", id, detail: {protocol: "", extensions: ""}});
        await socket.opened();
        const count = () => seen.filter(({type}) => type === "pull").length;
        const counts = [];
        socket.onmessage = () => { counts.push(count()); throw new Error("of a listener"); };
        window.addEventListener("error", (event) => event.preventDefault());
        for (let n = 0; n < 3; n++) {
          say({type: "chunk", id, data: "text"});
          while (counts.length <= n) await sleep(1);
          await sleep(20);
        }
        counts.push(count());
        socket.close();
        const { code } = await heard("close");
        say({type: "chunk", id, data: "unseen"});
        await sleep(50);
        say({type: "closed", id, code: 1006, reason: "broken", clean: false,
          error: {name: "WebSocketError", code: "websocket_protocol", phase: "receive", message: "broken"}});
        const failure = await new Promise((resolve) => { socket.onerror = resolve; });
        return [counts, count(), code, failure.error.code, failure.error instanceof api.MixError];"""
    )
    assert got == [[0, 1, 2, 3], 4, None, "websocket_protocol", True]


async def test_half_close_of_tcp(scripted: ApiPage) -> None:
    """`eof` ends reading only; `end` ends the connection."""
    got = await scripted.run(
        HEAD
        + """const connecting = tunnel.connectTcp("h", 80);
        const { id, request: { host, port, tls } } = await heard("tcp");
        say({type: "opened", id, detail: {tls: null}});
        const socket = await connecting;
        say({type: "eof", id});
        const done = (await socket.readable.getReader().read()).done;
        const writer = socket.writable.getWriter();
        const writing = writer.write(new Uint8Array(3));
        const { data } = await heard("write");
        say({type: "written", id, bytes: 3});
        await writing;
        await writer.close();
        await heard("finish");
        say({type: "end", id});
        await socket.closed;
        return [host, port, tls, done, data.length];"""
    )
    assert got == ["h", 80, None, True, 3]
