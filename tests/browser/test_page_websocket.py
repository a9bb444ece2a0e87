"""`MixWebSocket` in a browser: the same as its own `WebSocket` at the same server, and what it has besides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.beside.case import Closed, WebSocketCase
from tests.beside.raw_server import listening
from tests.browser.page_session import ApiPage, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(session: Session) -> AsyncIterator[ApiPage]:
    """A page with a tunnel of its own: it also opens the browser's own sockets, which no other page may."""
    opened = await session.open()
    await opened.set_up()
    yield opened
    await opened.page.context.close()


# -- the same as the browser's own ---------------------------------------------------------------------------
#
# `both(work)` does the same with the two classes at the same server and returns what each of them came to. `ours` and
# `native` get (WebSocket class, base URL). An address that stands in a result is replaced by "BASE".

BOTH = """const both = async (work) => {
    const bases = [[api.MixWebSocket, "ws://ws.test"], [WebSocket, `ws://127.0.0.1:${args.port}`]];
    const results = await Promise.all(bases.map(async ([Class, base]) =>
      JSON.parse(JSON.stringify(await work(Class, base) ?? null).replaceAll(base, "BASE"))));
    return { ours: results[0], native: results[1] };
  };
  const kind = (work) => {
    try { return ["fine", work()]; } catch (error) { return [error.constructor.name, error.name]; }
  };
  const ended = (socket) => new Promise((resolve) => socket.addEventListener("close", resolve));
  const opened = (socket) => new Promise((resolve) => socket.addEventListener("open", resolve));
  const record = (socket) => {
    const log = [];
    for (const type of ["open", "message", "error", "close"]) {
      const name = (event) => (type === "error" ? "Event" : event.constructor.name);
      socket.addEventListener(type, (event) => log.push({ type, class: name(event), state: socket.readyState,
        target: event.target === socket, bubbles: event.bubbles, cancelable: event.cancelable,
        ...(type === "message" ? { data: typeof event.data === "string" ? event.data : event.data.constructor.name,
          origin: event.origin, lastEventId: event.lastEventId, source: event.source, ports: event.ports.length } : {}),
        ...(type === "close" ? { code: event.code, clean: event.wasClean } : {}),
        ...(event.wasClean ? { reason: event.reason } : {}) }));
    }
    return log;
  };
"""


async def same(
    page: ApiPage, session: Session, body: str, own_way: dict[str, tuple[str, ...]] | None = None, **args: Any
) -> Any:
    """What both classes came to; fails where they differ.

    Ours is as the Standard says. `own_way`: by engine, the places in the result where the engine's own class is not.
    """
    got = await page.run(BOTH + body, port=session.net.world.echo.ws_port, **args)
    found = list(differences(got["ours"], got["native"]))
    known = (own_way or {}).get(session.engine, ())
    strange = [one for one in found if not one[0].startswith(known)]
    assert not strange, strange
    assert [place for place in known if not any(one[0].startswith(place) for one in found)] == []
    return got["ours"]


