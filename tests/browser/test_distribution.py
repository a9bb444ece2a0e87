"""dist/ in a real Chromium: TLS by rustls, every module of ours, what is fetched, and the plain distribution."""

from __future__ import annotations

import gzip
from typing import Any

import brotli
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from browserkit.pyodide_page import PageDied, PageError, PyodidePage
from buildtools import trim
from buildtools.common import DIST, ROOT
from buildtools.libraries import LIBRARIES
from buildtools.report import FIRST_LOAD, check_budget, sentence, shipped_files, source_files, summary
from buildtools.sbom import SUMS
from tests.tls.chains import Party, pem

HANDSHAKE = """
from rtls import _rustls


def handshake(roots, host, client_alpn, server_alpn):
    server = _rustls.RustlsConfigBuilder()
    server.set_server_cert_chain_pem(arguments["chain"].encode(), arguments["key"].encode())
    server.set_alpn([name.encode() for name in server_alpn])
    client = _rustls.RustlsConfigBuilder()
    client.add_root_certs_from_pem(roots.encode())
    client.set_verify_mode(2)
    client.set_check_hostname(True)
    client.set_alpn([name.encode() for name in client_alpn])
    near, far = client.build_client_connection(host), server.build_server_connection()
    try:
        while near.is_handshaking() or far.is_handshaking():
            moved = False
            for source, target in ((near, far), (far, near)):
                if data := source.write_tls():
                    moved = True
                    while data:
                        data = data[target.read_tls(data) :]
                        target.process_new_packets()
            if not moved:
                return {"error": "stalled"}
    except Exception as error:
        return {"error": str(error)}
    near.write_plaintext(b"x" * 10000)
    data = near.write_tls()
    while data:
        data = data[far.read_tls(data) :]
        far.process_new_packets()
    alpn = near.alpn_protocol()
    return {
        "version": near.protocol_version(),
        "alpn": alpn.decode() if alpn else None,
        "carried": len(far.read_plaintext(20000)),
    }


result = [handshake(*case) for case in arguments["cases"]]
"""


@pytest.fixture(scope="module")
def outcomes(pyodide_page: PyodidePage) -> list[dict[str, Any]]:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("origin.test")
    roots = authority.cert_pem.bytes().decode()
    http = ["http/1.1"]
    arguments = {
        "chain": b"".join(blob.bytes() for blob in certificate.cert_chain_pems).decode(),
        "key": certificate.private_key_pem.bytes().decode(),
        "cases": [
            [roots, "origin.test", ["h2", "http/1.1"], http],
            [roots, "origin.test", [], http],
            [roots, "other.test", http, http],
            [stranger.cert_pem.bytes().decode(), "origin.test", http, http],
        ],
    }
    answer: list[dict[str, Any]] = pyodide_page.run(HANDSHAKE, arguments)
    return answer


def test_tls_handshake_with_alpn(outcomes: list[dict[str, Any]]) -> None:
    assert outcomes[0] == {"version": 0x0304, "alpn": "http/1.1", "carried": 10000}


def test_tls_handshake_without_alpn(outcomes: list[dict[str, Any]]) -> None:
    assert outcomes[1] == {"version": 0x0304, "alpn": None, "carried": 10000}


def test_wrong_host_name_is_refused(outcomes: list[dict[str, Any]]) -> None:
    assert "not valid for name" in outcomes[2]["error"]


def test_unknown_issuer_is_refused(outcomes: list[dict[str, Any]]) -> None:
    assert "UnknownIssuer" in outcomes[3]["error"]


ANCHORS = """
from rtls import _rustls
from smolmix_web.edge.tls import _config

server = _rustls.RustlsConfigBuilder()
server.set_server_cert_chain_pem(arguments["chain"].encode(), arguments["key"].encode())
result = []
for trusted in arguments["trusted"]:
    near = _config((), (trusted,), False).build_client_connection("origin.test")
    far = server.build_server_connection()
    try:
        for _ in range(4):
            for source, target in ((near, far), (far, near)):
                while data := source.write_tls():
                    while data:
                        data = data[target.read_tls(data) :]
                        target.process_new_packets()
        result.append(not near.is_handshaking())
    except Exception as error:
        result.append(str(error))
"""


def test_an_intermediate_may_be_trusted(pyodide_page: PyodidePage) -> None:
    """The library's flag for partial chains, in its WebAssembly build."""
    root, issuer, server = (Party.new(name) for name in ("root", "issuer", "server"))
    leaf = issuer.sign(server, authority=False, host="origin.test")
    anchors = [root.sign(issuer), root.sign(root), root.sign(server)]
    key = server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    arguments = {"chain": pem(leaf), "key": key, "trusted": [pem(anchor) for anchor in anchors]}
    trusted, missing, stranger = pyodide_page.run(ANCHORS, arguments)
    assert trusted is True and "UnknownIssuer" in missing and "UnknownIssuer" in stranger


