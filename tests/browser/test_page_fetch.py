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
    tls = {"tls": "TLSv1.3" if scheme == "https" else None, "httpVersion": "1.1"}
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


async def test_form_data_has_its_boundary(shared: ApiPage) -> None:
    echo = await shared.run(
        """const form = new FormData();
        form.append("field", "value");
        form.append("file", new Blob(["content"]), "name.txt");
        return (await api.mixFetch("http://origin.test/echo", {method: "POST", body: form})).json();"""
    )
    kind = lower(echo["headers"])["content-type"]
    boundary = kind.partition("boundary=")[2]
    assert kind.startswith("multipart/form-data") and boundary and echo["text"].startswith(f"--{boundary}\r\n")
    assert 'name="file"; filename="name.txt"' in echo["text"]


async def test_request_objects_and_headers(shared: ApiPage) -> None:
    """init overrides the request; headers that pages may not set in `fetch` may be set here."""
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


async def test_redirects(shared: ApiPage) -> None:
    got = await shared.run(
        """const followed = await api.mixFetch("https://origin.test/redirect/2");
        const manual = await api.mixFetch("https://origin.test/redirect/1", {redirect: "manual"});
        await manual.body.cancel();
        const refused = await caught(() => api.mixFetch("https://origin.test/redirect/1", {redirect: "error"}));
        const many = await caught(() => api.mixFetch("https://origin.test/redirect/9"));
        return [followed.url, followed.redirected, await followed.text(), manual.status, manual.headers.get("location"),
          manual.redirected, refused.code, many.code, many.phase];"""
    )
    url = "https://origin.test/text"
    assert got[:3] == [url, True, "Hello from the origin.\n"]
    assert got[3:] == [302, "/text", False, "redirect_refused", "too_many_redirects", "redirect"]


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
          copy instanceof Response, await cookies.text() === await copy.text(), (await html.blob()).type];"""
    )
    assert got == [
        ["gzip", "deflate", "zstd"],
        2,
        2,
        "https://origin.test/cookies",
        True,
        True,
        "text/html; charset=utf-8",
    ]


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


async def test_chunks_arrive_before_the_end(shared: ApiPage) -> None:
    times = await shared.run(
        """const response = await api.mixFetch("http://origin.test/slow?chunks=6&interval=0.3&size=500");
        const times = [];
        for await (const chunk of response.body) times.push([performance.now(), chunk.length]);
        return times;"""
    )
    assert sum(size for _, size in times) == 3000
    assert len(times) >= 4 and times[-1][0] - times[0][0] > 900


async def test_a_body_that_nobody_reads_does_not_flow(shared: ApiPage) -> None:
    before, held, later, left = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const received = async () => (await tunnel.statistics()).bytes_received;
        const before = await received();
        const response = await api.mixFetch("https://origin.test/bytes/30000000");
        let [held, last] = [0, -1];
        for (let n = 0; n < 40 && held !== last; n++) { last = held; await sleep(700); held = await received(); }
        await sleep(1000);
        const later = await received();
        await response.body.cancel();
        return [before, held, later, await idle(tunnel)];"""
    )
    assert held - before < 4_000_000, "the windows filled and then nothing moved"
    assert later - held < 20_000
    assert left == 0


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
    assert (failure.value.name, failure.value.code, failure.value.phase) == ("MixError", code, phase)
    assert failure.value.kind and failure.value.message


async def test_a_truncated_body_is_an_error(shared: ApiPage) -> None:
    with pytest.raises(PageFailure) as failure:
        await shared.run("""await (await api.mixFetch("http://origin.test/truncated/4000")).text()""")
    assert failure.value.name == "MixError" and failure.value.phase == "body"


async def test_many_at_once(shared: ApiPage) -> None:
    digests: Any = await shared.run(
        """const one = async (n) => sha256(await (await api.mixFetch(`https://origin.test/bytes/10000?seed=${n}`)).arrayBuffer());
        return Promise.all(Array.from({length: 12}, (_, n) => one(n)));"""
    )
    assert digests == [hashlib.sha256(body_bytes(10000, str(n))).hexdigest() for n in range(12)]


async def test_without_the_network_s_roots_its_certificates_are_refused(fresh: ApiPage) -> None:
    await fresh.set_up(caCertificates=None)
    with pytest.raises(PageFailure) as failure:
        await fresh.run("""await api.mixFetch("https://origin.test/text")""")
    assert (failure.value.code, failure.value.phase) == ("tls_certificate", "tls")
