"""Two-sample and one-sample tests of distributions, without SciPy: Kolmogorov-Smirnov and chi-square."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Verdict(NamedTuple):
    statistic: float
    p: float  # of a statistic as large if there were no difference


def _kolmogorov(root_n: float, distance: float) -> Verdict:
    """The asymptotic law, with Stephens' correction for finite samples."""
    x = distance * (root_n + 0.12 + 0.11 / root_n)
    if x < 0.3:
        return Verdict(distance, 1.0)
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101))
    return Verdict(distance, min(1.0, max(0.0, p)))


def ks_law(samples: Sequence[float], law: Callable[[float], float]) -> Verdict:
    """Do the samples follow this cumulative distribution?"""
    ordered, n = sorted(samples), len(samples)
    distance = max(max((i + 1) / n - law(x), law(x) - i / n) for i, x in enumerate(ordered))
    return _kolmogorov(math.sqrt(n), distance)


def ks_two(left: Sequence[float], right: Sequence[float]) -> Verdict:
    """Do both follow one distribution? Equal values count once, whichever sample they are of."""
    a, b = sorted(left), sorted(right)
    distance = max(abs(bisect_right(a, x) / len(a) - bisect_right(b, x) / len(b)) for x in {*a, *b})
    return _kolmogorov(math.sqrt(len(a) * len(b) / (len(a) + len(b))), distance)


def _chi_square_tail(statistic: float, degrees: int) -> float:
    """Wilson and Hilferty's normal approximation."""
    if degrees < 1:
        return 1.0
    spread = 2 / (9 * degrees)
    z = ((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2))


def chi_square_two(left: Sequence[int], right: Sequence[int]) -> Verdict:
    """Do the counts of two histograms over the same bins follow one distribution?"""
    n, m = sum(left), sum(right)
    statistic, bins = 0.0, 0
    for a, b in zip(left, right, strict=True):
        if a + b:
            bins += 1
            statistic += (a * math.sqrt(m / n) - b * math.sqrt(n / m)) ** 2 / (a + b)
    return Verdict(statistic, _chi_square_tail(statistic, bins - 1))


def chi_square_even(counts: Sequence[int]) -> Verdict:
    """Are all bins equally likely?"""
    expected = sum(counts) / len(counts)
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    return Verdict(statistic, _chi_square_tail(statistic, len(counts) - 1))
