"""What engines do by themselves with media and a Service Worker, without any code of ours: the limits that
docs/whole-pages.md names. When one of these fails an engine has changed, and the page is to be mended.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from browserkit.engines import launch
from browserkit.server import StaticServer
from buildtools.common import DIST
from buildtools.engines import ENGINES, missing
from localnet import media
from tests.browser.service_session import BLANK

pytestmark = [pytest.mark.timeout(120)]

# Answers for a host that is nowhere with a file of the site, by ranges, and tells which requests it has seen.
SCRIPT = """const seen = [];
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", (event) => event.source.postMessage(seen.splice(0)));
addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (url.hostname !== "nowhere.invalid") return;
  seen.push([request.mode, request.destination]);
  event.respondWith((async () => {
    const file = await fetch(url.pathname);
    const data = await file.arrayBuffer(), headers = new Headers({ "content-type": file.headers.get("content-type") });
    const range = /bytes=(\\d+)-/.exec(request.headers.get("range") ?? "");
    if (!range) return new Response(data, { headers });
    headers.set("content-range", `bytes ${range[1]}-${data.byteLength - 1}/${data.byteLength}`);
    return new Response(data.slice(Number(range[1])), { status: 206, headers });
  })());
});
"""
CONTROL = """async () => {
  await navigator.serviceWorker.register("/answers.js");
  for (const end = performance.now() + 10_000; !navigator.serviceWorker.controller && performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return Boolean(navigator.serviceWorker.controller);
}"""
# How the load ends, which requests came to the Service Worker, and whether a script may look at the picture.
LOAD = """async ([tag, path, crossOrigin]) => {
  const player = Object.assign(document.createElement(tag), { muted: true, preload: "auto", crossOrigin });
  const ended = new Promise((resolve) => {
    player.addEventListener("loadeddata", () => resolve("loaded"));
    player.addEventListener("error", () => resolve("error"));
    setTimeout(resolve, 15_000, "nothing");
  });
  player.src = `https://nowhere.invalid${path}`;
  document.body.append(player);
  const end = await ended;
  let readable = null;
  if (tag === "video" && end === "loaded") {
    const context = document.createElement("canvas").getContext("2d");
    context.drawImage(player, 0, 0);
    try { readable = Boolean(context.getImageData(0, 0, 1, 1)); } catch (error) { readable = error.name; }
  }
  const asked = new Promise((resolve) => { navigator.serviceWorker.onmessage = ({ data }) => resolve(data); });
  navigator.serviceWorker.controller.postMessage("seen");
  player.remove();
  return [end, [...new Set((await asked).map(([mode]) => mode))], readable];
}"""
LOADED: list[Any] = ["loaded", ["no-cors"]]
# Firefox gives no Service Worker what an element without crossorigin asks for, and loads it no other way either.
WITHOUT = {
    "chromium": {"audio": [*LOADED, None], "video": [*LOADED, True]},
    "firefox": {"audio": ["error", [], None], "video": ["error", [], None]},
    "webkit": {"audio": [*LOADED, None], "video": [*LOADED, "SecurityError"]},
}


@pytest.mark.feature(
    "Whole pages", "sound and video in three engines, with and without `crossorigin`: their own limits"
)
@pytest.mark.parametrize("engine", ENGINES)
async def test_media_of_another_origin(tmp_path: Path, engine: str) -> None:
    reason = missing(engine)
    if reason is not None:
        pytest.skip(reason)
    files = {"index.html": BLANK.encode(), "answers.js": SCRIPT.encode()}
    for name, data in {**files, "sound.wav": media.sound(5), "video.webm": media.video()}.items():
        (tmp_path / name).write_bytes(data)
    async with launch(engine) as browser:
        with StaticServer({"/": tmp_path}) as site:
            page = await (await browser.new_context()).new_page()
            await page.goto(f"{site.url}/index.html")
            assert await page.evaluate(CONTROL)
            for tag, path in (("audio", "/sound.wav"), ("video", "/video.webm")):
                assert await page.evaluate(LOAD, [tag, path, None]) == WITHOUT[engine][tag]
                readable = True if tag == "video" else None
                assert await page.evaluate(LOAD, [tag, path, "anonymous"]) == ["loaded", ["cors"], readable]


REFUSED = """async () => {
  const { registerMixServiceWorker } = await import("/smolmix/whole-page.js");
  const began = performance.now();
  try {
    await registerMixServiceWorker({ timeout: 5000 });
    return null;
  } catch ({ code, reason }) {
    return [code, reason, performance.now() - began < 3000];
  }
}"""


@pytest.mark.feature(
    "Whole pages", "Firefox with storage blocked, or Service Workers switched off: refused with the reason"
)
@pytest.mark.parametrize(
    ("preference", "value", "reason"),
    [("network.cookie.cookieBehavior", 2, "blocked"), ("dom.serviceWorkers.enabled", False, "unsupported")],
)
async def test_refused_in_firefox(tmp_path: Path, preference: str, value: float | bool, reason: str) -> None:
    why = missing("firefox")
    if why is not None:
        pytest.skip(why)
    (tmp_path / "index.html").write_text(BLANK, encoding="utf-8")
    served = {"/": tmp_path, "/smolmix/": DIST, "/service-worker.js": DIST / "service-worker.js"}
    async with launch("firefox", preferences={preference: value}) as browser:
        with StaticServer(served) as site:
            page = await (await browser.new_context()).new_page()
            await page.goto(f"{site.url}/index.html")
            assert await page.evaluate(REFUSED) == ["service_refused", reason, True]
