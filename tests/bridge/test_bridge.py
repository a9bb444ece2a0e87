"""The conversation as such: set-up and end, ids, malformed messages, aborts, defects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.bridge.bridge import MAX_CHANNELS, OPERATIONS
from smolmix_web.errors import OptionError, SmolmixError, TimeoutExpired
from tests.bridge.stand_in import Body, Page, request, settle, tcp_request


async def test_set_up_tells_states_then_the_result() -> None:
    page = Page()
    page.say("setup", 7, options={"forceTls": False, "maxRedirects": 3.0})
    await settle()
    assert page.take() == [
        {"type": "state", "snapshot": {"state": "connecting", "step": "directory"}},
        {"type": "state", "snapshot": {"state": "ready", "step": None}},
        {"type": "result", "id": 7, "value": None},
    ]
    assert page.tunnel is not None and page.tunnel.options.max_redirects == 3
    page.say("setup", 8, options={})
    await settle()
    assert page.error(8) == ("already_set_up", "setup")
    assert page.open == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [({"forcetls": True}, "forcetls"), ({"debug": 1}, "debug"), ({"primaryDns": "x"}, "primaryDns")],
)
async def test_refused_options_are_named(options: dict[str, Any], name: str) -> None:
    page = Page()
    page.say("setup", options=options)
    await settle()
    assert page.error() == ("bad_option", "setup")
    assert page.posted[-1]["error"]["option"] == name
    assert page.posted[-1]["error"]["name"] == "OptionError"


async def test_an_option_that_only_the_tunnel_can_judge() -> None:
    page = Page(make=OptionError("preferredIpr", "no"))
    page.say("setup", options={})
    await settle()
    assert page.posted[-1]["error"]["option"] == "preferredIpr"


async def test_a_set_up_that_fails() -> None:
    page = Page(start=TimeoutExpired("too late", phase="gateway"))
    page.say("setup", options={})
    await settle()
    assert page.error() == ("gateway_timeout", "gateway")
    assert page.open == 0


@pytest.mark.parametrize("kind", [*OPERATIONS, "statistics"])
async def test_nothing_works_before_set_up(kind: str) -> None:
    page = Page()
    page.say(kind)
    await settle()
    assert page.error() == ("tunnel_down", "setup")


async def test_statistics_count_operations() -> None:
    page = Page(resolve=asyncio.Event())
    await page.set_up()
    page.say("resolve", 1, name="n", family=None)
    page.say("statistics", 2)
    await settle()
    assert page.take() == [{"type": "result", "id": 2, "value": {"operations": 1, "packets_sent": 3}}]


async def test_the_page_tells_of_the_network() -> None:
    page = Page()
    page.say("network", 1, online=False)  # nobody to tell yet
    tunnel = await page.set_up()
    for number, online in enumerate((False, True), 2):
        page.say("network", number, online=online)
    page.say("network", 4, online="yes")
    await settle()
    assert tunnel.networks == [False, True] and page.error(4) == ("bad_message", None)


async def test_the_page_rests_and_goes_on() -> None:
    closed = asyncio.Event()
    page = Page(suspend=closed)
    page.say("suspend", 1, on=True)
    await settle()
    assert page.error(1) == ("tunnel_down", "setup")
    tunnel = await page.set_up()
    page.say("suspend", 2, on=True)
    await settle()
    assert page.kinds(2) == [], "not before the connection is closed"
    closed.set()
    page.say("suspend", 3, on=False)
    page.say("suspend", 4, on=None)
    await settle()
    assert page.kinds(2) == page.kinds(3) == ["result"] and page.error(4) == ("bad_message", None)
    assert sorted(tunnel.rests) == [False, True]


async def test_disconnect_ends_everything_first() -> None:
    page = Page(resolve=asyncio.Event(), fetch=Body([b"x", asyncio.Event()]))
    tunnel = await page.set_up()
    page.say("resolve", 1, name="n", family=None)
    page.say("fetch", 2, request=request())
    await settle()
    page.say("disconnect", 3)
    await settle()
    assert page.error(1) == page.error(2) == ("tunnel_down", None)
    assert page.kinds(3) == ["result"]
    assert tunnel.state == "shutdown" and tunnel.cancelled == ["resolve"]
    assert page.meets["fetch"].aborted
    assert page.open == 0


async def test_disconnect_while_setting_up() -> None:
    page = Page(start=asyncio.Event())
    page.say("setup", 1, options={})
    await settle()
    page.say("disconnect", 2)
    await settle()
    assert page.error(1) == ("tunnel_down", None)
    assert page.kinds(2) == ["result"]
    assert page.tunnel is not None and page.tunnel.cancelled == ["start"]


async def test_abort_is_silent_and_frees_the_id() -> None:
    page = Page(resolve=asyncio.Event())
    tunnel = await page.set_up()
    page.say("resolve", name="n", family=4)
    await settle()
    page.say("abort")
    page.say("abort")  # crossed with nothing: void
    page.say("pull")
    await settle()
    assert page.take() == [] and page.open == 0 and tunnel.cancelled == ["resolve"]
    page.meets["resolve"] = None
    page.meets.pop("resolve")
    page.say("resolve", name="n", family=4)  # the id may be used again
    await settle()
    assert page.take() == [{"type": "result", "id": 1, "value": ["192.0.2.1", "192.0.2.2"]}]


async def test_an_id_in_use_is_ended() -> None:
    page = Page(resolve=asyncio.Event())
    await page.set_up()
    page.say("resolve", name="n", family=None)
    page.say("resolve", name="m", family=None)
    await settle()
    assert page.error() == ("bad_message", None) and page.open == 0


@pytest.mark.feature("Worker", "bounded operations: 1024 at once, the next is refused")
async def test_too_many_at_once() -> None:
    page = Page(resolve=asyncio.Event())
    await page.set_up()
    for number in range(MAX_CHANNELS + 1):
        page.say("resolve", number, name="n", family=None)
    await settle()
    assert page.error(MAX_CHANNELS) == ("too_many_operations", None)
    assert len(page.posted) == 1
    for number in range(MAX_CHANNELS):
        page.say("abort", number)
    await settle()
    assert page.open == 0


@pytest.mark.feature("Worker", "200 operations at once")
async def test_many_ids_answer_in_any_order() -> None:
    page = Page()
    await page.set_up()
    for number in range(200):
        page.say("resolve", number, name="n", family=None)
    await settle()
    assert sorted(message["id"] for message in page.posted) == list(range(200))
    assert page.open == 0


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"type": "resolve", "id": 1, "name": 5, "family": None}, "name"),
    ({"type": "resolve", "id": 1, "family": None}, "name"),
    ({"type": "resolve", "id": 1, "name": "n", "family": 5}, "family"),
    ({"type": "lookup", "id": 1, "name": "n", "rrtype": 1, "fresh": False}, "rrtype"),
    ({"type": "lookup", "id": 1, "name": "n", "rrtype": "A", "fresh": None}, "fresh"),
    ({"type": "lookup", "id": 1, "name": "n", "rrtype": "A", "fresh": True, "server": 5}, "server"),
    ({"type": "fetch", "id": 1}, "request"),
    ({"type": "fetch", "id": 1, "request": {}}, "streaming"),
    ({"type": "fetch", "id": 1, "request": request(), "data": "text"}, "data"),
    *(
        ({"type": "fetch", "id": 1, "request": request(**{name: value})}, name)
        for name, value in {
            "url": None,
            "method": 1,
            "redirect": 5,
            "maxRedirects": 1.5,
            "allowInsecureRedirects": None,
            "cookies": True,
            "integrity": None,
            "timeouts": [],
            "progress": 1,
        }.items()
    ),
    ({"type": "fetch", "id": 1, "request": request(streaming=True, length="1")}, "length"),
    ({"type": "fetch", "id": 1, "request": request(headers=[["a"]])}, "header"),
    ({"type": "websocket", "id": 1, "url": "ws://o/", "protocols": "chat", "headers": []}, "protocols"),
    ({"type": "websocket", "id": 1, "url": "ws://o/", "protocols": [], "headers": {}}, "headers"),
    ({"type": "tcp", "id": 1}, "request"),
    ({"type": "tcp", "id": 1, "request": tcp_request(port="80")}, "port"),
    ({"type": "tcp", "id": 1, "request": tcp_request(tls=True)}, "tls"),
    ({"type": "udp", "id": 1, "request": {"port": 1.5}}, "port"),
    ({"type": "ping", "id": 1, "host": "h", "timeout": "1"}, "timeout"),
]


@pytest.mark.parametrize(("message", "what"), MALFORMED)
async def test_malformed_messages_name_the_field(message: dict[str, Any], what: str) -> None:
    page = Page()
    await page.set_up()
    page.bridge.receive(message)
    await settle()
    assert page.error()[0] in ("bad_message", "bad_port")
    assert what in page.posted[-1]["error"]["message"]
    assert page.open == 0


@pytest.mark.parametrize(
    "verb",
    [
        {"type": "write"},
        {"type": "write", "data": 5},
        {"type": "write", "data": b"", "host": 5},
        {"type": "close"},
        {"type": "close", "code": "1000", "reason": ""},
        {"type": "nonsense"},
    ],
)
async def test_a_malformed_verb_ends_its_own_id_only(verb: dict[str, Any]) -> None:
    page = Page()
    await page.set_up()
    for number in (1, 2):
        page.say("tcp", number, request=tcp_request())
    await settle()
    page.bridge.receive({"id": 1, **verb})
    await settle()
    assert page.error(1)[0] == "bad_message"
    assert page.kinds(2) == ["opened"]


@pytest.mark.feature("Worker", "a defect ends one operation, not the worker")
async def test_a_defect_is_told_and_ends_one_id(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw reaches the page as `internal`, and the loop's handler with its traceback."""
    page = Page(resolve=ZeroDivisionError("oh"))
    await page.set_up()
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    page.say("resolve", name="n", family=None)
    await settle()
    assert page.error() == ("internal", None)
    assert "ZeroDivisionError: oh" in page.posted[-1]["error"]["message"]
    import gc

    gc.collect()
    assert [type(error) for error in reported] == [ZeroDivisionError]
    page.meets.pop("resolve")
    page.say("resolve", 2, name="n", family=None)
    await settle()
    assert page.kinds(2) == ["result"]


