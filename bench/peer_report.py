"""What `bench.peer` found, as lines, as docs/performance.md and as a picture.

    python -m bench.peer_report FILE [FILE...]

writes the page anew from reports that `--json` printed (the last line of each file): a page may have figures of several
commands, such as one without limits, one with `--cpu`, one with `--line` and one with `--minutes`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.peer_long import COUNTED
from bench.peer_picture import picture
from bench.peer_plan import CLIENTS, FIGURES
from bench.physical_limits import Facts, limits
from buildtools.common import DIST, NODE_MODULES, ROOT
from buildtools.report import FIRST_LOAD

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"

# What the official client's modules are that a page loads for set-up and fetch.
OFFICIAL = ("mix-tunnel/dist/esm/index.js", "mix-fetch/dist/index.js")

WEIGHED = """## What was weighed for the start

* **A snapshot among the files**, for first visits too. Python's memory with everything imported takes 3.9 MB in
  Zstandard's best form (3.4 as xz, 2.5 for the interpreter alone), the pack that it would replace 1.9, so a first load
  would be half as large again as it may be. There is next to nothing freed in it (0.1 MB): it holds 12 MB of objects,
  and pointers are a third of all words; with pointers relative to their places it compresses worse (4.6 MB). So the
  visitor's own browser makes it.
* **A pack that browsers unpack themselves**: Chromium has neither Zstandard nor Brotli for scripts. As gzip (2.4 MB
  with zopfli) it would be there in 25 ms instead of 100 to 160, and the first load 0.15 MB over its budget in brotli.
* **Less compilation**: of about 4 s of CPU until a first visit is ready the browser's optimizing compiler takes more
  than 2, in threads beside ours. Of a second visit, with a profile on disk, it takes 0.6: the browser keeps what it has
  compiled. No switch of a page's influences that.
* **Several cover packets in a row**, made when few are left, instead of one after each tick: no difference (idle CPU
  0.34 and 0.33 of a core).
"""

Report = dict[str, Any]


@cache
def _sizes(paths: tuple[Path, ...]) -> dict[str, int]:
    import brotli  # type: ignore[import-untyped, unused-ignore]

    data = [path.read_bytes() for path in paths]
    return {
        "raw": sum(map(len, data)),
        "gzip": sum(len(gzip.compress(part, 9, mtime=0)) for part in data),
        "brotli": sum(len(brotli.compress(part, quality=11)) for part in data),
    }


def shipped() -> dict[str, dict[str, int]]:
    """Bytes that a first visit loads, whole and compressed file by file."""
    return {
        "ours": _sizes(tuple(DIST / name for name in FIRST_LOAD)),
        "official": _sizes(tuple(NODE_MODULES / "@nymproject" / name for name in OFFICIAL)),
    }


def versions() -> dict[str, str]:
    """Of both clients and of what they ran on."""
    official = json.loads((NODE_MODULES / "@nymproject" / "mix-tunnel" / "package.json").read_text())
    return {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores",
        "processor": processor(),
        "python": platform.python_version(),
        "official": official["version"],
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


# -- tables -----------------------------------------------------------------------------------------


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _value(section: Mapping[str, Any], client: str, name: str, patience: float) -> str:
    """A figure; `never (300 s)` or `failed` where most runs did not have it; `-` where it was not tried."""
    if name not in section[client]:
        return "-"
    value, lost = section[client][name], section["failed"][client].get(name, 0)
    if value is None:
        return f"never ({patience:g} s)" if section["late"][client].get(name) else "failed"
    text = _number(value)
    return f"{text} ({lost} of {section['runs'][client]} failed)" if lost else text


def rows(section: Mapping[str, Any], patience: float) -> Iterator[tuple[str, str, str, str]]:
    """Of one section: what the figure is, with its unit; the official client's, ours, and the ratio."""
    for name, figure in FIGURES.items():
        if any(name in section[client] for client in CLIENTS):
            text = figure.text.format(**section["sizes"])
            official, ours = (_value(section, client, name, patience) for client in CLIENTS)
            yield f"{text}, {figure.unit}" if figure.unit else text, official, ours, _number(section["ratio"].get(name))