def differences(ours: Any, native: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, and how."""
    if isinstance(ours, dict) and isinstance(native, dict) and ours.keys() == native.keys():
        for name in ours:
            yield from differences(ours[name], native[name], f"{path}.{name}")
    elif isinstance(ours, list) and isinstance(native, list) and len(ours) == len(native):
        for index, pair in enumerate(zip(ours, native, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif ours != native:
        yield path, ours, native


CONSTRUCTOR = [
    [],
    ["ws://BASE/"],
    ["WSS://Host.Test:443/A b?c d"],
    ["http://host.test/x"],
    ["https://host.test:80/"],
    ["/relative?x"],
    ["relative"],
    [""],
    ["//other.test/"],
    ["?query"],
    ["#fragment"],
    ["ws://host.test/#"],
    ["ws://host.test/#part"],
    ["http://host.test/#part"],
    ["ftp://host.test/"],
    ["mailto:a@host.test"],
    ["about:blank"],
    ["data:,x"],
    ["ws://"],
    ["ws://["],
    ["ws://host.test:99999/"],
    ["ws://a b/"],
    ["ws:host.test/x"],
    ["ws:\\\\host.test\\x"],
    ["ws://host.test/\ud800"],
    ["ws://host.test/%zz/../y"],
    [None],
    [5],
    *(["ws://host.test/", "chat", stray] for stray in ("stray", 5, None, True)),
    *([f"wss://host.test:{port}/"] for port in (0, 22, 80, 443, 6667)),  # the constructor refuses none
    ["ws://host.test:22/#part"],
    ["ws://host.test:22/", "a b"],
    *(
        ["ws://host.test/", protocols]
        for protocols in (
            None, "", "chat", "a b", "a,b", "a\n", "\u00e4", "a/b", "a{", "a=b", "a\u007f", "!#$%&'*+-.^_`|~09azAZ", 5,
            True, {}, [], [""], ["a"], ["a", "b"], ["a", "a"], ["a", "A"], ["a", "b c"], ["a", None], [5, "5"], [["a"]],
            ["a,b"], [[]],
        )
    ),
]  # fmt: skip


@pytest.mark.feature("WebSocket", "constructor checks as the browser's own")
async def test_constructor(page: ApiPage, session: Session) -> None:
    """For each list of arguments: the exception, or the URL."""
    got = await same(
        page,
        session,
        """return both(async (Class) => args.cases.map((given) => kind(() => {
          const socket = new Class(...given);
          socket.close();
          return [socket.url, socket.readyState, socket.protocol, socket.extensions, socket.bufferedAmount];
        })));""",
        cases=CONSTRUCTOR,
        own_way={"firefox": ("[7]",), "webkit": ("[38]",)},  # refuses an empty URL; takes an empty subprotocol
    )
    assert {outcome[0] for outcome in got} == {"fine", "DOMException", "TypeError"}


async def test_constructor_conversions(page: ApiPage, session: Session) -> None:
    """What no JSON holds: symbols, objects with their own conversion, iterators; the order of the conversions."""
    got = await same(
        page,
        session,
        """return both(async (Class) => {
          const order = [];
          const text = (name, value) => ({ toString() { order.push(name); return value; } });
          const base = document.head.appendChild(document.createElement("base"));
          base.href = "http://base.test/folder/";
          const cases = [() => Class("ws://host.test/"), () => new Class(Symbol("x")),
            () => new Class(new URL("ws://host.test/u")),
            () => new Class("ws://host.test/", Symbol("x")), () => new Class("ws://host.test/", [Symbol("x")]),
            () => new Class("ws://host.test/", new Set(["a", "b"])),
            () => new Class("ws://host.test/", new String("ab")),
            () => new Class("ws://host.test/", new String("aa")), () => new Class("ws://host.test/", () => 1),
            () => new Class("ws://host.test/", (function* () { yield "x"; yield "x"; })()),
            () => new Class("ws://host.test/", undefined), () => new Class("file"),
            () => new Class(text("url", "bad:"), [text("one", "a b"), text("two", "c")]),
            () => new Class("ws://host.test/", { [Symbol.iterator]: null, toString: () => "t" })];
          const use = (socket) => { socket.close(); return socket.url; };
          const outcomes = cases.map((work) => kind(() => use(work())));
          base.remove();
          return [outcomes, order, Class.length, Class.prototype.send.length, Class.prototype.close.length];
        });""",
        own_way={"firefox": ("[0][11]", "[0][13]")},  # knows no <base>; asks a null iterator
    )
    assert got[1] == ["url", "one", "two"]


@pytest.mark.feature("WebSocket", "attributes, constants and handler attributes as the browser's own")
async def test_the_interface(page: ApiPage, session: Session) -> None:
    await same(
        page,
        session,
        """return both(async (Class, base) => {
          const socket = new Class(base + "/");
          const find = (name) => { for (let at = socket; at; at = Object.getPrototypeOf(at)) {
            const found = Object.getOwnPropertyDescriptor(at, name); if (found) return found; } };
          const shape = (found) => found && [typeof found.value, typeof found.get, typeof found.set, found.enumerable,
            found.configurable, found.writable];
          const names = Object.getOwnPropertyNames(WebSocket.prototype).filter((name) => name !== "constructor");
          const members = Object.fromEntries(names.map((name) => [name, shape(find(name))]));
          const listed = []; for (const name in socket) if (names.includes(name)) listed.push(name);
          const constants = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"].map((name) => [Class[name], socket[name],
            shape(Object.getOwnPropertyDescriptor(WebSocket, name))]);
          const readonly = ["url", "readyState", "bufferedAmount", "protocol", "extensions", "OPEN"].map((name) =>
            kind(() => { "use strict"; socket[name] = "x"; }));
          const types = ["blob", "arraybuffer", "nonsense", "", null, {toString: () => "blob"}, "Blob"].map((type) => {
            socket.binaryType = type; return socket.binaryType; });
          const handler = () => {};
          const object = {handleEvent() { throw new Error("never called"); }};
          const handlers = [null, undefined, 5, "x", handler, object, Symbol.iterator].map((value) => {
            socket.onopen = value;
            return socket.onopen === value ? "kept" : socket.onopen; });
          const order = [];
          socket.onopen = object;
          socket.onopen = () => order.push("replaced");
          socket.addEventListener("open", () => order.push("first listener"));
          socket.onopen = function (event) { order.push(this === socket && event.type); };
          socket.onclose = () => order.push("close handler, set early");
          socket.addEventListener("close", () => order.push("close listener"));
          socket.onclose = null;
          socket.onclose = () => order.push("close handler, set again");
          socket.onmessage = object;
          await opened(socket);
          socket.send("x");
          await new Promise((resolve) => socket.addEventListener("message", resolve));
          socket.close();
          await ended(socket);
          await sleep(10);
          return { members, listed: listed.sort(), constants, readonly, types, handlers, order,
            isTarget: socket instanceof EventTarget };
        });""",
    )


@pytest.mark.feature("WebSocket", "attributes, constants and handler attributes as the browser's own")
async def test_the_class(page: ApiPage, session: Session) -> None:
    """Where its members lie and how, what may be written, and what it does without `new` or on something else."""
    got = await same(
        page,
        session,
        """return both(async (Class, base) => {
          "use strict";
          const shape = (object, name) => {
            const found = Object.getOwnPropertyDescriptor(object, name);
            const told = (value) => (typeof value === "function" ? [value.name, value.length] : typeof value);
            return found && ["value" in found ? told(found.value) : [told(found.get), told(found.set)],
              found.enumerable, found.configurable, found.writable];
          };
          const own = (object) => Object.fromEntries(Object.getOwnPropertyNames(object).sort()
            .filter((name) => name in WebSocket || name in WebSocket.prototype)
            .map((name) => [name, ["constructor", "prototype", "name"].includes(name) ? 0 : shape(object, name)]));
          const constants = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"];
          const written = [Class, Class.prototype].map((object) => constants.map((name) =>
            [kind(() => { object[name] = 7; }), kind(() => delete object[name]),
              kind(() => Object.defineProperty(object, name, { value: 7 })), object[name]]));
          const socket = new Class(base + "/");
          const onSocket = constants.map((name) => [kind(() => { socket[name] = 7; }), socket[name],
            delete socket[name],
            Object.hasOwn(socket, name)]);
          const names = ["url", "readyState", "bufferedAmount", "protocol", "extensions", "binaryType", "onopen",
            "onmessage", "onclose", "onerror"];
          const brand = names.map((name) => kind(() => Class.prototype[name]).concat(kind(() =>
            Object.getOwnPropertyDescriptor(Class.prototype, name).get.call({}))));
          const methods = [kind(() => Class.prototype.send.call({}, "x")), kind(() => Class.prototype.close.call({})),
            kind(() => Class.prototype.send.call(socket)), kind(() => Class()), kind(() => new Class())];
          class Own extends Class { constructor(url) { super(url); this.own = true; } }
          const mine = new Own(base + "/");
          const subclass = [mine instanceof Class, mine.own, mine.readyState, mine.url];
          const keys = []; for (const key in socket) keys.push(key);
          const result = { own: [own(Class), own(Class.prototype)], names: Object.getOwnPropertyNames(socket),
            parents: [Object.getPrototypeOf(Class) === EventTarget, Object.getPrototypeOf(socket) === Class.prototype,
              Object.getPrototypeOf(Class.prototype) === EventTarget.prototype, Class.prototype.constructor === Class],
            tag: [Class.name === Class.prototype[Symbol.toStringTag], String(socket) === `[object ${Class.name}]`,
              Object.getOwnPropertyDescriptor(Class.prototype, Symbol.toStringTag).writable],
            written, onSocket, brand, methods, subclass, keys: keys.sort(), statics: Object.keys(Class).sort() };
          socket.close(); mine.close();
          return result;
        });""",
    )
    assert got["own"][0]["OPEN"] == ["number", True, False, False] and got["keys"]


async def test_what_may_be_sent(page: ApiPage, session: Session) -> None:
    """Buffers that are shared, resizable or gone; views of every kind; and the bytes that the server gets."""
    got = await same(
        page,
        session,
        """return both(async (Class, base) => {
          const socket = new Class(base + "/");
          socket.binaryType = "arraybuffer";
          await opened(socket);
          const shared = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer;
          const resizable = new ArrayBuffer(4, { maxByteLength: 8 });
          const gone = new ArrayBuffer(4), viewOfGone = new Uint8Array(gone);
          structuredClone(gone, { transfer: [gone] });
          const bytes = Uint8Array.from({ length: 24 }, (_, at) => at).buffer;
          const kinds = [Int8Array, Uint8ClampedArray, Int16Array, Uint32Array, Float32Array, Float64Array,
            BigInt64Array];
          const views = kinds.map((View) => new View(bytes, 8, 1));
          const cases = [shared, new Uint8Array(shared, 0, 4), new DataView(shared, 0, 4), resizable,
            new Uint8Array(resizable), gone, viewOfGone, ...views, new DataView(bytes, 1, 2),
            new Date(0), [], [new Blob(["x"])],
            /x/, 0, -0, 1e21, 10n, false, NaN, "", "\\0", new File(["file"], "n"), new Blob(["a", "b"]).slice(1),
            { toString: () => "own" }, { toString: () => "\\udc00" }, { valueOf: () => "no", toString: () => "yes" },
            Object.create(null), Symbol.iterator, new URL("http://a.test/")];
          const back = [];
          socket.onmessage = ({ data }) => back.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
          const outcomes = cases.map((data) => {
            const before = socket.bufferedAmount;
            const [name, error] = kind(() => { socket.send(data); });
            return [name, error, socket.bufferedAmount - before];
          });
          const count = outcomes.filter(([name]) => name === "fine").length;
          while (back.length < count) await sleep(5);
          socket.close();
          return [outcomes, back];
        });""",
    )
    assert any(outcome[0] == "TypeError" for outcome in got[0]) and [0, 1] not in got[1]


async def test_objects_of_another_window(page: ApiPage, session: Session) -> None:
    """What an object is, not where it was made or what it says of itself."""
    got = await same(
        page,
        session,
        """return both(async (Class, base) => {
          const frame = document.body.appendChild(document.createElement("iframe"));
          const { Blob, File, ArrayBuffer, Uint8Array, DataView } = frame.contentWindow;
          const socket = new Class(base + "/");
          socket.binaryType = "arraybuffer";
          await opened(socket);
          const back = [];
          const told = (data) => (typeof data === "string" ? data : [...new window.Uint8Array(data)]);
          socket.onmessage = ({ data }) => back.push(told(data));
          const cases = [new Blob(["blob"]), new File(["file"], "n"), new ArrayBuffer(2), new Uint8Array([1, 2]),
            new DataView(new ArrayBuffer(1)),
            { [Symbol.toStringTag]: "SharedArrayBuffer", toString: () => "called one" },
            { __proto__: window.Blob.prototype, toString: () => "looks like one" }];
          for (const data of cases) socket.send(data);
          for (let turn = 0; turn < 500 && back.length < cases.length; turn++) await sleep(5);
          socket.close();
          frame.remove();
          return back;
        });""",
    )
    assert got[0] == [*b"blob"] and len(got) == 7


async def test_subprotocols_are_a_sequence(page: ApiPage, session: Session) -> None:
    """Its iterator is asked for once, each item is converted in its turn, and nothing is closed where that fails."""
    got = await same(
        page,
        session,
        """return both(async (Class, base) => {
          const log = [];
          const use = (protocols) => kind(() => { new Class(base + "/", protocols).close(); });
          const failing = { [Symbol.iterator]: () => ({ next: () => ({ value: Symbol("x"), done: false }),
            return() { log.push("closed"); return {}; } }) };
          const getter = { get [Symbol.iterator]() { log.push("get"); return function* () { yield "a"; }; } };
          const proxy = new Proxy(["a"], { get: (target, key) => { log.push(String(key)); return target[key]; },
            has: (target, key) => { log.push(`has ${String(key)}`); return key in target; } });
          const odd = [5, "x", {}, null, () => null, () => 5, () => ({}), () => ({ next: 5 }),
            () => ({ next: () => 5 })];
          const all = odd.map((iterate) => use({ [Symbol.iterator]: iterate }));
          return [all, use(failing), use(getter), use(proxy), log];
        });""",
        own_way={"firefox": ("[0][3]",), "webkit": ("[4]",)},  # asks a null iterator; asks twice
    )
    assert got[-1][:2] == ["get", "Symbol(Symbol.iterator)"]


async def test_buffered_amount_after_the_end(page: ApiPage, session: Session) -> None:
    """It grows with what is given to `send` and never falls again; the size is that of the bytes."""
    got = await same(
        page,
        session,
        """return both(async (Class, base) => {
          const socket = new Class(base + "/");
          await opened(socket);
          socket.close();
          const amounts = [socket.bufferedAmount];
          const add = () => { for (const data of ["text", "\\u00fc\\u{1f600}", "\\ud800", new ArrayBuffer(5),
            new Uint16Array(3),
            new Blob(["1234"]), ""]) { socket.send(data); amounts.push(socket.bufferedAmount); } };
          add();
          await ended(socket);
          add();
          await sleep(20);
          amounts.push(socket.bufferedAmount);
          return amounts;
        });""",
        own_way={"webkit": tuple(f"[{at}]" for at in range(1, 16))},  # counts the frames' heads
    )
    assert got[-1] > got[0] == 0


@pytest.mark.feature("WebSocket", "events, their order and fields as the browser's own")
async def test_messages_and_events(page: ApiPage, session: Session) -> None:
    got = await same(
        page,
        session,
        """return both(async (Class, base) => {
          const socket = new Class(base + "/echo?x=1", ["chat", "other"]);
          const log = record(socket);
          const states = [socket.readyState, socket.protocol, socket.extensions];
          const early = kind(() => socket.send("x"));
          const nothing = kind(() => socket.send());
          socket.binaryType = "arraybuffer";
          await opened(socket);
          states.push(socket.readyState, socket.protocol, socket.extensions, socket.url);
          const buffer = new Uint8Array([1, 2, 3, 4, 5, 6]).buffer;
          const sent = ["", "text ü\\u{1f600}", "\\ud800x\\udfff", "\\ufeffmark", 5, null, undefined, true, {}, [1, 2],
            new ArrayBuffer(0), buffer, new Uint8Array(buffer, 1, 2), new Uint16Array(buffer, 2, 1),
            new DataView(buffer, 3), new Blob(["blob"]), new Blob([]), new String("object")];
          const data = [];
          const plain = (got) => (typeof got === "string" ? got : [...new Uint8Array(got)]);
          socket.addEventListener("message", (event) => data.push(plain(event.data)));
          for (const item of sent) socket.send(item);
          const buffered = socket.bufferedAmount;
          const symbol = kind(() => socket.send(Symbol("x")));
          while (data.length < sent.length) await sleep(5);
          const drained = socket.bufferedAmount;
          socket.binaryType = "blob";
          socket.send(new Uint8Array([9]));
          const blob = await new Promise((resolve) => socket.addEventListener("message", resolve, {once: true}));
          data.pop();
          data.push(await blob.data.text(), blob.data.type);
          socket.send("last");
          socket.close(3456, "that is all");
          states.push(socket.readyState);
          socket.close(4000);
          socket.send("too late");
          socket.send(new Uint8Array(10));
          await ended(socket);
          await sleep(10);
          const late = socket.bufferedAmount;
          socket.send("after the end ü");
          socket.close();
          return { log, states, early, nothing, data, buffered, symbol, drained,
            late: [late >= 18, socket.bufferedAmount - late], end: socket.readyState };
        });""",
        own_way={"firefox": (".states[5]",), "webkit": (".late[1]",)},  # tells no parameters; counts heads
    )
    assert got["states"][1:3] == ["", ""] and got["states"][4] == "chat" and got["drained"] == 0
    assert got["states"][5].startswith("permessage-deflate")
    assert got["early"] == ["DOMException", "InvalidStateError"]


@pytest.mark.feature("WebSocket", "close codes and reasons as the browser's own")
async def test_closing_by_the_page(page: ApiPage, session: Session) -> None:
    """Which arguments `close` refuses, and the close event that each of the others leads to."""
    got = await same(
        page,
        session,
        """const cases = [[], [1000], [3000], [4999], [1000, ""], [3456, "why"],
            [4000, "é".repeat(61)], ["1000"], [1000.4], [4000, null], [4000, undefined], [4000, "\\ud800"]];
          const bad = [[0], [999], [1001], [1005], [1006], [1015], [2999], [5000], [65536 + 1000], [-1], [NaN], [null],
            ["x"], [Infinity], [1000, "é".repeat(62)], [1001, "x".repeat(124)]];
          return both(async (Class, base) => {
            const closed = await Promise.all(cases.map(async (given) => {
              const socket = new Class(base + "/");
              const log = record(socket);
              await opened(socket);
              socket.close(...given);
              await ended(socket);
              return log.slice(1);
            }));
            const socket = new Class(base + "/");
            const connecting = bad.map((given) => kind(() => socket.close(...given)));
            await opened(socket);
            const open = bad.map((given) => kind(() => socket.close(...given)));
            const symbol = kind(() => socket.close(Symbol("x")));
            socket.close();
            const again = bad.map((given) => kind(() => socket.close(...given)));
            return { closed, connecting, open, symbol, again };
          });""",
    )
    assert [log[-1]["code"] for log in got["closed"][:6]] == [1005, 1000, 3000, 4999, 1000, 3456]


@pytest.mark.feature("WebSocket", "close codes and reasons as the browser's own")
async def test_closing_by_the_server(page: ApiPage, session: Session) -> None:
    """Messages before the close come before it; codes and reasons arrive; no error in an orderly end."""
    codes = [1000, 1001, 1003, 1008, 1011, 1012, 3000, 4321]
    got = await same(
        page,
        session,
        """const orders = [...args.codes.map((code) => `close ${code} because ü`), "close"];
          return both((Class, base) => Promise.all(orders.map(async (order) => {
              const socket = new Class(base + "/");
              const log = record(socket);
              await opened(socket);
              socket.send("one");
              socket.send("two");
              socket.send(order);
              await ended(socket);
              return log;
            })));""",
        codes=codes,
        own_way={"webkit": ("[5]",)},  # takes 1012 for malformed
    )
    assert [log[-1]["code"] for log in got] == [*codes, 1005]
    assert all([event["type"] for event in log] == ["open", "message", "message", "close"] for log in got)


@pytest.mark.feature("WebSocket", "malformed frames end the connection: 1002, 1007, 1009")
@pytest.mark.feature("WebSocket", "refused handshakes: status, accept, subprotocol, extensions")
async def test_bad_servers(page: ApiPage, session: Session) -> None:
    """Close with 1006 that is not clean; before it an error, unless the connection just ended."""
    frames = [
        "8102ffff", "8300", "c100", "a100", "81810000000078", "8000", "01000100", "0900", "897e0080" + "00" * 128,
        "8801ff", "880203ed", "8804" + "03e8ffff", "8101618300", "0161", "8900", "", "81056865",
    ]  # fmt: skip
    paths = [*(f"/raw/{text}" for text in frames), *(f"/status/{code}" for code in (200, 302, 401, 403, 404, 503))]
    paths += ["/protocol/unasked", "/drop"]
    got = await same(
        page,
        session,
        """return both((Class, base) => Promise.all(args.paths.map(async (path) => {
            const socket = new Class(base + path);
            const log = record(socket);
            const end = Promise.race([ended(socket), sleep(30000)]);  // WebKit's own waits on at one of them
            await Promise.race([opened(socket), end]);
            if (path === "/drop" && socket.readyState === 1) socket.send("x");
            if (path === "/protocol/unasked" && socket.readyState === 1) socket.close();  // Firefox takes it
            await end;
            return log.map(({ type, state, data, code, clean }) => [type, state, data, code, clean]);
          })));""",
        paths=paths,
        own_way={"firefox": ("",), "webkit": ("",)},  # what each makes of malformed frames differs, and from run to run
    )
    assert all(log[-1] == ["close", 3, None, 1006, False] for log in got)
    assert sum(log[-2][0] == "error" for log in got) == len(paths) - 6


@pytest.mark.feature("WebSocket", "messages before a bad frame are delivered and answered")
async def test_a_page_answers_what_came_before_a_bad_frame(page: ApiPage, session: Session) -> None:
    """Both came in one piece; the server gets the answer, and then why the connection ends."""
    case = WebSocketCase("", "", [b"\x81\x03one\x82\x02\x01\x02\x83\x00"], Closed())
    async with listening(case, "http://203.0.116.1") as (server, port):
        session.net.world.dial_map.add("tcp", "203.0.116.1", 80, ("127.0.0.1", port))
        got = await page.run(
            BOTH
            + """const socket = new api.MixWebSocket("ws://203.0.116.1/");
            const log = record(socket);
            socket.addEventListener("message", ({data}) =>
              socket.send(typeof data === "string" ? `got ${data}` : `got ${data.byteLength}`));
            await ended(socket);
            return log.map(({type}) => type);"""
        )
        for _ in range(60):
            if len(server.heard) == 3:
                break
            await asyncio.sleep(0.05)
    assert got == ["open", "message", "message", "error", "close"]
    assert server.heard[:2] == [(1, b"got one"), (1, b"got 2")]
    assert [(opcode, data[:2]) for opcode, data in server.heard[2:]] == [(8, b"\x03\xea")]


async def test_closing_before_it_is_open(page: ApiPage, session: Session) -> None:
    await same(
        page,
        session,
        """return both(async (Class, base) => {
          const socket = new Class(base + "/");
          const log = record(socket);
          socket.close(3000, "never mind");
          const now = [socket.readyState, log.length];
          socket.send("x");
          await ended(socket);
          return [now, log, socket.bufferedAmount];
        });""",
        own_way={"webkit": ("[2]",)},  # counts the frames' heads
    )


@pytest.mark.feature("WebSocket", "fragmented messages, control frames between the fragments")
@pytest.mark.feature("WebSocket", "permessage-deflate")
async def test_frames_that_are_fine(page: ApiPage, session: Session) -> None:
    """Fragments, pings between them, a character cut in two, pongs nobody asked for; every agreement on compression."""
    deflate = [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits=9",
        "client_max_window_bits=9",
        "client_max_window_bits=8",
    ]
    got = await same(
        page,
        session,
        """const text = "the same again and again ".repeat(2000);
          return both(async (Class, base) => {
            const raw = await Promise.all(["01026869" + "8900" + "00022c20" + "8a0178" + "800179" + "88020fa0",
              "0102" + "61c3" + "8001a4" + "880203e8", "0200" + "0000" + "8000" + "8800"].map(async (frames) => {
                const socket = new Class(`${base}/raw-open/${frames}`);
                socket.binaryType = "arraybuffer";
                const log = record(socket);
                await ended(socket);
                return log; }));
            const agreed = await Promise.all(args.deflate.map(async (parameter) => {
              const socket = new Class(`${base}/deflate/${parameter}`);
              await opened(socket);
              const back = [];
              socket.onmessage = ({data}) => back.push(data);
              for (let n = 0; n < 3; n++) socket.send(text);
              socket.send("close 1000");
              await ended(socket);
              return [socket.extensions, back.length, back.every((one) => one === text)];
            }));
            return { raw, agreed };
          });""",
        deflate=deflate,
        own_way={"firefox": tuple(f".agreed[{at}][0]" for at in range(5))},  # tells no parameters
    )
    assert [entry[1:] for entry in got["agreed"]] == [[3, True]] * 5
    assert [parameter in entry[0] for parameter, entry in zip(deflate, got["agreed"], strict=True)] == [True] * 5


# -- what it has besides -------------------------------------------------------------------------------------

TELL = """const told = (socket) => {
    const events = [];
    for (const type of ["open", "error", "close"]) socket.addEventListener(type, (event) => events.push(event));
    return events;
  };
  const noise = (size) => {  // that does not compress
    const bytes = new Uint8Array(size);
    for (let n = 0; n < size; n += 65536) crypto.getRandomValues(bytes.subarray(n, n + 65536));
    return bytes;
  };
  const reason = async (promise) => { try { return ["fine", await promise]; } catch (error) { return error; } };
