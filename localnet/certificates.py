"""The network's own certificate authority, made at every start, and the certificates of its test servers."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

HTTP11 = ("http/1.1",)
HTTP2 = ("h2", "http/1.1")


class Authority:
    """One CA. `pem` is what clients must be given to trust it."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="localnet test network")
        self.pem = self._ca.cert_pem.bytes().decode()

    def write(self, directory: Path) -> Path:
        """Store the certificate as `ca.pem`; the key stays in memory."""
        path = directory / "ca.pem"
        path.write_text(self.pem)
        return path

    def context(self, names: Iterable[str], *, expired: bool = False, alpn: Sequence[str] = HTTP11) -> ssl.SSLContext:
        """A server context, TLS 1.2 and 1.3, for these host names or addresses."""
        not_after = datetime.now(UTC) - timedelta(days=1) if expired else None
        not_before = datetime.now(UTC) - timedelta(days=30) if expired else None
        issued = self._ca.issue_cert(*names, not_after=not_after, not_before=not_before)
        return _context(issued, alpn)


def self_signed_context(names: Iterable[str]) -> ssl.SSLContext:
    """A context whose certificate comes from an authority that nobody knows."""
    return _context(trustme.CA(organization_name="unknown").issue_cert(*names))


def _context(issued: trustme.LeafCert, alpn: Sequence[str] = HTTP11) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    issued.configure_cert(context)
    return context
