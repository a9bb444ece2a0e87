"""What may stand in `caCertificates`: roots, intermediates, cross-signed roots, a server's own certificate."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smolmix_web.edge.tls import TlsStream, check_roots
from smolmix_web.errors import OptionError, TlsError
from tests.pipe import Pipe
from tests.tls.chains import Party, chain_context, pem
from tests.tls_server import TlsServer
from tests.virtual_loop import virtual

ROOT, ISSUER, SERVER, OLD, STRANGER = (Party.new(name) for name in ("root", "issuer", "server", "old", "stranger"))
HOST = "origin.test"

root = ROOT.sign(ROOT)
issuer = ROOT.sign(ISSUER)
leaf = ISSUER.sign(SERVER, authority=False, host=HOST)
old = OLD.sign(OLD)
crossed = OLD.sign(ROOT)  # the key of the root, signed by an older one
stranger = STRANGER.sign(STRANGER)
own = SERVER.sign(SERVER, authority=False, host=HOST)
own_authority = SERVER.sign(SERVER, host=HOST)

# What is trusted, what the server sends, and the reason of the refusal; None: it is good.
CHAINS: dict[str, tuple[Sequence[x509.Certificate], Sequence[x509.Certificate], str | None]] = {
    "root": ([root], [leaf, issuer], None),
    "root, sent too": ([root], [leaf, issuer, root], None),
    "root, and the intermediate beside it": ([root, issuer], [leaf], None),
    "root, the intermediate nowhere": ([root], [leaf], "unknown_issuer"),
    "intermediate": ([issuer], [leaf], None),
    "intermediate, sent too": ([issuer], [leaf, issuer], None),
    "intermediate, the root sent too": ([issuer], [leaf, issuer, root], None),
    "intermediate and a stranger": ([stranger, issuer], [leaf, issuer], None),
    "cross-signed root": ([crossed], [leaf, issuer], None),
    "cross-signed root, sent too": ([crossed], [leaf, issuer, crossed], None),
    "cross-signed root, the other form sent": ([crossed], [leaf, issuer, root], None),
    "the old root, the cross-signed one sent": ([old], [leaf, issuer, crossed], None),
    "the old root, the cross-signed one beside it": ([old, crossed], [leaf, issuer], None),
    "the old root, the way to it nowhere": ([old], [leaf, issuer, root], "unknown_issuer"),
    "stranger": ([stranger], [leaf, issuer, root], "unknown_issuer"),
    "what the server sends is no anchor": ([stranger], [leaf, issuer], "unknown_issuer"),
    "an intermediate of a stranger": ([STRANGER.sign(ISSUER)], [leaf, issuer], None),  # the same name and key
    "the same name, another key": ([ROOT.sign(Party.new("issuer"))], [leaf], "invalid"),
    "self-signed server": ([own], [own], None),
    "self-signed server that is an authority": ([own_authority], [own_authority], "ca_as_server"),
    "server that another signed": ([leaf], [leaf], "unknown_issuer"),
    "name constraints that fit": ([ROOT.sign(ROOT, permitted="test")], [leaf, issuer], None),
    "name constraints that do not": ([ROOT.sign(ROOT, permitted="else")], [leaf, issuer], "name_constraints"),
    "intermediate, constraints that do not": ([ROOT.sign(ISSUER, permitted="else")], [leaf], "name_constraints"),
    "expired root": ([ROOT.sign(ROOT, expired=True)], [leaf, issuer], None),
    "expired intermediate, as anchor": ([ROOT.sign(ISSUER, expired=True)], [leaf], None),
    "expired intermediate, below the anchor": ([root], [leaf, ROOT.sign(ISSUER, expired=True)], "expired"),
    "expired leaf below an intermediate": (
        [issuer],
        [ISSUER.sign(SERVER, authority=False, host=HOST, expired=True)],
        "expired",
    ),
    "another host below an intermediate": (
        [issuer],
        [ISSUER.sign(SERVER, authority=False, host="x.test")],
        "wrong_host",
    ),
}


async def reason(trusted: Sequence[str], sent: Sequence[x509.Certificate], default_roots: bool) -> str | None:
    near, far = Pipe.pair()
    server = asyncio.create_task(TlsServer(far, chain_context(SERVER, sent)).handshake())
    try:
        stream = await TlsStream.wrap(near, HOST, extra_roots=trusted, default_roots=default_roots)
    except TlsError as error:
        assert error.code == "tls_certificate", error
        return error.reason
    finally:
        await asyncio.gather(server, return_exceptions=True)
    stream.abort()
    return None


@pytest.mark.feature("Sockets", "extra trust: roots, intermediates, cross-signed roots, a self-signed server")
@pytest.mark.parametrize("default_roots", [True, False], ids=["and the default roots", "alone"])
@pytest.mark.parametrize("what", CHAINS)
def test_anchors(what: str, default_roots: bool) -> None:
    trusted, sent, expected = CHAINS[what]

    @virtual
    async def run() -> None:
        assert await reason([pem(*trusted)], sent, default_roots) == expected, "in one item"
        assert await reason([pem(one) for one in reversed(trusted)], sent, default_roots) == expected, "in several"

    run()


ROOT_PEM = pem(root)
BODY = "".join(ROOT_PEM.split("\n")[1:-2])
GOOD = {
    "several in one": pem(stranger, root, old),
    "the same twice": ROOT_PEM * 2,
    "CRLF": ROOT_PEM.replace("\n", "\r\n"),
    "text around": f"# Root ü\nsubject=root -- - ---\n{ROOT_PEM}\nthe end",
    "one line": f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----",
    "indented": ROOT_PEM.replace("\n", "\n   \t"),
    "no line at the end": ROOT_PEM.strip(),
    "one after the other": ROOT_PEM.strip() + ROOT_PEM.strip(),
    "the label of old": ROOT_PEM.replace("CERTIFICATE", "X509 CERTIFICATE"),
    "other things beside it": f"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n{ROOT_PEM}",
}


@pytest.mark.parametrize("what", GOOD)
def test_forms_of_pem(what: str) -> None:
    @virtual
    async def run() -> None:
        check_roots([GOOD[what]])
        assert await reason([GOOD[what]], [leaf, issuer], False) is None

    run()


DER = root.public_bytes(Encoding.DER)


def armoured(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


BAD = {
    "empty": ("", "no certificate"),
    "words": ("nonsense", "no certificate"),
    "base64 without armour": (BODY, "no certificate"),
    "DER": (DER.decode("latin-1"), "no certificate"),
    "a key": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no certificate"),
    "cut off": (ROOT_PEM[:-30], "certificate 1"),
    "the end of another": (ROOT_PEM[:100] + ROOT_PEM, "certificate 1"),
    "no base64": ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "certificate 1"),
    "not ASCII": ("-----BEGIN CERTIFICATE-----\nüüüü\n-----END CERTIFICATE-----\n", "certificate 1"),
    "nothing": (armoured(b""), "certificate 1"),
    "no certificate inside": (armoured(b"\x30\x00"), "certificate 1"),
    "DER that is cut": (armoured(DER[:-1]), "certificate 1"),
    "DER with more behind it": (armoured(DER + b"x"), "certificate 1"),
    "the second of two": (ROOT_PEM + armoured(b"junk"), "certificate 2"),
    "with OpenSSL's trust": (ROOT_PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "certificate 1"),
}


@pytest.mark.feature("Sockets", "what is no certificate is refused at set-up, and named")
@pytest.mark.parametrize("what", BAD)
def test_what_is_no_certificate(what: str) -> None:
    text, where = BAD[what]
    with pytest.raises(OptionError) as caught:
        check_roots([ROOT_PEM, text])
    assert caught.value.option == "caCertificates"
    assert "item 1" in caught.value.message and where in caught.value.message
