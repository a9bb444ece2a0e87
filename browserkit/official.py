"""The published client in a browser context: its directory, whose address is compiled in, is answered by a local one.

It finds everything else by itself.
"""

from __future__ import annotations

from playwright.async_api import BrowserContext, Route

COMPILED_IN = "https://validator.nymtech.net/api/"


async def answer_directory(context: BrowserContext, directory_url: str) -> None:
    """Requests of the context's pages and workers to the compiled-in address go to `directory_url`, which ends in /."""

    async def answer(route: Route) -> None:
        url = route.request.url.replace(COMPILED_IN, directory_url, 1)
        await route.fulfill(response=await route.fetch(url=url))

    await context.route(f"{COMPILED_IN}**", answer)
