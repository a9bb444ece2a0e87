"""Facts of both clients compared: which differ, why, and who could use it; docs/privacy.md and the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.peer_plan import CLIENTS
from bench.privacy_facts import DRAWN, EXACT, NOTHING, RATES, alike, middle, recurring
from bench.privacy_reasons import DIRECTORY, FINGERPRINT, NOT_MEASURED, REASONS, SHOWS_STILL
from bench.privacy_records import Recording
from bench.privacy_samples import ONE_PERCENT, blurred, summary, told_apart
from buildtools.common import NODE_MODULES, ROOT

PAGE = ROOT / "docs" / "privacy.md"
NOT_LOOKED_INTO = "not looked into"
QUIET = 0.25  # share of the cores that others took before anything ran, beyond which times and rates prove nothing
BUSY = "the machine had other things to do: to be measured again"
BLURRED = (
    "the machine, which runs the network as well, is late under load: of the activities in which the official client "
    "sends by its clock alone as many pairs are told apart"
)
LONGEST = 150  # characters of a value on the page
SHOWS = ("rate.download", "rate.upload")  # of ours these have to be alike with `rate.idle`: else activity shows


@dataclass(frozen=True)
class Difference:
    """`between`: "clients", or "users" of ours, or "activities" of ours, for which there is no excuse."""

    fact: str
    between: str
    reason: str
    use: str


def facts(recordings: Sequence[Recording]) -> dict[str, str]:
    """All facts of the users of one client as texts."""
    found = {name: " | ".join(dict.fromkeys(fact.read(one) for one in recordings)) for name, fact in EXACT.items()}
    for name, drawn in DRAWN.items():
        found[name] = recurring(drawn.read(one) for one in recordings)
    for name, rate in RATES.items():
        value = middle(rate.read(one) for one in recordings)
        found[name] = "-" if value is None else f"{value:.3g}"
    return found


def differences(recordings: Mapping[str, Sequence[Recording]]) -> list[Difference]:
    ours, official = (recordings[client] for client in ("ours", "official"))
    mine, theirs = facts(ours), facts(official)
    found = [_between_clients(name) for name in (*EXACT, *DRAWN) if mine[name] != theirs[name]]
    for name, fact in EXACT.items():
        if len({fact.read(one) for one in ours}) > 1:
            found.append(Difference(name, "users", NOT_LOOKED_INTO, "whoever sees it"))
    for name in DRAWN:
        if "twice" in mine[name] and mine[name] != "never twice":
            found.append(Difference(name, "users", NOT_LOOKED_INTO, "whoever sees it"))
    rates = {
        name: [middle(rate.read(one) for one in runs) for runs in (ours, official)] for name, rate in RATES.items()
    }
    excuse = BUSY if max(one.load for one in (*ours, *official)) > QUIET else NOT_LOOKED_INTO
    found += [_between_clients(name, excuse) for name, (own, other) in rates.items() if not alike(own, other)]
    for name in SHOWS:
        if not alike(rates[name][0], rates["rate.idle"][0]):
            found.append(Difference(name, "activities", excuse, "gateway"))
    blur = BLURRED if excuse != BUSY and blurred(ours, official) else excuse
    found += [Difference("gaps", "activities", blur, f"gateway: {pair}") for pair in told_apart(ours)]
    return found


def _between_clients(name: str, otherwise: str = NOT_LOOKED_INTO) -> Difference:
    return Difference(name, "clients", *REASONS.get(name, (otherwise, "whoever sees it")))


def report(recordings: Mapping[str, Sequence[Recording]]) -> dict[str, Any]:
    """For JSON and the page."""
    values = {client: facts(recordings[client]) for client in CLIENTS}
    vantage: dict[str, dict[str, Any]] = {}
    for name, fact in {**EXACT, **DRAWN, **RATES}.items():
        both = {client: values[client][name] for client in CLIENTS}
        vantage.setdefault(fact.seen_by, {})[name] = {"what": fact.what, **both}
    return {
        "runs": min(map(len, recordings.values())),
        "load": max(one.load for runs in recordings.values() for one in runs),
        "vantage": vantage,
        "missing": [name for name, value in values["ours"].items() if value in (NOTHING, "-")],
        "activities": {client: summary(recordings[client]) for client in CLIENTS},
        "differences": [asdict(difference) for difference in differences(recordings)],
        "failures": {
            client: sorted({text for one in recordings[client] for text in one.failures}) for client in CLIENTS
        },
    }


def unexplained(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [difference for difference in found["differences"] if difference["reason"] == NOT_LOOKED_INTO]


def text(found: Mapping[str, Any]) -> str:
    """For the terminal: what differs."""
    lines = []
    values = {name: row for facts_of_one in found["vantage"].values() for name, row in facts_of_one.items()}
    for difference in found["differences"]:
        row = values.get(difference["fact"], dict.fromkeys(CLIENTS, difference["use"]))
        lines += [f"{difference['fact']} ({difference['between']}): {difference['reason']}"]
        lines += [f"    {client}: {row[client][:400]}" for client in CLIENTS]
    if found["missing"]:
        lines.append(f"nothing seen of ours: {', '.join(found['missing'])}")
    if found["load"] > QUIET:
        lines.append(f"the machine was busy ({found['load']:.0%} of its cores): its rates prove nothing")
    if stale := set(REASONS) - {difference["fact"] for difference in found["differences"]}:
        lines.append(f"reasons without a difference: {', '.join(sorted(stale))}")
    for client in CLIENTS:
        lines.append(f"activities, {client}: {found['activities'][client]}")
    return "\n".join([*lines, f"{len(found['differences'])} differences, {len(unexplained(found))} without a reason"])


# -- the page -------------------------------------------------------------------------------------------------------


def page(found: Mapping[str, Any]) -> str:
    """docs/privacy.md."""
    version = json.loads((NODE_MODULES / "@nymproject" / "mix-tunnel" / "package.json").read_text())["version"]
    parts = [INTRODUCTION.format(version=version, runs=found["runs"])]
    if found["load"] > QUIET:
        parts.append(UNDER_LOAD.format(load=found["load"]))
    for seen_by, rows in found["vantage"].items():
        parts.append(f"\n## Seen by the {seen_by.removeprefix('the ')}\n\n| fact | what | ours | official | same |\n")
        parts.append("|---|---|---|---|---|\n")
        same = {one["fact"]: "not known" if one["reason"] == BUSY else "no" for one in found["differences"]}
        parts.extend(_rows(rows, same))
    parts.append(_activities(found["activities"]))
    parts.append(SHOWS_STILL + DIRECTORY)
    parts.append("\n## Why they differ\n\n| fact | why | who could use it |\n|---|---|---|\n")
    for name, (reason, use) in REASONS.items():
        parts.append(f"| `{name}` | {reason} | {use} |\n")
    parts.append(FINGERPRINT + ENDING)
    return "".join(parts)


def _activities(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The two-sample tests."""
    lines = [ACTIVITIES_HEAD]
    for client in CLIENTS:
        row = found[client]
        smallest = "-" if row["smallest"] is None else f"{row['smallest']:.2g}"
        apart = "; ".join(row["told_apart"]) or "none"
        lines.append(f"| {client} | {row['pairs']} | {row['below']} | {smallest} | {apart} |\n")
    return "".join(lines)


