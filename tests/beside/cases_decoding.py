"""Content codings: names, bodies that are damaged, cut or followed by something, lengths that fit only the decoded."""

from __future__ import annotations

import gzip
import random
import zlib

from .case import CLOSE, Fails, FetchCase, Read

OK = b"HTTP/1.1 200 OK\r\n"
TEXT = b"text " * 1000
NOISE = random.Random(1).randbytes(3000)  # which does not get smaller
PACKED = gzip.compress(TEXT, mtime=0)
LONG = gzip.compress(NOISE, mtime=0)
ZLIB = zlib.compress(TEXT)
MEMBERS = "Members may follow one another (RFC 1952 2.2); Chromium drops all after the first."
MANY_CODINGS = "Bounded: eight codings."

_compressor = zlib.compressobj(wbits=31)
FLUSHED = _compressor.compress(TEXT) + _compressor.flush(zlib.Z_FULL_FLUSH)  # any block may follow

READ = Read(TEXT)
BROKEN = Read(broken=True)
UNNAMED = Fails("bad_content_encoding")


def _raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def _member(flags: int, more: bytes = b"", data: bytes = PACKED[10:]) -> bytes:
    return b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + more + data


def _coded(
    name: str,
    coding: bytes,
    body: bytes,
    want: Read | Fails,
    ours: Read | Fails | None = None,
    why: str = "",
    length: int | None = None,
) -> FetchCase:
    size = len(body) if length is None else length
    fields = b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, size)
    return FetchCase(name, "content codings", [[OK + fields + body, CLOSE]], want, ours, why)


def _named(coding: bytes, want: Read | Fails, body: bytes = PACKED) -> FetchCase:
    return _coded(repr(coding)[2:-1], coding, body, want)


def _piled(count: int) -> bytes:
    body = TEXT
    for _ in range(count):
        body = gzip.compress(body, mtime=0)
    return body


def _whole_start(data: bytes) -> bytes:
    """What zlib gives of a stream that is cut."""
    return zlib.decompressobj(31).decompress(data)


NAMES = [
    *(_named(coding, READ) for coding in (b"gzip", b"x-gzip", b"GZip", b"\tX-GZIP ")),
    _named(b"deflate", READ, ZLIB),
    _named(b"DEFLATE", READ, _raw(TEXT)),
    # With one that is unknown, all is given as it came.
    *(_named(coding, Read(PACKED)) for coding in (b"", b"identity", b"none", b"compress", b"x-foo", b"g@p", b"a/b")),
    *(_named(coding, Read(PACKED)) for coding in (b"gzip, identity", b"identity, gzip", b"gzip, foo", b"foo, gzip")),
    *(_named(coding, Read(PACKED)) for coding in (b"gzip,", b",gzip", b"gzip,,gzip", b"x-deflate", b"gzip\xa0")),
    *(_named(coding, UNNAMED) for coding in (b"gzip;q=1", b'"gzip"', b"gzip;", b"gzip foo", b"a=b")),
    *(_named(coding, UNNAMED) for coding in (b"foo, b;c", b"gzip, b c", b"*")),
    _named(b"gzip, gzip", READ, _piled(2)),
    _named(b"deflate, gzip", READ, gzip.compress(ZLIB, mtime=0)),
    _coded("eight of them", b", ".join([b"gzip"] * 8), _piled(8), READ),
    _coded("nine of them", b", ".join([b"gzip"] * 9), _piled(9), READ, Fails("bad_content_encoding"), MANY_CODINGS),
    FetchCase("in two fields", "content codings",
              [[OK + b"Content-Encoding: deflate\r\nContent-Encoding: gzip\r\n\r\n"
                + gzip.compress(ZLIB, mtime=0), CLOSE]], READ),
    *(
        FetchCase(name, "content codings", [[line + fields + b"\r\n", CLOSE]], UNNAMED)
        for name, line, fields in (
            ("an empty field after another", OK, b"Content-Encoding: gzip\r\nContent-Encoding:\r\n"),
            ("304 and a coding in quotes", b"HTTP/1.1 304 Same\r\n", b'Content-Encoding: "gzip"\r\n'),
            ("304 and an empty field after another", b"HTTP/1.1 304 Same\r\n",
             b"Content-Encoding: deflate\r\nContent-Encoding:\r\n"),
            ("204 and a coding in quotes", b"HTTP/1.1 204 None\r\n",
             b'Content-Encoding: br\r\nContent-Encoding: "gzip"\r\n'),
            ("a tab within a coding", OK, b"Content-Encoding: x\ty\r\nContent-Length: 0\r\n"),
            ("a redirect and a coding in quotes", b"HTTP/1.1 302 Found\r\n",
             b'Location: /to\r\nContent-Encoding: "gzip"\r\nContent-Length: 0\r\n'),
            ("421 and a coding in quotes", b"HTTP/1.1 421 Wrong\r\n",
             b'Content-Encoding: "gzip"\r\nContent-Length: 0\r\n'),
            ("a length of 0 and a coding in quotes", OK, b'Content-Encoding: "gzip"\r\nContent-Length: 0\r\n'),
        )
    ),
    _coded("one coding less than said", b"gzip, gzip", PACKED, BROKEN),
]  # fmt: skip

