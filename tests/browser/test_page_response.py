"""What `mixFetch` gives back: the response as the standard has it, its errors, and what ours tells more."""

from __future__ import annotations

import pytest

from tests.browser.page_session import ApiPage, needs_byte_streams
from tests.browser.scripted_worker import HEAD

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]

# `respond(chunks, status, headers)`: a response whose body the worker gives as it is pulled; `error` breaks it.
RESPOND = (
    HEAD
    + """
  const broken = {name: "HttpError", code: "truncated_body", phase: "body", message: "cut off", reason: null,
    retryable: true, cause: {name: "NetworkError", code: "connection_reset", phase: null, message: "reset"}};
  const respond = async (chunks, how = {}) => {
    const { status = 200, statusText = "OK", headers = [], error = false, method = "GET", url = "http://o/" } = how;
    const fetching = api.mixFetch(url, {method});
    const { id } = await heard("fetch");
    say({type: "response", id, head: {...head(status), statusText, headers}});
    void (async () => {
      for (const bytes of chunks) { await heard("pull"); chunk(id, ...bytes); }
      if (error) { await heard("pull"); say({type: "error", id, error: broken}); } else ended(id);
    })();
    return fetching;
  };
  const text = (words) => [...new TextEncoder().encode(words)];
"""
)


@pytest.mark.feature(
    "Fetch", "Response: instanceof, url, type, ok, statusText, headers that cannot be changed, getSetCookie()"
)
async def test_a_response_is_one(scripted: ApiPage) -> None:
    got = await scripted.run(
        RESPOND
        + """const headers = [["a", "1"], ["A", "2"], ["set-cookie", "x=1"], ["set-cookie", "y=2"]];
        headers.push(["content-type", "x/y"]);
        const response = await respond([text("body")], {status: 206, headers});
        const change = [];
        for (const work of [(h) => h.set("a", "3"), (h) => h.append("b", "3"), (h) => h.delete("a")]) {
          change.push((await caught(() => work(response.headers))).name);
        }
        const copy = new Response(null, {headers: response.headers});
        return [response instanceof Response, response instanceof api.MixResponse, String(response), response.url,
          response.type, response.ok, response.status, response.statusText, response.redirected, change,
          [...response.headers], response.headers.getSetCookie(), response.headers instanceof Headers,
          copy.headers.get("a"), response.bodyUsed, (await response.blob()).type, response.bodyUsed];"""
    )
    cookies = ["x=1", "y=2"]
    pairs = [["a", "1, 2"], ["content-type", "x/y"], *(["set-cookie", cookie] for cookie in cookies)]
    assert got[:9] == [True, True, "[object Response]", "http://o/", "basic", True, 206, "OK", False]
    assert got[9:] == [["TypeError"] * 3, pairs, cookies, True, "1, 2", False, "x/y", True]


@pytest.mark.feature("Fetch", "Response: statuses up to 999 and reasons with any octet")
async def test_what_a_constructed_response_cannot_hold(scripted: ApiPage) -> None:
    got = await scripted.run(
        RESPOND
        + """const all = [];
        const told = (response) => [response.status, response.ok, response.statusText];
        for (const status of [0, 99, 200, 299, 300, 599, 600, 999]) {
          const response = await respond([text("body")], {status, statusText: "a\x00\x01\t\x7f\xe4\xff"});
          const clone = response.clone();
          const twice = clone.clone();
          const held = Object.getOwnPropertyDescriptor(Response.prototype, "status").get.call(response);
          all.push([told(response), told(clone), told(twice), held, await response.text(), await twice.text()]);
        }
        return all;"""
    )
    odd = "a\0\x01\t\x7f\xe4\xff"
    for status, (*told, held, body, again) in zip([0, 99, 200, 299, 300, 599, 600, 999], got, strict=True):
        assert told == [[status, status in (200, 299), odd]] * 3
        assert held == (status if 200 <= status <= 599 else 599)
        assert body == again == "body"