def test_helper_gives_entropy_and_time(pyodide_page: PyodidePage) -> None:
    """More than getentropy gives at once, and an expired certificate's date is judged by a clock that runs."""
    code = "from rtls import _rustls\nblock = _rustls.rand_bytes(1000)\n[len(block), len(set(block)) > 200]"
    assert pyodide_page.run(code) == [1000, True]


def test_all_public_roots_load(pyodide_page: PyodidePage) -> None:
    code = """
import certifi
from rtls import _rustls
builder = _rustls.RustlsConfigBuilder()
[builder.add_root_certs_from_pem(certifi.contents().encode()), certifi.contents().count("BEGIN CERTIFICATE")]
"""
    loaded, named = pyodide_page.run(code)
    assert loaded == named > 100


def test_first_load_fetches_what_the_report_says(pyodide_page: PyodidePage) -> None:
    """Before the tests below load more."""
    fetched = {
        path.removeprefix("/dist/") for path in pyodide_page.server.requests if path.startswith("/dist/pyodide/")
    }
    assert fetched == {name for name in FIRST_LOAD if name.startswith("pyodide/")}


ON_DEMAND = """
import importlib
import sys
import zipfile

from smolmix_web.on_demand import load_on_demand

before = [name for name in arguments if name in sys.modules]
loaded = await load_on_demand(*arguments)
failures = {}
for wheel in [path for path in sys.path if path.endswith(".whl")]:
    for name in zipfile.ZipFile(wheel).namelist():
        module = name.removesuffix(".pyc").removesuffix("/__init__").replace("/", ".")
        if name.endswith(".pyc"):
            try:
                importlib.import_module(module)
            except Exception as error:
                failures[module] = repr(error)
result = [before, loaded, failures, sorted(name for name in arguments if name in sys.modules)]
"""


def test_libraries_that_are_loaded_at_first_use(pyodide_page: PyodidePage) -> None:
    """Not in the pack, fetched from beside it, and every module of theirs finds what it needs."""
    names = sorted(name for name, library in LIBRARIES.items() if library.on_demand)
    assert pyodide_page.run(ON_DEMAND, names) == [[], True, {}, names]
    assert pyodide_page.run("import publicsuffixlist; publicsuffixlist.PublicSuffixList([]).is_public('test')") is True
    missing = "from smolmix_web.on_demand import load_on_demand\nawait load_on_demand('nothing_like_it')"
    assert pyodide_page.run(missing) is False


EVERY_MODULE = """
import importlib
import zipfile

names = [name for name in zipfile.ZipFile("/lib/python314.zip").namelist() if name.startswith(arguments)]
failures = {}
for name in names:
    module = name.removesuffix(".pyc").removesuffix("/__init__").replace("/", ".")
    if name.endswith(".pyc"):
        try:
            importlib.import_module(module)
        except Exception as error:
            failures[module] = repr(error)
result = [len(names), failures]
"""


