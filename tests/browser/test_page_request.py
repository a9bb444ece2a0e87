"""What `mixFetch` makes of its arguments: the message to the worker, or the error before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.page_session import ApiPage
from tests.browser.scripted_worker import HEAD

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]

# `sent(input, init)`: the request that the worker gets, with its body as the worker gets it; then the fetch is aborted.
SENT = (
    HEAD
    + """
  const sent = async (input, init = {}) => {
    const abort = new AbortController();
    const fetching = api.mixFetch(input, {signal: abort.signal, ...init}).catch((error) => error);
    const first = await Promise.race([heard("fetch"), fetching.then((error) => { throw error; })]);
    const body = [];
    if (first.data) body.push(...first.data);
    let pieces = 0;
    if (first.request.streaming) for (;;) {
      const found = seen.findIndex(({type}) => type === "write" || type === "finish");
      if (found < 0) { await new Promise((resolve) => waiting.push(resolve)); continue; }
      const [message] = seen.splice(found, 1);
      if (message.type === "finish") break;
      pieces++;
      for (const byte of message.data) body.push(byte);
      say({type: "written", id: first.id, bytes: message.data.length});
    }
    abort.abort();
    await heard("abort");
    const bytes = new Uint8Array(body);
    return {...first.request, headers: Object.fromEntries(first.request.headers), pieces, size: bytes.length,
      body: bytes.length > 1000 ? await sha256(bytes) : String.fromCharCode(...bytes)};
  };
