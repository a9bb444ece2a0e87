"""The Electron examples: compiled with Electron's own types; their main processes run in Node.js on a stand-in for it.

Electron's program itself is not in its npm package, so what Chromium's side of it does is not tested here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from buildtools.common import NODE_MODULES
from localnet.origin import body_sha256
from tests.node.electron_projects import project, with_stand_in
from tests.node.programs import Programs, modules

pytestmark = [pytest.mark.timeout(200)]


@pytest.mark.feature("Programs", "Electron: the examples compile with Electron's own types")
def test_types(tmp_path: Path) -> None:
    types = modules("electron")
    folder = project(tmp_path / "project")
    for name in ("electron", "@types", "undici-types"):
        (folder / "node_modules" / name).symlink_to(types / name)
    settings = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "allowJs": True,
            "checkJs": True,
            "skipLibCheck": True,  # Node's and Electron's declarations are theirs
            "target": "es2023",
            "module": "nodenext",
            "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
            "types": ["node"],
        },
        "include": ["*.js", "main-process/*.js", "in-page/*.js", "in-page/*.cjs"],
    }
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    tsc = str(NODE_MODULES / ".bin" / "tsc")
    done = subprocess.run([tsc, "-p", str(folder)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    broken = folder / "quiet.js"
    broken.write_text(broken.read_text(encoding="utf-8").replace("sandbox: true", 'sandbox: "yes"'), encoding="utf-8")
    done = subprocess.run([tsc, "-p", str(folder)], capture_output=True, text=True, timeout=100)
    assert done.returncode != 0 and "TS2322" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_stand_in(tmp_path_factory.mktemp("electron") / "project")


@pytest.mark.feature("Programs", "Electron, the tunnel in the main process: all that a window asks for")
@pytest.mark.asyncio(loop_scope="session")
async def test_main_process(programs: Programs, examples: Path) -> None:
    ended = await Programs(examples, programs.options, programs.home).run(
        """process.env.SMOLMIX_OPTIONS = JSON.stringify(options);
        process.argv.push("https://origin.test/html");
        await import("./main-process/main.js");
        const { log, request, app, powerMonitor } = globalThis.standIn;
        const ask = (url, given) => request("smolmix", url, given);
        const json = async (url, given) => JSON.parse(String((await ask(url, given)).body));
        const [window] = log.windows;
        const big = await ask("https://origin.test/bytes/300000?seed=e");
        const echo = await json("https://origin.test/echo", {
          method: "POST", body: "sent",
          headers: { "user-agent": "Electron/45", "sec-ch-ua": "x", cookie: "a=b", "x-own": "1" },
        });
        const sent = Object.fromEntries(echo.headers.map(([name, value]) => [name.toLowerCase(), value]));
        const moved = await ask("https://origin.test/redirect/1?to=/text");
        const cookies = await ask("https://origin.test/cookies");
        const coded = await ask("https://origin.test/gzip");
        const range = await ask("https://origin.test/range/1000", { headers: { range: "bytes=10-19" } });
        const nowhere = await ask("https://nowhere.test/");
        const clear = await ask("http://http.test/text");
        const empty = await ask("https://origin.test/status/204");
        const tunnel = await (await import("smolmix-web")).getMixTunnel();
        powerMonitor.emit("suspend");
        while (tunnel.state.state !== "suspended") await new Promise((done) => setTimeout(done, 20));
        powerMonitor.emit("resume");
        const after = String((await ask("https://origin.test/text")).body);
        app.emit("window-all-closed");
        while (log.quits === 0) await new Promise((done) => setTimeout(done, 20));
        const { nodeIntegration, contextIsolation, sandbox, preload = null } = window.options.webPreferences;
        let kept = 0;
        const event = (url) => ({ url, preventDefault: () => { kept += 1; } });
        window.webContents.emit("will-navigate", event("file:///etc/passwd"));
        window.webContents.emit("will-navigate", event("https://www.test/"));
        return {
          big: await sha256(big.body), method: echo.method, text: echo.text,
          agent: sent["user-agent"], own: sent["x-own"],
          hidden: ["sec-ch-ua", "cookie"].filter((name) => name in sent),
          moved: [moved.status, moved.headers.location], cookies: "set-cookie" in cookies.headers,
          coded: [coded.headers["content-encoding"] ?? null, JSON.parse(String(coded.body)).coding],
          range: [range.status, range.headers["content-range"], range.body.length],
          errors: [nowhere.error, clear.error], empty: [empty.status, empty.body.length], after, title: window.title,
          start: window.url, preferences: { nodeIntegration, contextIsolation, sandbox, preload }, kept,
          opens: window.opens({}).action, proxies: log.proxies.length, boxes: log.errors, state: tunnel.state.state,
        };"""
    )
    assert (ended.code, ended.out) == (0, ""), ended
    [said] = ended.errors.splitlines()
    assert said.startswith("https://nowhere.test/: "), said
    got = ended.value
    agent = got.pop("agent")
    assert "Electron" not in agent, agent
    assert got == {
        "big": body_sha256(300_000, "e"),
        "method": "POST",
        "text": "sent",
        "own": "1",
        "hidden": [],
        "moved": [302, "/text"],
        "cookies": False,
        "coded": [None, "gzip"],
        "range": [206, "bytes 10-19/1000", 10],
        "errors": ["ERR_FAILED", "ERR_FAILED"],
        "empty": [204, 0],
        "after": "Hello from the origin.\n",
        "title": "smolmix: ready",
        "start": "https://origin.test/html",
        "preferences": {"nodeIntegration": False, "contextIsolation": True, "sandbox": True, "preload": None},
        "kept": 1,
        "opens": "deny",
        "proxies": 1,
        "boxes": [],
        "state": "shutdown",
    }


@pytest.mark.feature("Programs", "Electron, the tunnel in the page: the scheme's files, their types and policy")
@pytest.mark.asyncio(loop_scope="session")
async def test_own_scheme(programs: Programs, examples: Path) -> None:
    script, missing = [200, "text/javascript", True], [404, None, False]
    found = {
        "index.html": [200, "text/html; charset=utf-8", True],
        "app.js": script,
        "style.css": [200, "text/css", True],
        "service-worker.js": script,
        "smolmix/index.js": script,
        "smolmix/worker.js": script,
        "smolmix/pyodide/pyodide.asm.wasm": [200, "application/wasm", True],
        "nowhere.js": missing,
        "smolmix/%2e%2e/package.json": missing,
        "..%2fmain.js": missing,
        "..%2f..%2fpackage.json": missing,
    }
    got = await Programs(examples, programs.options, programs.home).value(
        """await import("./in-page/main.js");
        const { log, request, powerMonitor } = globalThis.standIn;
        const found = {};
        for (const path of args) {
          const { status, headers, body } = await request("smolmix", `app://smolmix/${path}`);
          found[path] = [status, headers["content-type"] ?? null, body.length > 0];
        }
        const { headers } = await request("smolmix", "app://smolmix/index.html");
        const posted = await request("smolmix", "app://smolmix/index.html", { method: "POST", body: "x" });
        powerMonitor.emit("suspend");
        powerMonitor.emit("resume");
        const [window] = log.windows;
        const preload = window.options.webPreferences.preload.split("/").pop();
        return { found, policy: headers["content-security-policy"].split(";")[0], posted: posted.status,
          schemes: log.schemes, sent: window.sent, url: window.url, preload };""",
        list(found),
    )
    assert got == {
        "found": found,
        "policy": "default-src 'none'",
        "posted": 404,
        "schemes": [
            {
                "scheme": "app",
                "privileges": {
                    "standard": True,
                    "secure": True,
                    "supportFetchAPI": True,
                    "allowServiceWorkers": True,
                    "stream": True,
                },
            }
        ],
        "sent": [["rest", True], ["rest", False]],
        "url": "app://smolmix/index.html",
        "preload": "preload.cjs",
    }
