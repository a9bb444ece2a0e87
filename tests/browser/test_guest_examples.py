"""The examples of docs/pyodide.md and examples/pyodide run in a Pyodide of somebody else's, and print what they say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from buildtools.common import ROOT
from tests.browser.guest_session import GuestPage, GuestSession, guest_session
from tests.examples import examples, expected, local, needs_pyodide, pages_with

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

PAGE = ROOT / "docs" / "pyodide.md"
FOLDER = ROOT / "examples" / "pyodide"
URL = "https://origin.test/bytes/5000"
PYSCRIPT = "pyscript.html"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GuestSession]:
    async with guest_session(tmp_path_factory.mktemp("guest") / "site") as session:
        yield session


# The index, the environment, and for the documentation's `open_tunnel()` the options of the local network.
PREPARE = """
import functools, json, os, sys
import pyodide_js
await pyodide_js.loadPackage("micropip")
import micropip
micropip.set_index_urls(index)
os.environ["SMOLMIX_OPTIONS"], os.environ["SMOLMIX_URL"] = json.dumps(options), url
given = options
install = micropip.install

async def install_and_lead(*args, **rest):
    await install(*args, **rest)
    place = __import__("smolmix_web.pyodide").pyodide
    if documented and not isinstance(place.open_tunnel, functools.partial):
        place.open_tunnel = functools.partial(place.open_tunnel, **given)

micropip.install = install_and_lead
names = {"__name__": "__main__"}
"""

RUN = """
from pyodide.code import eval_code_async

printed = []
names["print"] = lambda *values, **_: printed.append(" ".join(map(str, values)))
if "port" in globals():
    names["port"] = port
await eval_code_async(example, names)
printed
"""


async def prepare(guest: GuestPage, *, documented: bool = False) -> None:
    index = f"{guest.site.url}/simple/{{package_name}}/"
    await guest.run(PREPARE, index=index, options=guest.options, url=URL, documented=documented)


@pytest.mark.feature("Pyodide", "every example of docs/pyodide.md")
async def test_every_example(guests: GuestSession) -> None:
    others = [path for path in pages_with("python").values() if path != PAGE]
    parts = [local(part) for path in others for part in examples(path, "python") if needs_pyodide(part)]
    assert parts
    parts += map(local, examples(PAGE, "python"))
    [lending] = examples(PAGE, "js")
    lending = re.sub(r"import \{ (\w+) \} from (.*);", r"const { \1 } = await import(\2);", lending)
    async with guests.open("page", ours=True) as guest:
        await prepare(guest, documented=True)
        for part in parts:
            if "port" in part:
                await guest.page.evaluate(f"async (options) => {{ {lending} }}", guest.page_options)
            assert await guest.run(RUN, example=part) == expected(part), part
        assert guest.recorder.others() == []


def cells() -> str:
    notebook: dict[str, Any] = json.loads((FOLDER / "notebook.ipynb").read_text())
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")


PROGRAMS = {
    "httpx_client.py": [r"HTTP/\S+ 200, 5000 bytes, \d+ ms"] * 3,
    "requests_patched.py": [r"through the tunnel: .*requests.*guard", *["200, 5000 bytes"] * 2],
    "notebook.ipynb": [
        "the tunnel is ready",
        r"200 5000 bytes, HTTP \S+ TLSv1.3",
        "200 5000 bytes",
        "203.0.114.10 2a0e:6a80:114::a|2a0e:6a80:114::a 203.0.114.10",
        "the tunnel is shutdown",
    ],
}


def test_none_is_left_out() -> None:
    assert {*PROGRAMS, PYSCRIPT, "README.md"} == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.feature("Pyodide", "the examples: httpx, requests, a notebook")
async def test_program(guests: GuestSession, name: str) -> None:
    """In a worker, as in JupyterLite."""
    code = cells() if name.endswith(".ipynb") else (FOLDER / name).read_text()
    async with guests.open("worker") as guest:
        await prepare(guest)
        printed = await guest.run(RUN, example=code)
        assert len(printed) == len(PROGRAMS[name]), printed
        for line, pattern in zip(printed, PROGRAMS[name], strict=True):
            assert re.fullmatch(pattern, line), line
        assert guest.recorder.others() == []


@pytest.mark.feature("Pyodide", "a PyScript page, from its own server alone, also from PyScript's cache of packages")
async def test_a_pyscript_page(guests: GuestSession) -> None:
    async with guests.open("nowhere") as guest:
        page = guest.page
        page.on("console", lambda message: print(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: print(f"uncaught: {error}"))
        for visit in ("first", "second"):
            await page.goto(f"{guest.site.url}/examples/{PYSCRIPT}?options={quote(json.dumps(guest.options))}")
            began = time.monotonic()
            await page.locator("#state", has_text="The tunnel is ready.").wait_for(timeout=120_000)
            print(f"{visit} visit: ready after {time.monotonic() - began:.1f} s")
            for url, told in (
                ("https://origin.test/text", "200, HTTP 1.1, https://origin.test/text\n\nHello from the origin.\n"),
                ("https://expired.test/", "tls_certificate: "),
            ):
                await page.locator("#url").fill(url)
                await page.locator("#fetch").click()
                answer = page.locator("#answer", has_text=re.compile("."))
                await answer.wait_for(timeout=60_000)
                text = await answer.text_content()
                assert text is not None and text.startswith(told), text
                await page.evaluate("""document.querySelector("#answer").textContent = "";""")
        assert guest.recorder.others() == []
