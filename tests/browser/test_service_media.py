"""A video through the tunnel: ranges, seeks, frames that are shown, a Service Worker that is stopped in the middle."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from localnet import media
from tests.browser.service_session import ServicePage, ServiceWorld, feature, stop_workers

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

# `shown` reads the second off the picture (localnet/media.py), `player` is on the page.
PLAYER = """const told = (target, event, ms = 30_000) => new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event} in ${ms / 1000} s`)), ms);
    const end = (done, value) => { clearTimeout(late); done(value); };
    target.addEventListener(event, () => end(resolve), {once: true});
    const broken = () => end(reject, new Error(`before ${event}: ${target.error?.message}`));
    target.addEventListener("error", broken, {once: true});
  });
  const shown = (video) => {
    const context = new OffscreenCanvas(160, 90).getContext("2d");
    context.drawImage(video, 0, 0);
    const white = (digit) => context.getImageData(20 + 40 * digit, 75, 1, 1).data[0] > 127;
    return [0, 1, 2, 3].reduce((sum, digit) => sum + (white(digit) ? 2 ** digit : 0), 0);
  };
  const make = async (given) => {
    const player = document.createElement("video");
    Object.assign(player, {muted: true, playsInline: true, preload: "auto", ...given});
    const known = told(player, "loadedmetadata");
    document.body.append(player);
    await known;
    return player;
  };
  const seek = async (player, second) => {
    const frame = new Promise((resolve) => {
      const look = (_, {mediaTime}) => {
        if (Math.floor(mediaTime) === second) resolve();
        else player.requestVideoFrameCallback(look);
      };
      player.requestVideoFrameCallback(look);
    });
    const sought = told(player, "seeked");
    player.currentTime = second + 0.5;
    await Promise.all([sought, frame]);
  };
"""
SEEKS = f"""{PLAYER}
  const player = await make({{src: args.url, crossOrigin: args.crossOrigin}});
  const found = {{size: [player.videoWidth, player.videoHeight], duration: Math.round(player.duration), shown: []}};
  for (const second of [15, 3, 12, 0, 7]) {{
    await seek(player, second);
    found.shown.push(shown(player));
  }}
  let frames = 0;
  const wrong = [];
  const count = (_, {{mediaTime}}) => {{
    frames += 1;
    // The next frame may be there already.
    if (![mediaTime, mediaTime + 0.15].map(Math.floor).includes(shown(player))) wrong.push([mediaTime, shown(player)]);
    player.requestVideoFrameCallback(count);
  }};
  player.requestVideoFrameCallback(count);
  await player.play();
  const end = performance.now() + 20_000;
  while ((frames < 15 || player.currentTime < 10) && performance.now() < end) await sleep(50);
  player.pause();
  player.remove();
  return {{...found, frames: frames >= 15, wrong}};"""


def ranges(page: ServicePage, path: str) -> list[str | None]:
    return [request.header("range") for request in page.at_origin(path)]


@feature("a video seeks forwards and back, by ranges, and its frames are those of the time")
@pytest.mark.parametrize(("path", "cross_origin"), [("/video", None), ("/cors/video", "anonymous")])
async def test_video_seeks(world: ServiceWorld, path: str, cross_origin: str | None) -> None:
    async with world.open() as page:
        await page.register()
        # At this pace most of it has not come when the first seek is made.
        url = f"https://origin.test{path}?pace=60000"
        found = await page.run(SEEKS, url=url, crossOrigin=cross_origin, timeout=60)
        assert found == {
            "size": [160, 90],
            "duration": 16,
            "shown": [15, 3, 12, 0, 7],
            "frames": True,
            "wrong": [],
        }
        asked = ranges(page, path)
        print(asked)
        assert asked and all(text and text.startswith("bytes=") for text in asked), asked
        whole = await page.run(
            'return sha256(await (await fetch("https://origin.test/cors/video")).arrayBuffer())',
        )
        assert whole == hashlib.sha256(media.video()).hexdigest()


STOPPED = f"""{PLAYER}
  window.player = await make(args.given);
  window.seconds = new Set();
  const look = () => {{ seconds.add(shown(player)); player.requestVideoFrameCallback(look); }};
  player.requestVideoFrameCallback?.(look);
  player.playbackRate = 2;
  window.ended = told(player, "ended", 60_000);
  window.ended.catch(() => {{}});
  await player.play();
  while (player.currentTime < 2) await sleep(20);
  return [player.currentTime, player.buffered.length ? player.buffered.end(player.buffered.length - 1) : 0];"""


@feature("the browser stops the Service Worker in the middle of a video: it is played to its end")
@pytest.mark.chromium
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"src": "https://origin.test/video?pace=40000"}, 16),
        ({"src": "https://origin.test/cors/video?pace=40000", "crossOrigin": "anonymous"}, 16),
    ],
    ids=["video", "video with crossorigin"],
)
async def test_stopped_in_the_middle(world: ServiceWorld, given: dict[str, Any], seconds: int) -> None:
    async with world.open() as page:
        await page.register()
        at, buffered = await page.run(STOPPED, given=given)
        print(f"stopped at {at:.1f} s, {buffered:.1f} s had come")
        assert buffered < seconds - 2, "all of it had come: nothing was in the middle"
        path = given["src"].partition("?")[0].removeprefix("https://origin.test")
        before = len(page.at_origin(path))
        await stop_workers(page)
        await page.run("await window.ended", timeout=60)
        assert await page.run("return [player.error, Math.round(player.currentTime)]") == [None, seconds]
        assert set(range(seconds)) == set(await page.run("return [...seconds]"))
        after = ranges(page, path)[before:]
        print(after)
        assert after and all(text and not text.startswith("bytes=0-") for text in after), after
