"""The web origin behind the exits: predictable bodies and every behaviour of servers that clients must cope with.

/                         an index of these routes
/bytes/<n>?seed=          n deterministic bytes with a length;   /sha256/<n>?seed= their SHA-256 in hex
/stream/<n>?seed=&chunk=  the same bytes, chunked;               /unsized/<n>?seed= ended by the end of the connection
/truncated/<n>            promises n bytes, sends half of them
/text /json /html         small documents
/echo                     method, path, query, headers and body as JSON;  /upload  length and SHA-256 of the body
/redirect/<n>?to=&status= n redirects, then `to` (default /text)
/gzip /deflate /zstd      a JSON document, content-coded (gzip and zstd also /gzip/<n>: n bytes)
/slow?chunks=&interval=&size=   a body that drips;               /delay/<seconds> late headers
 /client                   the address that the request came from
 /status/<code>            that status, with ?for=ADDRESS to that client alone;  /cookies  sets two, shows those sent
 /headers/<n>              n bytes of response headers;           /set?name=value these response headers
 /picture/<w>x<h>?seed=    a PNG;  /sound/<seconds>  a WAV;       /font  TrueType;  these and /range/<n>?seed= in ranges
 /video?pace=              a WebM, in ranges; with a pace at so many bytes a second
 /events?count=&interval=  an EventSource's stream, which goes on after Last-Event-ID
 /page/<name>              style.css (/page/more.css imported), module.js, module-part.js, script.js: an article's
 /cors/<path>?allow=&credentials=&methods=&headers=&expose=&age=   any of these, allowed by CORS: what its headers say
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import math
import re
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from . import media
from .http_server import BadRequest, Request, Response, json_response, text_response

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BYTES = 1 << 30
BLOCK = 65536
PACE_INTERVAL = 0.1  # s, between two pieces of a body that has a pace
ROUTES = __doc__.split("\n\n", 1)[1]


def block(index: int, seed: str) -> bytes:
    """The 64 KiB of the deterministic stream that begin at `index` * 64 KiB."""
    return hashlib.shake_128(f"{seed}/{index}".encode()).digest(BLOCK)


def body_bytes(count: int, seed: str = "0") -> bytes:
    """The first `count` bytes of the stream of a seed: what `/bytes/<count>?seed=` serves."""
    return b"".join(block(i, seed) for i in range((count + BLOCK - 1) // BLOCK))[:count]


def body_sha256(count: int, seed: str = "0") -> str:
    """Their SHA-256 in hex."""
    digest = hashlib.sha256()
    for start in range(0, count, BLOCK):
        digest.update(block(start // BLOCK, seed)[: min(BLOCK, count - start)])
    return digest.hexdigest()


async def _pieces(count: int, seed: str, size: int = BLOCK) -> AsyncIterator[bytes]:
    for start in range(0, count, BLOCK):
        data = block(start // BLOCK, seed)[: min(BLOCK, count - start)]
        for offset in range(0, len(data), size):
            yield data[offset : offset + size]


def _count(text: str, top: int = MAX_BYTES) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > top:
        raise BadRequest(f"{text!r} is not a number up to {top}")
    return int(text)


SCRIPT = "text/javascript"
# The files of an article, by their names below /page/; addresses in them are relative, as they are in the wild.
PAGE_FILES: dict[str, tuple[str, str]] = {
    "style.css": (
        "text/css",
        """@import "more.css";
@font-face { font-family: "Localnet"; src: url("../cors/font") format("truetype"); }
.article .ornament { font-family: "Localnet", monospace; }
.article .banner { background-image: url("../picture/160x60?seed=banner"); min-height: 60px; }
""",
    ),
    "more.css": (
        "text/css",
        """.article .aside { background: #eef url("../picture/80x80?seed=aside") no-repeat right; }\n""",
    ),
    "module.js": (
        SCRIPT,
        'import { part } from "./module-part.js";\nglobalThis.articleModule = `module and ${part}`;\n',
    ),
    "module-part.js": (SCRIPT, 'export const part = "its part";\n'),
    "script.js": (SCRIPT, "globalThis.articleScript = document.currentScript.src;\n"),
}


