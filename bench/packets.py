"""Microseconds of CPU per packet, under CPython and in a worker of a real Chromium.

    python -m bench.packets [--json] [--no-chromium]

`build_packet`: a regular 4-hop packet (version 259) with its ack inside, sealed as a frame for the gateway.
`receive_reply`: a pushed frame opened, its reply decrypted, its fragment parsed. `build_surb`: one reply SURB.
`hop`: one packet processed by a mix node (CPython only, where the local network runs). All are medians.

Chromium needs `dist/` (python3 build.py build); `python3 build.py bench packets` does both.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

CLIENT = ["build_packet", "receive_reply", "build_surb"]
IN_THE_PAGE = """
import sys

sys.path.insert(0, "/bench")
from packet_costs import measure

from smolmix_web.crypto import load_crypto

result = measure(load_crypto(), arguments)
"""


def under_cpython() -> dict[str, int]:
    from bench.packet_costs import measure
    from smolmix_web.crypto import load_crypto

    return measure(load_crypto(), [*CLIENT, "hop"])


def in_chromium() -> dict[str, int]:
    from browserkit.pyodide_page import PyodidePage

    with PyodidePage() as page:
        page.put_file(ROOT / "bench" / "packet_costs.py", "/bench/packet_costs.py")
        answer: dict[str, int] = page.run(IN_THE_PAGE, CLIENT)
        return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--no-chromium", action="store_true", help="CPython only")
    options = parser.parse_args()

    report: dict[str, Any] = {"cpython": under_cpython()}
    if not options.no_chromium:
        if not (ROOT / "dist" / "pyodide").is_dir():
            print("dist/pyodide does not exist: run `python3 build.py build` first", file=sys.stderr)
            return 1
        report["chromium"] = in_chromium()
    if options.json:
        print(json.dumps(report))
    else:
        for runtime, costs in report.items():
            for name, value in costs.items():
                print(f"{runtime:10}{name.removesuffix('_us'):16}{value:6} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
