"""Fetches directory answers through the host: several base URLs, bounded in time and size, one server per query.

The parsing, paging and consistency rules are in `mixnet.directory_query`; this is only the I/O around them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import DirectoryError, SmolmixError, TimeoutExpired
from ..host.base import Host
from ..mixnet.directory import fields_of
from ..mixnet.directory_query import DirectoryQuery

REQUEST_TIMEOUT = 30.0  # s for each GET, as the official client
MAX_ANSWER = 32 << 20  # bytes; the described list of the main network has some megabytes


async def load(host: Host, base_urls: Sequence[str], query: DirectoryQuery) -> str:
    """Complete `query` from the first base URL that answers all of it; returns that URL.

    Raises the last URL's `DirectoryError` or `TimeoutExpired` (phase `directory`) when none does.
    """
    failure: SmolmixError | None = None
    for base in base_urls:
        query.restart()
        try:
            while not query.done:
                await _round(host, base, query)
            return base
        except (DirectoryError, TimeoutExpired) as error:
            host.log(f"directory {base}: {error}")
            failure = error
    assert failure is not None, "options guarantee at least one base URL"
    raise failure


async def _round(host: Host, base: str, query: DirectoryQuery) -> None:
    """Fetch everything that is missing now, at once; the first failure calls off the rest."""
    try:
        async with asyncio.TaskGroup() as group:
            for path in query.requests():
                group.create_task(_fetch(host, base, path, query))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _fetch(host: Host, base: str, path: str, query: DirectoryQuery) -> None:
    url, fields = base + path, fields_of(path)
    answer = await host.http_get(url, timeout=REQUEST_TIMEOUT, max_bytes=MAX_ANSWER, fields=fields)
    if not 200 <= answer.status < 300:
        raise DirectoryError(f"directory {base}{path}: status {answer.status}", code="http_status", phase="directory")
    query.answer(path, answer.body)
