"""Frames of a server (RFC 6455 5, 7; RFC 7692): good ones in every shape, and each way in which one can be wrong."""

from __future__ import annotations

import random
import struct
import zlib

from .case import CLOSE, RESET, Closed, Script, WebSocketCase

CONT, TEXT, BINARY, CLOSE_FRAME, PING, PONG = 0, 1, 2, 8, 9, 10
FAILS = Closed(code=1006, clean=False, error=True)
BYE = b"\x88\x02\x03\xe8"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """`rsv`: 4, 2 and 1 for the first, second and third reserved bit."""
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    elif size < 1 << 16:
        length = b"\x7e" + struct.pack("!H", size)
    else:
        length = b"\x7f" + struct.pack("!Q", size)
    return bytes((fin << 7 | rsv << 4 | opcode,)) + length + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE_FRAME, struct.pack("!H", code) + reason)


def by_byte(data: bytes) -> Script:
    """Each byte in a piece of its own."""
    steps: list[bytes | float] = []
    for byte in data:
        steps += [bytes((byte,)), 0.003]
    return steps


def good(kind: str, name: str, script: bytes | Script, *messages: str | bytes, **more: object) -> WebSocketCase:
    """These messages, and a close in order."""
    steps = [script + BYE] if isinstance(script, bytes) else [*script, BYE]
    return WebSocketCase(name, kind, steps, Closed(messages), **more)  # type: ignore[arg-type]


def bad(kind: str, name: str, script: bytes | Script, *messages: str | bytes, **more: object) -> WebSocketCase:
    """These messages, then it fails; what stands behind does not count."""
    steps = [script + frame(TEXT, b"behind")] if isinstance(script, bytes) else script
    return WebSocketCase(name, kind, steps, Closed(messages, 1006, clean=False, error=True), **more)  # type: ignore[arg-type]


def late(kind: str, name: str, script: bytes) -> WebSocketCase:
    """What comes behind the close frame."""
    return WebSocketCase(
        name,
        kind,
        [script],
        FAILS,
        ours=Closed(),
        why="What comes behind a close frame is dropped (RFC 6455 1.4); the end is known when it is there.",
        heard=[(8, b"\x03\xe8")],
    )


def together(kind: str, name: str, script: bytes, *messages: str | bytes, **more: object) -> WebSocketCase:
    """Good messages in one piece with a head or compressed data that is bad: Chromium drops them with it."""
    return WebSocketCase(
        name,
        kind,
        [script],
        FAILS,
        ours=Closed(messages, 1006, clean=False, error=True),
        why="What came whole before the bad frame is delivered, however the bytes were cut on their way.",
        **more,  # type: ignore[arg-type]
    )


def _lengths() -> list[WebSocketCase]:
    kind = "WebSocket: lengths"
    sizes = (0, 1, 125, 126, 127, 128, 65535, 65536, 65537)
    return [
        *(good(kind, f"text of {size} bytes", frame(TEXT, b"*" * size), "*" * size) for size in sizes),
        *(good(kind, f"binary of {size} bytes", frame(BINARY, b"\xfe" * size), b"\xfe" * size) for size in sizes),
        good(kind, "256 KiB in one frame", frame(BINARY, bytes(1 << 18)), bytes(1 << 18)),
        good(kind, "a length in pieces", [*by_byte(frame(BINARY, b"\x01" * 126)[:6]), b"\x01" * 124], b"\x01" * 126),
        bad(kind, "126 for a length that fits 7 bits", b"\x82\x7e\x00\x03abc"),
        bad(kind, "126 for the length 125", b"\x82\x7e\x00\x7d" + bytes(125)),
        bad(kind, "126 for no payload", b"\x82\x7e\x00\x00"),
        bad(kind, "127 for a length that fits 7 bits", b"\x82\x7f" + struct.pack("!Q", 3) + b"abc"),
        bad(kind, "127 for a length that fits 16 bits", b"\x82\x7f" + struct.pack("!Q", 65535) + bytes(65535)),
        bad(kind, "a length beyond 63 bits", b"\x82\x7f" + b"\xff" * 8),
        bad(kind, "the first bit of 64 alone", b"\x82\x7f\x80" + bytes(7)),
        together(
            kind, "a message and a length that is not minimal in one piece", frame(TEXT, b"1") + b"\x82\x7e\0\1a", "1"
        ),
        WebSocketCase(
            "only the head of a length that nobody has the memory for",
            kind,
            [b"\x82\x7f" + struct.pack("!Q", 1 << 40)],
            Closed(code=1006, clean=False),
            ours=FAILS,
            why="The server and the page are told that a message beyond the limit is why (1009).",
        ),
        bad(kind, "only the head of a frame whose length is not minimal", [b"\x82\x7f" + bytes(8)]),
        bad(kind, "only the head of a length beyond 63 bits", [b"\x82\x7f" + b"\xff" * 8]),
    ]


