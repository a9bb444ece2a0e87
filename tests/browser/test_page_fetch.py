"""`mixFetch` in Chromium: real requests through real packets, with the semantics of `fetch`."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from localnet.origin import body_bytes, body_sha256
from tests.browser.page_session import ApiPage, PageFailure, Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]


def lower(headers: list[list[str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


@pytest.mark.feature("Fetch", "http and https with the response's facts")
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_body_of_100_kb(shared: ApiPage, scheme: str) -> None:
    got = await shared.run(
        """const response = await api.mixFetch(args.url);
        const body = await response.arrayBuffer();
        return [response instanceof Response, response.ok, response.status, response.statusText, response.url,
          response.redirected, response.type, response.headers.get("content-length"), body.byteLength,
          await sha256(body), response.mix, response.bodyUsed];""",
        url=f"{scheme}://origin.test/bytes/102400?seed=page#part",
    )
    tls = {"tls": "TLSv1.3" if scheme == "https" else None, "httpVersion": "1.1", "truncated": False}
    url = f"{scheme}://origin.test/bytes/102400?seed=page"
    assert got == [True, True, 200, "OK", url, False, "basic", "102400", 102400, body_sha256(102400, "page"), tls, True]


FORM = "application/x-www-form-urlencoded"
BODIES: dict[str, tuple[str, str | None, bytes | None]] = {
    "text": ('"grüße \\ud800"', "text/plain;charset=UTF-8", "grüße \ufffd".encode()),
    "bytes": ("new Uint8Array([0, 1, 255, 0])", None, b"\x00\x01\xff\x00"),
    "buffer": ("new Uint8Array([7, 8]).buffer", None, b"\x07\x08"),
    "part of a buffer": ("new Uint8Array([1, 2, 3, 4]).subarray(1, 3)", None, b"\x02\x03"),
    "blob": ('new Blob(["<a/>"], {type: "text/xml"})', "text/xml", b"<a/>"),
    "form": ('new URLSearchParams({a: "1 2", b: "ü"})', f"{FORM};charset=UTF-8", b"a=1+2&b=%C3%BC"),
    "empty": ('""', "text/plain;charset=UTF-8", b""),
}


@pytest.mark.feature("Fetch", "bodies: string, ArrayBuffer and views, Blob, File, URLSearchParams, with their type")
@pytest.mark.parametrize("name", BODIES)
async def test_post_echo(shared: ApiPage, name: str) -> None:
    source, content_type, octets = BODIES[name]
    echo = await shared.run(
        f"""const response = await api.mixFetch("https://origin.test/echo", {{method: "post", body: {source}}});
        return response.json();"""
    )
    headers = lower(echo["headers"])
    assert (echo["method"], headers.get("content-type"), echo["length"]) == ("POST", content_type, len(octets or b""))
    assert echo["base64"] == b64encode(octets or b"").decode()
    assert headers["content-length"] == str(len(octets or b""))


@pytest.mark.feature("Fetch", "FormData with files, under its own boundary")
async def test_form_data_has_its_boundary(shared: ApiPage, engine: str) -> None:
    form = """const form = new FormData();
        form.append("field", "value");
        form.append("file", new Blob(["content"]), "name.txt");"""
    unable = await shared.run(f"{form} return caught(() => new Response(form).text())")
    if engine == "webkit" and unable:
        pytest.skip(f"this WebKit itself cannot read a form with a file: {unable['message']}")
    echo = await shared.run(
        f"""{form}
        return (await api.mixFetch("http://origin.test/echo", {{method: "POST", body: form}})).json();"""
    )
    kind = lower(echo["headers"])["content-type"]
    boundary = kind.partition("boundary=")[2]
    assert kind.startswith("multipart/form-data") and boundary and echo["text"].startswith(f"--{boundary}\r\n")
    assert 'name="file"; filename="name.txt"' in echo["text"]


@pytest.mark.feature("Fetch", "input: string, URL, Request; init goes over a Request")
async def test_request_objects_and_headers(shared: ApiPage) -> None:
    """init overrides the request; a Cookie, which pages may not set in `fetch`, may be set here."""
    first, second = await shared.run(
        """const request = new Request("http://origin.test/echo?a=1", {method: "PUT", body: "from the request",
          headers: {"x-one": "1", "content-type": "text/x"}});
        const one = await (await api.mixFetch(request)).json();
        const two = await (await api.mixFetch(new URL("http://origin.test/echo"), {method: "PATCH", body: "x",
          headers: [["x-two", "2"], ["x-two", "3"], ["user-agent", "mine"], ["cookie", "a=b"]]})).json();
        return [one, two];"""
    )
    headers = lower(first["headers"])
    assert (first["method"], first["query"], first["text"]) == ("PUT", {"a": "1"}, "from the request")
    assert (headers["x-one"], headers["content-type"], headers["content-length"]) == ("1", "text/x", "16")
    headers = lower(second["headers"])
    assert (second["method"], headers["x-two"], headers["user-agent"], headers["cookie"]) == (
        "PATCH",
        "2, 3",
        "mine",
        "a=b",
    )


@pytest.mark.feature("Fetch", "redirect: follow, error, manual; a limit")
async def test_redirects(shared: ApiPage) -> None:
    got = await shared.run(
        """const followed = await api.mixFetch("https://origin.test/redirect/2");
        const manual = await api.mixFetch("https://origin.test/redirect/1", {redirect: "manual"});
        await manual.body.cancel();
        const refused = await caught(() => api.mixFetch("https://origin.test/redirect/1", {redirect: "error"}));
        const many = await caught(() => api.mixFetch("https://origin.test/redirect/9", {maxRedirects: 8}));
        return [followed.url, followed.redirected, await followed.text(), manual.status, manual.headers.get("location"),
          manual.redirected, refused.code, many.code, many.phase];"""
    )
    url = "https://origin.test/text"
    assert got[:3] == [url, True, "Hello from the origin.\n"]
    assert got[3:] == [302, "/text", False, "redirect_refused", "too_many_redirects", "redirect"]


@pytest.mark.feature("Fetch", "content decoding: gzip, deflate, zstd")
async def test_decoding_cookies_and_clone(shared: ApiPage) -> None:
    got = await shared.run(
        """const codings = [];
        for (const coding of ["gzip", "deflate", "zstd"]) {
          const response = await api.mixFetch(`https://origin.test/${coding}`);
          codings.push((await response.json()).coding);
        }
        const cookies = await api.mixFetch("https://origin.test/cookies");
        const copy = cookies.clone();
        const html = await api.mixFetch("https://origin.test/html");
        return [codings, cookies.headers.getSetCookie().length, copy.headers.getSetCookie().length, copy.url,
          copy instanceof Response, await cookies.text() === await copy.text(),
          (await html.blob()).type.replace(" ", "")];"""
    )
    assert got == [
        ["gzip", "deflate", "zstd"],
        2,
        2,
        "https://origin.test/cookies",
        True,
        True,
        "text/html;charset=utf-8",  # engines write it with and without a space
    ]


@pytest.mark.feature("Fetch", "HEAD, 204, 205 and 304 have no body")
async def test_responses_without_a_body(shared: ApiPage) -> None:
    got = await shared.run(
        """const seen = [];
        for (const [path, init] of [["bytes/5000", {method: "HEAD"}], ["status/204"], ["status/304"], ["status/404"]]) {
          const response = await api.mixFetch(`https://origin.test/${path}`, init);
          seen.push([response.status, response.body === null, (await response.text()).length]);
        }
        return [seen, await idle(await api.getMixTunnel())];"""
    )
    assert got == [[[200, True, 0], [204, True, 0], [304, True, 0], [404, False, 11]], 0]


@pytest.mark.feature("Fetch", "the response streams")
async def test_chunks_arrive_before_the_end(shared: ApiPage) -> None:
    times = await shared.run(
        """const response = await api.mixFetch("http://origin.test/slow?chunks=6&interval=0.3&size=500");
        const times = [];
        const reader = response.body.getReader();
        for (let got; !(got = await reader.read()).done;) times.push([performance.now(), got.value.length]);
        return times;"""
    )
    assert sum(size for _, size in times) == 3000
    assert len(times) >= 4 and times[-1][0] - times[0][0] > 900


@pytest.mark.feature("Fetch", "backpressure down to the TCP window, in bounded memory")
async def test_a_body_that_nobody_reads_does_not_flow(shared: ApiPage) -> None:
    """Neither does one that is read slowly, except for what its reader takes."""
    before, held, later, taken, slow, grown, left = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const received = async () => (await tunnel.statistics()).bytes_received;
        const memory = async () => (await tunnel.statistics()).memory_bytes;
        const [before, first] = [await received(), await memory()];
        const response = await api.mixFetch("https://origin.test/bytes/30000000");
        let [held, last] = [0, -1];
        for (let n = 0; n < 40 && held !== last; n++) { last = held; await sleep(700); held = await received(); }
        await sleep(1000);
        const later = await received();
        const reader = response.body.getReader();
        let taken = 0;
        for (let n = 0; n < 8; n++) { taken += (await reader.read()).value.length; await sleep(100); }
        const slow = await received();
        await reader.cancel();
        return [before, held, later, taken, slow, await memory() - first, await idle(tunnel)];"""
    )
    assert held - before < 4_000_000, "the windows filled and then nothing moved"
    assert later - held < 20_000
    assert slow - later < 2 * taken + 500_000
    assert grown < 16_000_000 and left == 0


