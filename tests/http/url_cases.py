"""URLs to parse: what standards, browsers and servers have stumbled over, combinations of odd parts, and seeded random
ones. Expectations are not written here: Node's parser and the browser's give them (test_url_beside_node.py,
tests/browser/test_url_beside_chromium.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from smolmix_web.url_parser import UrlParts, split_url

Case = tuple[str, str | None]  # a reference, and the URL that it is resolved against

BASES = ("http://a.test/b/c/d;p?q#f", "https://u:p@b.test:8443", "ws://[::1]:81/x/", "wss://c.test/a//b/../?")

SCHEMES = ("http:", "HTTPS:", "ws:", "Wss:", "", "ftp:", "file:", "data:", "foo:", "h ttp:", "ht\ttp:", " http:")
SLASHES = ("", "/", "//", "///", "\\\\", "/\\", "\\", "/\t/", "////")
CREDENTIALS = (
    "", "u@", "u:p@", ":p@", ":@", "@", "u:@", "u:p:q@", "u@v@", "\u00fc:\u20ac@", "u%40:p%3A@", "u;=|^[]:p/@", "u p@",
)  # fmt: skip
HOSTS = (
    "", ".", "..", "a", "A.Test", "a.test.", "a.test..", ".a.test", "a..test", "-a.test", "a-.test", "-", "--",
    "a--b.test", "ab--c.test", "_a.test", "a_b", "_", "a!b", "a$b", "a&b'c", "a(b)", "a*b", "*", "a+b", "a,b", "a;b",
    "a=b", "a`b", "a{b}", "a~b", 'a"b', "a b", "a\tb", "a\nb", "a<b", "a>b", "a^b", "a|b", "a\\b", "a#b", "a?b",
    "a[b", "a]b", "a%b", "a%", "a%4", "%61", "%41.test", "a%2eb", "a%2Fb", "a%00b", "a%0ab", "a%20b", "a%7fb",
    "a%25b", "a%40b", "a%3ab", "%c3%bc.test", "%C3%BC", "%fc.test", "%ff", "%ef%bc%8e", "a\x00b", "a\x01b", "a\x1fb",
    "a\x7fb", "a\x80b", "a\xa0b", "a\xadb", "\xad", "\u00fc.test", "U\u0308.test", "fa\u00df.test", "\u03c2.test",
    "a\u200db", "a\u200cb", "\u0915\u094d\u200d\u0937.test", "a\u3002b", "a\uff0eb", "a\uff61b", "\uff27\uff2f.test",
    "\u2460.test", "\u2488com", "\u2615.test", "\U0001f4a9.test", "\U0001f468\u200d\U0001f469.test", "\u0130.test",
    "\u1e9e.test", "\u2100", "\ufdd0.test", "\ufffd.test", "\ud800.test", "\u05d0.test", "a\u05d0.test", "\u05d0a.test",
    "\u0660.test", "\u0300.test", "\u2260.test", "a\u2f28b", "\u2f868.test", "\u0131", "\u212a.test", "xn--a", "xn--",
    "xn--a.test", "xn--zn7c.com", "xn--fa-hia.test", "XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de", "xn--u-ccb.test",
    "xn--\u00fc", "a.xn--", "xn--a-yoc", "xn--ls8h.la", "xn--1ug66vku9r0cf4a.test", "\u00e4" * 40, "\u00e4" * 64,
    "a" * 63, "a" * 64, "a" * 64 + ".test", ".".join(["a" * 63] * 4), ".".join(["ab"] * 84), ".".join(["ab"] * 85),
    "1", "1.2", "1.2.3", "1.2.3.4", "1.2.3.4.", "1.2.3.4..", "1.2.3.4.5", "1.2.3.256", "1.256", "256.1", "1.2.65536",
    "1.2.65535", "1.16777215", "1.16777216", "4294967295", "4294967296", "99999999999999999999", "0", "00", "0x", "0x.",
    "0X7F.1", "0x7f.0.0.1", "0xg", "0x7f.0xg", "017700000001", "08", "1.08", "09.1", "1..2", ".1", "1.", "a.1", "a.0x1",
    "a.0xg", "a.08", "a.1.", "1.a", "0x100000000", "0xffffffff", "1e3", "+1", "-1", "1_0", "\uff11.\uff12", "1\u30022",
    "\u0661.\u0662", "0x1.0x2.0x3.0x4", "0.0.0.0", "255.255.255.255", "127.1.", "1.2.3.4:", "%31.2", "1%2e2", "foo.0x4",
    "[", "[]", "[:]", "[::]", "[::1]", "[::1", "::1", "[1::2::3]", "[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7::]", "[::2:3:4:5:6:7:8]", "[::1:2:3:4:5:6:7:8]", "[0:0:1:0:0:0:1:0]",
    "[1:0:0:2:0:0:0:3]", "[0:1:0:1:0:1:0:1]", "[1::0]", "[2001:DB8::ABCD]", "[::00001]", "[::0001]", "[::g]",
    "[::1.2.3.4]", "[::1.2.3]", "[::1.2.3.4.5]", "[::1.2.3.256]", "[::01.2.3.4]", "[::1.2.3.4:5]",
    "[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:7:1.2.3.4]", "[::ffff:1.2.3.4]", "[::.1.2.3]", "[::1%eth0]",
    "[fe80::1%25eth0]", "[::%31]", "[v1.a]", "[a.test]", "[1.2.3.4]", "[::1]a", "[::1].", "a[::1]", "[::1]]",
    "[[::1]]", "[::1 ]", "[\uff1a:1]", "[::\uff11]",
)  # fmt: skip
PORTS = (
    "", ":", ":80", ":443", ":0", ":00", ":080", ":8080", ":65535", ":65536", ":99999999999", ":-1", ":+1", ":1a",
    ":a", ": 80", ":8\t0", ":\u0661", ":80:80", ":%38", ":8_0", ":0x50",
)  # fmt: skip
PATHS = (
    "", "/", "/a", "/a/", "/a/b/../c", "/a/b/..", "/a/.", "/..", "/../..", "/./a", "//", "//a//b//..//c", "/%2e/a",
    "/.%2E/a", "/%2e%2E/b", "/%2e%2e%2e", "/...", "/a/..b", "/a;b=c/d,e", "\\a\\..\\b", "/a\\..\\", "/a b", "/ a ",
    "/a%20b", "/a%2fb", "/a%zz%", "/%00", "/a\x00b", "/a\x7fb", "/a\tb\nc\r", '/"<>`{}', "/|^[]", "/'()*!$&+,=:@~",
    "/\u00e4\u20ac\U0001f600", "/\ud800\udc00", "/\ud83d\ude00", "/\udc00", "/\ufffe\uffff", "/C|/x", "/c:/x/..",
    "/a%E4", "/:x", "/a//", "/;x",
)  # fmt: skip
TAILS = (
    "", "?", "?q", "?a=b&c=d", "??", "?a?b", "?/../x", "?\u00e4", "?a b", "?'", '?"<>`{}|^\\[]', "?%", "?%zz",
    "?\ud800", "?\x00\x7f", "?a\tb\n", "?a#", "#", "#f", "#f#g", "#a b", '#"<>`{}|^\\', "#\u00e4", "#\ud800", "#?x",
    "?#", "?a#b?c", "?q ", "#f ", " ", "\x1f", "?\u2028",
)  # fmt: skip
REFERENCES = (
    "", " ", "\t", ".", "..", "./", "../", "../..", "../../..", "../../../g", "g", "./g", "g/", "/g", "//g", "///g",
    "////g", "?y", "g?y", "#s", "g#s", "g?y#s", ";x", "g;x", "g.", ".g", "..g", "./../g", "g/./h", "g/../h",
    "g;x=1/../y", "g?y/../x", "g#s/../x", "http:", "http:g", "http:/g", "http://g", "http:?y", "http:#s", "http:..",
    "http:.", "https:g", "https:/g", "https:", "ws:g", "ws:/g", "wss:g", "wss:/g", "wss://g", "HTTP:g", "http:\\g",
    "http:\\\\g", "http:g:h", "http:@g", "http:/@g", "http:a@b", "\\g", "\\\\g", "/\\g", "\\/g", "g\\h", "..\\g",
    "g:h", "g:/h", "g://h", ":", ":g", "1:2", "a:80", "a:80/b", "//:80", "//@", "//u:p@g", "//g:81/", "//g:", "//",
    "/..", "/.", "/../g", "%2e", "%2e%2E/g", "a%2e", "?", "#", "?#", "g h", " g ", "g\n/h", "\x00g", "\x0bg",
    "\u00a0g", "\u00e4", "\u3000g", "http:///g", "http:////g", "http:/\\g", "http:\t//g", "ht\ntp://g", "data:,x",
    "blob:http://a/b", "about:blank", "javascript:x", "mailto:x@y", "file:///x", "file:x", "ftp://g/", "C|/x",
    "/C:/x", "a/b/../../../../c", "%", "%zz", "%E4", "\ud800", "[::1]", "//[::1]/", "//[::1", "http://[::1]g",
    "//1.2", "//0x7f.1/x", "//\uff11.2/", "//a.test./", "//-a-/", "//a..b", "<x>", '"x"', "x;y,z",
)  # fmt: skip


def systematic() -> Iterator[Case]:
    for scheme, slashes in product(SCHEMES, SLASHES):
        for host in ("h.test", "", "h.test:81/p"):
            yield scheme + slashes + host, None
            for base in BASES:
                yield scheme + slashes + host, base
    for host in HOSTS:
        for text in (f"http://{host}/", f"https://u:p@{host}:81/x?y", f"wss://{host}", f"ws:{host}?"):
            yield text, None
        yield f"//{host}/z", BASES[0]
    for host, port in product(("h", "1.2", "[::1]", ""), PORTS):
        for scheme in ("http", "https", "ws", "wss"):
            yield f"{scheme}://{host}{port}/", None
    for credentials, tail in product(CREDENTIALS, ("h", "h:80", "", "h/a@b", "h?a@b", "h#a@b")):
        yield f"http://{credentials}{tail}", None
    for path, tail in product(PATHS, TAILS):
        yield f"https://h{path}{tail}", None
    for reference, base in product((*REFERENCES, *(tail for tail in TAILS), *PATHS), BASES):
        yield reference, base


def drawn(count: int, seed: int) -> Iterator[Case]:
    """Parts put together by chance, some with a character put in, left out or changed."""
    rng = random.Random(seed)
    alphabet = (
        "\t\n\x00\x1f !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\x7f\x80\xad\u00e4\u00df\u200d\u3002\uff0e\uff21\ud800"
        + "aZ09x.%/@:"
    )
    for _ in range(count):
        text = "".join(rng.choice(parts) for parts in (SCHEMES, SLASHES, CREDENTIALS, HOSTS, PORTS, PATHS, TAILS))
        if rng.random() < 0.3:
            text = rng.choice(REFERENCES) + rng.choice(PATHS) + rng.choice(TAILS)
        for _ in range(rng.choice((0, 0, 1, 2))):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(alphabet) * rng.randrange(2) + text[at + rng.randrange(2) :]
        yield text, rng.choice((None, *BASES))


def cases(count: int = 3000, seed: int = 10) -> list[Case]:
    """All of them, each once."""
    return list(dict.fromkeys((*systematic(), *drawn(count, seed))))


# What a parser in JavaScript says about a list of cases: for each null or the properties of the URL.
ASK = """(cases) => cases.map(([text, base]) => {
  try {
    const url = new URL(text, base ?? undefined);
    const { protocol, username, password, hostname, port, pathname, search, hash, href } = url;
    return [protocol, username, password, hostname, port, pathname, search, hash, href];
  } catch { return null; }
})"""


def differences(
    cases: Sequence[Case],
    answers: Sequence[list[str] | None],
    change: Callable[[Case, list[str], list[str]], list[str]],
) -> list[str]:
    """The cases that `split_url` reads otherwise than a peer. `change` makes of a case, our answer and the peer's what
    the peer should have said, where the two differ in a way that is known."""
    found = []
    for case, answer in zip(cases, answers, strict=True):
        theirs = answer if answer is not None and answer[0] in ("http:", "https:", "ws:", "wss:") else []
        wanted = change(case, _properties(split_url(*case)), theirs)
        if wanted != theirs:
            found.append(f"{case!a}: {wanted!a}, the peer says {theirs!a}")
    return found


def _properties(parts: UrlParts | None) -> list[str]:
    if parts is None:
        return []
    scheme, credentials, host, port, path, query, fragment = parts
    user, _, password = credentials.partition(":")
    host = f"[{host}]" if ":" in host else host
    properties = [
        f"{scheme}:", user, password, host, "" if port is None else str(port), path,
        f"?{query}" if query else "", f"#{fragment}" if fragment else "",
    ]  # fmt: skip
    at = f"{credentials}@" if credentials else ""
    end = ("" if query is None else f"?{query}") + ("" if fragment is None else f"#{fragment}")
    return [*properties, f"{scheme}://{at}{host}{'' if port is None else f':{port}'}{path}{end}"]