def _control() -> list[WebSocketCase]:
    kind = "WebSocket: control frames"
    longest = bytes(range(125))
    return [
        good(kind, "a ping without payload", frame(PING), heard=[(10, b""), (8, b"\x03\xe8")]),
        good(kind, "a ping with text", frame(PING, b"are you there"), heard=[(10, b"are you there"), (8, b"\x03\xe8")]),
        good(kind, "the longest ping", frame(PING, longest), heard=[(10, longest), (8, b"\x03\xe8")]),
        good(kind, "ten pings", frame(PING, b"n") * 10, heard=[(10, b"n")] * 10 + [(8, b"\x03\xe8")]),
        good(kind, "a ping byte by byte", by_byte(frame(PING, b"slow")), heard=[(10, b"slow"), (8, b"\x03\xe8")]),
        good(kind, "a pong that nobody asked for", frame(PONG, b"x") + frame(PONG), heard=[(8, b"\x03\xe8")]),
        bad(kind, "a ping of 126 bytes", frame(PING, bytes(126))),
        bad(kind, "a pong of 126 bytes", frame(PONG, bytes(126))),
        bad(kind, "a close of 126 bytes", close(1000, b"r" * 124)),
        bad(kind, "a ping in a 16 bit length", b"\x89\x7e\x00\x02ab"),
        bad(kind, "a ping of 64 KiB, of which only the head comes", [frame(PING, bytes(65536))[:10]]),
        bad(kind, "a ping in fragments", frame(PING, b"a", fin=False) + frame(CONT, b"b")),
        bad(kind, "a pong in fragments", frame(PONG, b"a", fin=False) + frame(CONT, b"b")),
        bad(kind, "a close in fragments", frame(CLOSE_FRAME, b"\x03\xe8", fin=False) + frame(CONT)),
        bad(kind, "only the head of a ping in fragments", [b"\x09\x05"]),
        together(kind, "a message and a ping in fragments in one piece", frame(TEXT, b"1") + b"\x09\0", "1"),
    ]


def _reserved() -> list[WebSocketCase]:
    kind = "WebSocket: reserved bits, opcodes, masks"
    cases = []
    for rsv in range(1, 8):
        cases.append(bad(kind, f"reserved bits {rsv} of a text", frame(TEXT, b"x", rsv=rsv)))
        cases.append(bad(kind, f"reserved bits {rsv} of a ping", frame(PING, rsv=rsv)))
    hello = frame(TEXT, b"hello")
    cases += [
        bad(kind, "reserved bits of a binary that is not UTF-8", frame(BINARY, b"\xff\xff", rsv=2)),
        bad(kind, "reserved bits of a text that is not UTF-8", frame(TEXT, b"\xff\xff", rsv=4)),
        bad(kind, "reserved bits of a pong", frame(PONG, rsv=4)),
        bad(kind, "reserved bits of a close", frame(CLOSE_FRAME, b"\x03\xe8", rsv=1)),
        bad(kind, "reserved bits of a continuation", frame(TEXT, b"a", fin=False) + frame(CONT, b"b", rsv=2)),
        bad(kind, "a message, then reserved bits, in one piece", hello + frame(TEXT, b"x", rsv=2), "hello"),
        bad(kind, "a message, then reserved bits, in two pieces", [hello, 0.1, frame(TEXT, b"x", rsv=2)], "hello"),
        bad(kind, "only the head of a text with a reserved bit", [b"\xa1\x05"]),
    ]
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        cases.append(bad(kind, f"opcode {opcode}", frame(opcode)))
        cases.append(bad(kind, f"opcode {opcode} with a payload", frame(opcode, b"data")))
        cases.append(bad(kind, f"a message, then opcode {opcode}", [hello, 0.05, frame(opcode)], "hello"))
    cases += [
        bad(kind, "opcode 3 between fragments", frame(TEXT, b"a", fin=False) + frame(3) + frame(CONT, b"b")),
        bad(kind, "only the head of opcode 3", [b"\x83\x05"]),
        bad(kind, "a message and opcode 5 in one piece", hello + frame(5), "hello"),
        bad(kind, "a masked text", b"\x81\x85\x01\x02\x03\x04" + b"hello"),
        bad(kind, "a masked text with a mask of zeros", b"\x81\x82\0\0\0\0hi"),
        bad(kind, "a masked ping", b"\x89\x80\0\0\0\0"),
        bad(kind, "a masked close", b"\x88\x82\0\0\0\0\x03\xe8"),
        bad(kind, "a message and a masked one in one piece", hello + b"\x81\x82\0\0\0\0hi", "hello"),
    ]
    return cases


