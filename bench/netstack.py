"""How fast the TCP stack is: on bad paths in virtual time, and on the CPU.

    python -m bench.netstack [--json] [--no-chromium] [--docs]

Prints tables; with `--docs` also writes docs/netstack.md and docs/netstack.svg. What is simulated (bench/
netstack_scenarios.py) repeats exactly. Segments per second are measured under CPython and in a worker of a real
Chromium, which needs `dist/` (python3 build.py build); `python3 build.py bench netstack` does all of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench import netstack_report as report
from bench.netstack_quick import measure
from bench.netstack_scenarios import (
    ack_economy,
    fairness,
    first_bytes,
    smoltcp_setting,
    standing_queue,
    steady_fraction,
)
from smolmix_web.netstack.tcp.congestion import Cubic, NewReno, PathModel
from smolmix_web.tunnel.assembly import QUEUE_TARGET

ROOT = Path(__file__).resolve().parent.parent
LOSSES = (0, 1, 5, 10, 20, 30)  # per cent
ROUND_TRIPS = (0.3, 1.0, 2.0)
MIXNET_LOSSES = (0, 1, 5)
CPU_BYTES = 8_000_000
IN_THE_PAGE = """
import sys

sys.path.insert(0, "/bench")
from netstack_quick import measure

measure(2_000_000)
result = measure(arguments)
"""


def controllers() -> list[dict[str, Any]]:
    """The mixnet setting under each congestion controller: why the default is what it is."""
    return [
        {
            "name": name,
            "fractions": [
                round(steady_fraction(rtt, loss / 100, congestion=factory), 3)
                for rtt in ROUND_TRIPS
                for loss in MIXNET_LOSSES
            ],
            "fairness": round(fairness(congestion=factory)[0], 3),
        }
        for name, factory in (("path model", PathModel), ("CUBIC", Cubic), ("NewReno", NewReno))
    ]


def queues(**tcp: Any) -> list[dict[str, Any]]:
    cases = []
    for rtt, rate, hops in ((0.2, 200_000, 0.0), (0.3, 250_000, 0.0), (0.5, 100_000, 0.0), (0.2, 250_000, 0.1)):
        longer, used = standing_queue(rtt, rate, hops=hops, **tcp)
        path = f"{rtt} s" + (f" and {hops} s each way" if hops else "")
        cases.append({"path": path, "rate": rate, "longer": round(longer, 2), "used": round(used, 3)})
    return cases


def simulated() -> dict[str, Any]:
    compared = controllers()
    cases = [(rtt, loss) for rtt in ROUND_TRIPS for loss in MIXNET_LOSSES]
    first = []
    for rtt in ROUND_TRIPS:
        connect, established = first_bytes(rtt)
        first.append({"rtt": rtt, "since_connect": round(connect, 2), "since_established": round(established, 2)})
    return {
        "smoltcp_setting": {str(loss): round(smoltcp_setting(loss / 100)) for loss in LOSSES},
        "mixnet_setting": [
            {"rtt": rtt, "loss": loss / 100, "fraction": fraction}
            for (rtt, loss), fraction in zip(cases, compared[0]["fractions"], strict=True)
        ],
        "first_200kb": first,
        "fairness": compared[0]["fairness"],
        "fairness_at": [{"rtt": rtt, "index": round(fairness(rtt=rtt)[0], 3)} for rtt in (1.0, 2.0)],
        "standing_queue": queues(),
        "queue_of_a_download": [
            {"limit": limit, "cases": queues(congestion=Cubic, queue_target=limit)} for limit in (0.0, QUEUE_TARGET)
        ],
        "ack_economy": [{"rtt": rtt} | ack_economy(rtt=rtt) for rtt in (0.3, 0.6, 1.5)],
        "controllers": compared,
    }


def rates(costs: dict[str, float]) -> dict[str, int]:
    return {half: round(1e6 / costs[f"{half}_us"]) for half in ("receive", "send")}


def under_cpython() -> dict[str, int]:
    measure(CPU_BYTES // 4)
    return rates(measure(CPU_BYTES))


def in_chromium() -> dict[str, int]:
    from browserkit.pyodide_page import PyodidePage  # CPython alone needs no Playwright

    with PyodidePage() as page:
        page.put_file(ROOT / "bench" / "netstack_quick.py", "/bench/netstack_quick.py")
        return rates(page.run(IN_THE_PAGE, CPU_BYTES))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--no-chromium", action="store_true", help="CPython only")
    parser.add_argument("--docs", action="store_true", help="write docs/netstack.md and docs/netstack.svg")
    options = parser.parse_args()
    if not options.no_chromium and not (ROOT / "dist" / "pyodide").is_dir():
        print("dist/pyodide does not exist: run `python3 build.py build` first", file=sys.stderr)
        return 1

    result = simulated()
    result["segments_per_s"] = {"cpython": under_cpython()}
    if not options.no_chromium:
        result["segments_per_s"]["chromium"] = in_chromium()
    print(report.tables(result))
    if options.docs:
        (ROOT / "docs" / "netstack.md").write_text(report.document(result), encoding="utf-8")
        (ROOT / "docs" / "netstack.svg").write_text(report.plot(result), encoding="utf-8")
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
