"""Run cases by hand and watch the wire: `python -m tests.packetscript [-v] [name or topic ...]`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from .language import load
from .runner import CaseFailed, Runner, run_case

CASES = Path(__file__).parent / "cases"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.packetscript", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of case names, or topics (file names); all when left out")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every packet")
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    for path in sorted(CASES.glob("*.pkt.txt")):
        for case in load(path):
            if arguments.names and not any(name == case.topic or name in case.name for name in arguments.names):
                continue
            trace: Runner | None = None
            try:
                trace = run_case(case)
                outcome = "passed" if case.xfail is None else "passed although expected to fail"
            except (CaseFailed, TypeError) as error:
                outcome = "failed" if case.xfail is None else "expected to fail"
                if case.xfail is None or arguments.verbose:
                    print(f"\n{error}\n")
            counts[case.topic, outcome] += 1
            if arguments.verbose and trace is not None:
                print(f"=== {case.name}: {case.intent}", *trace.trace, sep="\n  ")
    for (topic, outcome), count in sorted(counts.items()):
        print(f"{topic:16} {outcome:34} {count:4}")
    print(f"{'all':51} {sum(counts.values()):4}")
    return any("although" in outcome or outcome == "failed" for _, outcome in counts)


if __name__ == "__main__":
    sys.exit(main())