def _fragments() -> list[WebSocketCase]:
    kind = "WebSocket: fragments"

    def parts(opcode: int, *pieces: bytes, between: bytes = b"") -> bytes:
        frames = [frame(CONT if at else opcode, piece, fin=at == len(pieces) - 1) for at, piece in enumerate(pieces)]
        return between.join(frames)

    start = frame(TEXT, b"one", fin=False)
    return [
        good(kind, "text in two", parts(TEXT, b"one", b"two"), "onetwo"),
        good(kind, "binary in two", parts(BINARY, b"\xff", b"\xfe"), b"\xff\xfe"),
        good(kind, "an empty text in two", parts(TEXT, b"", b""), ""),
        good(kind, "an empty first and last", parts(TEXT, b"", b"middle", b""), "middle"),
        good(kind, "a hundred fragments of one byte", parts(TEXT, *[b"x"] * 100), "x" * 100),
        good(kind, "a thousand empty fragments", parts(BINARY, *[b""] * 1000, b"end"), b"end"),
        good(
            kind, "fragments in one piece with the next message", parts(TEXT, b"a", b"b") + frame(TEXT, b"c"), "ab", "c"
        ),
        good(kind, "fragments byte by byte", by_byte(parts(TEXT, b"on", b"e")), "one"),
        good(
            kind,
            "pings between the fragments",
            parts(TEXT, b"a", b"b", b"c", between=frame(PING, b"?")),
            "abc",
            heard=[(10, b"?"), (10, b"?"), (8, b"\x03\xe8")],
        ),
        good(kind, "pongs between the fragments", parts(BINARY, b"a", b"b", between=frame(PONG)), b"ab"),
        WebSocketCase(
            "a close between the fragments",
            kind,
            [start + close(1000, b"enough")],
            Closed(reason="enough"),
            heard=[(8, b"\x03\xe8enough")],
        ),
        late(kind, "a close between the fragments, and the rest of them", start + BYE + frame(CONT, b"two")),
        WebSocketCase(
            "a close in the middle of a character",
            kind,
            [frame(TEXT, b"\xc3", fin=False) + BYE],
            Closed(),
        ),
        WebSocketCase("the end between the fragments", kind, [start, CLOSE], Closed(code=1006, clean=False)),
        bad(kind, "a continuation of nothing", frame(CONT, b"x")),
        bad(kind, "an unfinished continuation of nothing", frame(CONT, b"x", fin=False)),
        bad(kind, "an empty continuation of nothing", frame(CONT)),
        bad(kind, "a continuation after a whole message", frame(TEXT, b"one") + frame(CONT, b"two"), "one"),
        bad(kind, "a continuation after the last one", parts(TEXT, b"a", b"b") + frame(CONT), "ab"),
        bad(kind, "a text within a text", start + frame(TEXT, b"two")),
        bad(kind, "a binary within a text", start + frame(BINARY, b"two", fin=False)),
        bad(kind, "a new message after a ping within a text", start + frame(PING) + frame(TEXT, b"x")),
        bad(kind, "an empty text within a text", start + frame(TEXT)),
    ]


GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
NOT_UTF8 = {
    "a lone continuation byte": b"a\x80b",
    "a byte that begins nothing": b"\xff",
    "a first byte and no more": b"\xe2",
    "two of three bytes": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash in three": b"\xe0\x80\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "good text, then a bad byte": GREEK + b"\xff" + b"edited",
}
IS_UTF8 = {
    "Greek": GREEK,
    "the last character": b"\xf4\x8f\xbf\xbf",
    "just below the surrogates": b"\xed\x9f\xbf",
    "just above the surrogates": b"\xee\x80\x80",
    "a NUL": b"a\x00b",
    "non-characters": b"\xef\xbf\xbe\xef\xbf\xbf\xf0\x9f\xbf\xbe",
    "a byte order mark, which stays": b"\xef\xbb\xbfmark",
    "the replacement character": b"\xef\xbf\xbd",
}


def _utf8() -> list[WebSocketCase]:
    kind = "WebSocket: UTF-8"
    cases = []
    for name, data in IS_UTF8.items():
        text = data.decode()
        cases.append(good(kind, name, frame(TEXT, data), text))
        cut = frame(TEXT, data[:1], fin=False) + b"".join(
            frame(CONT, data[at : at + 1], fin=False) for at in range(1, len(data))
        )
        cases.append(good(kind, f"{name}, each byte in a fragment", cut + frame(CONT), text))
    for name, data in NOT_UTF8.items():
        cases.append(bad(kind, name, frame(TEXT, data)))
        cases.append(bad(kind, f"{name}, in fragments", frame(TEXT, data[:1], fin=False) + frame(CONT, data[1:])))
        cases.append(good(kind, f"{name}, in a binary message", frame(BINARY, data), data))
    cases += [
        good(
            kind,
            "a character cut by a ping",
            frame(TEXT, b"\xc3", fin=False) + frame(PING) + frame(CONT, b"\xa4"),
            "\u00e4",
        ),
        bad(kind, "a first fragment that is bad, and no more", [frame(TEXT, b"\xff\xff", fin=False)]),
        bad(kind, "a frame that has begun badly, and no more", [frame(TEXT, b"\xff" * 10_000)[:20]]),
        bad(
            kind,
            "a frame that goes on badly in its second piece",
            [frame(TEXT, b"a" * 9 + b"\xff" * 9)[:11], 0.1, b"\xff"],
        ),
        bad(
            kind,
            "good messages and a bad one in one piece",
            frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"\xff"),
            "1",
            "2",
        ),
    ]
    return cases