@pytest.mark.feature("Fetch", "a body that nobody reads keeps no other request waiting")
async def test_bodies_that_nobody_reads_keep_nobody_waiting(shared: ApiPage) -> None:
    """Sixty short ones and eight long ones over one HTTP/1.1 origin, all unread; then they are read after all."""
    last, short, long, left = await shared.run(
        """const many = (count, size) => Promise.all(Array.from({length: count}, () =>
          api.mixFetch(`http://origin.test/bytes/${size}`)));
        const short = await many(60, 2000);
        const long = await many(8, 400000);
        const size = async (response) => (await response.arrayBuffer()).byteLength;
        const last = await size(await api.mixFetch("http://origin.test/bytes/10"));
        const sizes = [new Set(await Promise.all(short.map(size))), new Set(await Promise.all(long.map(size)))];
        return [last, [...sizes[0]], [...sizes[1]], await idle(await api.getMixTunnel())];"""
    )
    assert (last, short, long, left) == (10, [2000], [400_000], 0)


@pytest.mark.feature("Fetch", "streams as bodies, with or without duplex; a Request's body")
async def test_streaming_upload(shared: ApiPage) -> None:
    got = await shared.run(
        """let n = 0;
        const body = new ReadableStream({ pull(controller) {
          if (n === 20) controller.close(); else controller.enqueue(new Uint8Array(5000).fill(n++));
        }});
        const response = await api.mixFetch("https://origin.test/upload", {method: "POST", body, duplex: "half"});
        return response.json();"""
    )
    sent = b"".join(bytes([n]) * 5000 for n in range(20))
    assert got == {"length": len(sent), "sha256": hashlib.sha256(sent).hexdigest()}


