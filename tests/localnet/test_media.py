"""The origin's small media: whole by their own formats, and by range as RFC 9110 has it."""

from __future__ import annotations

import struct
import wave
import zlib
from io import BytesIO

import pytest

from localnet import media
from localnet.http_server import Response, make_request
from localnet.origin import Origin, body_bytes


async def asked(path: str, method: str = "GET", **headers: str) -> Response:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return await Origin().handle(make_request(method, path, given, b"", "1.1", _Writer(), secure=True))  # type: ignore[arg-type]


class _Writer:
    def get_extra_info(self, name: str) -> None:
        return None


def test_a_picture() -> None:
    data = media.picture(160, 125, "a")
    assert data == media.picture(160, 125, "a") != media.picture(160, 125, "b") and 20_000 < len(data) < 21_000
    at, kinds = 8, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, body, check = data[at + 4 : at + 8], data[at + 8 : at + 8 + size], data[at + 8 + size : at + 12 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(check)
        kinds.append(kind)
        if kind == b"IDAT":
            assert len(zlib.decompress(body)) == 161 * 125
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_a_sound() -> None:
    with wave.open(BytesIO(media.sound(3))) as read:
        assert (read.getnframes(), read.getframerate()) == (24_000, 8_000)


def test_a_font() -> None:
    data = media.font()
    words = struct.unpack(f">{len(data) // 4}I", data)
    assert sum(words) & 0xFFFFFFFF == 0xB1B0AFBA  # what its checkSumAdjustment is for


async def test_a_video() -> None:
    data = media.video()
    assert data.startswith(b"\x1a\x45\xdf\xa3") and b"V_VP8" in data[:1000] and 180_000 < len(data) < 200_000
    response = await asked("/video?pace=200000", range="bytes=1000-")
    assert (response.status, response.length) == (206, len(data) - 1000)
    assert not isinstance(response.body, bytes)
    assert b"".join([piece async for piece in response.body]) == data[1000:]


@pytest.mark.parametrize(
    ("header", "status", "begin", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=990-", 206, 990, 1000),
        ("bytes=-5", 206, 995, 1000),
        ("bytes=5-9999", 206, 5, 1000),
        ("bytes=0-1,5-6", 200, 0, 1000),
        ("bytes=-", 200, 0, 1000),
        ("bytes=1000-", 416, 0, 0),
        ("bytes=9-1", 416, 0, 0),
    ],
)
async def test_ranges(header: str, status: int, begin: int, end: int) -> None:
    response = await asked("/range/1000", range=header)
    assert (response.status, response.body) == (status, body_bytes(1000)[begin:end])
    if status == 206:
        assert ("content-range", f"bytes {begin}-{end - 1}/1000") in response.headers


async def test_cors_and_events() -> None:
    leave = await asked("/cors/upload?allow=https://a.example&methods=PUT&age=5", "OPTIONS")
    assert (leave.status, leave.body) == (204, b"")
    assert ("access-control-allow-origin", "https://a.example") in leave.headers
    response = await asked("/cors/events?count=2&interval=0", last_event_id="7")
    assert not isinstance(response.body, bytes)
    assert [piece async for piece in response.body] == [b"id: 8\ndata: event 8\n\n", b"id: 9\ndata: event 9\n\n"]
