"""The whole page of the demo in each engine: every part loaded, every byte the origin's, nothing past the tunnel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildtools.common import DIST
from buildtools.engines import ENGINES, missing
from demo.check import Report
from demo.page_check import FILES, judge
from tests.browser.test_page_demo import demo

pytestmark = pytest.mark.timeout(240)
PARTS = {
    "styles and a font",
    "6 pictures",
    "scripts",
    "sound, and a seek",
    "video, and three seeks",
    "events",
    "files by fetch",
}


@pytest.mark.feature("Whole pages", "a page of another origin's pictures, styles, fonts, scripts, sound, video, events")
@pytest.mark.parametrize("engine", ENGINES)
async def test_whole_page(tmp_path: Path, engine: str) -> None:
    reason = missing(engine)
    if reason is not None:
        pytest.skip(reason)
    picture = tmp_path / "page.png"
    given = ("--once", "--json", "--page", "--engine", engine, "--dist", str(DIST), "--screenshot", str(picture))
    process = await demo(*given)
    output, errors = await process.communicate()
    assert process.returncode == 0, output.decode() + errors.decode()
    facts = json.loads(output.decode().splitlines()[-1])
    print(engine, {name: part["ms"] for name, part in facts["parts"].items()}, facts["counts"])
    assert set(facts["parts"]) == PARTS and set(facts["hashes"]) == set(FILES)
    assert (facts["state"], facts["other_requests"]) == ("ready", [])
    assert facts["counts"]["requests"] >= 20 and facts["counts"]["blocked"] == facts["counts"]["passed"] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_is_wrong_is_said() -> None:
    report = Report(facts={"parts": {"a": {"ok": False, "error": "no"}}, "hashes": {}, "error": {"message": "broken"}})
    report.facts["leaks"] = [{"kind": "request", "happened": True}]
    judge(report)
    assert len(report.failures) == 3 + len(FILES)