def _closes() -> list[WebSocketCase]:
    kind = "WebSocket: close frames"
    cases = [
        WebSocketCase("no payload", kind, [frame(CLOSE_FRAME)], Closed(code=1005), heard=[(8, b"")]),
        bad(kind, "one byte", frame(CLOSE_FRAME, b"\x03")),
        WebSocketCase("the longest reason", kind, [close(1000, b"r" * 123)], Closed(reason="r" * 123)),
        WebSocketCase("a reason beyond ASCII", kind, [close(4000, GREEK)], Closed(code=4000, reason=GREEK.decode())),
        bad(kind, "a reason that is not UTF-8", close(1000, GREEK + b"\xff")),
        bad(kind, "a reason that ends in a character", close(1000, b"\xe2\x82")),
        late(kind, "twice", BYE + close(1001)),
        late(kind, "and a message behind it", BYE + frame(TEXT, b"late")),
        late(kind, "and a ping behind it", BYE + frame(PING, b"late")),
        WebSocketCase("and bytes behind it that are no frame", kind, [BYE + b"\xff"], Closed()),
        WebSocketCase("a message before it", kind, [frame(TEXT, b"last") + close(1001)], Closed(["last"], 1001)),
        WebSocketCase(
            "a ping before it", kind, [frame(PING, b"?") + BYE], Closed(), heard=[(10, b"?"), (8, b"\x03\xe8")]
        ),
        WebSocketCase("byte by byte", kind, by_byte(close(3000, b"slow")), Closed(code=3000, reason="slow")),
        WebSocketCase("and the end of the connection at once", kind, [BYE, CLOSE], Closed()),
        WebSocketCase(
            "and a reset",
            kind,
            [BYE, 0.2, RESET],
            Closed(clean=False),
            ours=Closed(),
            why="Both close frames have gone: how the connection below ends says nothing about the WebSocket.",
        ),
        WebSocketCase("half of it, then the end", kind, [BYE[:3], CLOSE], Closed(code=1006, clean=False)),
        WebSocketCase("the end without one", kind, [CLOSE], Closed(code=1006, clean=False)),
        WebSocketCase("a reset without one", kind, [0.1, RESET], Closed(code=1006, clean=False)),
        WebSocketCase(
            "the end in the head of a frame",
            kind,
            [frame(TEXT, b"ok") + b"\x81", CLOSE],
            Closed(["ok"], 1006, clean=False),
        ),
        WebSocketCase("the end in a payload", kind, [b"\x81\x05hel", CLOSE], Closed(code=1006, clean=False)),
        WebSocketCase(
            "ours, answered behind a message",
            kind,
            [0.3, frame(TEXT, b"crossing") + frame(PING, b"crossing")],
            Closed(code=1005),
            closes=0,
        ),
        WebSocketCase(
            "ours, answered with another code",
            kind,
            [0.3, close(4444, b"as you like")],
            Closed(code=4444, reason="as you like"),
            closes=0,
        ),
        WebSocketCase("ours, answered with a bad frame", kind, [0.3, b"\x8f\x00"], FAILS, closes=0),
        WebSocketCase("ours, answered with the end", kind, [0.3, CLOSE], Closed(code=1006, clean=False), closes=0),
        WebSocketCase("ours, answered with a masked close", kind, [0.3, b"\x88\x82\0\0\0\0\x03\xe8"], FAILS, closes=0),
    ]
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        cases.append(
            WebSocketCase(
                f"code {code}",
                kind,
                [close(code, b"why")],
                Closed(code=code, reason="why"),
                heard=[(8, struct.pack("!H", code) + b"why")],
            )
        )
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        cases.append(bad(kind, f"code {code}", close(code)))
        cases.append(bad(kind, f"code {code} with a reason", close(code, b"why")))
    return cases


DEFLATE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: permessage-deflate%s\r\n\r\n"
)


