"""Cookies, integrity, credentials and redirects of `mixFetch` in Chromium."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from localnet.origin import body_bytes
from tests.browser.page_session import ApiPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]


@pytest.mark.feature("Fetch", "cookies in a page: omit, jar, credentials; export, import, clear")
async def test_the_jar_of_a_tunnel(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const sent = async (init) => (await (await api.mixFetch("https://origin.test/cookies", init)).json()).cookies;
        const plain = [await sent(), await sent({cookies: "omit"}), await sent({credentials: "omit"})];
        const jar = [await sent({cookies: "jar"}), await sent({cookies: "jar"}), await sent({credentials: "include"}),
          await sent(new Request("https://origin.test/cookies", {credentials: "include"})),
          await sent({cookies: "omit", credentials: "include"}),
          await sent({cookies: "jar", headers: {cookie: "own=1"}})];
        const saved = JSON.parse(JSON.stringify(await tunnel.cookies.export()));
        await tunnel.cookies.clear();
        const cleared = [await tunnel.cookies.export(), await sent({cookies: "jar"})];
        await tunnel.cookies.clear();
        const taken = await tunnel.cookies.import(new Set([...saved, {name: "mine", value: "1", domain: "origin.test"},
          {name: "old", value: "1", domain: "origin.test", expires: 1000}]));
        const again = await sent({cookies: "jar"});
        const wide = await tunnel.cookies.import([{name: "a", value: "b", domain: "co.uk", hostOnly: false}]);
        const refused = await caught(() => tunnel.cookies.import([{name: "a", value: "b;c", domain: "a.test"}]));
        await tunnel.cookies.clear();
        return {plain, jar, saved, cleared, taken, wide, again, refused, operations: await idle(tunnel)};"""
    )
    both = {"flavour": "oat", "size": "large"}
    assert got["plain"] == [{}, {}, {}]
    assert got["jar"] == [{}, both, both, both, {}, {"own": "1"}]
    assert got["cleared"] == [[], {}]
    first, second = got["saved"]
    assert (first["name"], first["value"], first["domain"], first["path"]) == ("flavour", "oat", "origin.test", "/")
    assert (first["hostOnly"], first["httpOnly"], second["httpOnly"], first["expires"]) == (True, False, True, None)
    assert first["sameSite"] == "Default" and 1.6e9 < first["created"] <= first["used"]
    assert got["taken"] == 3 and got["again"] == {**both, "mine": "1"}
    assert got["wide"] == 0, "co.uk is a public suffix"
    assert got["refused"]["code"] == "bad_cookie" and "cookie 0, value" in got["refused"]["message"]
    assert got["operations"] == 0


@pytest.mark.feature("Fetch", "integrity in a page")
async def test_integrity(shared: ApiPage) -> None:
    right = b64encode(hashlib.sha384(body_bytes(100_000)).digest()).decode()
    got = await shared.run(
        """const url = "https://origin.test/bytes/100000";
        const response = await api.mixFetch(url, {integrity: `sha256-wrong sha384-${args.right}`});
        const size = (await response.clone().arrayBuffer()).byteLength;
        const request = new Request(url, {integrity: `sha384-${args.right}`});
        const second = await (await api.mixFetch(request)).blob();
        const wrong = await caught(() => api.mixFetch(url, {integrity: `sha512-${args.right}`}));
        return [size, second.size, wrong, await idle(await api.getMixTunnel())];""",
        right=right,
    )
    assert got[:2] == [100_000, 100_000] and got[3] == 0
    assert (got[2]["code"], got[2]["phase"]) == ("integrity_mismatch", "body")


@pytest.mark.feature("Fetch", "credentials in the URL of a page's fetch")
async def test_credentials_and_redirects(shared: ApiPage) -> None:
    got = await shared.run(
        """const response = await api.mixFetch("https://user:s%C3%A9cret@origin.test/echo#x");
        const echo = await response.json();
        const elsewhere = "https://user:secret@origin.test/redirect/1?to=https://many.test/echo";
        const away = await (await api.mixFetch(elsewhere)).json();
        const down = "https://origin.test/redirect/1?to=http://http.test/text";
        const refused = await caught(() => api.mixFetch(down));
        const allowed = await api.mixFetch(down, {allowInsecureRedirects: true});
        await allowed.text();
        const bad = await caught(() => api.mixFetch("https://user:secret@origin.test/redirect/29"));
        return [response.url, echo.headers, away.headers, refused, [allowed.url, allowed.redirected], bad];"""
    )
    headers, away = ({name.lower(): value for name, value in item} for item in got[1:3])
    assert got[0] == "https://origin.test/echo"
    assert headers["authorization"] == f"Basic {b64encode('user:sécret'.encode()).decode()}"
    assert headers["host"] == "origin.test" and "referer" not in headers and "authorization" not in away
    assert (got[3]["code"], got[3]["phase"]) == ("insecure_redirect", "redirect")
    assert got[4] == ["http://http.test/text", True]
    assert got[5]["code"] == "too_many_redirects" and "secret" not in str(got[5])