class Origin:
    """The handler; remembers the requests it saw."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._routes: dict[str, Callable[[Request, str], Response]] = {
            "": lambda request, rest: text_response(ROUTES),
            "bytes": self._bytes,
            "sha256": lambda request, rest: text_response(body_sha256(_count(rest), _seed(request))),
            "stream": self._stream,
            "unsized": self._unsized,
            "truncated": self._truncated,
            "text": lambda request, rest: text_response("Hello from the origin.\n"),
            "html": lambda request, rest: text_response(
                "<!doctype html><title>origin</title><p>Hello.</p>\n", content_type="text/html; charset=utf-8"
            ),
            "image": lambda request, rest: Response(200, [("content-type", "image/png")], _picture()),
            "json": lambda request, rest: json_response({"hello": "origin", "secure": request.secure}),
            "echo": self._echo,
            "upload": lambda request, rest: json_response(
                {"length": len(request.body), "sha256": hashlib.sha256(request.body).hexdigest()}
            ),
            "redirect": self._redirect,
            "gzip": lambda request, rest: _coded("gzip", gzip.compress, rest),
            "deflate": lambda request, rest: _coded("deflate", zlib.compress, rest),
            "zstd": lambda request, rest: _coded("zstd", zstd.compress, rest),
            "slow": self._slow,
            "client": lambda request, rest: text_response(request.client[0]),
            "status": self._status,
            "cookies": self._cookies,
            "picture": self._picture,
            "sound": lambda request, rest: _ranged(request, media.sound(_count(rest, 600)), "audio/wav"),
            "video": self._video,
            "font": lambda request, rest: _ranged(request, media.font(), "font/ttf"),
            "range": lambda request, rest: _ranged(request, body_bytes(_count(rest, 1 << 24), _seed(request))),
            "events": self._events,
            "page": self._page,
            "set": lambda request, rest: text_response("set\n", headers=list(request.query.items())),
            "headers": lambda request, rest: Response(200, [("x-filler", "a" * _count(rest, 1 << 20))], b"ok\n"),
        }

    async def handle(self, request: Request) -> Response:
        if len(self.requests) < 10_000:
            self.requests.append(request)
        return await self._answer(request)

    async def _answer(self, request: Request) -> Response:
        first, _, rest = request.path.lstrip("/").partition("/")
        if first == "cors":
            return await self._cors(request, rest)
        if first == "delay":
            try:
                await asyncio.sleep(min(max(float(rest), 0.0), 600.0))
            except ValueError:
                raise BadRequest(f"{rest!r} is not a number of seconds") from None
            return text_response("late\n")
        route = self._routes.get(first)
        return text_response("not found\n", 404) if route is None else route(request, rest)

    async def _cors(self, request: Request, rest: str) -> Response:
        given = {
            "access-control-allow-origin": request.query.get("allow", "*"),
            "access-control-allow-credentials": request.query.get("credentials", ""),
            "access-control-allow-methods": request.query.get("methods", ""),
            "access-control-allow-headers": request.query.get("headers", ""),
            "access-control-expose-headers": request.query.get("expose", ""),
            "access-control-max-age": request.query.get("age", ""),
        }
        headers = [(name, value) for name, value in given.items() if value]
        if request.method == "OPTIONS":
            return Response(204, headers)
        response = await self._answer(replace(request, path=f"/{rest}"))
        own = [(name, value) for name, value in response.headers if not name.startswith("access-control-")]
        return replace(response, headers=[*own, *headers])

    @staticmethod
    def _picture(request: Request, rest: str) -> Response:
        size = re.fullmatch(r"(\d{1,4})x(\d{1,4})", rest)
        if size is None:
            raise BadRequest(f"{rest!r} is no size")
        return _ranged(request, media.picture(int(size[1]), int(size[2]), _seed(request)), "image/png")

    @staticmethod
    def _video(request: Request, rest: str) -> Response:
        response = _ranged(request, media.video(), "video/webm")
        pace, data = request.number("pace", 0, 0, 1 << 24), response.body
        if not pace or not isinstance(data, bytes):
            return response
        size = max(round(pace * PACE_INTERVAL), 1)

        async def drip() -> AsyncIterator[bytes]:
            for at in range(0, len(data), size):
                if at:
                    await asyncio.sleep(PACE_INTERVAL)
                yield data[at : at + size]

        return replace(response, body=drip(), length=len(data))

    @staticmethod
    def _events(request: Request, rest: str) -> Response:
        count, interval = int(request.number("count", 3, 1, 10_000)), request.number("interval", 0.1, 0.0, 60.0)
        last = request.header("last-event-id") or "0"
        begin = _count(last) + 1

        async def drip() -> AsyncIterator[bytes]:
            for index in range(begin, begin + count):
                if index > begin:
                    await asyncio.sleep(interval)
                yield f"id: {index}\ndata: event {index}\n\n".encode()

        return Response(200, [("content-type", "text/event-stream")], drip())

    @staticmethod
    def _page(request: Request, rest: str) -> Response:
        if rest not in PAGE_FILES:
            return text_response("not found\n", 404)
        kind, text = PAGE_FILES[rest]
        return text_response(
            text, content_type=kind, headers=[("access-control-allow-origin", "*")] if "module" in rest else []
        )

    def _bytes(self, request: Request, rest: str) -> Response:
        count = _count(rest)
        headers = [("content-type", "application/octet-stream")]
        return Response(200, headers, _pieces(count, _seed(request)), length=count)

    def _stream(self, request: Request, rest: str) -> Response:
        size = int(request.number("chunk", BLOCK, 1, BLOCK))
        headers = [("content-type", "application/octet-stream")]
        return Response(200, headers, _pieces(_count(rest), _seed(request), size))

    def _unsized(self, request: Request, rest: str) -> Response:
        headers = [("content-type", "application/octet-stream")]
        return Response(200, headers, _pieces(_count(rest), _seed(request)), unframed=True)

    def _truncated(self, request: Request, rest: str) -> Response:
        count = _count(rest, 1 << 20)
        return Response(200, [("content-length", str(count))], body_bytes(count // 2, _seed(request)))

    @staticmethod
    def _echo(request: Request, rest: str) -> Response:
        try:
            text: str | None = request.body.decode()
        except UnicodeDecodeError:
            text = None
        return json_response(
            {
                "method": request.method,
                "target": request.target,
                "path": request.path,
                "query": request.query,
                "headers": request.headers,
                "http_version": request.http_version,
                "secure": request.secure,
                "text": text,
                "base64": base64.b64encode(request.body).decode(),
                "length": len(request.body),
            }
        )

    @staticmethod
    def _redirect(request: Request, rest: str) -> Response:
        left = _count(rest or "1", 1000)
        status = int(request.number("status", 302, 300, 399))
        target = request.query.get("to", "/text")
        if left > 1:
            suffix = f"?{request.target.partition('?')[2]}" if "?" in request.target else ""
            target = f"/redirect/{left - 1}{suffix}"
        return Response(status, [("location", target)], b"moved\n")

    @staticmethod
    def _slow(request: Request, rest: str) -> Response:
        chunks = int(request.number("chunks", 10, 1, 10_000))
        interval = request.number("interval", 0.1, 0.0, 60.0)
        size = int(request.number("size", 100, 1, BLOCK))

        async def drip() -> AsyncIterator[bytes]:
            for index in range(chunks):
                if index:
                    await asyncio.sleep(interval)
                yield block(index, "slow")[:size]

        return Response(200, [("content-type", "application/octet-stream")], drip(), length=chunks * size)

    @staticmethod
    def _status(request: Request, rest: str) -> Response:
        code = _count(rest, 999)
        if request.query.get("for", request.client[0]) != request.client[0]:
            code = 200
        if code < 200:
            raise BadRequest("only final status codes")
        return Response(
            code, [("content-type", "text/plain")], b"" if code in (204, 304) else f"status {code}\n".encode()
        )

    @staticmethod
    def _cookies(request: Request, rest: str) -> Response:
        sent = dict(
            part.strip().partition("=")[::2] for part in (request.header("cookie") or "").split(";") if "=" in part
        )
        headers = [("set-cookie", "flavour=oat; Path=/"), ("set-cookie", "size=large; Path=/; HttpOnly")]
        return json_response({"cookies": sent}, headers=headers)


def _picture(width: int = 240, height: int = 120) -> bytes:
    """A PNG of three soft waves, one in each colour."""

    def wave(at: float, phase: float) -> int:
        return round(127 + 100 * math.sin(at + phase))

    rows = b"".join(
        b"\0" + bytes(wave(x / 40 + y / (25 + 12 * c), 2.1 * c) for x in range(width) for c in range(3))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _seed(request: Request) -> str:
    return request.query.get("seed", "0")


def _ranged(request: Request, data: bytes, kind: str = "application/octet-stream") -> Response:
    """One range, by RFC 9110 14; what asks for several gets all."""
    headers = [
        ("content-type", kind),
        ("accept-ranges", "bytes"),
        ("etag", f'"{hashlib.sha256(data).hexdigest()[:16]}"'),
    ]
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.header("range") or "")
    if asked is None or asked.groups() == ("", ""):
        return Response(200, headers, data)
    first, last = asked.groups()
    begin = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    if begin >= len(data) or begin > end:
        return Response(416, [*headers, ("content-range", f"bytes */{len(data)}")])
    return Response(206, [*headers, ("content-range", f"bytes {begin}-{end}/{len(data)}")], data[begin : end + 1])


def _coded(coding: str, compress: Callable[[bytes], bytes], rest: str) -> Response:
    if rest:
        data, kind = body_bytes(_count(rest, 1 << 24)), "application/octet-stream"
    else:
        data, kind = json.dumps({"coding": coding, "filler": "smolmix " * 500}).encode(), "application/json"
    return Response(
        200, [("content-type", kind), ("content-encoding", coding), ("vary", "accept-encoding")], compress(data)
    )