def _deflate() -> list[WebSocketCase]:
    kind = "WebSocket: compressed messages"
    hello = bytes.fromhex("f248cdc9c907 00".replace(" ", ""))

    def packed(data: bytes, bits: int = 15, level: int = 9) -> bytes:
        packer = zlib.compressobj(level, wbits=-bits)
        return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def with_(parameters: str = "") -> dict[str, object]:
        return {"handshake": DEFLATE % parameters.encode()}

    def ok(name: str, data: bytes | Script, *messages: str | bytes, parameters: str = "") -> WebSocketCase:
        return good(kind, name, data, *messages, **with_(parameters))

    def no(name: str, data: bytes | Script, *messages: str | bytes, parameters: str = "") -> WebSocketCase:
        return bad(kind, name, data, *messages, **with_(parameters))

    one = frame(TEXT, hello, rsv=4)
    again = frame(TEXT, bytes.fromhex("f200110000"), rsv=4)
    twice = random.Random("window").randbytes(1200) * 2
    far = packed(twice)
    return [
        ok("one", one, "Hello"),
        ok("one, byte by byte", by_byte(one), "Hello"),
        ok("one that refers to the one before", one + again, "Hello", "Hello"),
        ok("in fragments", frame(TEXT, hello[:3], fin=False, rsv=4) + frame(CONT, hello[3:]), "Hello"),
        ok(
            "in fragments with a ping between",
            frame(TEXT, hello[:3], fin=False, rsv=4) + frame(PING) + frame(CONT, hello[3:]),
            "Hello",
        ),
        ok(
            "a fragment for each byte",
            frame(TEXT, fin=False, rsv=4)
            + b"".join(frame(CONT, hello[at : at + 1], fin=False) for at in range(7))
            + frame(CONT),
            "Hello",
        ),
        ok("a stored block", frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4), "Hello"),
        ok("a final block", frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4), "Hello"),
        ok("two blocks", frame(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", "")), rsv=4), "Hello"),
        ok("an empty message", frame(TEXT, b"\x00", rsv=4), ""),
        ok("an empty payload", frame(TEXT, b"", rsv=4), ""),
        ok(
            "an empty payload behind a final block",
            frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4) + frame(TEXT, rsv=4),
            "Hello",
            "",
        ),
        ok("an empty final block", frame(BINARY, b"\x03\x00\x00", rsv=4), b""),
        ok("one that is not compressed", frame(TEXT, b"plain"), "plain"),
        ok("not compressed between compressed", one + frame(TEXT, b"plain") + again, "Hello", "plain", "Hello"),
        ok("not compressed, in fragments", frame(TEXT, b"pl", fin=False) + frame(CONT, b"ain"), "plain"),
        ok("binary", frame(BINARY, packed(bytes(1000)), rsv=4), bytes(1000)),
        ok("1 MiB", frame(BINARY, packed(bytes(1 << 20)), rsv=4), bytes(1 << 20)),
        ok("no context", one + one, "Hello", "Hello", parameters="; server_no_context_takeover"),
        ok(
            "no context, and yet a reference to it",
            one + again,
            "Hello",
            "Hello",
            parameters="; server_no_context_takeover",
        ),
        ok(
            "a small window",
            frame(BINARY, packed(bytes(3000), 9), rsv=4),
            bytes(3000),
            parameters="; server_max_window_bits=9",
        ),
        *(
            ok(
                f"a reference beyond the window: {bits} bits",
                frame(BINARY, far, rsv=4),
                twice,
                parameters=f"; server_max_window_bits={bits}",
            )
            for bits in (8, 9, 10)
        ),
        no("a reference before the beginning", again),
        no("no deflate data", frame(TEXT, b"\xff\xff\xff", rsv=4)),
        no("a block type that does not exist", frame(TEXT, b"\x07", rsv=4)),
        no("a stored block with a wrong check", frame(TEXT, bytes.fromhex("000500fafe48656c6c6f00"), rsv=4)),
        ok("cut in a block", frame(TEXT, hello[:3], rsv=4), "Heh"),
        ok("without its last byte", frame(TEXT, hello[:6], rsv=4), "Hello"),
        together(kind, "cut in a block, then another", frame(TEXT, hello[:3], rsv=4) + one, "Heh", **with_()),
        ok("fifty empty final blocks", frame(BINARY, b"\x03\x00" * 50 + b"\0", rsv=4) + one, b"", "Hello"),
        together(
            kind,
            "with the marker that the sender takes off",
            frame(TEXT, hello + b"\0\0\xff\xff", rsv=4) + one,
            "Hello",
            **with_(),
        ),
        no("a stored block that is cut", frame(BINARY, bytes.fromhex("000500faff4865"), rsv=4)),
        no("a good one, then no deflate data", [one, 0.1, frame(TEXT, b"\xff\xff\xff", rsv=4)], "Hello"),
        together(
            kind,
            "a good one and no deflate data in one piece",
            one + frame(TEXT, b"\xff\xff\xff", rsv=4),
            "Hello",
            **with_(),
        ),
        no("a frame that has begun badly, and no more", [b"\xc1\x64\xff\xff\xff"]),
        no("not UTF-8", frame(TEXT, packed(b"\xff"), rsv=4)),
        no(
            "a continuation that says it is compressed",
            frame(TEXT, hello[:3], fin=False, rsv=4) + frame(CONT, hello[3:], rsv=4),
        ),
        no("a continuation alone says it is compressed", frame(TEXT, b"a", fin=False) + frame(CONT, hello, rsv=4)),
        no("a compressed ping", frame(PING, rsv=4)),
        no("a compressed close", frame(CLOSE_FRAME, b"\x03\xe8", rsv=4)),
        no("the second reserved bit", frame(TEXT, hello, rsv=6)),
        no("the third reserved bit alone", frame(TEXT, b"x", rsv=1)),
        ok("bytes behind the final block", frame(TEXT, bytes.fromhex("f348cdc9c90700") + hello, rsv=4), "HelloHello"),
    ]


CASES = [*_lengths(), *_control(), *_reserved(), *_fragments(), *_utf8(), *_closes(), *_deflate()]
