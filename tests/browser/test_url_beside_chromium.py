"""Thousands of URLs read under CPython as Chromium reads them, but for a few differences that are known."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from tests.http.url_cases import ASK, Case, cases, differences

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# Within the brackets of an IPv6 address Chromium maps characters first, and takes zeros that lead.
LAX_IPV6 = re.compile(r"\[[^\]/?#]*(%|[^\x00-\x7f]|:0[0-9]+\.)")


def as_chromium(case: Case, ours: list[str], theirs: list[str]) -> list[str]:
    if not ours and theirs:
        # A space within a host becomes %20 in Chromium; in a page we refuse that ourselves.
        return theirs if "%20" in theirs[3] or LAX_IPV6.search(case[0]) else []
    if not ours:
        return ours
    scheme, user, password, host, port, path, *rest, href = ours
    changed = [user.replace("'", "%27"), password.replace("'", "%27"), host.replace("*", "%2A"), port]
    at = href.index("@") if user or password else 0
    href = href[:at].replace("'", "%27") + href[at:].replace(host, changed[2], 1)
    return [scheme, *changed, path.replace("|", "%7C"), *rest, href.replace(path, path.replace("|", "%7C"), 1)]


async def test_urls_are_read_as_chromium_reads_them() -> None:
    given = cases()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=launch_arguments())
        page = await browser.new_page()
        # As JSON: lone surrogates do not cross otherwise.
        answers = json.loads(
            await page.evaluate(f"(text) => JSON.stringify(({ASK})(JSON.parse(text)))", json.dumps(given))
        )
        await browser.close()
    assert sum(answer is not None for answer in answers) > 3000
    found = differences(given, answers, as_chromium)
    assert not found, (len(found), found[:20])
