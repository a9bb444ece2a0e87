"""A paced download from a kernel: it must not take the reordering of three mixes for loss."""

from __future__ import annotations

import statistics

import pytest

from tests.linux.paced import download


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_kernel_repeats_little_of_a_paced_download() -> None:
    """Of 220 segments; told of each hole at once it repeats 19."""
    runs = [download(seed, 300_000) for seed in range(8)]
    assert statistics.median(run.repeated for run in runs) <= 13, runs
