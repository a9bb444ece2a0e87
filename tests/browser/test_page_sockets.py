"""`mixDNS` and `MixWebSocket` in Chromium: echoes through the network, and the WebSocket interface itself."""

from __future__ import annotations

import pytest

from tests.browser.page_session import ApiPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

# -- DNS ------------------------------------------------------------------------------------------------


async def test_names(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        return [await api.mixDNS("origin.test"), await api.mixDNS("www.test"),
          await tunnel.resolve("ipv6.test", {family: 6}), (await tunnel.resolve("many.test", {family: 4})).length,
          await api.mixDNS("203.0.114.99")];"""
    )
    assert got == ["203.0.114.10", "203.0.114.10", ["2a0e:6a80:114::a"], 80, "203.0.114.99"]


async def test_names_that_do_not_resolve(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const seen = [];
        for (const name of ["nowhere.test", "servfail.test", "bad name", ""]) {
          const error = await caught(() => api.mixDNS(name));
          seen.push([error.name, error.code, error.phase]);
        }
        const family = await caught(() => tunnel.resolve("origin.test", {family: 5}));
        const reason = await api.mixDNS("silent.test", {signal: AbortSignal.timeout(300)}).catch((error) => error.name);
        return [seen, family.code, reason, await idle(tunnel)];"""
    )
    codes = ["dns_not_found", "dns_servfail", "bad_name", "bad_name"]
    assert got == [[["MixError", code, "dns"] for code in codes], "bad_message", "TimeoutError", 0]


# -- WebSocket --------------------------------------------------------------------------------------------

ECHO = """const socket = new api.MixWebSocket(args.url, args.protocols);
  const events = [];
  const types = ["open", "message", "error", "close"];
  for (const type of types) socket.addEventListener(type, (event) => events.push(event));
  const next = (type) => new Promise((resolve) => socket.addEventListener(type, resolve, {once: true}));
"""


@pytest.mark.parametrize("scheme", ["wss", "ws"])
async def test_text_and_binary_echo(shared: ApiPage, scheme: str) -> None:
    got = await shared.run(
        ECHO
        + """const states = [socket.readyState];
        await socket.opened();
        states.push(socket.readyState, socket.protocol, socket.url, socket.binaryType);
        const echoed = [];
        socket.onmessage = (event) => echoed.push(event);
        const big = crypto.getRandomValues(new Uint8Array(60000));
        socket.send("text ü");
        socket.send(new Uint8Array([1, 2, 3, 4]).subarray(1, 3));
        socket.send(new Blob(["blob"]));
        socket.send("");
        socket.send(new ArrayBuffer(0));
        socket.send(big);
        states.push(socket.bufferedAmount);
        while (echoed.length < 6) await next("message");
        states.push(socket.bufferedAmount, echoed[0].origin);
        const data = echoed.map(({data}) => data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data);
        socket.binaryType = "blob";
        socket.binaryType = "nonsense";
        socket.send(new Uint8Array([9]));
        const blob = (await next("message")).data;
        const closed = next("close");
        socket.close(3456, "that is all");
        states.push(socket.readyState);
        const end = await closed;
        socket.send("too late");
        return { states, data: data.slice(0, 5), same: await sha256(big) === await sha256(new Uint8Array(data[5])),
          blob: [blob instanceof Blob, blob.size, socket.binaryType], late: socket.bufferedAmount,
          end: [end.code, end.reason, end.wasClean, socket.readyState],
          types: types.filter((name) => events.some(({type}) => type === name)),
          left: await idle(await api.getMixTunnel()) };""",
        url=f"{scheme}://ws.test/echo?x=1",
        protocols=["chat", "other"],
    )
    url = f"{scheme}://ws.test/echo?x=1"
    assert got == {
        "states": [0, 1, "chat", url, "arraybuffer", 7 + 2 + 4 + 60000, 0, f"{scheme}://ws.test", 2],
        "data": ["text ü", [2, 3], [98, 108, 111, 98], "", []],
        "same": True,
        "blob": [True, 1, "blob"],
        "late": 8,
        "end": [3456, "that is all", True, 3],
        "types": ["open", "message", "close"],
        "left": 0,
    }


