"""Authorities and certificates, made once."""

from __future__ import annotations

import datetime

import pytest
import trustme

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def root(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("origin.test", "*.wild.test", "192.0.2.1", "2001:db8::1")


@pytest.fixture(scope="session")
def expired_certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("origin.test", not_before=LONG_AGO - datetime.timedelta(days=30), not_after=LONG_AGO)