"""


@pytest.mark.feature("WebSocket", "opened(), awaitable send and close")
async def test_promises(page: ApiPage) -> None:
    """Nobody need look at them: what is rejected is no unhandled rejection."""
    page.console.clear()
    got = await page.run(
        TELL
        + """const socket = new api.MixWebSocket("ws://ws.test/", [], {});
        await socket.opened();
        const taken = await socket.send(new Uint8Array(300000));
        const amount = socket.bufferedAmount;
        socket.send("not looked at");
        const closing = socket.close(3001, "done");
        const late = await reason(socket.send("late"));
        const event = await closing;
        const again = await socket.close() === event;
        const refused = new api.MixWebSocket("ws://closed.test/");
        const failure = await reason(refused.opened());
        const end = await refused.close();
        refused.send("nobody waits for this one either");
        const unseen = new api.MixWebSocket("ws://closed.test/");
        await new Promise((resolve) => { unseen.onclose = resolve; });
        const undefinedCode = new api.MixWebSocket("ws://ws.test/");
        await undefinedCode.opened();
        const why = await undefinedCode.close(undefined, "why");
        await sleep(50);
        return { taken: taken === undefined, amount, late: [late.name, late.code, late instanceof TypeError],
          event: [event instanceof CloseEvent, event.code, event.reason, event.wasClean], again,
          failure: [failure.code, failure.phase], end: [end.code, end.wasClean],
          why: [why.code, why.reason], left: await idle(await api.getMixTunnel()) };"""
    )
    assert got == {
        "taken": True,
        "amount": 0,
        "late": ["TypeError", "connection_closed", True],
        "event": [True, 3001, "done", True],
        "again": True,
        "failure": ["connect_refused", "connect"],
        "end": [1006, False],
        "why": [1000, "why"],
        "left": 0,
    }
    assert not [line for line in page.console if "uncaught" in line]


@pytest.mark.feature("WebSocket", "own headers in the handshake")
async def test_headers(page: ApiPage) -> None:
    got = await page.run(
        TELL
        + """const heard = async (url, options) => {
          const socket = new api.MixWebSocket(url, ["chat"], options);
          await socket.opened();
          const { data } = await new Promise((resolve) => { socket.onmessage = resolve; });
          await socket.close();
          return JSON.parse(data).map(([name, value]) => [name.toLowerCase(), value]);
        };
        const headers = await heard("wss://ws.test/headers", {headers: {"X-Own": "1", Origin: "https://page.test"}});
        const plain = await heard("ws://user:p%20w@ws.test/headers");
        const refused = [];
        for (const name of ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"]) {
          const socket = new api.MixWebSocket("ws://ws.test/", [], {headers: {[name]: "x"}});
          refused.push((await reason(socket.opened())).code);
        }
        const wrong = [];
        for (const options of [{signal: {}}, {timeouts: 5}, {timeouts: {dns: "1"}}, {headers: 5},
          {headers: {"a b": "c"}}]) {
          wrong.push((await caught(() => new api.MixWebSocket("ws://ws.test/", [], options)))?.name);
        }
        return { headers, plain, refused, wrong };"""
    )
    headers, plain = dict(got["headers"]), dict(got["plain"])
    assert (headers["x-own"], headers["origin"], headers["sec-websocket-protocol"]) == (
        "1",
        "https://page.test",
        "chat",
    )
    assert plain["authorization"] == "Basic dXNlcjpwIHc=" and not {"origin", "cookie", "x-own"} & plain.keys()
    assert got["refused"] == ["forbidden_header"] * 5
    assert got["wrong"] == ["TypeError"] * 5


@pytest.mark.feature("WebSocket", "abort by a signal, connecting or open")
async def test_signals(page: ApiPage) -> None:
    got = await page.run(
        TELL
        + """const tunnel = await api.getMixTunnel();
        const seen = async (socket, events) => {
          await socket.close();
          await sleep(0);
          return [events.map(({type}) => type), events.at(-1).code, events.at(-1).reason, socket.readyState];
        };
        const done = new api.MixWebSocket("ws://ws.test/", [], {signal: AbortSignal.abort("before")});
        const doneEvents = told(done);
        const first = [await reason(done.opened()), ...await seen(done, doneEvents)];
        const early = new AbortController();
        const connecting = new api.MixWebSocket("ws://silent.test/", [], {signal: early.signal});
        const connectingEvents = told(connecting);
        setTimeout(() => early.abort(new RangeError("changed my mind")), 100);
        const second = [(await reason(connecting.opened())).name, ...await seen(connecting, connectingEvents),
          connectingEvents[0].error === early.signal.reason];
        const late = new AbortController();
        const open = new api.MixWebSocket("ws://ws.test/frozen", [], {signal: late.signal});
        const openEvents = told(open);
        await open.opened();
        const sending = open.send(noise(8 << 20));
        await sleep(300);
        const waiting = open.bufferedAmount;
        late.abort("enough");
        const third = [await reason(sending), await reason(open.opened()), ...await seen(open, openEvents)];
        const over = new AbortController();
        const orderly = new api.MixWebSocket("ws://ws.test/", [], {signal: over.signal});
        const orderlyEvents = told(orderly);
        await orderly.opened();
        await orderly.close();
        over.abort();
        const orderlyTypes = orderlyEvents.map(({type}) => type);
        return { first, second, third, waiting, orderly: orderlyTypes, left: await idle(tunnel) };"""
    )
    assert got["first"] == ["before", ["error", "close"], 1006, "before", 3]
    assert got["second"] == ["RangeError", ["error", "close"], 1006, "changed my mind", 3, True]
    assert got["third"] == ["enough", ["fine", None], ["open", "error", "close"], 1006, "enough", 3]
    assert got["waiting"] == 8 << 20
    assert got["orderly"] == ["open", "close"] and got["left"] == 0


@pytest.mark.feature("WebSocket", "time limits by phase")
async def test_time_limits(page: ApiPage) -> None:
    """The name of each phase, and what it ends."""
    got = await page.run(
        TELL
        + """const ended = async (url, timeouts, work = () => {}) => {
          const socket = new api.MixWebSocket(url, [], {timeouts});
          const events = told(socket);
          await socket.opened().then(work.bind(null, socket), () => {});
          await new Promise((resolve) => { socket.onclose = resolve; if (socket.readyState === 3) resolve(); });
          const error = events.find(({type}) => type === "error")?.error;
          return [error?.code, error?.phase, error?.retryable, events.at(-1).code];
        };
        const results = await Promise.all([
          ended("ws://silent.test/", {dns: 200}),
          ended("ws://silent.test/", {total: 200}),
          ended("ws://ws.test/frozen", {idle: 400}),
          ended("ws://ws.test/frozen", {close: 300}, (socket) => socket.close(1000)),
          ended("ws://ws.test/", {body: 5}),
        ]);
        return [results, await idle(await api.getMixTunnel())];"""
    )
    assert got == [
        [
            ["dns_timeout", "dns", True, 1006],
            ["total_timeout", "total", True, 1006],
            ["idle_timeout", "idle", True, 1006],
            ["close_timeout", "close", True, 1006],
            ["bad_option", "setup", False, 1006],
        ],
        0,
    ]


@pytest.mark.feature("WebSocket", "refused handshakes: status, accept, subprotocol, extensions")
@pytest.mark.parametrize(
    ("url", "code", "reason"),
    [
        ("ws://closed.test/", "connect_refused", None),
        ("wss://nowhere.test/", "dns_not_found", None),
        ("ws://ws.test/status/401", "bad_status", "401"),
        ("ws://origin.test/redirect/1", "bad_status", "302"),
        ("ws://ws.test/protocol/unasked", "websocket_handshake", None),
        ("wss://self-signed.test/", "tls_certificate", "unknown_issuer"),
    ],
)
async def test_a_connection_that_fails(page: ApiPage, url: str, code: str, reason: str | None) -> None:
    got = await page.run(
        TELL
        + """const socket = new api.MixWebSocket(args.url);
        const events = told(socket);
        const failure = await caught(() => socket.opened());
        return [failure.code, failure.reason, events.map(({type}) => type), events[0].error.code,
          events[0].message === failure.message, events[1].code, events[1].wasClean, socket.readyState];""",
        url=url,
    )
    assert got == [code, reason, ["error", "close"], code, True, 1006, False, 3]


@pytest.mark.feature("WebSocket", "messages of several MB")
async def test_huge_messages(page: ApiPage) -> None:
    """There and back, as they are and compressed; a message beyond 16 MiB is 1009, whoever sends it."""
    got = await page.run(
        TELL
        + """const socket = new api.MixWebSocket("ws://ws.test/");
        await socket.opened();
        const big = noise(args.size);
        const back = new Promise((resolve) => { socket.onmessage = ({data}) => resolve(data); });
        const sent = await sha256(big);
        await socket.send(big);
        const same = await sha256(new Uint8Array(await back)) === sent;
        const long = "0123456789abcdef".repeat(500_000);
        const longBack = new Promise((resolve) => { socket.onmessage = ({data}) => resolve(data); });
        await socket.send(long);
        const sameText = await longBack === long;
        await socket.close();
        const over = new api.MixWebSocket("ws://ws.test/big/16777217");
        const events = told(over);
        await new Promise((resolve) => { over.onclose = resolve; });
        const server = new api.MixWebSocket("ws://ws.test/");
        await server.opened();
        server.send(new Uint8Array((16 << 20) + 1));
        const end = await new Promise((resolve) => { server.onclose = resolve; });
        const types = events.map(({type}) => type);
        return [same, sameText, types, events[1].error.code, end.code, end.wasClean];""",
        size=300_000,
    )
    assert got == [True, True, ["open", "error", "close"], "message_too_big", 1009, True]


async def test_more_messages_than_fit_at_once_keep_their_order(page: ApiPage) -> None:
    got = await page.run(
        """const socket = new api.MixWebSocket("ws://ws.test/");
        await socket.opened();
        const back = [];
        socket.onmessage = ({data}) => back.push(typeof data === "string" ? data : String(data.byteLength));
        for (let n = 0; n < 1500; n++) socket.send(n % 3 ? String(n) : new Blob([new Uint8Array(n)]));
        socket.send("close 4000 done");
        const end = await new Promise((resolve) => { socket.onclose = resolve; });
        return [back.length, back.every((text, n) => text === String(n)), end.code, end.reason, end.wasClean];"""
    )
    assert got == [1500, True, 4000, "done", True]


@pytest.mark.feature("WebSocket", "many sockets fail at once")
async def test_many_sockets(page: ApiPage) -> None:
    """Thirty at once, each with its own echo; then all of them fail together, and nothing is logged."""
    page.console.clear()
    got = await page.run(
        TELL
        + """const sockets = Array.from({length: 30}, (_, n) => new api.MixWebSocket(`ws://ws.test/${n}`));
        await Promise.all(sockets.map((socket) => socket.opened()));
        const echoes = await Promise.all(sockets.map((socket, n) => new Promise((resolve) => {
          socket.onmessage = ({data}) => resolve(data);
          socket.send(`echo ${n}`);
        })));
        const ends = sockets.map((socket) => new Promise((resolve) => { socket.onclose = resolve; }));
        for (const socket of sockets) socket.send(noise(100000));
        await api.disconnectMixTunnel();
        const codes = (await Promise.all(ends)).map(({code}) => code);
        await api.setupMixTunnel(args.options);
        return [echoes.every((text, n) => text === `echo ${n}`), codes, sockets.map(({readyState}) => readyState)];""",
        options=page.options,
    )
    assert got == [True, [1006] * 30, [3] * 30]
    assert not [line for line in page.console if "uncaught" in line or "never retrieved" in line]
