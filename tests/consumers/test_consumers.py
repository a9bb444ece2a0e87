"""Every way into a page: the tarball installed, built where there is a build, one request through the local network."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from browserkit.server import StaticServer
from tests.consumers.conftest import EXPECTED, World
from tests.consumers.consumer import ENVIRONMENT, Consumer, install

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

Record = Callable[[str, object], None]
NOTHING = "nothing"
COPIED = "one copied folder and assetsUrl"
SERVER_SECONDS = 90
NAMES = {"vite": "Vite 8", "vite7": "Vite 7"}


def described(record: Record, name: str, needs: str = NOTHING) -> None:
    record("consumer", name)
    record("needs", needs)


@contextmanager
def serving(consumer: Consumer, *command: str) -> Iterator[str]:
    """A server of the project; `{port}` in its command line is a free one. Yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program, *arguments = (part.format(port=port) for part in command)
    log = consumer.folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(consumer.folder / "node_modules" / ".bin" / program), *arguments],
            cwd=consumer.folder,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            for _ in range(SERVER_SECONDS * 5):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            else:
                raise AssertionError(f"{program} does not listen: {log.read_text()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def page_of(consumer: Consumer) -> Path:
    """Its page beside what a tool has built."""
    built = consumer.folder / "dist"
    shutil.copyfile(consumer.folder / "index.html", built / "index.html")
    return built


def build_plain(consumer: Consumer) -> None:
    text = (consumer.folder / "src" / "app.js").read_text()
    (consumer.folder / "src" / "app.js").write_text(text.replace('"smolmix-web"', '"../smolmix/index.js"'))


def build_vite(consumer: Consumer) -> None:
    said = consumer.bin("vite", "build", "--base", "./")
    assert "warn" not in said.lower(), said


def build_webpack(consumer: Consumer) -> None:
    consumer.bin("webpack")
    page_of(consumer)


def build_rollup(consumer: Consumer) -> None:
    consumer.bin("rollup", "--config")
    shutil.copytree(consumer.package / "dist", page_of(consumer) / "smolmix")


def build_esbuild(consumer: Consumer) -> None:
    consumer.bin("esbuild", "src/app.js", "--bundle", "--format=esm", "--minify", "--outfile=dist/main.js")
    shutil.copytree(consumer.package / "dist", page_of(consumer) / "smolmix")


def build_parcel(consumer: Consumer) -> None:
    consumer.bin("parcel", "build", "index.html", "--public-url", "./", "--no-cache")


def build_next(consumer: Consumer) -> None:
    consumer.bin("next", "build")


async def works(world: World, url: str, **options: object) -> None:
    page = await world.open(url)
    try:
        assert await world.consume(page, **options) == EXPECTED
    finally:
        await page.context.close()


async def test_plain_script_below_a_path(world: World, tarball: Path, record_property: Record) -> None:
    described(record_property, 'plain <script type="module"> below a path')
    consumer = install("plain", tarball, build_plain)
    folders = {"/shop/app/": consumer.folder, "/shop/app/smolmix/": consumer.package / "dist"}
    with StaticServer(folders) as site:
        await works(world, f"{site.url}/shop/app/index.html")


async def test_import_map_from_another_origin(world: World, tarball: Path, record_property: Record) -> None:
    described(record_property, "import map, files of another origin (CDN)")
    consumer = install("importmap", tarball)
    anybody = {"Access-Control-Allow-Origin": "*"}
    with (
        StaticServer({"/npm/smolmix-web/": consumer.package}, headers=anybody) as other,
        StaticServer({"/": consumer.folder}) as site,
    ):
        page = (consumer.folder / "template.html").read_text().replace("OTHER", other.url)
        (consumer.folder / "index.html").write_text(page)
        await works(world, f"{site.url}/index.html")
        assert not any("smolmix" in path for path in site.requests)


@pytest.mark.parametrize("version", ["vite", "vite7"])
async def test_vite_dev(world: World, tarball: Path, record_property: Record, version: str) -> None:
    described(record_property, f"{NAMES[version]} dev")
    consumer = install(version, tarball, build_vite)
    with serving(consumer, "vite", "--host", "127.0.0.1", "--port", "{port}", "--strictPort") as url:
        await works(world, f"{url}/")


@pytest.mark.parametrize("version", ["vite", "vite7"])
async def test_vite_build(world: World, tarball: Path, record_property: Record, version: str) -> None:
    described(record_property, f"{NAMES[version]} build")
    consumer = install(version, tarball, build_vite)
    with StaticServer({"/below/": consumer.folder / "dist"}) as site:
        await works(world, f"{site.url}/below/index.html")


async def test_webpack(world: World, tarball: Path, record_property: Record) -> None:
    described(record_property, "webpack 5")
    consumer = install("webpack", tarball, build_webpack)
    with StaticServer({"/below/": consumer.folder / "dist"}) as site:
        await works(world, f"{site.url}/below/index.html")


@pytest.mark.parametrize("tool", ["rollup", "esbuild"])
async def test_what_follows_no_urls(world: World, tarball: Path, record_property: Record, tool: str) -> None:
    described(record_property, {"rollup": "Rollup 4", "esbuild": "esbuild"}[tool], COPIED)
    consumer = install(tool, tarball, {"rollup": build_rollup, "esbuild": build_esbuild}[tool])
    with StaticServer({"/below/": consumer.folder / "dist"}) as site:
        await works(world, f"{site.url}/below/index.html", assetsUrl="smolmix")


async def test_the_entry_with_everything_inside(world: World, tarball: Path, record_property: Record) -> None:
    """A bundler that follows no files has none to follow."""
    described(record_property, "smolmix-web/single, by esbuild")
    consumer = install("esbuild", tarball, build_esbuild)
    built = consumer.folder / "single"
    alias = "--alias:smolmix-web=smolmix-web/single"
    consumer.bin("esbuild", "src/app.js", "--bundle", "--format=esm", "--minify", alias, f"--outfile={built}/main.js")
    shutil.copyfile(consumer.folder / "index.html", built / "index.html")
    with StaticServer({"/below/": built}) as site:
        await works(world, f"{site.url}/below/index.html")
        assert len([path for path in site.requests if "favicon" not in path]) == 2


async def test_parcel(world: World, tarball: Path, record_property: Record) -> None:
    described(record_property, "Parcel 2")
    consumer = install("parcel", tarball, build_parcel)
    with StaticServer({"/below/": consumer.folder / "dist"}) as site:
        await works(world, f"{site.url}/below/index.html")


async def test_next(world: World, tarball: Path, record_property: Record) -> None:
    described(record_property, "Next.js 16, App Router, client component")
    consumer = install("next", tarball, build_next)
    with serving(consumer, "next", "start", "--hostname", "127.0.0.1", "--port", "{port}") as url:
        await works(world, f"{url}/")
