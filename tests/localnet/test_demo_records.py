"""What the demo tells of the parties of the local network (demo/local.py), and its switch, asked without a browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from browserkit.server import StaticServer
from demo.local import LocalRecords
from localnet import Network, NetworkConfig
from smolmix_web.cpython import open_tunnel

pytestmark = pytest.mark.cpython


async def ask(url: str, body: bytes | None = None, **headers: str) -> bytes:
    request = Request(url, data=body, headers=headers)
    answer: bytes = await asyncio.to_thread(lambda: urlopen(request, timeout=10).read())
    return answer


async def refused(url: str, body: bytes | None = None, **headers: str) -> int:
    with pytest.raises(HTTPError) as caught:
        await ask(url, body, **headers)
    caught.value.close()
    return caught.value.code


async def test_each_party_tells_what_it_sees_and_no_more(tmp_path: Path) -> None:
    async with Network(NetworkConfig(seed="records", exits=1)) as net:
        records = LocalRecords(net)
        with StaticServer({"/": tmp_path}, answers=records.answers) as site:
            options: dict[str, Any] = {"force_tls": False, "ca_certificates": net.ca_pem, "traffic_preset": "no_delays"}
            async with open_tunnel(directory_urls=[net.directory_url], **options) as tunnel:
                response = await tunnel.fetch("https://origin.test/json")
                assert await response.read()
                seen = json.loads(await ask(f"{site.url}/local/observed.json"))
                gateway, exit_ = seen["gateway"], seen["exit"]
                assert gateway["up"] > 5 and gateway["down"] > 5 and len(gateway["newest"]) == 12
                assert gateway["sizes"] == [2422] and "origin" not in json.dumps(gateway)
                ups = [one for one in gateway["newest"] if one["way"] == "up"]
                mixes = {f"127.0.0.1:{net.entry(name).mix_port}" for name in net.nodes.nodes}
                assert {one["hop"] for one in ups} <= mixes
                assert exit_["names"] == ["origin.test"] and exit_["up"] > 3 and exit_["down"] > 3
                flows = {one["flow"].split(" ")[0] for one in exit_["newest"]}
                assert "TCP" in flows and any("203.0.114.10 port 443" in one["flow"] for one in exit_["newest"])
                capture = await ask(f"{site.url}/local/exit.pcap")
                assert capture[:4] == b"\xa1\xb2\xc3\xd4" and len(capture) > 1000

                cut = f"{site.url}/local/cut"
                told = json.loads(await ask(cut, b'{"on": true}'))
                assert len(told["cut"]) == 1 and tunnel.snapshot()["gateway"]
                async with asyncio.timeout(10):
                    while tunnel.state != "reconnecting":
                        await asyncio.sleep(0.02)
                assert json.loads(await ask(f"{site.url}/local/observed.json"))["cut"] is True
                assert json.loads(await ask(cut, b'{"on": false}')) == {"cut": []}
                response = await tunnel.fetch("https://origin.test/json")
                assert await response.read() and tunnel.state == "ready"
            assert await refused(cut) == 405
            assert await refused(cut, b'{"on": true}', **{"Sec-Fetch-Site": "cross-site"}) == 405
            assert await refused(cut, b'{"on": 1}') == await refused(cut, b"[]") == 400
            assert await refused(cut, bytes(1 << 17)) == 413