def long_rows(section: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Of one long run: what was counted; the official client's, ours."""
    for name, (text, unit) in COUNTED.items():
        official, ours = (_number(section.get(client, {}).get(name)) for client in CLIENTS)
        yield f"{text}, {unit}" if unit else text, official, ours


def _heading(section: Mapping[str, Any]) -> str:
    return f"{section['mode']}, {section['condition']}"


def lines(report: Report) -> list[str]:
    """The same for a terminal."""
    shown = []
    for section in report["sections"]:
        shown.append(f"{_heading(section):58}{'official':>18}{'ours':>18}{'ours / official':>18}")
        for text, official, ours, ratio in rows(section, report["patience"]):
            shown.append(f"  {text:56}{official:>18}{ours:>18}{ratio:>18}")
    for section in report["long"]:
        shown.append(f"{_heading(section)}, {report['minutes']:g} minutes".ljust(66) + f"{'official':>10}{'ours':>10}")
        shown += [f"  {text:64}{official:>10}{ours:>10}" for text, official, ours in long_rows(section)]
    if report["shipped"]:
        for kind in ("gzip", "brotli"):
            official, ours = (report["shipped"][client][kind] for client in CLIENTS)
            shown.append(f"first load, {kind:46}{official:>18}{ours:>18}{ours / official:>18.3g}")
    shown += [f"failed: {text}" for text in report["failures"]]
    return shown


# -- the page -----------------------------------------------------------------------------------------


def _table(head: Sequence[str], body: Iterator[tuple[str, ...]]) -> str:
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n" + "".join(f"| {' | '.join(row)} |\n" for row in body)


def _limit_rows(section: Mapping[str, Any], facts: Facts) -> Iterator[tuple[str, ...]]:
    for limit in limits(section, facts):
        figure = FIGURES[limit.figure]
        text = figure.text.format(**section["sizes"])
        reached = "-" if limit.reached is None else f"{limit.reached:.2f}"
        name = f"{text}, {figure.unit}" if figure.unit else text
        yield name, _number(limit.value), limit.reason, _number(limit.ours), reached, limit.rest


def merged(reports: Sequence[Report]) -> Report:
    """One report of several: all their sections; what there is only one of is the first's that has it."""
    result = dict(reports[0])
    for name in ("sections", "long", "failures"):
        result[name] = [item for report in reports for item in report[name]]
    result["limited_by"] = sorted({way for report in reports for way in report["limited_by"]})
    for name in ("facts", "shipped", "minutes"):
        result[name] = next((report[name] for report in reports if report[name]), None)
    return result


def page(report: Report) -> str:
    """docs/performance.md."""
    about, patience = report["versions"], report["patience"]
    facts = Facts(**report["facts"]) if report["facts"] else None
    parts = []
    for section in report["sections"]:
        heading = _heading(section)
        parts.append(f"## {heading[0].upper()}{heading[1:]}\n")
        runs = section["runs"]["ours"]
        parts.append(f"{runs} {'round' if runs == 1 else 'rounds'}.\n")
        parts.append(_table(("figure", "official", "ours", "ours / official"), rows(section, patience)))
        if facts:
            parts.append("What sets the limits of ours:\n")
            head = ("figure", "limit", "set by", "ours", "share of the limit", "what lies between")
            parts.append(_table(head, _limit_rows(section, facts)))
    for section in report["long"]:
        parts.append(f"## {report['minutes']:g} minutes, {_heading(section)}\n")
        parts.append(
            "Small fetch, idling, download, idling, in turns. Nothing is cut off on purpose, so every reconnect is "
            "false. The official client tells nothing of its state.\n"
        )
        parts.append(_table(("counted", "official", "ours"), long_rows(section)))
    if report["shipped"]:
        parts.append("## Bytes of a first load\n")
        parts.append(_table(("", "official", "ours", "ours / official"), _shipped_rows(report["shipped"])))
    if facts:
        parts.append("## The machine, as the limits know it\n")
        parts.append(_table(("what", "measured"), _fact_rows(facts)))
    parts.append(WEIGHED)
    parts.append("## Steps that failed or took too long\n")
    parts.append("".join(f"* {text}\n" for text in report["failures"]) or "None.\n")
    where = f"Chromium {report['chromium']}, Python {about['python']}, {about['machine']}"
    where += f" ({about['processor']})." if about["processor"] else "."
    if report["limited_by"]:
        where += f" Shares of a core and memory are given by: {', '.join(report['limited_by'])}."
    return f"""# Performance

The official client (`@nymproject/mix-tunnel` {about["official"]}, unmodified) and this one, in turns, in browsers that
have seen nothing yet, on one local network without delay; `defaults` is with Poisson and cover traffic, `switches off`
is without both. Medians of the rounds; a run that fails counts as worse than any number. Absolute times are this
machine's; the ratios are what counts.

![Ratios to the official client](performance.svg)

{where}

To repeat it, on a machine that does nothing else: `python3 build.py bench peer` writes this page; it measures under
such conditions with `--cpu 0.5,0.25`, `--line 100,50` (kB/s), `--loss 0.01`, `--memory 512` or `--minutes 10`. To put
the results of several commands on one page, keep what each prints with `--json`, and run
`.venv/bin/python -m bench.peer_report FILE...`.

{chr(10).join(parts)}"""


def _shipped_rows(sizes: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, ...]]:
    for kind in ("raw", "gzip", "brotli"):
        official, ours = (sizes[client][kind] for client in CLIENTS)
        yield kind, f"{official:,}", f"{ours:,}", f"{ours / official:.2f}"


def _fact_rows(facts: Facts) -> Iterator[tuple[str, ...]]:
    yield "packets per second that the local network carries", _number(facts.network_packets)
    for name, value in facts.to_dict().items():
        if name.endswith("_us"):
            yield f"`{name.removesuffix('_us')}` in a worker of Chromium, µs", _number(value)


def write(report: Report) -> None:
    """The page and its picture."""
    PICTURE.write_text(picture(report), encoding="utf-8")
    PAGE.write_text(page(report), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()
    try:
        reports = [json.loads(path.read_text().strip().splitlines()[-1]) for path in options.files]
    except (OSError, ValueError, IndexError) as error:
        parser.error(f"not a report: {error}")
    write(merged(reports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