# Modules that only the product's worker registers, or that a page's own distribution may add.
PACKED = "28b52ffd206445000010787801003f012c"  # b'x' * 100 under zstd
ABSENT_NAMES = ("cryptography", "smolmix_answer", "smolmix_guard", "smolmix_host", "smolmix_storage")
ABSENT_HERE = tuple(f"No module named '{name}'\")" for name in ABSENT_NAMES)
NEVER_IMPORTED = {"asyncio.__main__", "importlib.metadata"}
PACKAGES = ["smolmix_web", "dns", "rtls", "websockets", "certifi", "asyncio", "importlib"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_shipped_module_imports(pyodide_page: PyodidePage, package: str) -> None:
    """With nothing but the pack: whatever a module needs of the standard library has been shipped with it."""
    count, failures = pyodide_page.run(EVERY_MODULE, f"{package}/")
    assert count > 0
    surprises = {module: error for module, error in failures.items() if not error.endswith(ABSENT_HERE)}
    assert surprises.keys() <= NEVER_IMPORTED, surprises


@pytest.mark.parametrize(
    "snippet",
    [
        "import time; time.strptime('Sat, 01 Jan 2000', '%a, %d %b %Y').tm_year == 2000",
        "import datetime; datetime.datetime.fromtimestamp(0, datetime.timezone.utc).isoformat().startswith('1970')",
        "b'x'.decode('latin-1') + b'y'.decode('ascii') + b'z'.decode('utf-16-le', 'replace') is not None",
        "import zlib; zlib.decompress(zlib.compress(b'x' * 100, wbits=31), wbits=47) == b'x' * 100",
        "import zlib; zlib.decompressobj(-15) is not None",
        f"from compression import zstd; zstd.decompress(bytes.fromhex('{PACKED}')) == b'x' * 100",
        "import hashlib, hmac; len(hmac.digest(b'k', b'm', hashlib.sha512)) == 64",
        "import asyncio; await asyncio.wait_for(asyncio.sleep(0, True), 1)",
        "import asyncio; await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)) == [1, 2]",
        "import copy, ipaddress, json, logging, queue, random, re, secrets, textwrap; True",
    ],
)
def test_standard_library_at_hand(pyodide_page: PyodidePage, snippet: str) -> None:
    assert pyodide_page.run(snippet) is True


TRACEBACK = """
import traceback

import dns.message

try:
    dns.message.from_wire(b"")
except Exception:
    text = traceback.format_exc()
text
"""


def test_tracebacks_name_file_and_line(pyodide_page: PyodidePage) -> None:
    text = pyodide_page.run(TRACEBACK)
    assert "dns/message.py" in text
    assert "line " in text


def test_first_load_is_within_budget() -> None:
    files = shipped_files()
    assert summary(files)["first_load"]["files"] == len(FIRST_LOAD)
    check_budget(files)


def test_the_page_about_deploying_has_the_sizes_of_this_build() -> None:
    assert sentence(shipped_files()) in (ROOT / "docs" / "deploying.md").read_text()


def test_every_file_is_there_compressed_and_gives_the_same_bytes() -> None:
    for path in source_files(DIST):
        if path.name == SUMS:  # it has the hashes of the compressed forms
            continue
        data = path.read_bytes()
        assert gzip.decompress(path.with_name(path.name + ".gz").read_bytes()) == data, path
        assert brotli.decompress(path.with_name(path.name + ".br").read_bytes()) == data, path


GIVEN_UP = """
import codecs
import importlib

def refusal(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]

from compression import zstd

frame = bytes.fromhex("28b52ffd2003190000616263")
[
    [refusal(importlib.import_module, name) for name in arguments],
    [refusal(codecs.lookup, name) for name in ("gb2312", "big5", "shift_jis", "euc_kr", "iso2022_jp")],
    [refusal(zstd.compress, b"abc"), refusal(zstd.train_dict, [b"abc" * 100] * 20, 1000)],
    zstd.decompress(frame).decode(),
]
"""


def test_what_was_taken_out_is_refused_by_name(pyodide_page: PyodidePage) -> None:
    names = sorted(trim.GIVEN_UP)
    modules, codecs, packers, unpacked = pyodide_page.run(GIVEN_UP, names)
    assert modules == [["ModuleNotFoundError", f"No module named {name!r}"] for name in names]
    assert {kind for kind, _ in codecs} == {"LookupError"}
    assert {kind for kind, _ in packers} == {"ZstdError"}
    assert unpacked == "abc"


def test_no_path_of_the_building_machine_ships() -> None:
    needle = str(ROOT).encode()
    for path in DIST.rglob("*"):
        if path.is_file():
            assert needle not in path.read_bytes(), path


PLAIN = """async () => {
  const { loadPyodide } = await import("/dist/pyodide/pyodide.mjs");
  const pyodide = await loadPyodide({ indexURL: "/dist/pyodide/", packages: ["smolmix-web"] });
  return pyodide.runPython(`
import email, unittest, xml.dom.minidom  # the complete standard library
import rtls, websockets, dns.message, certifi, smolmix_web.tunnel.options
from importlib.metadata import version
[version("smolmix-web"), rtls.OPENSSL_VERSION]
`).toJs();
}"""


def test_plain_distribution_works_without_the_pack() -> None:
    """`loadPyodide` with our lock file, in a page's main thread: the complete standard library and the wheels."""
    with PyodidePage() as page:
        version, tls = page.with_page(lambda p: p.evaluate(PLAIN))
        assert version == "0.1.0"
        assert tls.startswith("Rustls")
        assert not [path for path in page.server.requests if "://" in path]


def test_values_and_errors_cross(pyodide_page: PyodidePage) -> None:
    assert pyodide_page.run("[arguments['a'], None, 1.5, 'ü']", {"a": [1, {"b": True}]}) == [
        [1, {"b": True}],
        None,
        1.5,
        "ü",
    ]
    assert pyodide_page.run("result = 3") == 3
    with pytest.raises(PageError, match="ZeroDivisionError"):
        pyodide_page.run("def f():\n    1 / 0\nf()")
    assert pyodide_page.run("6 * 7") == 42


def test_a_dead_interpreter_and_a_stuck_one_are_told_apart_from_errors() -> None:
    with PyodidePage() as page:
        with pytest.raises(PageDied, match="no answer within"):
            page.run("import asyncio\nawait asyncio.sleep(60)", timeout=0.5)
        assert not page.alive
    with PyodidePage() as page:
        with pytest.raises(PageDied, match="interpreter died"):
            page.run("import json\njson.loads('[' * 1000000)")
        assert not page.alive