"""
)


@pytest.mark.feature("Fetch", "methods: normalized as the standard has it; CONNECT, TRACE and TRACK refused")
async def test_methods(scripted: ApiPage) -> None:
    got = await scripted.run(
        SENT
        + """const methods = [];
        for (const method of ["get", "Head", "post", "pUt", "delete", "options", "patch", "PATCH", "M-SEARCH"]) {
          methods.push((await sent("http://o/", {method})).method);
        }
        for (const method of ["CONNECT", "trace", "Track", "", "GE T", "ü"]) {
          methods.push((await caught(() => api.mixFetch("http://o/", {method}))).name);
        }
        return [methods, seen.length];"""
    )
    sent = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "patch", "PATCH", "M-SEARCH"]
    assert got == [sent + ["TypeError"] * 6, 0]


@pytest.mark.feature("Fetch", "input: string, URL, Request; relative to the document's base; fragment not sent")
async def test_inputs(scripted: ApiPage) -> None:
    got = await scripted.run(
        SENT
        + """const url = async (input, init) => (await sent(input, init)).url;
        const urls = [await url("https://o.test/a b?c=d#fragment"), await url(new URL("http://bücher.test:80/./x/../y")),
          await url(new Request("http://o/request#f")), await url({ toString: () => "http://o/object" }),
          await url("relative?x"), await url(""), await url("//other.test/y")];
        document.head.insertAdjacentHTML("beforeend", '<base href="https://base.test/folder/">');
        urls.push(await url("relative"), await url("../up"));
        const bad = await caught(() => api.mixFetch("http://["));
        return [urls, location.origin, bad.name, bad.code];"""
    )
    urls, origin, *bad = got
    assert urls == [
        "https://o.test/a%20b?c=d",
        "http://xn--bcher-kva.test/y",
        "http://o/request",
        "http://o/object",
        f"{origin}/relative?x",
        f"{origin}/index.html",
        "http://other.test/y",
        "https://base.test/folder/relative",
        "https://base.test/up",
    ]
    assert bad == ["TypeError", None]


@pytest.mark.feature("Fetch", "headers: Headers, pairs, records; those of a Request unless init has some")
async def test_headers(scripted: ApiPage) -> None:
    got = await scripted.run(
        SENT
        + """const headers = async (input, init) => (await sent(input, init)).headers;
        const request = new Request("http://o/", {method: "POST", body: "x", headers: {"x-of": "request"}});
        const typed = new Request("http://o/", {method: "POST", body: "x", headers: {"content-type": "x/y"}});
        return [await headers("http://o/", {headers: new Headers({"X-A": "1"})}),
          await headers("http://o/", {headers: [["x-a", "1"], ["X-A", "2"], ["cookie", "c=d"]]}),
          await headers("http://o/", {headers: {"X-A": " 1\\t", "User-Agent": "mine", Origin: "null", Referer: "http://r/"}}),
          await headers(request.clone()), await headers(request, {headers: {"x-of": "init"}}),
          await headers("http://o/", {method: "POST", body: "x", headers: {"content-type": "x/y"}}),
          await headers("http://o/", {headers: {DNT: "1", HOST: "b"}}),
          await headers(typed, {body: new Response("s").body})];"""
    )
    text = "text/plain;charset=UTF-8"
    assert got == [
        {"x-a": "1"},
        {"cookie": "c=d", "x-a": "1, 2"},
        {"Origin": "null", "Referer": "http://r/", "User-Agent": "mine", "X-A": "1"},
        {"Content-Type": text, "x-of": "request"},
        {"x-of": "init"},
        {"content-type": "x/y"},
        {"DNT": "1", "HOST": "b"},  # what may not be set, the worker knows
        {"Content-Type": "x/y"},
    ]


FORM = "application/x-www-form-urlencoded;charset=UTF-8"
SHORT: dict[str, tuple[str, str | None, bytes]] = {
    "string": ('"grüße \\ud800"', "text/plain;charset=UTF-8", "grüße \ufffd".encode()),
    "object": ("({ toString: () => 'x' })", "text/plain;charset=UTF-8", b"x"),
    "ArrayBuffer": ("new Uint8Array([0, 1, 255]).buffer", None, b"\x00\x01\xff"),
    "Uint8Array": ("new Uint8Array([1, 2, 3, 4]).subarray(1, 3)", None, b"\x02\x03"),
    "DataView": ("new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 2)", None, b"\x03\x04"),
    "Float64Array": ("new Float64Array([0])", None, bytes(8)),
    "Blob": ('new Blob(["<a/>"], {type: "text/xml"})', "text/xml", b"<a/>"),
    "Blob without a type": ('new Blob(["x"])', None, b"x"),
    "File": ('new File(["a", "b"], "name", {type: "image/png"})', "image/png", b"ab"),
    "URLSearchParams": ('new URLSearchParams({a: "1 2", b: "ü"})', FORM, b"a=1+2&b=%C3%BC"),
    "empty": ('""', "text/plain;charset=UTF-8", b""),
}


@pytest.mark.feature("Fetch", "bodies: string, ArrayBuffer and views, Blob, File, URLSearchParams, with their type")
async def test_short_bodies(scripted: ApiPage) -> None:
    """They go with the request, so that their length is known and a redirect can have them again."""
    made = ", ".join(source for source, _, _ in SHORT.values())
    got = await scripted.run(
        SENT
        + f"""const all = [];
        for (const body of [{made}]) {{
          const one = await sent("http://o/", {{method: "POST", body}});
          all.push([one.streaming, one.headers["Content-Type"] ?? null, one.body]);
        }}
        return all;"""
    )
    assert dict(zip(SHORT, got, strict=True)) == {
        name: [False, kind, octets.decode("latin-1")] for name, (_, kind, octets) in SHORT.items()
    }


@pytest.mark.feature(
    "Fetch", "large bodies: a Blob, File, FormData, buffer or text is read piece by piece, its length sent"
)
async def test_large_bodies(scripted: ApiPage, engine: str) -> None:
    got = await scripted.run(
        SENT
        + """const size = 1_500_000;
        const bytes = Uint8Array.from({length: size}, (_, n) => n * n);
        const text = "é".repeat(size / 2);
        const form = new FormData();
        form.append("file", new Blob([bytes]), "n.bin");
        const expected = [await sha256(bytes), await sha256(new TextEncoder().encode(text))];
        const all = [];
        const bodies = [new Blob([bytes], {type: "x/y"}), new File([bytes], "n"), bytes.buffer, text];
        for (const body of args.form ? [...bodies, form] : bodies) {
          const fetching = sent("http://o/", {method: "PUT", body});
          if (body === bytes.buffer) bytes.fill(0);  // the caller may go on using it
          const { streaming, length, pieces, size, body: sum, headers } = await fetching;
          all.push([streaming, length, size, pieces, sum, headers["Content-Type"] ?? null]);
        }
        return [expected, all, bytes.length];""",
        timeout=50,
        form=engine != "webkit",  # reads none with a file (docs/engines.md)
    )
    (of_bytes, of_text), all_sent, length = got
    pieces = -(-1_500_000 // 65536)
    assert length == 1_500_000, "the caller's buffer is not taken away"
    kinds: list[Any] = ["x/y", None, None, "text/plain;charset=UTF-8"]
    sums = [of_bytes, of_bytes, of_bytes, of_text]
    for sent, kind, digest in zip(all_sent[:4], kinds, sums, strict=True):
        assert sent == [True, 1_500_000, 1_500_000, pieces, digest, kind]
    for streaming, length, size, _, _, kind in all_sent[4:]:
        assert streaming and length == size > 1_500_000 and kind.startswith("multipart/form-data; boundary=")


@pytest.mark.feature("Fetch", "a redirect has the body of a Blob or a large buffer again; that of a stream is refused")
async def test_a_body_from_the_beginning_once_more(scripted: ApiPage) -> None:
    """Also while a piece waits for its turn, and after the end."""
    got = await scripted.run(
        HEAD
        + """const bytes = new Uint8Array(300_000).map((_, n) => n >> 10);
        const fetching = api.mixFetch("http://o/", {method: "PUT", body: new Blob([bytes])});
        const { id, request } = await heard("fetch");
        const first = await heard("write");
        say({type: "rewind", id, turn: 1});
        const turns = [(await heard("rewound")).turn];
        const all = [];
        for (let round = 0; round < 2; round++) {
          const parts = [];
          for (let size = 0; size < 300_000;) {
            const { data } = await heard("write");
            parts.push(data);
            size += data.length;
            say({type: "written", id, bytes: data.length});
          }
          await heard("finish");
          all.push(await sha256(await new Blob(parts).arrayBuffer()));
          if (round === 0) {
            say({type: "rewind", id, turn: 2});
            turns.push((await heard("rewound")).turn);
          }
        }
        answer(id);
        ended(id);
        await (await fetching).text();
        return [request.length, first.data.length, turns, all, await sha256(bytes),
          seen.filter(({type}) => type !== "pull").length];"""
    )
    length, first, turns, sent, digest, rest = got
    assert (length, first, turns, rest) == (300_000, 65536, [1, 2], 0)
    assert sent == [digest, digest]


@pytest.mark.feature("Fetch", "FormData with files, under its own boundary")
async def test_form_data(scripted: ApiPage, engine: str) -> None:
    if engine == "webkit":
        pytest.skip("WebKitGTK reads no FormData that has a file (docs/engines.md)")
    got = await scripted.run(
        SENT
        + """const form = new FormData();
        form.append("field", "value");
        form.append("file", new Blob(["content"], {type: "x/y"}), "name.txt");
        return sent("http://o/", {method: "POST", body: form});"""
    )
    kind, _, boundary = got["headers"]["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data" and boundary
    assert got["body"].startswith(f"--{boundary}\r\n") and got["body"].rstrip().endswith(f"--{boundary}--")
    assert 'name="file"; filename="name.txt"\r\nContent-Type: x/y\r\n\r\ncontent\r\n' in got["body"]


STREAMS = (
    SENT
    + """const stream = (...pieces) => new ReadableStream({ async start(controller) {
      for (const piece of pieces) {
        if (typeof piece === "number") await sleep(piece);
        else controller.enqueue(new TextEncoder().encode(piece));
      }
      controller.close();
    } });
    const facts = ({streaming, length, body, pieces}) => [streaming, length, body, pieces];
    const init = {method: "POST", duplex: "half"};