@pytest.mark.feature("Fetch", "arrayBuffer, blob, bytes, formData, json, text; a body is used once")
async def test_every_way_to_read(scripted: ApiPage) -> None:
    got = await scripted.run(
        RESPOND
        + """const form = {headers: [["content-type", "application/x-www-form-urlencoded"]]};
        const all = [(await (await respond([text("ab"), text("c")])).arrayBuffer()).byteLength,
          await (await (await respond([text("blob")])).blob()).text(), [...await (await respond([[1, 2]])).bytes()],
          (await (await respond([text("a=1&b=2")], form)).formData()).get("b"),
          await (await respond([text('{"a": '), text("[1]}")])).json(),
          await (await respond([text("\\ufeffgrüße")])).text(),
          await (await respond([])).text()];
        const used = await respond([text("x")]);
        await used.text();
        const again = await caught(() => used.text());
        const clone = await caught(() => used.clone());
        const nonsense = await caught(async () => (await respond([text("{")])).json());
        return [...all, again.name, clone.name, nonsense.name];"""
    )
    assert got == [3, "blob", [1, 2], "2", {"a": [1]}, "grüße", "", "TypeError", "TypeError", "SyntaxError"]


@pytest.mark.feature("Fetch", "HEAD, 204, 205 and 304 have no body")
async def test_no_body(scripted: ApiPage) -> None:
    got = await scripted.run(
        RESPOND
        + """const all = [];
        for (const [status, method] of [[204], [205], [304], [200, "HEAD"], [404, "head"]]) {
          const response = await respond([], {status, method});
          all.push([response.status, response.body, await response.text(), response.bodyUsed]);
        }
        return all;"""
    )
    assert got == [[status, None, "", False] for status in (204, 205, 304, 200, 404)]


@pytest.mark.feature("Fetch", "the body is a byte stream: a reader may bring its own buffer")
async def test_bring_your_own_buffer(scripted: ApiPage, engine: str) -> None:
    await needs_byte_streams(scripted, engine)
    got = await scripted.run(
        RESPOND
        + """const response = await respond([[1, 2, 3, 4, 5], [6]]);
        const reader = response.body.getReader({mode: "byob"});
        const sizes = [];
        let all = [];
        for (;;) {
          const { done, value } = await reader.read(new Uint8Array(3));
          if (done) { sizes.push(value.length); break; }
          sizes.push(value.length);
          all = [...all, ...value];
        }
        const failing = (await respond([[1]], {error: true})).body.getReader({mode: "byob"});
        const first = (await failing.read(new Uint8Array(9))).value.length;
        const error = await caught(() => failing.read(new Uint8Array(9)));
        return [sizes, all, first, error.code];"""
    )
    assert got == [[3, 2, 1, 0], [1, 2, 3, 4, 5, 6], 1, "truncated_body"]


@pytest.mark.feature("Fetch", "clone(): both branches have everything, and the same error")
async def test_clones(scripted: ApiPage) -> None:
    got = await scripted.run(
        RESPOND
        + """const one = await respond([text("ab"), text("cd")], {headers: [["set-cookie", "x=1"]]});
        const two = one.clone();
        const three = two.clone();
        const facts = async (r) => [await r.text(), r.url, r.headers.getSetCookie(), r instanceof api.MixResponse,
          r.timings.end];
        const good = [await facts(two), await facts(one), await facts(three)];
        const left = await respond([text("ab")], {error: true});
        const right = left.clone();
        const reading = [left.text(), right.body.pipeTo(new WritableStream())];
        const errors = await Promise.all(reading.map((work) => work.catch((error) => error)));
        const empty = (await respond([], {status: 204})).clone();
        return [good, errors[0] === errors[1], errors[0].code, empty.status, empty.body];"""
    )
    facts = ["abcd", "http://o/", ["x=1"], True, 9]
    assert got == [[facts, facts, facts], True, "truncated_body", 204, None]


@pytest.mark.feature("Fetch", "a failure is a MixError: a TypeError with code, phase, reason, retryable and cause")
async def test_errors(scripted: ApiPage) -> None:
    got = await scripted.run(
        RESPOND
        + """const facts = (e) => [e.constructor === TypeError, e instanceof api.MixError, e.name, e.code, e.phase,
          e.reason, e.retryable, e.kind, e.cause?.code ?? null, e.message];
        const all = [];
        for (const way of ["text", "arrayBuffer", "blob", "bytes", "json", "formData"]) {
          const headers = [["content-type", "application/x-www-form-urlencoded"]];
          all.push(facts(await (await respond([text("a")], {error: true, headers}))[way]().catch((error) => error)));
        }
        const fetching = api.mixFetch("http://o/").catch(facts);
        const { id } = await heard("fetch");
        const expired = {code: "tls_certificate", phase: "tls", reason: "expired", retryable: false, cause: null};
        say({type: "error", id, error: {...broken, ...expired}});
        return [all, await fetching];"""
    )
    broken = [True, True, "TypeError", "truncated_body", "body", None, True, "HttpError", "connection_reset", "cut off"]
    expired = [True, True, "TypeError", "tls_certificate", "tls", "expired", False, "HttpError", None, "cut off"]
    assert got == [[broken] * 6, expired]