@pytest.mark.feature("Fetch", "a stream that breaks, or gives no bytes, ends the request with its error")
async def test_an_upload_that_breaks(shared: ApiPage) -> None:
    """The stream's own error comes back; an abort reaches a stream that is not giving anything."""
    got = await shared.run(
        """const post = (body, init) => api.mixFetch("https://origin.test/upload", {method: "POST", body, ...init});
        const own = new RangeError("my own");
        const broken = new ReadableStream({ pull(controller) { controller.error(own); } });
        const first = await post(broken).catch((error) => error === own);
        const wrong = new ReadableStream({ pull(controller) { controller.enqueue("text"); } });
        const second = await caught(() => post(wrong));
        let cancelled = null;
        const silent = new ReadableStream({ cancel(reason) { cancelled = reason; } });
        const abort = new AbortController();
        setTimeout(() => abort.abort("enough"), 300);
        const third = await post(silent, {signal: abort.signal}).catch((reason) => reason);
        await sleep(50);
        return [first, second.name, third, cancelled, await idle(await api.getMixTunnel())];"""
    )
    assert got == [True, "TypeError", "enough", "enough", 0]


@pytest.mark.feature("Fetch", "signal: already aborted, before the head, in the body; the signal's own reason")
async def test_abort_before_during_and_after_the_head(shared: ApiPage, session: Session) -> None:
    """Each rejects with the signal's very reason, and nothing stays behind in the worker."""
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const reason = { any: "value" };
        const before = await api.mixFetch("https://origin.test/text", {signal: AbortSignal.abort(reason)})
          .catch((error) => error === reason);
        const abort = new AbortController();
        setTimeout(() => abort.abort(reason), 400);
        const during = await api.mixFetch("https://origin.test/delay/30", {signal: abort.signal})
          .catch((error) => error === reason);
        const limit = AbortSignal.timeout(400);
        const timeout = await caught(() => api.mixFetch("https://origin.test/delay/30", {signal: limit}));
        const after = new AbortController();
        const response = await api.mixFetch("https://origin.test/slow?chunks=100&interval=0.2", {signal: after.signal});
        const reader = response.body.getReader();
        const first = await reader.read();
        const pending = reader.read().then(() => reader.read()).then(() => reader.read())
          .catch((error) => error === reason);
        after.abort(reason);
        const left = await idle(tunnel);
        const spent = new AbortController();
        const whole = await (await api.mixFetch("https://origin.test/text", {signal: spent.signal})).text();
        spent.abort(reason);
        return [before, during, timeout.name, first.value.length, await pending, left, whole];"""
    )
    assert got == [True, True, "TimeoutError", 100, True, 0, "Hello from the origin.\n"]


@pytest.mark.feature("Fetch", "a failure is a MixError: a TypeError with code, phase, reason, retryable and cause")
@pytest.mark.parametrize(
    ("url", "code", "phase"),
    [
        ("https://nowhere.test/", "dns_not_found", "dns"),
        ("http://closed.test/", "connect_refused", "connect"),
        ("http://origin.test:25/", "policy_denied", "connect"),
        ("https://self-signed.test/", "tls_certificate", "tls"),
        ("https://wrong-name.test/", "tls_certificate", "tls"),
        ("https://expired.test/", "tls_certificate", "tls"),
        ("ftp://origin.test/", "bad_url", "request"),
    ],
)
async def test_failures_have_a_code_and_a_phase(shared: ApiPage, url: str, code: str, phase: str) -> None:
    with pytest.raises(PageFailure) as failure:
        await shared.run("await api.mixFetch(args.url)", url=url)
    assert (failure.value.name, failure.value.code, failure.value.phase) == ("TypeError", code, phase)
    assert failure.value.kind and failure.value.message


@pytest.mark.feature("Fetch", "a truncated body is an error")
async def test_a_truncated_body_is_an_error(shared: ApiPage) -> None:
    with pytest.raises(PageFailure) as failure:
        await shared.run("""await (await api.mixFetch("http://origin.test/truncated/4000")).text()""")
    assert failure.value.name == "TypeError" and failure.value.phase == "body"


@pytest.mark.feature("Fetch", "many requests at once, each with its own body")
async def test_many_at_once(shared: ApiPage) -> None:
    digests: Any = await shared.run(
        """const one = async (n) => sha256(await (await api.mixFetch(`https://origin.test/bytes/10000?seed=${n}`)).arrayBuffer());
        return Promise.all(Array.from({length: 12}, (_, n) => one(n)));"""
    )
    assert digests == [hashlib.sha256(body_bytes(10000, str(n))).hexdigest() for n in range(12)]


@pytest.mark.feature("Fetch", "timeouts by phase for one call: response, idle, total; Infinity for none")
async def test_time_outs_of_a_call(shared: ApiPage) -> None:
    got = await shared.run(
        """const failed = async (path, timeouts, read) => {
          const began = performance.now();
          const error = await caught(async () => {
            const response = await api.mixFetch(`https://origin.test/${path}`, {timeouts});
            if (read) await response.text();
          });
          return [error.code, error.phase, error.retryable, performance.now() - began < 8000];
        };
        const all = [await failed("delay/30", {response: 300}),
          await failed("delay/30", {total: 700, response: Infinity}),
          await failed("slow?chunks=9&interval=9", {idle: 300}, true),
          await failed("slow?chunks=90&interval=0.2", {total: 900}, true)];
        const unknown = await caught(() => api.mixFetch("https://origin.test/text", {timeouts: {nonsense: 1}}));
        return [all, unknown.code, unknown.name, await idle(await api.getMixTunnel())];"""
    )
    phases = ("response", "total", "idle", "total")
    assert got == [[[f"{phase}_timeout", phase, True, True] for phase in phases], "bad_option", "TypeError", 0]


@pytest.mark.feature(
    "Fetch", "timeouts, maxRedirects, caCertificates as options of the tunnel; a call's own go over them"
)
async def test_defaults_of_a_tunnel(fresh: ApiPage) -> None:
    await fresh.set_up(timeouts={"response": 1500}, maxRedirects=1, caCertificates=None)
    got = await fresh.run(
        """const unknown = await caught(() => api.mixFetch("https://origin.test/text"));
        const late = await caught(() => api.mixFetch("http://origin.test/delay/9"));
        const own = await (await api.mixFetch("http://origin.test/delay/2.5", {timeouts: {response: 9000}})).text();
        const many = await caught(() => api.mixFetch("http://origin.test/redirect/2"));
        const more = await (await api.mixFetch("http://origin.test/redirect/2", {maxRedirects: 2})).text();
        return [unknown.code, unknown.phase, unknown.reason, late.code, own, many.code, more];"""
    )
    assert got[:3] == ["tls_certificate", "tls", "unknown_issuer"], "the roots of the network were not given"
    assert got[3:] == ["response_timeout", "late\n", "too_many_redirects", "Hello from the origin.\n"]


@pytest.mark.feature("Fetch", "redirects: 307 repeats method and body, 303 does not; https to http only when allowed")
async def test_redirects_by_status(shared: ApiPage) -> None:
    got = await shared.run(
        """const path = "https://origin.test/redirect/1?to=/echo&status=";
        const post = (status, body) => api.mixFetch(path + status, {method: "POST", body});
        const all = [];
        for (const status of [301, 302, 303, 307, 308]) {
          const { method, text } = await (await post(status, "body")).json();
          all.push([status, method, text]);
        }
        const large = new Blob([new Uint8Array(300_000).fill(65)]);
        const to = "https://origin.test/redirect/2?to=/upload&status=308";
        const repeated = await (await api.mixFetch(to, {method: "PUT", body: large})).json();
        const stream = new Response("x").body;
        const once = await caught(() => post(307, stream));
        const down = "https://origin.test/redirect/1?to=http://origin.test/text";
        const refused = await caught(() => api.mixFetch(down));
        const allowed = await api.mixFetch(down, {allowInsecureRedirects: true});
        return [all, repeated, once.code, refused.code, allowed.url, await allowed.text()];"""
    )
    assert got[0] == [
        [301, "GET", ""],
        [302, "GET", ""],
        [303, "GET", ""],
        [307, "POST", "body"],
        [308, "POST", "body"],
    ]
    assert got[1:4] == [
        {"length": 300_000, "sha256": hashlib.sha256(b"A" * 300_000).hexdigest()},
        "body_not_replayable",
        "insecure_redirect",
    ]
    assert got[4:] == ["http://origin.test/text", "Hello from the origin.\n"]


@pytest.mark.feature("Fetch", "progress and timings of real requests; a large Blob is streamed with its length")
async def test_progress_and_timings(shared: ApiPage) -> None:
    size = 300_000
    sums, told, first, again, events, exit = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const entries = [];
        const keep = ({detail}) => entries.push(detail);
        tunnel.addEventListener("timing", keep);
        const told = {upload: [], download: []};
        const onProgress = ({phase, loaded, total}) => told[phase].push([loaded, total]);
        const body = new Blob([new Uint8Array(args.size).fill(7)]);
        const up = await api.mixFetch("https://origin.test/upload", {method: "PUT", body, onProgress});
        const sums = await up.json();
        const down = await api.mixFetch("https://origin.test/bytes/300000", {onProgress});
        await down.arrayBuffer();
        const fresh = await api.mixFetch("https://www.test/text");
        const first = {...fresh.timings};
        await fresh.text();
        first.end = fresh.timings.end;
        const next = await api.mixFetch("https://www.test/text");
        await next.text();
        tunnel.removeEventListener("timing", keep);
        const last = entries.at(-1);
        const events = [entries.map(({name, responseStatus, error}) => [name, responseStatus, error]), last.duration,
          last.end, last.startTime > entries[0].startTime];
        return [sums, told, first, next.timings, events, (await api.getTunnelState()).exit];""",
        size=size,
    )
    assert sums == {"length": size, "sha256": hashlib.sha256(b"\x07" * size).hexdigest()}
    for phase, total in (("upload", size), ("download", 300_000)):
        steps = [loaded for loaded, of in told[phase] if of == total]
        assert steps == sorted(set(steps)) and steps[-1] == total and len(steps) >= 2, (phase, told[phase])
    assert first["protocol"] in ("http/1.1", "h2") and not first["reused"] and first["exit"] == exit
    assert min(first["dns"], first["connect"], first["tls"]) > 0, first
    assert first["requestSent"] <= first["ttfb"] <= first["end"] and first["remoteAddress"]
    assert again["reused"] and again["dns"] is again["connect"] is again["tls"] is None
    names = [("upload", 200), ("bytes/300000", 200), ("text", 200), ("text", 200)]
    hosts = ["origin.test"] * 2 + ["www.test"] * 2
    assert events[0] == [
        [f"https://{host}/{name}", status, None] for host, (name, status) in zip(hosts, names, strict=True)
    ]
    assert events[1] >= events[2] > 0 and events[3]
