"""Content codings: each whole, byte by byte, truncated at every length, damaged, and as a bomb."""

from __future__ import annotations

import gzip
import random
import sys
import zlib

import pytest

from smolmix_web.errors import HttpError
from smolmix_web.http.decoding import CHUNK, Work, accept_encoding, decode_through, decoders

TEXT = b"The quick brown fox. " * 40 + bytes(random.Random(1).randbytes(600))


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def zstd_compress(data: bytes) -> bytes:
    if "zstd" not in accept_encoding():
        pytest.skip("no zstd in this runtime")
    try:
        from compression import zstd  # type: ignore[import-not-found]
    except ImportError:
        from backports import zstd
    return bytes(zstd.compress(data))


def brotli_compress(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data))


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw": raw_deflate,
    "zstd": zstd_compress,
    "br": brotli_compress,
}


def decode(coding: str, blob: bytes, step: int = 1 << 30) -> bytes:
    chain = decoders([{"raw": "deflate"}.get(coding, coding)])
    assert chain is not None
    out, work = b"", Work()
    for start in range(0, len(blob), step):
        for piece in decode_through(chain, blob[start : start + step], work):
            assert len(piece) <= CHUNK
            out += piece
    return out


@pytest.mark.feature("Fetch", "content decoding: gzip, deflate, zstd, br where its decoder is present")
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("step", [1, 7, 1 << 30])
def test_round_trip(coding: str, step: int) -> None:
    for data in (b"", b"x", TEXT, TEXT * 300):
        if step == 1 and len(data) > 10_000:
            continue
        assert decode(coding, CODINGS[coding](data), step) == data


@pytest.mark.feature("Fetch", "a coded body that ends early gives what it has, as in browsers")
@pytest.mark.parametrize("coding", CODINGS)
def test_truncated_at_every_length(coding: str) -> None:
    blob = CODINGS[coding](TEXT)
    before = 0
    for size in range(len(blob) + 1):
        data = decode(coding, blob[:size])
        assert TEXT.startswith(data) and len(data) >= before
        before = len(data)
    assert before == len(TEXT)


@pytest.mark.parametrize("step", [1, 3, 1 << 30])
def test_gzip_is_taken_whatever_its_trailer_says(step: int) -> None:
    blob = gzip.compress(TEXT)
    for trailer in (b"", b"\0" * 3, b"\0" * 8, b"\xff" * 8):
        assert decode("gzip", blob[:-8] + trailer, step) == TEXT


@pytest.mark.parametrize("step", [1, 3, 1 << 30])
def test_gzip_headers(step: int) -> None:
    body = gzip.compress(TEXT)[10:]
    for flags in range(256):
        extra = b"\x05\0extra" if flags & 4 else b""
        texts = (b"name\0" if flags & 8 else b"") + (b"comment\0" if flags & 16 else b"")
        check = b"\x12\x34" if flags & 2 else b""
        head = b"\x1f\x8b\x08" + bytes([flags, 1, 2, 3, 4, 5, 6])
        assert decode("gzip", head + extra + texts + check + body, step) == TEXT


@pytest.mark.parametrize(
    "junk", [b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08", b"\x1f\x8b\x07\0", b"\x1f\x8b\x08\xe0" + b"x" * 40, b"\0" * 99]
)
@pytest.mark.parametrize("step", [1, 1 << 30])
def test_what_is_no_member_is_ignored(junk: bytes, step: int) -> None:
    assert decode("gzip", gzip.compress(TEXT) + junk, step) == TEXT


@pytest.mark.parametrize("step", [1, 2, 3, 1 << 30])
def test_zlib_and_raw_deflate_are_told_apart(step: int) -> None:
    for data in (b"", b"a", b"ab" * 2000, random.Random(2).randbytes(5000)):
        for level in range(10):
            for wbits in (15, -15, 9, -9):
                compressor = zlib.compressobj(level, wbits=wbits)
                assert decode("deflate", compressor.compress(data) + compressor.flush(), step) == data


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_body_is_empty(coding: str) -> None:
    assert decode(coding, b"") == b""


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_several_members(coding: str) -> None:
    compress = CODINGS[coding]
    blob = compress(TEXT[:100]) + compress(TEXT[100:])
    for step in (1, 1 << 30):
        assert decode(coding, blob, step) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bytes_after_the_end_are_ignored(coding: str) -> None:
    assert decode(coding, CODINGS[coding](TEXT) + b"\0\0padding") == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br"])
def test_damage(coding: str) -> None:
    with pytest.raises(HttpError):
        CODINGS[coding](b"")  # skips where there is no such coding
        decode(coding, b"\x1f\x8bnot compressed at all, and long enough to tell")


def test_a_flipped_bit_of_zlib_is_found_by_the_checksum() -> None:
    blob = bytearray(zlib.compress(TEXT))
    blob[-2] ^= 1
    with pytest.raises(HttpError):
        decode("deflate", bytes(blob))


@pytest.mark.feature("Fetch", "a body that unpacks to far more comes in bounded pieces")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_comes_in_pieces(coding: str) -> None:
    blob = CODINGS[coding](bytes(30_000_000))
    chain = decoders([coding])
    assert chain is not None
    pieces = decode_through(chain, blob, Work())
    assert len(next(pieces)) <= CHUNK  # and nothing more was unpacked than asked for
    assert sum(len(piece) for piece in pieces) > 29_000_000


def test_names() -> None:
    assert decoders([]) == []
    assert decoders(["identity"]) is None
    assert decoders([""]) is None
    assert decoders(["gzip,"]) is None
    assert decoders(["compress"]) is None
    assert decoders(["gzip", "unknown"]) is None
    chain = decoders(["deflate, X-GZIP"])
    assert chain is not None
    assert b"".join(decode_through(chain, gzip.compress(zlib.compress(TEXT)), Work())) == TEXT
    with pytest.raises(HttpError):
        decoders(["gzip"] * 9)
    for values in (["gzip;q=1"], ["gzip", ""], ["gzip, ,gzip"], ["", " "]):
        with pytest.raises(HttpError):
            decoders(values)
    assert accept_encoding().startswith("gzip, deflate")


@pytest.mark.parametrize("step", [1, 1 << 30])
def test_bytes_after_the_end_of_brotli_are_damage(step: int) -> None:
    with pytest.raises(HttpError):
        decode("br", brotli_compress(TEXT) + b"\0\0padding", step)


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_only_what_can_be_decoded_is_asked_for(monkeypatch: pytest.MonkeyPatch, coding: str) -> None:
    if coding not in accept_encoding():
        pytest.skip("not in this runtime")
    module = "brotli" if coding == "br" else "compression" if sys.version_info >= (3, 14) else "backports"
    monkeypatch.setitem(sys.modules, module, None)
    assert coding not in accept_encoding()
    assert decoders([coding]) is None  # the body is handed over as it is
    assert decoders(["gzip"]) is not None