@pytest.mark.feature("Fetch", "onProgress for upload and download; what it throws is the page's")
async def test_progress(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const told = [];
        const reported = [];
        addEventListener("error", (event) => { reported.push(event.error.message); event.preventDefault(); });
        const onProgress = (progress) => { told.push(progress); if (told.length === 2) throw new Error("mine"); };
        const fetching = api.mixFetch("http://o/", {method: "POST", body: "x".repeat(9), onProgress});
        const { id, request } = await heard("fetch");
        say({type: "progress", id, phase: "upload", loaded: 9, total: 9});
        answer(id);
        say({type: "progress", id, phase: "download", loaded: 1, total: null});
        const response = await fetching;
        const reading = response.text();
        await heard("pull");
        say({type: "progress", id, phase: "download", loaded: 5, total: 5});
        chunk(id, 65);
        ended(id);
        return [request.progress, await reading, told, reported];"""
    )
    steps = [("upload", 9, 9), ("download", 1, None), ("download", 5, 5)]
    told = [{"phase": phase, "loaded": loaded, "total": total} for phase, loaded, total in steps]
    assert got == [True, "A", told, ["mine"]]


@pytest.mark.feature("Fetch", "response.timings, and the event timing for each fetch that ended, however it did")
async def test_timings(scripted: ApiPage) -> None:
    timings, late, events = await scripted.run(
        RESPOND
        + """const events = [];
        tunnel.addEventListener("timing", ({detail}) => events.push(detail));
        const began = performance.now();
        const response = await respond([text("a")], {url: "http://me:secret@o/?q#f"});
        const first = {...response.timings};
        await response.text();
        const late = response.timings.end;
        await sleep(20);
        await caught(async () => (await respond([text("a")], {error: true})).text());
        await (await respond([text("a"), text("b")])).body.cancel();
        const abort = new AbortController();
        const pending = caught(() => api.mixFetch("http://me:secret@o/late#f", {signal: abort.signal}));
        await heard("fetch");
        abort.abort();
        await pending;
        const failing = caught(() => api.mixFetch("http://o/failed"));
        const { id } = await heard("fetch");
        say({type: "timings", id, timings: {...timings, ttfb: null}});
        say({type: "error", id, error: broken});
        await failing;
        await caught(() => api.mixFetch("ftp://o/"));
        await caught(() => api.mixFetch("http://o/", {method: "TRACE"}));  // never began
        await (await api.mixFetch("data:,x")).text();                      // never on the mixnet
        await sleep(30);
        const entries = events.map(({startTime, duration, ...rest}) =>
          [startTime >= began && duration >= 0 && startTime + duration <= performance.now(), rest]);
        return [first, late, entries];"""
    )
    known = {"redirect": 0, "queue": 0, "dns": 1, "connect": 2, "tls": None, "requestSent": 4, "ttfb": 5}
    known |= {"protocol": "http/1.1", "remoteAddress": "192.0.2.1", "reused": False, "exit": "E"}
    unknown = dict.fromkeys(known) | {"reused": False}
    assert timings == {**known, "end": None} and late == 9

    def event(name: str, status: int, error: str | None, facts: dict[str, object], end: int | None) -> list[object]:
        entry = {"name": name, "entryType": "mixnet-fetch", "responseStatus": status, "error": error}
        return [True, {**entry, **facts, "end": end}]

    assert events == [
        event("http://o/", 200, None, known, 9),
        event("http://o/", 200, "truncated_body", known, None),
        event("http://o/", 200, "aborted", known, None),
        event("http://o/late", 0, "aborted", unknown, None),
        event("http://o/failed", 0, "truncated_body", {**known, "ttfb": None}, None),
        event("ftp://o/", 0, "bad_url", unknown, None),
    ]


@pytest.mark.feature("Fetch", "response.mix tells of a body that TLS did not end")
async def test_a_body_that_was_cut_off(scripted: ApiPage) -> None:
    got = await scripted.run(
        HEAD
        + """const told = [];
        for (const truncated of [false, true, undefined]) {
          const fetching = api.mixFetch("http://o/");
          const { id } = await heard("fetch");
          answer(id);
          const response = await fetching;
          const before = response.mix.truncated;
          say({type: "end", id, timings, truncated});
          await response.text();
          told.push([before, response.mix.truncated]);
        }
        return told;"""
    )
    assert got == [[False, False], [False, True], [False, False]]
