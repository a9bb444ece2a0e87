"""docs/conformance.md is what the marks of the tests say."""

import pytest

from buildtools import conformance
from buildtools.common import TaskError

pytestmark = pytest.mark.cpython


def test_the_page_is_current() -> None:
    page = conformance.render(conformance.gather(), conformance.deviations())
    assert conformance.PAGE.read_text() == page, "run: python3 build.py conformance"


def test_tests_are_grouped_by_feature() -> None:
    marks = [("Fetch", "b", "tests/x.py::one"), ("Fetch", "a", "tests/x.py::one"), ("Fetch", "b", "tests/x.py::one")]
    page = conformance.render(conformance.Gathered(marks), {"Fetch": [("No cache.", "A tunnel has none.")]})
    assert page.endswith(
        "\n## Fetch\n\n| feature | shown by |\n|---|---|\n| a | `x.py::one` |\n| b | `x.py::one` |\n"
        "\nKnown deviations:\n\n* No cache. Reason: A tunnel has none.\n"
    )
    with pytest.raises(TaskError, match="is not one of"):
        conformance.render(conformance.Gathered([("Cooking", "a", "tests/x.py::one")]), {})


def test_what_was_tried_beside_chromium_is_counted() -> None:
    gathered = conformance.Gathered([], [("heads", 5, 1), ("bodies", 2, 0)], [("heads", "no colon", "It is safer.")])
    page = conformance.render(gathered, {})
    assert "| heads | 5 | 4 | 1 |\n| bodies | 2 | 2 | 0 |\n| all | 7 | 6 | 1 |\n" in page
    assert page.endswith("\nDifferent on purpose:\n\n* heads: no colon. Reason: It is safer.\n")
