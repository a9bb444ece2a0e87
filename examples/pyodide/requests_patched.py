"""requests through the mixnet, in Pyodide: code that blocks and knows nothing of the tunnel.

Needs a browser with JavaScript Promise Integration, or a worker that borrows a tunnel (docs/pyodide.md).
"""

import json
import os

import micropip

await micropip.install(["smolmix-web", "requests", "pyodide-http"])

import requests

import smolmix_web

url = os.environ.get("SMOLMIX_URL", "https://www.example.com/")
options = json.loads(os.environ.get("SMOLMIX_OPTIONS", "{}"))


def unaware():
    with requests.Session() as session:
        for _ in range(2):
            response = session.get(url, timeout=60)
            print(f"{response.status_code}, {len(response.content)} bytes")


async with smolmix_web.open_tunnel(**options) as tunnel:
    print("through the tunnel:", ", ".join(smolmix_web.patch(tunnel).names))
    try:
        unaware()
    finally:
        smolmix_web.unpatch()
