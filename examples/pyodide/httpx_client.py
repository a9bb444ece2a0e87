"""httpx through the mixnet, in Pyodide: the client as ever, with our transport."""

import asyncio
import json
import os
import time

import micropip

await micropip.install(["smolmix-web", "httpx"])

import httpx

from smolmix_web import open_tunnel
from smolmix_web.integrations.httpx_transport import MixTransport

url = os.environ.get("SMOLMIX_URL", "https://www.example.com/")
options = json.loads(os.environ.get("SMOLMIX_OPTIONS", "{}"))

async with (
    open_tunnel(**options) as tunnel,
    httpx.AsyncClient(transport=MixTransport(tunnel), timeout=60, follow_redirects=True) as client,
):
    begun = time.monotonic()
    # Several at once share what is under way in the mixnet.
    for response in await asyncio.gather(*(client.get(url) for _ in range(3))):
        ms = round((time.monotonic() - begun) * 1000)
        print(f"{response.http_version} {response.status_code}, {len(response.content)} bytes, {ms} ms")