async def test_more_messages_than_fit_at_once_keep_their_order(shared: ApiPage) -> None:
    got = await shared.run(
        ECHO
        + """await socket.opened();
        const back = [];
        socket.onmessage = ({data}) => back.push(data);
        for (let n = 0; n < 1500; n++) socket.send(String(n));
        socket.send("close 4000 done");
        const end = await next("close");
        return [back.length, back.every((text, n) => text === String(n)), end.code, end.reason, end.wasClean];""",
        url="ws://ws.test/",
        protocols=[],
    )
    assert got == [1500, True, 4000, "done", True]


async def test_the_interface_is_that_of_websocket(shared: ApiPage) -> None:
    """Constants, handler attributes and what they refuse, compared with the browser's own class."""
    got = await shared.run(
        """const socket = new api.MixWebSocket("ws://ws.test/");
        const names = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"];
        const same = (one) => names.every((name) => one[name] === WebSocket[name]);
        const constants = same(api.MixWebSocket) && same(socket);
        const missing = Object.getOwnPropertyNames(WebSocket.prototype).filter((name) => !(name in socket));
        const read = Object.entries(Object.getOwnPropertyDescriptors(WebSocket.prototype))
          .filter(([, found]) => found.get && !found.set).map(([name]) => name)
          .filter((name) => { try { socket[name] = "x"; } catch { /* strict */ } return socket[name] === "x"; });
        const order = [];
        socket.onopen = () => order.push("replaced");
        socket.addEventListener("open", () => order.push("listener"));
        socket.onopen = function () { order.push(this === socket ? "handler" : "wrong this"); };
        const early = await caught(() => socket.send("x"));
        await socket.opened();
        socket.onclose = 5;
        const refused = [];
        for (const work of [() => socket.close(999), () => socket.close(1001), () => socket.close(1000, "é".repeat(62)),
          () => new api.MixWebSocket("ftp://ws.test/"), () => new api.MixWebSocket("ws://ws.test/#part"),
          () => new api.MixWebSocket("ws://["), () => new api.MixWebSocket("ws://ws.test/", ["a", "a"]),
          () => new api.MixWebSocket("ws://ws.test/", "a b")]) refused.push((await caught(work)).name);
        const secure = new api.MixWebSocket("https://ws.test/x");
        secure.close();
        socket.close();
        return { constants, missing, read, order, early: early.name, handler: socket.onclose, refused,
          secure: secure.url, left: await idle(await api.getMixTunnel()) };"""
    )
    assert got == {
        "constants": True,
        "missing": [],
        "read": [],
        "order": ["handler", "listener"],
        "early": "InvalidStateError",
        "handler": None,
        "refused": ["InvalidAccessError"] * 2 + ["SyntaxError"] * 6,
        "secure": "wss://ws.test/x",
        "left": 0,
    }


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://closed.test/", "connect_refused"),
        ("wss://nowhere.test/", "dns_not_found"),
        ("ws://origin.test/text", "bad_status"),
        ("wss://self-signed.test/", "tls_certificate"),
    ],
)
async def test_a_connection_that_fails(shared: ApiPage, url: str, code: str) -> None:
    got = await shared.run(
        ECHO
        + """const failure = await caught(() => socket.opened());
        return [failure.code, events.map(({type}) => type), events[0].error.code, events[0].message === failure.message,
          events[1].code, events[1].wasClean, socket.readyState];""",
        url=url,
        protocols=[],
    )
    assert got == [code, ["error", "close"], code, True, 1006, False, 3]


async def test_closing_before_it_is_open(shared: ApiPage) -> None:
    got = await shared.run(
        ECHO
        + """socket.close();
        const states = [socket.readyState, events.length];
        const failure = await caught(() => socket.opened());
        await sleep(50);
        const left = await idle(await api.getMixTunnel());
        return [states, failure.code, events.map(({type}) => type), socket.readyState, left];""",
        url="ws://ws.test/",
        protocols=[],
    )
    assert got == [[2, 0], "aborted", ["error", "close"], 3, 0]