"""
)


@pytest.mark.feature("Fetch", "streams as bodies, with or without duplex; a Request's body")
async def test_streams(scripted: ApiPage) -> None:
    got = await scripted.run(
        STREAMS
        + """const own = stream("own");
        const ask = new Request("http://o/", {...init, body: "text"});
        const all = [await sent("http://o/", {method: "POST", body: stream("a", "b")}),
          await sent("http://o/", {...init, body: own}),
          await sent(ask), await sent(new Request("http://o/", {...init, body: "replaced"}), {body: "by init"})];
        return [all.map(facts), own.locked, ask.bodyUsed];"""
    )
    assert got == [
        [[True, None, "ab", 2], [True, None, "own", 1], [False, None, "text", 0], [False, None, "by init", 0]],
        True,
        True,
    ]


@pytest.mark.feature("Fetch", "streams as bodies, with or without duplex; a Request's body")
async def test_requests_made_of_streams(scripted: ApiPage, engine: str) -> None:
    if engine == "firefox":
        pytest.skip("Firefox makes no Request of a stream (docs/engines.md)")
    got = await scripted.run(
        STREAMS
        + """const all = [await sent(new Request("http://o/", {...init, body: stream("of ", "a ", "request")})),
          await sent(new Request("http://o/", {...init, body: stream("comes ", 200, "later")}))];
        const mine = new Uint8Array([65, 66, 67]);
        const once = (chunk) => new ReadableStream({ start(control) { control.enqueue(chunk); control.close(); } });
        const given = once(mine.subarray(1));
        all.push(await sent(new Request("http://o/", {...init, body: given})));
        const refused = await caught(() => api.mixFetch(new Request("http://o/", {...init, body: once("text")})));
        return [all.map(facts), mine.length, refused.name];"""
    )
    assert got == [
        [[False, None, "of a request", 0], [True, None, "comes later", 2], [False, None, "BC", 0]],
        3,
        "TypeError",
    ]


@pytest.mark.feature("Fetch", "options of our own: cookies, integrity, timeouts, redirect limits, progress")
async def test_options_cross(scripted: ApiPage) -> None:
    plain, given, credentials = await scripted.run(
        SENT
        + """const options = async (init, input = "http://o/") => {
          const { headers, url, method, streaming, pieces, size, body, length, ...rest } = await sent(input, init);
          return rest;
        };
        const timeouts = {connect: 500, total: Infinity, dns: undefined};
        const given = await options({redirect: "manual", cookies: "jar", integrity: "sha256-AAAA", timeouts,
          maxRedirects: 0, allowInsecureRedirects: true, onProgress() {}});
        given.timeouts.total = String(given.timeouts.total);
        const credentials = [];
        for (const value of ["omit", "same-origin", "include"]) {
          credentials.push((await options({credentials: value})).cookies);
        }
        credentials.push((await options({credentials: "include", cookies: "omit"})).cookies);
        const request = new Request("http://o/", {credentials: "include", redirect: "error", integrity: "sha256-B"});
        const of = await options({}, request);
        return [await options(), given, [...credentials, of.cookies, of.redirect, of.integrity]];"""
    )
    assert plain == {
        "redirect": "follow",
        "maxRedirects": None,
        "allowInsecureRedirects": False,
        "cookies": None,
        "integrity": "",
        "timeouts": None,
        "progress": False,
        "isolation": None,
    }
    assert given == {
        "redirect": "manual",
        "maxRedirects": 0,
        "allowInsecureRedirects": True,
        "cookies": "jar",
        "integrity": "sha256-AAAA",
        "timeouts": {"connect": 500, "total": "Infinity"},
        "progress": True,
        "isolation": None,
    }
    assert credentials == ["omit", None, "jar", "omit", "jar", "error", "sha256-B"]


@pytest.mark.feature(
    "Fetch", "referrer, referrerPolicy, cache, mode, keepalive, priority are accepted; no Referer is sent"
)
async def test_what_has_no_meaning_here(scripted: ApiPage) -> None:
    same, headers = await scripted.run(
        SENT
        + """const init = {referrer: location.href, referrerPolicy: "unsafe-url", cache: "no-store", mode: "no-cors",
          keepalive: true, priority: "high", window: null};
        const [plain, with_] = [await sent("http://o/"), await sent("http://o/", init)];
        const request = await sent(new Request("http://o/", {referrer: location.href, referrerPolicy: "unsafe-url"}));
        return [JSON.stringify(plain) === JSON.stringify(with_), [with_.headers, request.headers]];"""
    )
    assert same and headers == [{}, {}]


REFUSED = {
    "body with GET": 'api.mixFetch("http://o/", {body: "x"})',
    "body with HEAD": 'api.mixFetch("http://o/", {method: "head", body: ""})',
    "a POST made a GET": 'api.mixFetch(new Request("http://o/", {method: "POST", body: "x"}), {method: "GET"})',
    "redirect": 'api.mixFetch("http://o/", {redirect: "maybe"})',
    "cookies": 'api.mixFetch("http://o/", {cookies: true})',
    "mode": 'api.mixFetch("http://o/", {mode: "navigate"})',
    "cache": 'api.mixFetch("http://o/", {cache: "x"})',
    "credentials": 'api.mixFetch("http://o/", {credentials: "x"})',
    "duplex": 'api.mixFetch("http://o/", {duplex: "full"})',
    "signal": 'api.mixFetch("http://o/", {signal: {}})',
    "onProgress": 'api.mixFetch("http://o/", {onProgress: 1})',
    "timeouts": 'api.mixFetch("http://o/", {timeouts: 1000})',
    "a time-out": 'api.mixFetch("http://o/", {timeouts: {total: "1"}})',
    "no time": 'api.mixFetch("http://o/", {timeouts: {total: 0}})',
    "maxRedirects": 'api.mixFetch("http://o/", {maxRedirects: -1})',
    "header name": 'api.mixFetch("http://o/", {headers: {"a b": "c"}})',
    "header value": 'api.mixFetch("http://o/", {headers: {a: "b\\nc"}})',
    "used request": """(async () => { const request = new Request("http://o/", {method: "POST", body: "x"});
        await request.text(); return api.mixFetch(request); })()""",
    "locked stream": """(async () => { const body = new ReadableStream({}); body.getReader();
        return api.mixFetch("http://o/", {method: "POST", body}); })()""",
    "read stream": """(async () => { const body = new Response("abc").body; const reader = body.getReader();
        await reader.read(); reader.releaseLock(); return api.mixFetch("http://o/", {method: "POST", body}); })()""",
}


@pytest.mark.feature("Fetch", "a bad argument is a TypeError, and nothing is sent")
async def test_what_fetch_refuses_is_refused(scripted: ApiPage, engine: str) -> None:
    # `duplex` is a member that the two others do not know.
    refused = {name: work for name, work in REFUSED.items() if name != "duplex" or engine == "chromium"}
    works = ", ".join(f"() => {work}" for work in refused.values())
    got = await scripted.run(
        HEAD
        + f"""const refused = [];
        for (const work of [{works}]) {{
          const failed = await Promise.race([work().then(() => ({{}}), (error) => error), sleep(1000)]);
          refused.push([failed?.constructor === TypeError, failed?.name ?? null]);
        }}
        return [refused, seen.length];"""
    )
    assert dict(zip(refused, got[0], strict=True)) == {name: [True, "TypeError"] for name in refused}
    assert got[1] == 0


@pytest.mark.feature("Fetch", "data: and blob: URLs are read in the page; about:, file:, ftp: and others refused")
async def test_what_never_crosses(scripted: ApiPage) -> None:
    local, others, sent = await scripted.run(
        HEAD
        + """const facts = async (input, init) => {
          const response = await api.mixFetch(input, init);
          return [response instanceof Response, response.url, response.status, response.statusText, response.type,
            response.headers.get("content-type"), await response.text(), response.redirected];
        };
        const blob = URL.createObjectURL(new Blob(["from a blob"], {type: "text/x"}));
        const data = "data:text/html;base64,PGI+";
        const local = [];
        for (const input of [data, new URL(blob), new Request(data), "data:,"]) local.push(await facts(input));
        local[1][1] = local[1][1] === blob;
        const gone = await caught(() => api.mixFetch(blob.replace(/[^/]+$/, crypto.randomUUID())));
        const wrong = await caught(() => api.mixFetch("data:,x", {integrity: "sha256-AAAA"}));
        const reason = new Error("mine");
        const signal = AbortSignal.abort(reason);
        const aborted = await api.mixFetch("data:,x", {signal}).catch((error) => error === reason);
        const others = [];
        for (const url of ["about:blank", "file:///etc/passwd", "ftp://o/", "javascript:1", "ws://o/", "mailto:x"]) {
          const error = await api.mixFetch(url).catch((error) => error);
          others.push([error instanceof TypeError, error.code, error.phase]);
        }
        return [[...local, [gone.code, wrong.code, aborted]], others, seen.length];"""
    )
    html = "data:text/html;base64,PGI+"
    assert local == [
        [True, html, 200, "OK", "basic", "text/html", "<b>", False],
        [True, True, 200, "OK", "basic", "text/x", "from a blob", False],
        [True, html, 200, "OK", "basic", "text/html", "<b>", False],
        [True, "data:,", 200, "OK", "basic", "text/plain;charset=US-ASCII", "", False],
        ["bad_url", "bad_url", True],
    ]
    assert others == [[True, "bad_url", "request"]] * 6
    assert sent == 0


@pytest.mark.feature(
    "Fetch", "signal: already aborted, while the tunnel is set up, in the upload, before the head, in the body"
)
async def test_abort_at_every_phase(scripted: ApiPage) -> None:
    """Always the signal's own reason; the worker is told; a stream to be sent is cancelled; no listener stays."""
    got = await scripted.run(
        HEAD
        + """const reason = { any: "value" };
        let listeners;
        const watched = () => {
          const abort = new AbortController();
          const { signal } = abort;
          const [add, remove] = [signal.addEventListener, signal.removeEventListener];
          const held = new Map();
          signal.addEventListener = (...all) => { held.set(all[1], all[2]?.once); add.apply(signal, all); };
          signal.removeEventListener = (...all) => { held.delete(all[1]); remove.apply(signal, all); };
          listeners = () => [...held.values()].filter((once) => !once || !signal.aborted).length;
          return abort;
        };
        const same = (promise) => promise.then(() => false, (error) => error === reason);
        const stream = (log) => new ReadableStream({ cancel(why) { log.push(why === reason); } });
        const result = {};

        const before = [];
        const spent = AbortSignal.abort(reason);
        result.before = [await same(api.mixFetch("http://o/", {method: "POST", body: stream(before), signal: spent})),
          before, seen.length];
        result.request = await same(api.mixFetch(new Request("http://o/", {signal: spent})));

        const late = new api.MixTunnel({});
        const connecting = watched();
        void late.setup().catch(() => {});
        const first = same(late.fetch("http://o/", {signal: connecting.signal}));
        connecting.abort(reason);
        result.connecting = [await first, seen.length, listeners()];
        void late.disconnect();

        const uploading = watched();
        const log = [];
        const second = same(api.mixFetch("http://o/", {method: "POST", body: stream(log), signal: uploading.signal}));
        await heard("fetch");
        uploading.abort(reason);
        await heard("abort");
        result.uploading = [await second, log, listeners()];

        const waitingFor = watched();
        const third = same(api.mixFetch("http://o/", {signal: waitingFor.signal}));
        await heard("fetch");
        waitingFor.abort(reason);
        await heard("abort");
        result.head = [await third, listeners()];

        const reading = watched();
        const fourth = api.mixFetch("http://o/", {signal: reading.signal});
        const { id } = await heard("fetch");
        const while_ = listeners();
        answer(id);
        const response = await fourth;
        const copy = response.clone();
        const text = same(response.text());
        const reader = copy.body.getReader();
        const read = same(reader.read());
        await heard("pull");
        reading.abort(reason);
        await heard("abort");
        result.body = [while_, await text, await read, listeners()];

        const whole = watched();
        const fifth = api.mixFetch("http://o/", {signal: whole.signal});
        const last = (await heard("fetch")).id;
        answer(last);
        ended(last);
        await (await fifth).text();
        result.after = listeners();
        whole.abort(reason);
        await sleep(30);
        return [result, seen.filter(({type}) => type !== "pull").length];"""
    )
    assert got == [
        {
            "before": [True, [True], 0],
            "request": True,
            "connecting": [True, 0, 0],
            "uploading": [True, [True], 0],
            "head": [True, 0],
            "body": [0, True, True, 0],
            "after": 0,
        },
        0,
    ]
    assert scripted.console == []


