"""Microseconds of CPU per packet, under CPython and in a worker of a real Chromium.

    python -m bench.packets [--json] [--no-chromium] [--beside DIR]

`build_packet`: a regular 4-hop packet (version 259) with its ack inside, sealed as a frame for the gateway.
`receive_reply`: a pushed frame opened, its reply decrypted, its fragment parsed. `build_surb`: one reply SURB.
`hop`: one packet processed by a mix node (CPython only, where the local network runs). All are medians.

`--beside`: another checkout with a dist/ of its own, for example of older code, is measured in the same run, in turns
(its own workload where it has one), and the ratios this / other are given: a machine's own speed changes with the day.
Chromium needs `dist/` (python3 build.py build); `python3 build.py bench packets` does both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

CLIENT = ["build_packet", "receive_reply", "build_surb"]
TURNS = 3  # of each checkout, when two are measured
TURN_LIMIT = 300.0  # s
IN_THE_PAGE = """
import sys

sys.path.insert(0, "/bench")
from packet_costs import measure

from smolmix_web.crypto import load_crypto

result = measure(load_crypto(), arguments)
"""
Costs = dict[str, int]


class TurnFailed(Exception):
    """A checkout could not be measured."""


def under_cpython() -> Costs:
    from bench.packet_costs import measure
    from smolmix_web.crypto import load_crypto

    return measure(load_crypto(), [*CLIENT, "hop"])


def in_chromium(names: Sequence[str] = CLIENT) -> Costs:
    from browserkit.pyodide_page import PyodidePage

    with PyodidePage() as page:
        page.put_file(ROOT / "bench" / "packet_costs.py", "/bench/packet_costs.py")
        answer: Costs = page.run(IN_THE_PAGE, list(names))
        return answer


def one_turn(checkout: Path, *, chromium: bool) -> dict[str, Costs]:
    """What a checkout says of itself, in a process of its own. Raises `TurnFailed`."""
    command = [sys.executable, "-m", "bench.packets", "--json", *([] if chromium else ["--no-chromium"])]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    try:
        done = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=TURN_LIMIT, check=False
        )
        report: dict[str, Costs] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise TurnFailed(f"{checkout}: no answer within {TURN_LIMIT:g} s") from None
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TurnFailed(f"{checkout}: {last}") from None
    return {runtime: report[runtime] for runtime in ("cpython", "chromium") if runtime in report}


def beside(other: Path, *, chromium: bool) -> dict[str, Any]:
    """Both checkouts in turns: medians of each, and the ratios this / other of what both have."""
    turns: dict[Path, list[dict[str, Costs]]] = {ROOT: [], other: []}
    for number in range(TURNS):
        for checkout in (ROOT, other) if number % 2 == 0 else (other, ROOT):
            turns[checkout].append(one_turn(checkout, chromium=chromium))
            print(f"turn {number + 1} of {TURNS}: {checkout}", file=sys.stderr, flush=True)
    this, that = medians(turns[ROOT]), medians(turns[other])
    return {**this, "beside": that, "ratio": ratios(this, that)}


def medians(turns: Sequence[dict[str, Costs]]) -> dict[str, Costs]:
    """Of each cost of each runtime, over the turns."""
    return {
        runtime: {name: round(statistics.median(turn[runtime][name] for turn in turns)) for name in costs}
        for runtime, costs in turns[0].items()
    }


def ratios(this: dict[str, Costs], that: dict[str, Costs]) -> dict[str, dict[str, float]]:
    """this / that, of the costs that both have."""
    return {
        runtime: {
            name.removesuffix("_us"): round(value / that[runtime][name], 3)
            for name, value in costs.items()
            if that[runtime].get(name)
        }
        for runtime, costs in this.items()
        if runtime in that
    }


def lines(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    shown = []
    for runtime in ("cpython", "chromium"):
        for name, value in report.get(runtime, {}).items():
            short = name.removesuffix("_us")
            line = f"{runtime:10}{short:16}{value:6} us"
            if (ratio := report.get("ratio", {}).get(runtime, {}).get(short)) is not None:
                line += f"{report['beside'][runtime][name]:8} us there{ratio:8.2f}"
            shown.append(line)
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--no-chromium", action="store_true", help="CPython only")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout, measured in turns with this one")
    options = parser.parse_args()
    chromium = not options.no_chromium
    for checkout in [ROOT] + ([options.beside] if options.beside else []):
        if not (checkout / "bench" / "packets.py").is_file():
            parser.error(f"{checkout} is not a checkout of this project")
        if chromium and not (checkout / "dist" / "pyodide").is_dir():
            parser.error(f"{checkout}/dist/pyodide does not exist: run `python3 build.py build` there first")
    report: dict[str, Any]
    if options.beside:
        try:
            report = beside(options.beside.resolve(), chromium=chromium)
        except TurnFailed as error:
            print(f"bench.packets: {error}", file=sys.stderr)
            return 1
    else:
        report = {"cpython": under_cpython(), **({"chromium": in_chromium()} if chromium else {})}
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(lines(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
