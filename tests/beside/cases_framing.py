"""Where bodies end: lengths, codings of the transfer, chunks, trailers, statuses without body."""

from __future__ import annotations

from .case import CLOSE, Fails, FetchCase, Read

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
CHUNKS = b"2\r\nok\r\n" + LAST
RAW = Read(CHUNKS)  # what the chunks are where they are no chunks
GOOD = Read(b"ok")
BROKEN = Read(broken=True)
PAUSE = 0.3  # s; what came together with bytes that are malformed Chromium loses

LONG_TRAILERS = "Bounded: 256 KiB of trailers."
ONE_LONG_TRAILER = "A trailer is dropped, so its length does not matter within the limit for all of them."


def _case(
    kind: str, name: str | bytes, data: bytes, want: Read | Fails, ours: Read | Fails | None = None, why: str = ""
) -> FetchCase:
    """`data`, and then the end of the connection."""
    name = name if isinstance(name, str) else repr(name)[2:-1]
    return FetchCase(name, kind, [[data, CLOSE]], want, ours, why)


def _length(value: bytes, want: Read | Fails) -> FetchCase:
    return _case("lengths", value, OK + b"Content-Length: " + value + b"\r\n\r\nok", want)


def _lengths(one: bytes, two: bytes, want: Read | Fails) -> FetchCase:
    fields = b"Content-Length: " + one + b"\r\nContent-Length: " + two + b"\r\n\r\nok"
    return _case("lengths", one + b" and " + two, OK + fields, want)


def _coding(value: bytes, want: Read | Fails) -> FetchCase:
    return _case("transfer codings", value, OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + CHUNKS, want)


def _coded(name: str, fields: bytes, want: Read | Fails, version: bytes = b"1.1") -> FetchCase:
    return _case("transfer codings", name, b"HTTP/" + version + b" 200 OK\r\n" + fields + b"\r\n\r\n" + CHUNKS, want)


def _chunks(name: str | bytes, data: bytes, want: Read, ours: Read | None = None, why: str = "") -> FetchCase:
    return _case("chunks", name, CHUNKED + data, want, ours, why)


def _breaks(name: str | bytes, bad: bytes, body: bytes = b"good") -> FetchCase:
    """A good chunk, then what ends the body at once: the server neither closes nor says more."""
    name = name if isinstance(name, str) else repr(name)[2:-1]
    return FetchCase(
        name, "chunks that are malformed", [[CHUNKED + b"4\r\ngood\r\n", PAUSE, bad]], Read(body, broken=True)
    )


LENGTHS = [
    *(_length(value, GOOD) for value in (b"2", b" \t2 ", b"02", b"0000000000000000000000000000002", b"2,2", b"2 , 2")),
    # No number, which is as if there were none.
    *(_length(value, GOOD) for value in (b"", b"two", b"+2", b"-1", b"-2", b"0x2", b"2.0", b"2 2")),
    *(_length(value, GOOD) for value in (b"1_0", b'"2"', b"2;x")),
    *(_length(value, GOOD) for value in (b"\xd9\xa2", b"\x0b2", b"2\x0b", b"1e1", b"9" * 30, b"9" * 5000)),
    *(_length(value, GOOD) for value in (b"9223372036854775808", b"18446744073709551618")),
    *(_length(value, Read(b"")) for value in (b"0", b"-0", b"00")),
    _length(b"1", Read(b"o")),
    *(_length(value, Read(b"ok", broken=True)) for value in (b"3", b"4294967298", b"9223372036854775807")),
    *(_length(value, Fails()) for value in (b"2,3", b"2,", b",2", b"2,02", b"2, two")),
    *(_lengths(one, two, GOOD) for one, two in ((b"2", b"2"), (b"2,2", b"2"), (b"two", b"two"))),
    *(_lengths(one, two, Fails()) for one, two in ((b"2", b"3"), (b"", b"2"), (b"2", b""), (b"2", b"02"))),
    _case("lengths", "a space before the colon", OK + b"Content-Length : 2\r\n\r\nokay", GOOD),
    _case("lengths", "an underscore in the name", OK + b"Content_Length: 2\r\n\r\nokay", Read(b"okay")),
    _case("lengths", "a space in the name", OK + b"Content Length: 2\r\n\r\nokay", Read(b"okay")),
    _case("lengths", "a slash in the name", OK + b"Content-Length/: 2\r\n\r\nokay", Read(b"okay")),
    _case("lengths", "folded", OK + b"Content-Length:\r\n 2\r\n\r\nokay", GOOD),
    _case("lengths", "folded within", OK + b"Content-Length: 1\r\n 0\r\n\r\nokay", Read(b"okay")),
    _case("lengths", "after a bad line", OK + b"bad\r\nContent-Length: 2\r\n\r\nokay", GOOD),
    _case("lengths", "after CR", OK + b"A: b\rContent-Length: 2\r\n\r\nokay", GOOD),
    _case("lengths", "a body that is longer", OK + b"Content-Length: 2\r\n\r\nok and more", GOOD),
    _case("lengths", "a body that is shorter", OK + b"Content-Length: 9\r\n\r\nok", Read(b"ok", broken=True)),
    _case("lengths", "no body at all", OK + b"Content-Length: 9\r\n\r\n", BROKEN),
    _case("lengths", "no length", OK + b"\r\nokay", Read(b"okay")),
    _case("lengths", "no length and no body", OK + b"\r\n", Read(b"")),
]  # fmt: skip

