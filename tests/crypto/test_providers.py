"""Which provider a runtime gives, and `cryptography` as a choice inside the browser."""

from __future__ import annotations

import sys

import pytest

from smolmix_web.crypto import load_crypto, pyca_crypto
from smolmix_web.crypto.distribution import fetch_pyca
from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import OptionError
from smolmix_web.rand import SeededRandom

IN_BROWSER = sys.platform == "emscripten"


def test_auto_is_what_the_runtime_bundles() -> None:
    assert load_crypto().name == load_crypto("auto").name == ("browser" if IN_BROWSER else "pyca")


@pytest.mark.parametrize("choice", ["", "openssl", "PYCA", "none"])
def test_unknown_providers_are_refused(choice: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_crypto(choice)
    assert caught.value.option == "crypto"
    assert repr(choice) in caught.value.message


@pytest.mark.skipif(IN_BROWSER, reason="there the provider exists")
def test_the_browser_provider_needs_a_browser() -> None:
    with pytest.raises(OptionError):
        load_crypto("browser")


@pytest.mark.skipif(not IN_BROWSER, reason="needs Pyodide")
def test_pyca_in_the_browser_or_a_clear_refusal(crypto: Crypto) -> None:
    """Runs where the Pyodide distribution offers a wheel of `cryptography`; elsewhere the option is refused by name."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        with pytest.raises(OptionError) as caught:
            load_crypto("pyca")
        assert "cryptography" in caught.value.message
        pytest.skip("this Pyodide distribution has no wheel of cryptography; the refusal was checked instead")
    _same_bytes(load_crypto("pyca"), crypto)


@pytest.mark.skipif(IN_BROWSER, reason="tests/browser has its page side")
def test_there_is_nothing_to_fetch_outside_a_page() -> None:
    with pytest.raises(StopIteration):
        fetch_pyca().send(None)


def test_pyca_takes_blake3_from_elsewhere(crypto: Crypto) -> None:
    """As in a browser whose distribution has `cryptography` but not `blake3`."""
    pyca = pytest.importorskip(
        "smolmix_web.crypto.pyca", reason="package cryptography is missing here", exc_type=ImportError
    )
    calls = []

    def blake3(data: bytes) -> bytes:
        calls.append(len(data))
        return crypto.blake3(data)

    _same_bytes(pyca.PycaCrypto(blake3), crypto)
    assert calls


def test_pyca_without_any_blake3_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pyca = pytest.importorskip(
        "smolmix_web.crypto.pyca", reason="package cryptography is missing here", exc_type=ImportError
    )
    monkeypatch.setattr(pyca, "_native_blake3", None)
    with pytest.raises(ImportError):
        pyca.PycaCrypto()
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(OptionError) as caught:
        pyca_crypto()
    assert "blake3" in caught.value.message


def _same_bytes(first: Crypto, second: Crypto) -> None:
    rng = SeededRandom("two providers")
    secret, peer, data = rng.bytes(32), first.x25519_base(rng.bytes(32)), rng.bytes(1611)
    assert first.header_secrets(secret, [peer] * 4) == second.header_secrets(secret, [peer] * 4)
    assert first.seal_fragment(secret, peer, data) == second.seal_fragment(secret, peer, data)
    assert first.open_fragment(secret, peer + data) == second.open_fragment(secret, peer + data)
    assert first.blake3(data) == second.blake3(data)
    assert first.aes256_gcm_siv_seal(secret, bytes(12), data) == second.aes256_gcm_siv_seal(secret, bytes(12), data)
    assert first.lioness_encrypt([bytes(192)], data) == second.lioness_encrypt([bytes(192)], data)