def _rows(rows: Mapping[str, Mapping[str, str]], same: Mapping[str, str]) -> Iterator[str]:
    for name, row in rows.items():
        cells = [f"`{name}`", row["what"], _cell(row["ours"]), _cell(row["official"]), same.get(name, "yes")]
        yield f"| {' | '.join(cells)} |\n"


def _cell(value: str) -> str:
    shown = value if len(value) <= LONGEST else value[:LONGEST] + " ..."
    return shown.replace("|", "\\|").replace("\n", " ")


def write(found: Mapping[str, Any]) -> None:
    PAGE.write_text(page(found), encoding="utf-8")


UNDER_LOAD = """
**This run was on a busy machine** ({load:.0%} of its cores were taken before it began). Everything is as exact as ever
but times and rates: ours goes down [the ladder](traffic.md#the-ladder) when others take the machine's time, and up when
they stop, so rates of different minutes differ; the official client's packets come late and in bursts. Rows that begin
with `rate.` and the activities below are of that, and wait for a quiet machine.
"""

ACTIVITIES_HEAD = f"""
## What the gateway can tell of an activity

Five seconds each of nothing, single fetches, downloads, uploads, a slow stream, WebSocket messages and questions for
names. The gaps between packets of each two of them are compared by Kolmogorov and Smirnov's two-sample test. By chance
one pair in a hundred has a p of {ONE_PERCENT} or less; pairs count as told apart where that happens more than once.
Network, browser and server share this machine, and what they take makes packets late. So the official client is the
control group, where it sends by its clock alone: a difference of ours counts where it has fewer. The same tests run
over thousands of packets in virtual time (`tests/engine/test_simnet_shape.py`), where nothing is late.

| client | pairs tested | p of {ONE_PERCENT} or less | smallest p | told apart |
|---|---|---|---|---|
"""

INTRODUCTION = """# Privacy, measured

What each party sees of a user of this client, and of one of the official client (`@nymproject/mix-tunnel` {version},
unmodified), both in Chromium on one local network. Each of {runs} users of each client has a fresh profile, sets a
tunnel up, idles, asks for a name, fetches over HTTP and HTTPS, opens a WebSocket, downloads, uploads, does one thing
after another, loses its connection, is offline for a while, ends, comes back once and leaves the page, and comes back
again until its process dies. `python3 build.py bench privacy --docs` writes this page, `--from FILE --docs` of what
`--keep FILE` has kept. It fails where a difference has no reason below,
where two users of ours can be told apart, where something is seen twice that must be new each time, and where more or
less leaves when a user is busy than when idle. Rates are measured, and the same within 30 %.
"""

ENDING = f"""
## What is not measured

{NOT_MEASURED}"""