CODINGS = [
    *(_coding(value, GOOD) for value in (b"chunked", b"Chunked", b" CHUNKED \t", b"chunked,", b",chunked")),
    *(_coding(value, GOOD) for value in (b"gzip, chunked", b"chunked, gzip", b"identity,chunked", b"chunked, chunked")),
    *(_coding(value, RAW) for value in (b"identity", b"", b"gzip", b"xchunked", b"chunked x", b"chunked;q=1")),
    *(_coding(value, RAW) for value in (b'"chunked"', b'"a, chunked"', b"\x0bchunked", b"chun ked")),
    _coding(b"chunk\0ed", Fails()),
    _coded("twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", GOOD),
    _coded("identity, then chunked", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", GOOD),
    _coded("a space before the colon", b"Transfer-Encoding : chunked", GOOD),
    _coded("a space in the name", b"Transfer Encoding: chunked", RAW),
    _coded("folded", b"Transfer-Encoding:\r\n chunked", GOOD),
    _coded("chunked and a length", b"Transfer-Encoding: chunked\r\nContent-Length: 3", GOOD),
    _coded("a length and chunked", b"Content-Length: 3\r\nTransfer-Encoding: chunked", GOOD),
    _coded("chunked and two lengths", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\nContent-Length: 4", GOOD),
    _coded("identity and a length", b"Transfer-Encoding: identity\r\nContent-Length: 3", Read(b"2\r\n")),
    _coded("gzip and a length", b"Transfer-Encoding: gzip\r\nContent-Length: 3", Read(b"2\r\n")),
    *(_coded(f"in {v.decode()}", b"Transfer-Encoding: chunked", RAW, v) for v in (b"1.0", b"0.9", b"1", b"1.x", b"2")),
    *(_coded(f"in {v.decode()}", b"Transfer-Encoding: chunked", GOOD, v) for v in (b"1.7", b"2.0", b"3.1")),
    _coded("with a length in 1.0", b"Transfer-Encoding: chunked\r\nContent-Length: 3", Read(b"2\r\n"), b"1.0"),
]  # fmt: skip

CHUNK_CASES = [
    _chunks("large and small letters", b"A\r\n0123456789\r\na\r\n0123456789\r\n" + LAST, Read(b"0123456789" * 2)),
    _chunks("zeros before the sizes", b"0002\r\nok\r\n0000\r\n\r\n", GOOD),
    _chunks("many zeros", b"0" * 300 + b"2\r\nok\r\n" + LAST, GOOD),
    _chunks("spaces after the size", b"2     \r\nok\r\n0 \r\n\r\n", GOOD),
    *(
        _chunks(b"extension " + ext, b"2" + ext + b"\r\nok\r\n" + LAST, GOOD)
        for ext in (b";a", b";a=b", b'; a = "b;c"', b" ;a", b"  ; a=b ;\tc", b";", b";;", b"; \t", b';a="b', b";\xe9")
    ),
    *(_chunks(b"extension " + ext, b"2" + ext + b"\r\nok\r\n" + LAST, GOOD) for ext in (b";a\rb", b";a\0b", b";a\x7f")),
    _chunks("an extension of the last chunk", b"2\r\nok\r\n0;x=y\r\n\r\n", GOOD),
    _chunks("an extension of 16,000 bytes", b"2;" + b"x" * 16_000 + b"\r\nok\r\n" + LAST, GOOD),
    _chunks("an extension of 20,000 bytes", b"2;" + b"x" * 20_000 + b"\r\nok\r\n" + LAST, BROKEN),
    _chunks("LF after the size", b"2\nok\r\n" + LAST, GOOD),
    _chunks("LF after the extension", b"2;a\nok\r\n" + LAST, GOOD),
    _chunks("LF after the data", b"2\r\nok\n" + LAST, GOOD),
    _chunks("LF everywhere", b"2\nok\n0\n\n", GOOD),
    _chunks("bytes after the end", CHUNKS + b"more", GOOD),
    _chunks("the largest size", b"7fffffffffffffff\r\nok", Read(b"ok", broken=True)),
    _chunks("a trailer", b"2\r\nok\r\n0\r\nX: y\r\n\r\n", GOOD),
    _chunks("a length as trailer", b"2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n", GOOD),
    _chunks("a trailer without colon", b"2\r\nok\r\n0\r\nbad trailer\r\n\r\n", GOOD),
    _chunks("a folded trailer", b"2\r\nok\r\n0\r\nX: y\r\n z\r\n\r\n", GOOD),
    _chunks("a trailer with NUL", b"2\r\nok\r\n0\r\nX: \0\r\n\r\n", GOOD),
    _chunks("a trailer after CR", b"2\r\nok\r\n0\r\n\rX\r\n\r\n", GOOD),
    _chunks("a trailer of CR CR LF", b"2\r\nok\r\n0\r\n\r\r\n\r\n", GOOD),
    _chunks("trailers that end in LF", b"2\r\nok\r\n0\r\nX: y\n\n", GOOD),
    _chunks("2,000 trailers", b"2\r\nok\r\n0\r\n" + b"X: y\r\n" * 2000 + b"\r\n", GOOD),
    _chunks("60,000 trailers", b"2\r\nok\r\n0\r\n" + b"X: y\r\n" * 60_000 + b"\r\n", GOOD,
            Read(b"ok", broken=True), LONG_TRAILERS),
    _chunks("a trailer of 100,000 bytes", b"2\r\nok\r\n0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            Read(b"ok", broken=True), GOOD, ONE_LONG_TRAILER),
    *(
        _chunks(b"cut: " + data, data, Read(b"ok" if b"ok" in data else b"", broken=True))
        for data in (b"", b"2", b"2\r\n", b"5\r\nok", b"2\r\nok", b"2\r\nok\r\n", b"2\r\nok\r\n0", b"2\r\nok\r\n0\r\n",
                     b"2\r\nok\r\n0\r\nX: y", b"2\r\nok\r\n0\r\nX: y\r\n")
    ),
    FetchCase("cut, and a length that fits", "chunks",
              [[OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n", CLOSE]], GOOD),
]  # fmt: skip

MALFORMED = [
    *(
        _breaks(b"size " + size, size + b"\r\nok\r\n")
        for size in (b"zz", b"-2", b"+2", b"0x2", b"", b"2\0", b"2.0", b"2g", b" 2", b"\t2", b"2\t", b"2\t;a", b"2 a",
                     b"2,a", b"8000000000000000", b"f" * 16, b"f" * 30, b"1" + b"0" * 16)
    ),
    *(_breaks(b"size " + size, size + b"\r\nok\r\n" + LAST) for size in (b";a", b"2\r", b"2\rx", b"\xd9\xa2")),
    _breaks("a line break in a quoted extension", b'2;a="b\r\nc"\r\nok\r\n' + LAST, b'goodc"'),
    _breaks("more data than the size", b"2\r\nokay\r\n" + LAST, b"goodok"),
    _breaks("no end of the data", b"2\r\nok" + LAST, b"goodok"),
    _breaks("another end of the data", b"2\r\nokXX\r\n" + LAST, b"goodok"),
    _breaks("a space after the data", b"2\r\nok \r\n" + LAST, b"goodok"),
    _breaks("CR after the data", b"2\r\nok\r" + LAST, b"goodok"),
    _breaks("CR CR LF after the data", b"2\r\nok\r\r\n" + LAST, b"goodok"),
    _breaks("an empty line after the data", b"2\r\nok\r\n\r\n" + LAST, b"goodok"),
]  # fmt: skip


def _status(status: int, fields: bytes, body: bytes, want: Read | Fails) -> FetchCase:
    data = b"HTTP/1.1 %d X\r\n" % status + fields + b"\r\n" + body
    return _case("responses without body", b"%d %b" % (status, fields[:-2]), data, want)


BODILESS = [
    *(
        _status(status, fields, body, Read(b"", status, "X"))
        for status in (204, 205, 304)
        for fields, body in (
            (b"", b"ok"),
            (b"Content-Length: 2\r\n", b"ok"),
            (b"Content-Length: two\r\n", b"ok"),
            (b"Transfer-Encoding: chunked\r\n", CHUNKS),
            (b"Content-Encoding: gzip\r\n", b""),
        )
    ),
    *(_status(status, b"Content-Length: 2\r\nContent-Length: 3\r\n", b"ok", Fails()) for status in (204, 304)),
    *(
        FetchCase(f"HEAD {name}", "responses without body", [[OK + fields + b"\r\n", CLOSE]], Read(b""),
                  init={"method": "HEAD"})
        for name, fields in (
            ("without length", b""),
            ("with a length", b"Content-Length: 2\r\n"),
            ("with chunks", b"Transfer-Encoding: chunked\r\n"),
            ("with a body", b"Content-Length: 2\r\n\r\nok"),
            ("with a coding", b"Content-Encoding: gzip\r\nContent-Length: 33\r\n"),
        )
    ),
]  # fmt: skip

CASES = [*LENGTHS, *CODINGS, *CHUNK_CASES, *MALFORMED, *BODILESS]
