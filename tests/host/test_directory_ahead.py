"""What the worker asks of the directory ahead of Python: the same requests, each once, none that Python would not."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from buildtools.common import ROOT
from smolmix_web.mixnet.directory import fields_of
from smolmix_web.mixnet.directory_query import DirectoryQuery
from smolmix_web.tunnel.directory_loader import MAX_ANSWER
from smolmix_web.tunnel.options import MAINNET_DIRECTORY, TunnelOptions, option_table

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")


def node(script: str, *given: Any) -> Any:
    """What the body of an async function returns; it has `planOf`, `createDirectory` and `given`."""
    assert NODE is not None
    source = f"""import {{ createDirectory, planOf }} from "./javascript/worker/directory.js";
    const given = JSON.parse(process.argv[1]);
    const run = async () => {{ {script} }};
    process.stdout.write(JSON.stringify(await run()));"""
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", source, json.dumps(given)],
        cwd=ROOT, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def plans(*options: Any) -> list[Any]:
    found: list[Any] = node("return given.map(planOf);", *options)
    return found


def expected(query: DirectoryQuery, directories: tuple[str, ...]) -> dict[str, Any]:
    requests = [{"url": directories[0] + path, "fields": fields_of(path)} for path in query.requests()]
    return {"directories": list(directories), "requests": requests}


def test_they_are_pythons_requests_in_pythons_order() -> None:
    everything, mixnet_alone = plans({"debug": True, "clientId": None}, {"exit": "none"})
    assert everything == expected(DirectoryQuery.for_start(), MAINNET_DIRECTORY)
    assert mixnet_alone == expected(DirectoryQuery.for_topology(), MAINNET_DIRECTORY)
    # As text they are compared when Python takes an answer.
    texts = node("return planOf({}).requests.map(({ fields }) => JSON.stringify(fields));")
    paths = DirectoryQuery.for_start().requests()
    assert texts == [json.dumps(fields_of(path), separators=(",", ":")) for path in paths]


ADDRESSES = [
    "https://validator.nymtech.net/api/", "https://validator.nymtech.net/api", "http://127.0.0.1:8080", "http://[::1]:1/",
    "https://a.example", "https://a.example/x/y.z/", "https://a.example//", "https://a.example/x//", "https://a.example:443/",
    "HTTPS://a.example/", "https://A.example/", "https://a.example/%7Ex", "https://a.example/a/../b", "https://a.example/ä",
    "https://bücher.example/", "https://user@a.example/", "https://a.example/?", "https://a.example/#", "https://a.example/?a=b",
    " https://a.example/", "https:a.example/", "ftp://a.example/", "a.example", "", "https://a.example\\x", "http://1/",
]  # fmt: skip


def test_where_it_asks_python_would_ask_there() -> None:
    """An address is used ahead only in the one form that both sides give it."""
    lists = [*([one] for one in ADDRESSES), [ADDRESSES[1], ADDRESSES[2]], [ADDRESSES[0], ADDRESSES[-1]]]
    ahead = 0
    for urls, plan in zip(lists, plans(*({"directoryUrls": urls} for urls in lists)), strict=True):
        if plan is not None:
            options = TunnelOptions.from_mapping({"directoryUrls": urls})
            assert plan == expected(DirectoryQuery.for_start(), options.directory_urls), urls
            ahead += 1
    assert 6 <= ahead < len(lists) - 10


def test_nothing_is_asked_where_the_options_leave_a_doubt() -> None:
    doubtful: list[Any] = [
        None, 1, "text", {"topology": {}}, {"topology": "{}"}, {"exit": "maybe"}, {"directoryUrl": "https://a.example/"},
        {"directoryUrls": []}, {"directoryUrls": "https://a.example/"}, {"directoryUrls": {"0": "https://a.example/"}},
        {"directoryUrls": [1]}, {"directoryUrls": [None]}, {"directoryUrls": ["https://a.example/", "?"]},
        {"debug": "yes"}, {"forceTls": 1}, {"connectTimeoutMs": "10"}, {"preferredIpr": 5}, {"toString": True},
    ]  # fmt: skip
    assert plans(*doubtful) == [None] * len(doubtful)


def test_it_knows_every_option_and_its_types() -> None:
    samples: dict[str, list[Any]] = {
        "str": ["text"], "bool": [True], "int": [1], "tuple": [["x"], "x"], "Mapping": [{"a": 1}],
        "Timeouts": [{"a": 1}], "ServerAddress": ["1.1.1.1:53"],
    }  # fmt: skip
    decisive = {"topology", "directoryUrls", "exit"}
    tried = [
        {option["name"]: value}
        for option in option_table()
        for value in samples[option["type"].split(" ")[0].split("[")[0]]
        if option["name"] not in decisive
    ]
    assert len(tried) >= len(option_table()) - len(decisive)
    assert None not in plans(*tried)
    assert plans(*({option["name"] + "X": "text"} for option in option_table())) == [None] * len(option_table())


# A guard that notes what it is asked, and answers with the path, or as `answers` says.
GUARD = """
const asked = [], set = [], aborted = [];
const answers = {};
const guard = {
  setDirectories: (urls) => set.push(urls),
  fetchDirectory: async (url, signal) => {
    asked.push(url);
    signal?.addEventListener("abort", () => aborted.push(url));
    if (answers[url]) return answers[url]();
    const body = JSON.stringify({ path: new URL(url).pathname });
    return new Response(body, { headers: { "content-type": "application/json" } });
  },
};
const directory = createDirectory(guard);
const plan = planOf({});
const signal = new AbortController().signal;
const text = ({ status, type, body }) => ({ status, type, body: body && new TextDecoder().decode(body) });
const take = ({ url, fields }, max = given[0]) => directory.ask(url, max, JSON.stringify(fields), signal);
"""


def test_python_takes_each_answer_once_and_nothing_is_asked_twice() -> None:
    found = node(
        GUARD
        + """directory.begin({});
        const before = asked.length;
        const first = await Promise.all(plan.requests.map((request) => take(request)));
        const during = asked.length;
        await take(plan.requests[0]);
        return { before, during, after: asked.length, set, order: asked.slice(0, 5), first: text(first[0]) };""",
        MAX_ANSWER,
    )
    urls = [MAINNET_DIRECTORY[0] + path for path in DirectoryQuery.for_start().requests()]
    assert (found["before"], found["during"], found["after"]) == (5, 5, 6)
    assert found["order"] == urls and found["set"] == [list(MAINNET_DIRECTORY)]
    assert found["first"] == {
        "status": 200, "type": "application/json", "body": '{"path":"/api/v1/nym-nodes/rewarded-set"}',
    }  # fmt: skip


def test_failures_are_told_to_who_takes_them_and_what_is_left_is_called_off() -> None:
    found = node(
        GUARD
        + """const [first, second, third] = plan.requests;
        answers[first.url] = () => { throw new TypeError("no network"); };
        answers[second.url] = () => new Response("gone", { status: 500 });
        answers[third.url] = () => new Response("x".repeat(20));
        directory.begin({});
        const failed = await take(first).catch((error) => String(error));
        const refused = text(await take(second));
        const long = text(await take(third, 10));
        answers[first.url] = undefined;
        const again = text(await take(first));
        const left = plan.requests.length - 3;
        return { failed, refused, long, again, left, asked: asked.length, aborted: aborted.length };""",
        MAX_ANSWER,
    )
    assert found["failed"] == "TypeError: no network"
    assert found["refused"]["status"] == 500 and found["refused"]["body"] == "gone"
    assert found["long"]["body"] is None
    assert found["again"]["status"] == 200
    assert found["asked"] == 6 and found["aborted"] == found["left"] == 2


def test_it_is_read_as_python_wants_it_also_where_that_is_something_else() -> None:
    found = node(
        GUARD
        + """const { url } = plan.requests[2];
        const body = JSON.stringify({ metadata: { a: 1 }, nodes: { other: 1, data: [] }, more: true });
        answers[url] = () => new Response(body);
        const read = async (fields) => {
          directory.begin({});
          return text(await directory.ask(url, given[0], fields, signal)).body;
        };
        return [await read(JSON.stringify(plan.requests[2].fields)), await read('{"more":true}')];""",
        MAX_ANSWER,
    )
    assert found == ['{"metadata":{"a":1},"nodes":{"data":[]}}', '{"more":true}']


def test_a_request_that_python_gives_up_is_called_off() -> None:
    found = node(
        GUARD
        + """const stop = new AbortController();
        directory.begin({});
        const waiting = directory.ask(plan.requests[0].url, given[0], "true", stop.signal);
        stop.abort();
        await waiting.catch(() => {});
        return aborted;""",
        MAX_ANSWER,
    )
    assert found == [MAINNET_DIRECTORY[0] + "v1/nym-nodes/rewarded-set"]
