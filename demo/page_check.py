"""Opens the whole page (`site/page.html`) in one of the engines and judges what it loaded, and which way.

Its bytes are compared with what the origin serves, its requests with the browser's own witness (`witness.py`): site,
directory and gateway, and nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from localnet import media
from localnet.names import ORIGIN
from localnet.origin import PAGE_FILES, body_bytes

from .check import Report, Say, browsing, finished, open_page
from .recorder import Allowed, Recorder
from .witness import witness

URL = f"https://{ORIGIN.name}"
# What the page fetches to compare: path at the origin, and the bytes there.
FILES: dict[str, bytes] = {
    "/picture/160x125?seed=0": media.picture(160, 125, "0"),
    "/sound/20": media.sound(20),
    "/video": media.video(),
    "/font": media.font(),
    "/bytes/50000": body_bytes(50_000),
    **{f"/page/{name}": text.encode() for name, (_, text) in PAGE_FILES.items()},
}


async def check_article(
    site: str, allowed: Allowed, *, engine: str = "chromium", screenshot: Path | None = None, say: Say = print
) -> Report:
    """Run the page once. Never raises for what the page or the browser did: that is in the report."""
    report = Report(facts={"engine": engine, "state": "unknown"})
    async with witness(engine) as seen:
        async with browsing(engine, seen, report) as browser:
            page = await open_page(browser, engine, f"{site}/", "page.html", report, say)
            report.facts.update(await finished(page, "article", report, screenshot))
        judge(report)
        # The driver tells of requests that a Service Worker answered as of any other: only the witness counts.
        others = seen.others(Recorder(allowed))
        if seen.mentions(ORIGIN.name):
            others.append(f"look-up of {ORIGIN.name} outside the tunnel")
        report.facts["other_requests"] = others
        if others:
            report.failures.append(f"requests outside site, directory and gateway: {', '.join(others)}")
    return report


def judge(report: Report) -> None:
    """Every part loaded, and every byte is the origin's."""
    facts = report.facts
    if facts.get("error"):
        report.failures.append(f"the page: {facts['error'].get('message')}")
    for name, part in facts.get("parts", {}).items():
        if not part.get("ok"):
            report.failures.append(f"{name}: {part.get('error')}")
    for path, data in FILES.items():
        found = facts.get("hashes", {}).get(path)
        if found != hashlib.sha256(data).hexdigest():
            report.failures.append(f"{path}: the SHA-256 is {found}, not the origin's")
    happened = [leak for leak in facts.get("leaks", []) if leak.get("happened")]
    if happened:
        report.failures.append(f"the page's own look: {happened}")


def describe(report: Report) -> list[str]:
    """The run in plain lines."""
    facts = report.facts
    lines = [f"{name:<20}{part.get('ms', '-'):>7} ms" for name, part in facts.get("parts", {}).items()]
    counts = facts.get("counts") or {}
    if counts:
        lines.append(f"through the tunnel  {counts['requests']} requests, {counts['bytes']} bytes of bodies")
    lines.append(f"anywhere else       {len(facts.get('other_requests', []))}")
    if report.failures:
        lines += [f"console     {line}" for line in report.console[-20:]]
    return lines + [f"FAILED      {failure}" for failure in report.failures]
