"""Directories of the simulation: the real documents as JSON bytes, and the ways in which a server of them fails.

The documents are those of the local network's directory; one `DirectoryServer` per base URL shares them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from localnet.http_server import Request
from smolmix_web.errors import DirectoryError, TimeoutExpired
from smolmix_web.host.base import HttpAnswer, too_large

if TYPE_CHECKING:
    from .network import SimNetwork

REWARDED_SET = "v1/nym-nodes/rewarded-set"


@dataclass
class DirectoryServer:
    """One base URL, `https://<name>/api/`. `bodies` and `statuses` by path below it replace true answers."""

    name: str
    latency: float = 0.040
    down: bool = False  # connections are refused
    silent: bool = False  # connections are never answered
    bodies: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    all_bodies: bytes | None = None
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{self.name}/api/"


async def http_get(network: SimNetwork, url: str, *, timeout: float, max_bytes: int) -> HttpAnswer:
    """What a host's `http_get` does, in simulated time."""
    parts = urlsplit(url)
    server = network.directories.get(parts.hostname or "")
    if server is None or server.down:
        await asyncio.sleep(0.02)
        raise DirectoryError(f"directory {url}: connection refused", code="unreachable", phase="directory")
    server.requests.append(parts.path)
    if server.silent or server.latency * 2 > timeout:
        await asyncio.sleep(timeout)
        raise TimeoutExpired(f"directory {url}: no answer in {timeout:g} s", phase="directory")
    await asyncio.sleep(server.latency)
    path = parts.path.removeprefix("/api/").rstrip("/")
    status, content_type, body = 200, "application/json", server.all_bodies or server.bodies.get(path)
    if body is None:
        request = Request(
            method="GET",
            target=url,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            headers=[],
            body=b"",
            http_version="1.1",
            client=("203.0.113.7", 40_000),
            secure=True,
        )
        answer = await network.documents.handle(request)
        assert isinstance(answer.body, bytes)
        status, body = answer.status, answer.body
    status = server.statuses.get(path, status)
    await asyncio.sleep(server.latency)
    if len(body) > max_bytes:
        raise too_large(url, max_bytes)
    return HttpAnswer(status, content_type, body)
