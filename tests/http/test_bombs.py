"""Bodies that unpack to far more than they bring: they end after bounded work, in slices, and nobody else waits."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
import zlib
from collections.abc import Callable
from functools import cache

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import HttpError
from smolmix_web.http import HttpClient, HttpRequest
from smolmix_web.http.decoding import CHUNK, Work, accept_encoding, decode_through, decoders
from tests.http.test_client import PipeConnector
from tests.http.test_decoding import CODINGS, zstd_compress
from tests.http_server import Answer, HttpServer
from tests.virtual_loop import virtual

MIB = 1 << 20
GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@cache
def zeros(size: int = 1 << 30) -> bytes:
    """Raw deflate of so many zeros, without an end; made of one piece again and again."""
    piece = 16 * MIB
    compressor = zlib.compressobj(9, wbits=-15)
    once = compressor.compress(bytes(piece)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return once * (size // piece)


def quick_brotli(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data, quality=1))


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: GZIP_HEAD + zeros()),
    "deflate": ("deflate", lambda: b"\x78\x9c" + zeros()),
    "raw deflate": ("deflate", zeros),
    "br": ("br", lambda: quick_brotli(bytes(256 * MIB))),
    "zstd": ("zstd", lambda: zstd_compress(bytes(256 * MIB))),
    "gzip in gzip": ("gzip, gzip", lambda: gzip.compress(GZIP_HEAD + zeros())),
    "gzip in br": ("gzip, br", lambda: quick_brotli(GZIP_HEAD + zeros())),
    "three deep": ("gzip, gzip, gzip", lambda: gzip.compress(gzip.compress(GZIP_HEAD + zeros()))),
    "behind the end, between two": ("gzip, gzip", lambda: gzip.compress(gzip.compress(b"x") + bytes(32 * MIB))),
    "empty members": ("gzip", lambda: gzip.compress(b"") * 100_000),
    "empty members, packed": ("gzip, gzip", lambda: gzip.compress(gzip.compress(b"") * 1_000_000)),
    "empty frames": ("zstd", lambda: zstd_compress(b"") * 100_000),
    "empty frames, packed": ("zstd, gzip", lambda: gzip.compress(zstd_compress(b"") * 1_000_000)),
    "an endless name in the header": ("gzip, gzip", lambda: gzip.compress(b"\x1f\x8b\x08\x08" + b"x" * 32 * MIB)),
    "empty blocks, packed": ("deflate, gzip", lambda: gzip.compress(b"\x78\x9c" + b"\0\0\0\xff\xff" * 8 * MIB)),
}


@pytest.mark.feature("HTTP", "A decompression bomb ends after bounded work, also between codings and in empty members")
@pytest.mark.parametrize("what", BOMBS)
def test_bounded_work(what: str) -> None:
    codings, make = BOMBS[what]
    for coding in codings.split(", "):
        if coding not in accept_encoding():
            pytest.skip(f"no {coding} in this runtime")
    blob = make()
    chain = decoders([codings])
    assert chain is not None
    work, made, slices, longest = Work(), 0, 0, 0.0
    begun = time.process_time()
    with pytest.raises(HttpError) as caught:
        for start in range(0, len(blob), CHUNK):
            decoded = decode_through(chain, blob[start : start + CHUNK], work)
            while True:
                before = time.process_time()
                piece = next(decoded, None)
                longest = max(longest, time.process_time() - before)
                if piece is None:
                    break
                assert len(piece) <= CHUNK
                made += len(piece)
                slices += 1
    assert (caught.value.code, caught.value.phase) == ("body_too_large", "body")
    assert made <= Work.FREE + CHUNK
    assert time.process_time() - begun < 10, "70 s, once"
    assert longest < 0.5, "a slice"
    assert slices > 100


@pytest.mark.feature("HTTP", "What is really as large is read: 100 MB of zeros, and any amount that compresses less")
@pytest.mark.parametrize("coding", CODINGS)
def test_large_bodies_that_somebody_wants(coding: str) -> None:
    size = 100_000_000
    blob = (quick_brotli if coding == "br" else CODINGS[coding])(bytes(size))
    chain = decoders([{"raw": "deflate"}.get(coding, coding)])
    assert chain is not None
    work = Work()
    pieces = (
        len(piece)
        for start in range(0, len(blob), CHUNK)
        for piece in decode_through(chain, blob[start : start + CHUNK], work)
    )
    assert sum(pieces) == size


def test_beyond_that_it_is_the_ratio() -> None:
    """Forty times, 200 MiB of it."""
    block = random.Random(1).randbytes(1500) + bytes(CHUNK - 1500)
    compressor = zlib.compressobj(1, wbits=31)
    work, made = Work(), 0
    chain = decoders(["gzip"])
    assert chain is not None
    for _ in range(200 * MIB // CHUNK):
        coded = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
        assert 20 < CHUNK / len(coded) < Work.RATIO
        made += sum(len(piece) for piece in decode_through(chain, coded, work))
    assert made == 200 * MIB


def test_small_pieces_of_a_long_stream() -> None:
    """Events, a member each, for as long as they come."""
    chain, work, event = decoders(["gzip"]), Work(), gzip.compress(b"data: x\n\n")
    assert chain is not None
    total = 0
    for _ in range(2 * Work.FREE // Work.MEMBER):
        total += sum(len(piece) for piece in decode_through(chain, event, work))
    assert total == 9 * (2 * Work.FREE // Work.MEMBER)


@virtual
async def test_others_have_their_turn() -> None:
    """While one response unpacks, another is fetched whole."""
    blob = GZIP_HEAD + zeros()
    server = HttpServer(
        lambda request: (
            Answer(headers=[("Content-Encoding", "gzip")], body=blob)
            if request.target == "/bomb"
            else Answer(body=b"small")
        )
    )
    client = HttpClient(LoopClock(), connector=PipeConnector(server.serve))
    bomb = await client.fetch(HttpRequest("http://a.test/bomb"))
    size = 0
    turns = 0

    async def read() -> None:
        nonlocal size
        async for chunk in bomb:
            size += len(chunk)

    async def others() -> int:
        nonlocal turns
        for _ in range(20):
            response = await client.fetch(HttpRequest("http://a.test/small"))
            assert await response.read() == b"small"
            turns += 1
        return size

    reading = asyncio.create_task(read())
    assert await others() < Work.FREE / 2, "twenty others were done long before"
    with pytest.raises(HttpError) as caught:
        await reading
    assert caught.value.code == "body_too_large" and turns == 20
    assert size <= Work.FREE
    client.close()


@virtual
async def test_an_abort_within_a_bomb_ends_it_at_once() -> None:
    server = HttpServer(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=GZIP_HEAD + zeros()))
    client = HttpClient(LoopClock(), connector=PipeConnector(server.serve))
    response = await client.fetch(HttpRequest("http://a.test/"))
    reading = asyncio.create_task(response.read())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not reading.done()
    response.abort(HttpError("enough", code="enough", phase="body"))
    with pytest.raises(HttpError) as caught:
        await reading
    assert caught.value.code == "enough"
    client.close()
