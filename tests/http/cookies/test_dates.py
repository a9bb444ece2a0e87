"""Dates of cookies: everything that servers have ever sent, and what is no date."""

from __future__ import annotations

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.http.cookies.dates import parse_date

NOV = float(calendar.timegm((1994, 11, 6, 8, 49, 37)))


@pytest.mark.feature("Fetch", "cookies: dates by the algorithm of RFC 6265bis")
@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 6-Nov-1994 8:49:37 GMT",
        "06 Nov 1994 08:49:37 +0200",
        "1994 6 Nov 08:49:37",
        "Nov 6 94 08:49:37",
        "6 november 1994 08:49:37",
        "6 NOV 1994 08:49:37",
        "Sun;06,Nov/1994@08:49:37",
        "06th Nov 1994ad 08:49:37.5Z",
        "6 7 Nov Dec 1994 08:49:37 10:00:00",  # of several the first one counts; 7 has too few digits for a year
    ],
)
def test_dates(text: str) -> None:
    assert parse_date(text) == NOV


@pytest.mark.parametrize(("year", "full"), [("69", 2069), ("70", 1970), ("99", 1999), ("00", 2000), ("1601", 1601)])
def test_years(year: str, full: int) -> None:
    assert parse_date(f"1 Jan {year} 00:00:00") == calendar.timegm((full, 1, 1, 0, 0, 0))


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "never", "Sun, 06 Nov 1994", "06 Nov 08:49:37", "06 1994 08:49:37", "Nov 1994 08:49:37",
        "06 Nov 1994 08:49", "06 Nov 1994 24:00:00", "06 Nov 1994 08:60:00", "06 Nov 1994 08:49:60",
        "32 Nov 1994 08:49:37", "0 Nov 1994 08:49:37", "31 Nov 1994 08:49:37", "29 Feb 1994 08:49:37",
        "06 Nov 1600 08:49:37", "06 Nov 19941 08:49:37", "06 Nov 1994 008:49:37", "06 Nov 1994 08:49:371",
        "06 Nvo 1994 08:49:37", "\u0666 Nov 1994 08:49:37",
    ],
)  # fmt: skip
def test_no_dates(text: str) -> None:
    assert parse_date(text) is None


@given(st.text(alphabet="0123456789: -,JanFebGMT", max_size=60))
def test_anything_is_a_date_or_none(text: str) -> None:
    found = parse_date(text)
    assert found is None or isinstance(found, float)


@given(st.integers(-11_000_000_000, 250_000_000_000))
def test_round_trip(seconds: int) -> None:
    year, month, day, hour, minute, second, *_ = _gmtime(seconds)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    assert parse_date(f"{day:02} {months[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT") == seconds


def _gmtime(seconds: int) -> tuple[int, ...]:
    import datetime

    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return moment.timetuple()[:6]
