"""Certificate chains of any shape: each certificate by its name, its key, and who signed it."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Party:
    """A name and its key."""

    name: str
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, name: str) -> Party:
        return cls(name, ec.generate_private_key(ec.SECP256R1()))

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])

    def sign(
        self,
        subject: Party,
        *,
        authority: bool = True,
        host: str | None = None,
        permitted: str | None = None,
        expired: bool = False,
    ) -> x509.Certificate:
        """A certificate for `subject`: of an authority that may sign for names below `permitted`, or for a host."""
        until = datetime.datetime.now(datetime.UTC) + (-_DAY if expired else 90 * _DAY)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject.subject)
            .issuer_name(self.subject)
            .public_key(subject.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - 120 * _DAY)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        if permitted is not None:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(permitted)], None), critical=True)
        return builder.sign(self.key, hashes.SHA256())


def pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode("ascii") for certificate in certificates)


def chain_context(server: Party, chain: Sequence[x509.Certificate]) -> ssl.SSLContext:
    """A server that sends `chain`, its own certificate first."""
    key = server.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "chain.pem")
        path.write_text(key.decode("ascii") + pem(*chain))
        context.load_cert_chain(path)
    return context
