"""What the page and the worker say of their own files, where that takes no browser: by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from buildtools.common import ROOT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js")


def node(code: str) -> object:
    done = subprocess.run(
        [NODE or "", "--input-type=module", "-e", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_script_that_says_nothing_is_another_one_unless_it_loads_ours() -> None:
    """Bundlers start a worker by a short script of their own; on a slow machine ours has not come yet."""
    scripts = {
        "postMessage('boot-failed')": None,
        "var t = ['/chunk.js']; importScripts.apply(self, t)": None,
        "import('/chunk.js')": None,
        "console.log('hello')": "damaged",
        "": "damaged",
    }
    code = f"""import {{ whyMute }} from "./javascript/shared/parts.js";
        const told = [];
        for (const script of {json.dumps(list(scripts))}) {{
          const url = URL.createObjectURL(new Blob([script]));
          told.push((await whyMute(url, "boot-failed"))?.reason ?? null);
        }}
        console.log(JSON.stringify(told));"""
    assert node(code) == list(scripts.values())


def test_addresses_without_their_origin_are_whole() -> None:
    """As Turbopack writes `new URL("./python.zst", import.meta.url)`."""
    code = """globalThis.location = { href: "https://host.test/_next/worker.js#params" };
        const { scriptsInside } = await import("./javascript/worker/distribution.js");
        const lock = { info: {}, packages: { h2: { file_name: "h2.whl" } } };
        const wheels = { "h2.whl": "/_next/media/h2.whl" };
        const parts = { program: "/_next/media/a.wasm", pack: "https://other.test/x/python.zst", wheels };
        const { base, files, lock: read } = scriptsInside({ lock, loader: {}, script: {}, ...parts });
        console.log(JSON.stringify([base, files, (await read()).packages.h2.file_name]));"""
    media = "https://host.test/_next/media"
    pack = "https://other.test/x/python.zst"
    assert node(code) == ["https://other.test/x/", [f"{media}/a.wasm", pack, f"{media}/h2.whl"], f"{media}/h2.whl"]