@pytest.mark.feature("Fetch", "a fetch that fails cancels the stream it was to send")
async def test_a_failure_frees_the_body(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const log = [];
        const body = () => new ReadableStream({ cancel(why) { log.push(why.code); } });
        const post = (url, init) => caught(() => api.mixFetch(url, {method: "POST", body: body(), ...init}));
        await post("ftp://o/");
        const refused = post("http://o/");
        const { id } = await heard("fetch");
        say({type: "error", id, error: {name: "HttpError", code: "bad_header", phase: "request", message: "no"}});
        await refused;
        await api.disconnectMixTunnel();
        await post("http://o/");
        await sleep(30);
        return log;"""
    )
    assert got == ["bad_url", "bad_header", "tunnel_down"]


@pytest.mark.feature("Fetch", "a Blob that cannot be read any more is bad_body")
async def test_a_blob_that_is_gone(scripted: ApiPage) -> None:
    """A file that was changed after it was chosen, at once or half-way."""
    got = await scripted.run(
        HEAD
        + """const gone = () => Promise.reject(new DOMException("changed", "NotReadableError"));
        const facts = ({name, code, phase}) => [name, code, phase];
        const small = new Blob(["x"]);
        small.arrayBuffer = gone;
        const first = await api.mixFetch("http://o/", {method: "POST", body: small}).catch(facts);
        const before = seen.length;
        const large = new Blob([new Uint8Array(300_000)]);
        const slice = large.slice;
        let reads = 0;
        large.slice = (...range) => {
          const part = slice.apply(large, range);
          if (++reads === 2) part.arrayBuffer = gone;
          return part;
        };
        const second = api.mixFetch("http://o/", {method: "POST", body: large}).catch(facts);
        const { id } = await heard("write");
        say({type: "written", id, bytes: 65536});
        return [first, before, await second, (await heard("abort")).id === id];"""
    )
    bad = ["TypeError", "bad_body", "request"]
    assert got == [bad, 0, bad, True]