GZIP = [
    _coded("gzip without trailer", b"gzip", PACKED[:-8], READ),
    _coded("gzip with half a trailer", b"gzip", PACKED[:-4], READ),
    _coded("gzip without its last byte", b"gzip", PACKED[:-1], READ),
    _coded("gzip with a wrong checksum", b"gzip", PACKED[:-8] + bytes(4) + PACKED[-4:], READ),
    _coded("gzip with a wrong length", b"gzip", PACKED[:-4] + bytes(4), READ),
    _coded("gzip and junk", b"gzip", PACKED + b"junk junk", READ),
    _coded("gzip and NULs", b"gzip", PACKED + bytes(100), READ),
    _coded("gzip and a single byte", b"gzip", PACKED + b"\x1f", READ),
    _coded("gzip and what only looks like a member", b"gzip", PACKED + b"\x1f\x8b\x08junk and more", READ),
    _coded("two members", b"gzip", PACKED + PACKED, READ, Read(TEXT * 2), MEMBERS),
    _coded("two members, the second cut", b"gzip", PACKED + LONG[:10], READ),
    _coded("gzip with a name and a comment", b"gzip", _member(0x18, b"name\0comment\0"), READ),
    _coded("gzip with an extra field", b"gzip", _member(4, b"\x03\0abc"), READ),
    _coded("gzip with a wrong header checksum", b"gzip", _member(2, b"\x12\x34"), READ),
    _coded("gzip with reserved flags", b"gzip", _member(0xE0), READ),
    _coded("gzip cut in the middle", b"gzip", LONG[:1500], Read(_whole_start(LONG[:1500]))),
    FetchCase("gzip cut in the middle, without length", "content codings",
              [[OK + b"Content-Encoding: gzip\r\n\r\n" + LONG[:1500], CLOSE]], Read(_whole_start(LONG[:1500]))),
    _coded("gzip cut by the connection", b"gzip", PACKED[:-8], Read(TEXT, broken=True), length=len(PACKED)),
    _coded("a gzip header alone", b"gzip", PACKED[:10], Read(b"")),
    _coded("half a gzip header", b"gzip", PACKED[:5], Read(b"")),
    _coded("one byte of gzip", b"gzip", PACKED[:1], Read(b"")),
    _coded("an empty gzip body", b"gzip", b"", Read(b"")),
    FetchCase("an empty gzip body without length", "content codings",
              [[OK + b"Content-Encoding: gzip\r\n\r\n", CLOSE]], Read(b"")),
    _coded("gzip of nothing", b"gzip", gzip.compress(b"", mtime=0), Read(b"")),
    _coded("no gzip", b"gzip", b"this is no gzip", BROKEN),
    _coded("gzip with another method", b"gzip", PACKED[:2] + b"\x07" + PACKED[3:], BROKEN),
    _coded("gzip with a bad block", b"gzip", PACKED[:10] + b"\xff" * 20, BROKEN),
    _coded("zlib said to be gzip", b"gzip", ZLIB, BROKEN),
    FetchCase("gzip that breaks later", "content codings",
              [[OK + b"Content-Encoding: gzip\r\n\r\n" + FLUSHED, 0.3, b"\xff" * 20, CLOSE]], Read(TEXT, broken=True)),
]  # fmt: skip

DEFLATE = [
    _coded("zlib without checksum", b"deflate", ZLIB[:-4], READ),
    _coded("zlib with half a checksum", b"deflate", ZLIB[:-2], READ),
    _coded("zlib with a wrong checksum", b"deflate", ZLIB[:-4] + bytes(4), BROKEN),
    _coded("zlib and junk", b"deflate", ZLIB + b"junk", READ),
    _coded("zlib twice", b"deflate", ZLIB + ZLIB, READ),
    _coded("zlib cut in the middle", b"deflate", zlib.compress(NOISE)[:1500],
           Read(zlib.decompressobj().decompress(zlib.compress(NOISE)[:1500]))),
    _coded("zlib with a dictionary", b"deflate", b"\x78\xbb\0\0\0\1" + _raw(TEXT), BROKEN),
    _coded("raw deflate and two bytes", b"deflate", _raw(TEXT) + b"xx", READ),
    _coded("raw deflate and junk", b"deflate", _raw(TEXT) + b"junk", BROKEN),
    _coded("raw deflate cut in the middle", b"deflate", _raw(NOISE)[:1500],
           Read(zlib.decompressobj(-15).decompress(_raw(NOISE)[:1500]))),
    _coded("one byte of zlib", b"deflate", ZLIB[:1], Read(b"")),
    _coded("one byte of raw deflate", b"deflate", _raw(TEXT)[:1], Read(b"")),
    _coded("an empty deflate body", b"deflate", b"", Read(b"")),
    _coded("no deflate", b"deflate", b"\xff\xff this is no deflate", BROKEN),
    _coded("gzip said to be deflate", b"deflate", PACKED, BROKEN),
    FetchCase("raw deflate, byte by byte at first", "content codings",
              [[OK + b"Content-Encoding: deflate\r\n\r\n" + _raw(TEXT)[:1],
                0.1, _raw(TEXT)[1:2], 0.1, _raw(TEXT)[2:], CLOSE]], READ),
]  # fmt: skip

LENGTHS = [
    _coded("the length of the decoded body", b"gzip", PACKED, READ, length=len(TEXT)),
    _coded("a length that fits nothing", b"gzip", PACKED, Read(TEXT, broken=True), length=len(PACKED) + 5),
    _coded("a length that is too short", b"gzip", PACKED, READ, length=len(PACKED) - 8),
    FetchCase("the length of the decoded body, chunks cut", "content codings",
              [[OK + b"Content-Encoding: gzip\r\nContent-Length: 5000\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"%x\r\n" % len(PACKED) + PACKED, CLOSE]], READ),
    FetchCase("gzip of 206", "content codings",
              [[b"HTTP/1.1 206 Part\r\nContent-Encoding: gzip\r\n\r\n" + PACKED, CLOSE]], Read(TEXT, 206, "Part")),
]  # fmt: skip

CASES = [*NAMES, *GZIP, *DEFLATE, *LENGTHS]
