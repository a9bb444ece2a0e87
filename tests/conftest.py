"""Fixtures of the whole suite: the crypto provider of this runtime, fixed vectors, a fixed Hypothesis profile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from smolmix_web.crypto import load_crypto
from smolmix_web.crypto.provider import Crypto
from smolmix_web.rand import SeededRandom

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def crypto() -> Crypto:
    return load_crypto()


@pytest.fixture(scope="session")
def nym_vectors() -> dict[str, Any]:
    """`tests/vectors/nym.json`: sections `sphinx` and `sphinx_official_client`."""
    data: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "nym.json").read_text())
    return data


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> SeededRandom:
    """A stream seeded by the test's own name."""
    return SeededRandom(request.node.nodeid)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Asked by buildtools/conformance.py: write down which test proves which feature, and what the tables hold."""
    target = os.environ.get("SMOLMIX_GATHER_FEATURES")
    if target is None:
        return
    from tests.beside import tables

    features = [
        (*mark.args, item.nodeid.partition("[")[0])
        for item in session.items
        for mark in reversed(list(item.iter_markers("feature")))
    ]
    found = {"features": features, "beside": tables.summary(), "differences": tables.differences()}
    Path(target).write_text(json.dumps(found))
