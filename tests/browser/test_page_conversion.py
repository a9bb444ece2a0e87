"""What crosses between JavaScript and Python in the worker: values arrive as plain Python, and nothing stays behind."""

from __future__ import annotations

import pytest

from browserkit.pyodide_page import PyodidePage

# What the product's worker registers and PyodidePage does not.
MODULES = """
import js, pyodide_js
for name in ("smolmix_answer", "smolmix_guard", "smolmix_host", "smolmix_storage"):
    pyodide_js.registerJsModule(name, js.eval("({ stopped: () => 0 })"))
"""

TO_PYTHON = (
    MODULES
    + """
from smolmix_web.bridge.conversion import to_python
made = js.eval('''({
  text: "ü", whole: 5, half: 1.5, big: 2 ** 53, yes: true, nothing: null, missing: undefined,
  bytes: new Uint8Array([1, 2, 3]), part: new Uint8Array([1, 2, 3, 4]).subarray(1, 3), empty: new Uint8Array(0),
  list: [null, [1, {deep: null}]], date: new Date(), function: () => 1,
})''')
value = to_python(made.to_py())
plain = (str, int, float, bool)
result = {name: [type(item).__name__, item if isinstance(item, plain) else None] for name, item in value.items()}
result["bytes"] = [type(value["bytes"]).__name__, list(value["bytes"])]
result["part"] = list(value["part"])
result["empty"] = list(value["empty"])
result["list"] = value["list"]
"""
)

THROUGH_THE_BRIDGE = (
    MODULES
    + """
import asyncio
from pyodide.ffi import to_js
from smolmix_web.bridge import worker

posted = js.Array.new()
post = js.eval("(posted) => (message, transfer) => posted.push(structuredClone(message, {transfer}))")(posted)
receive = worker.start(post, False)
say = js.eval('(receive, text) => receive(JSON.parse(text))')
send_bytes = js.eval('(receive) => receive({type: "write", id: 9, data: new Uint8Array(3)})')
say(receive, '{"type": "statistics", "id": 1}')
say(receive, '{"type": "setup", "id": 2, "options": {"forceTls": "yes"}}')
say(receive, '{"type": "setup", "id": 3, "options": null}')
say(receive, '{"type": 5}')
send_bytes(receive)
await asyncio.sleep(0.05)
result = js.JSON.stringify(posted)
import json
result = json.loads(result)
receive.destroy()
"""
)

# Python's memory at its highest while 8 MB cross, in bodies; tracemalloc sees every allocation of the interpreter.
COPIES = (
    MODULES
    + """
import _tracemalloc as tracemalloc  # the module around it is not in the browser
from types import SimpleNamespace
from smolmix_web.bridge import worker

SIZE = 8_000_000
received, posts = [], []
sent = js.Array.new()
post = js.eval("(sent) => (message, transfer) => sent.push([message, transfer])")(sent)
Bridge = worker.Bridge
worker.Bridge = lambda post, *_: posts.append(post) or SimpleNamespace(receive=received.append)
receive = worker.start(post, False)
worker.Bridge = Bridge

def highest(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / SIZE

send = js.eval("(receive, message) => receive(message)")
up = js.eval(f"new Uint8Array({SIZE}).fill(7)")
write = js.eval("(data) => ({type: 'write', id: 1, data})")(up)
upward = highest(lambda: send(receive, write))
message = received.pop()
whole = [type(message["data"]).__name__, len(message["data"]), message["data"][-1], message["type"], message["id"]]
message = None
down = bytes(SIZE)
downward = highest(lambda: posts[0]({"type": "chunk", "id": 1, "data": down}))
posted, transfer = sent[0]
given = [posted.data.length, posted.data.buffer.byteLength, transfer.length, transfer[0].byteLength]
receive.destroy()
result = [upward, whole, downward, given]
"""
)


@pytest.mark.feature("Worker", "bodies are copied once between the languages, in both directions")
def test_bodies_are_copied_once(pyodide_page: PyodidePage) -> None:
    upward, whole, downward, given = pyodide_page.run(COPIES)
    assert 1 <= upward < 1.1 and whole == ["bytes", 8_000_000, 7, "write", 1]
    assert downward < 0.1, "the one copy is JavaScript's"
    assert given == [8_000_000, 8_000_000, 1, 8_000_000], "a buffer of its own size, in the list of what is transferred"


def test_values_become_plain_python(pyodide_page: PyodidePage) -> None:
    got = pyodide_page.run(TO_PYTHON)
    assert got.pop("date")[0] == got.pop("function")[0] == "JsProxy"
    assert got == {
        "text": ["str", "ü"],
        "whole": ["int", 5],
        "half": ["float", 1.5],
        "big": got["big"],
        "yes": ["bool", True],
        "nothing": ["NoneType", None],
        "missing": ["NoneType", None],
        "bytes": ["bytes", [1, 2, 3]],
        "part": [2, 3],
        "empty": [],
        "list": [None, [1, {"deep": None}]],
    }
    assert got["big"][1] == 2**53


def test_messages_go_through_the_worker_s_function(pyodide_page: PyodidePage) -> None:
    got = pyodide_page.run(THROUGH_THE_BRIDGE)
    assert [(message["type"], message["id"]) for message in got] == [("error", 1), ("error", 2), ("error", 3)]
    assert [message["error"]["code"] for message in got] == ["tunnel_down", "bad_option", "bad_message"]
    assert got[1]["error"]["option"] == "forceTls" and got[0]["error"]["phase"] == "setup"
    assert got[2]["error"]["phase"] is None, "None is null, not undefined"
