"""A certificate of an authority of its own, in files, for TLS of the standard library."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[str, str, str]:
    """Paths of the authority, and of the certificate and key for `a.test`."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("a.test")
    paths = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(paths[0])
    issued.cert_chain_pems[0].write_to_path(paths[1])
    issued.private_key_pem.write_to_path(paths[2])
    return str(paths[0]), str(paths[1]), str(paths[2])
