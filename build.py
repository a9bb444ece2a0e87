#!/usr/bin/env python3
"""Every task of the project: `build.py demo | test | build | docs | npm | release | localnet | bench | lint | ...`.

Needs python3 (3.11 or newer) and npm, nothing else: each command first makes what it needs (.venv and node_modules from
lock files, dist/, Chromium where a browser is used) and skips what is current. The work is in buildtools/.
"""

from __future__ import annotations

import argparse
import json
import sys

MINIMUM = (3, 11)
ENGINES = ("chromium", "firefox", "webkit")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="build.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    demo = commands.add_parser("demo", help="run the demo page once in a headless browser, then keep serving it")
    demo.add_argument("--once", action="store_true", help="exit after the check")
    demo.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    demo.add_argument("--page", action="store_true", help="check the whole page (page.html) instead of the first one")
    demo.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help=f"that browser ({ENGINES[0]})")
    demo.add_argument("--port", type=int, help="port of the demo site on 127.0.0.1")

    test = commands.add_parser("test", help="lint, types and tests; arguments after -- go to pytest")
    test.add_argument(
        "groups",
        nargs="*",
        metavar="unit|faults|linux|integration|browser|interop|docs|node|consumers",
        help="all but consumers by default (it downloads bundlers), without what takes long in linux",
    )

    test.add_argument("--engine", choices=ENGINES, help="for the group browser: another one than Chromium")

    build = commands.add_parser("build", help="make dist/ and print the size of every file; fails above the budget")
    build.add_argument("--json", action="store_true", help="print one JSON object as the last line")

    docs = commands.add_parser("docs", help="make the documentation site, dist/docs/; fails on any warning")
    docs.add_argument("--serve", action="store_true", help="show it on 127.0.0.1 and follow changes of the pages")
    docs.add_argument("--port", type=int, default=8000, help="where it is shown (8000)")

    commands.add_parser("npm", help="make the npm package smolmix-web and print the path of its tarball")

    release = commands.add_parser("release", help="make dist/ and the npm package, then look whether both may go out")
    release.add_argument("--check", action="store_true", help="make nothing, only look; each complaint is one line")

    commands.add_parser("localnet", help="run the local Nym network; its options follow", add_help=False)

    bench = commands.add_parser(
        "bench",
        help="measure; `packets`: the cost of one; `netstack`: TCP; `peer`: beside the official client;\n"
        "`start`: where its time goes; `runtimes`: Node.js and others; `soak`: faults; `privacy`: what others see;\n"
        "more: `bench peer --help`",
        add_help=False,
    )
    bench.add_argument("what", choices=["packets", "netstack", "peer", "start", "runtimes", "soak", "privacy"])
    bench.add_argument("--no-chromium", action="store_true", help="CPython only")

    commands.add_parser("conformance", help="write docs/conformance.md from the marks of the tests")
    commands.add_parser("lint", help="ruff, mypy, import-linter and tsc only")
    commands.add_parser("setup", help="make .venv and node_modules only")
    commands.add_parser("lock", help="resolve pyproject.toml and package.json into the lock files anew")
    return top


def main(arguments: list[str]) -> int:
    from buildtools import checks, chromium, common, conformance, dist, docs, npm, release, report, setup

    own, passed_on = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, passed_on = arguments[:at], arguments[at + 1 :]
    if own[:1] == ["localnet"]:
        setup.ensure_venv()
        return common.call([common.PYTHON, "-m", "localnet", *own[1:], *passed_on], env=common.tool_environment())
    options, others = parser().parse_known_args(own)
    if others and options.command != "bench":
        parser().error(f"unknown arguments: {' '.join(others)}")
    if passed_on and options.command != "test":
        parser().error("arguments after -- are for pytest: only `test` takes them")
    match options.command:
        case "setup":
            setup.ensure_venv()
            setup.ensure_node()
        case "lock":
            setup.lock_dependencies()
        case "conformance":
            setup.ensure_venv()
            conformance.write()
        case "lint":
            outcomes = checks.lint()
            return 0 if all(outcome.ok for outcome in outcomes) else 1
        case "build":
            dist.ensure_dist()
            files = report.shipped_files()
            print(report.table(files))
            if options.json:
                print(json.dumps(report.summary(files)))
            report.check_budget(files)
        case "docs":
            if options.serve:
                return docs.serve(options.port)
            print(docs.ensure_docs() / "index.html")
        case "npm":
            tarball = npm.ensure_package()
            npm.check_entries()
            print(tarball)
        case "release":
            if not options.check:
                npm.ensure_package()
            return release.check()
        case "test":
            for group in options.groups:
                if group not in checks.GROUPS:
                    parser().error(f"no test group {group!r}: choose from {', '.join(checks.GROUPS)}")
            if options.engine and options.groups != ["browser"]:
                parser().error("--engine is for the group browser, alone")
            return checks.test(options.groups, passed_on, engine=options.engine)
        case "demo":
            dist.ensure_dist()
            command = [common.PYTHON, "-m", "demo.run", "--dist", common.DIST, "--engine", options.engine]
            command += ["--once"] if options.once else []
            command += ["--json"] if options.json else []
            command += ["--page"] if options.page else []
            command += ["--port", str(options.port)] if options.port is not None else []
            return common.call(command, env=common.tool_environment())
        case "bench":
            command = [common.PYTHON, "-m", f"bench.{options.what}"]
            command += ["--docs"] if options.what == "netstack" else []
            command += others
            if options.no_chromium:
                setup.ensure_venv()
                return common.call([*command, "--no-chromium"], env=common.tool_environment())
            dist.ensure_dist()
            return common.call(command, env=common.tool_environment(CHROMIUM=chromium.ensure_chromium()))
    return 0


if __name__ == "__main__":
    if sys.version_info < MINIMUM:
        sys.exit("build.py needs Python 3.11 or newer, this is {}.{}".format(*sys.version_info))
    from buildtools.common import TaskError

    try:
        sys.exit(main(sys.argv[1:]))
    except TaskError as error:
        sys.exit(f"build.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
