"""Small files that browsers decode: a picture, a sound and a font made by code, the same everywhere, and a video.

The video was encoded once, by FFmpeg with libvpx:

    ffmpeg -f lavfi -i testsrc2=size=160x60:rate=10:duration=16,noise=alls=6:allf=t
      -f lavfi -i "color=black:size=160x30:rate=10:duration=16,format=gray,
        geq=lum='if(mod(floor(floor(T)/pow(2\\,floor(X/40)))\\,2)\\,235\\,16)'"
      -filter_complex "[0][1]vstack,format=yuv420p" -threads 1 -c:v libvpx -b:v 108k -minrate 108k -maxrate 108k -g 10
      -fflags +bitexact -flags:v +bitexact video.webm
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from functools import cache
from pathlib import Path

SAMPLE_RATE = 8_000  # Hz
UNITS = 1_000  # of the font, per em
FAMILY = "Localnet"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def picture(width: int, height: int, seed: str = "0") -> bytes:
    """A PNG of grey noise, a byte for each pixel: noise is not compressed, so its size is that of the pixels."""
    noise = hashlib.shake_128(f"picture/{seed}".encode()).digest(width * height)
    rows = b"".join(b"\0" + noise[row * width : (row + 1) * width] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 1)) + _chunk(b"IEND", b"")


@cache
def sound(seconds: int) -> bytes:
    """A WAV of a quiet tone: 8 bits, one channel, 8000 bytes a second."""
    tone = bytes(128 + round(20 * math.sin(2 * math.pi * 440 * n / SAMPLE_RATE)) for n in range(SAMPLE_RATE))
    data = tone * seconds
    form = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, SAMPLE_RATE, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@cache
def video() -> bytes:
    """A WebM of 16 s, VP8, 160x90, with a key frame each second, its index at the end.

    Below a moving picture are four fields, white or black: the second of a frame in binary, lowest digit first.
    """
    return (Path(__file__).parent / "video.webm").read_bytes()


@cache
def font() -> bytes:
    """A TrueType font that has one glyph, a full square, for every letter from A to z."""
    box = struct.pack(">hhhhh", 1, 0, 0, UNITS, UNITS) + struct.pack(">HH", 3, 0) + b"\x01" * 4
    box += struct.pack(">hhhh", 0, 0, UNITS, 0) + struct.pack(">hhhh", 0, UNITS, 0, -UNITS)
    box += b"\0" * (-len(box) % 4)
    first, last, count = 0x41, 0x7A, 2
    segments = struct.pack(">HHHH", 4, 4, 1, 0) + struct.pack(">HHH", last, 0xFFFF, 0)
    segments += struct.pack(">HH", first, 0xFFFF) + struct.pack(">hh", 0, 1) + struct.pack(">HH", 4, 0)
    glyphs = struct.pack(f">{last - first + 1}H", *[1] * (last - first + 1))
    subtable = struct.pack(">HHH", 4, 6 + len(segments) + len(glyphs), 0) + segments + glyphs
    names = {1: FAMILY, 2: "Regular", 3: FAMILY, 4: FAMILY, 5: "Version 1.0", 6: FAMILY}
    texts = {number: text.encode("utf-16-be") for number, text in names.items()}
    records, offset = b"", 0
    for number, text in texts.items():
        records += struct.pack(">HHHHHH", 3, 1, 0x409, number, len(text), offset)
        offset += len(text)
    os2 = struct.pack(">HhHHH", 4, UNITS, 400, 5, 0) + struct.pack(">10h", *[100] * 10) + struct.pack(">h", 0)
    os2 += b"\0" * 10 + struct.pack(">4I", 1, 0, 0, 0) + b"NONE" + struct.pack(">HHH", 64, first, last)
    os2 += (
        struct.pack(">hhhHH", UNITS, 0, 0, UNITS, 0)
        + struct.pack(">II", 1, 0)
        + struct.pack(">hhHHH", 500, 700, 0, 32, 1)
    )
    tables = {
        b"OS/2": os2,
        b"cmap": struct.pack(">HHHHI", 0, 1, 3, 1, 12) + subtable,
        b"glyf": box,
        b"head": struct.pack(">IIIIHHqqhhhhHHhhh",
            0x10000, 0x10000, 0, 0x5F0F3CF5, 3, UNITS, 0, 0, 0, 0, UNITS, UNITS, 0, 8, 2, 1, 0),
        b"hhea": struct.pack(">IhhhHhhhhhhhhhhhH",
            0x10000, UNITS, 0, 0, UNITS, 0, 0, UNITS, 1, 0, 0, 0, 0, 0, 0, 0, count),
        b"hmtx": struct.pack(">Hh", UNITS, 0) * count,
        b"loca": struct.pack(">III", 0, 0, len(box)),
        b"maxp": struct.pack(">IHHHHHHHHHHHHHH", 0x10000, count, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
        b"name": struct.pack(">HHH", 0, len(names), 6 + len(records)) + records + b"".join(texts.values()),
        b"post": struct.pack(">IIhhIIIII", 0x30000, 0, 0, 0, 0, 0, 0, 0, 0),
    }  # fmt: skip
    head_at, body, directory = 0, b"", b""
    for tag, data in tables.items():
        at = 12 + 16 * len(tables) + len(body)
        if tag == b"head":
            head_at = at
        padded = data + b"\0" * (-len(data) % 4)
        directory += tag + struct.pack(">III", _sum(padded), at, len(data))
        body += padded
    power = 1 << (len(tables).bit_length() - 1)
    search = struct.pack(">IHHHH", 0x10000, len(tables), power * 16, power.bit_length() - 1, (len(tables) - power) * 16)
    whole = bytearray(search + directory + body)
    struct.pack_into(">I", whole, head_at + 8, (0xB1B0AFBA - _sum(bytes(whole))) & 0xFFFFFFFF)
    return bytes(whole)


def _sum(data: bytes) -> int:
    words: tuple[int, ...] = struct.unpack(f">{len(data) // 4}I", data)
    return sum(words) & 0xFFFFFFFF