@pytest.mark.feature("Worker", "want of memory ends an operation with a typed error")
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RangeError: Array buffer allocation failed")])
async def test_want_of_memory_has_a_code_of_its_own(error: Exception) -> None:
    page = Page(resolve=error)
    await page.set_up()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    page.say("resolve", name="n", family=None)
    await settle()
    assert page.error() == ("out_of_memory", None)


async def test_a_message_that_there_is_no_memory_for_ends_its_id() -> None:
    """One that is open, and one that was to be opened by it."""
    page = Page(resolve=asyncio.Event())
    await page.set_up()
    page.say("resolve", 1, name="n", family=None)
    await settle()
    for number in (1, 2):
        page.bridge.unreadable(number, MemoryError())
        assert page.error(number)[0] == "out_of_memory"
    await settle()
    assert page.open == 0


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from([*OPERATIONS, "setup", "statistics", "pull", "write", "finish", "close", "abort", "nonsense"])
FIELDS = st.sampled_from(
    ["request", "url", "data", "host", "port", "name", "family", "options", "code", "protocols", "tls"]
)
MESSAGES = ANYTHING | st.builds(
    lambda kind, number, fields: {**fields, "type": kind, "id": number},
    KINDS,
    st.integers(0, 3),
    st.dictionaries(FIELDS, ANYTHING, max_size=3),
)


@given(st.lists(MESSAGES, max_size=8))
def test_no_message_raises(messages: list[Any]) -> None:
    """Whatever the page says: every answer is of the union, and everything ends with the ids' abort."""

    async def talk() -> None:
        page = Page()
        await page.set_up()
        for message in messages:
            page.bridge.receive(message)
            await settle()
        for number in range(4):
            page.say("abort", number)
        await settle()
        assert page.open == 0
        for message in page.posted:
            assert message["type"] in ("error", "result", "response", "opened", "end", "state")
            assert message["type"] != "error" or message["error"]["code"] != "internal", message

    asyncio.run(talk())


def test_errors_have_one_shape() -> None:
    cause = SmolmixError("why", code="connection_reset")
    error = SmolmixError("m", code="c", phase="p", reason="r")
    error.__cause__ = cause
    assert error.to_dict() == {
        "name": "SmolmixError",
        "code": "c",
        "phase": "p",
        "message": "m",
        "reason": "r",
        "retryable": False,
        "cause": cause.to_dict(),
    }
    assert cause.to_dict()["retryable"] and cause.to_dict()["cause"] is None
