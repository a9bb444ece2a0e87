"""The cookies of one tunnel: storing, sending, eviction (RFC 6265bis 5.7, 5.8).

Everything lives in memory and goes with the tunnel; `export` and `load` carry it over. A tunnel knows no documents and
no sites: every request counts as made by the user, so SameSite is stored and restricts nothing, and there is no
non-HTTP access that HttpOnly would stop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..public_suffix import PublicSuffixes, load_public_suffixes
from ..url import Url
from . import exchange
from .cookie import Cookie, SetCookie, bad_flags, default_path, domain_matches, parse_set_cookie, path_matches

PER_DOMAIN = 180
TOTAL = 3000


class CookieJar:
    """`unix_time` gives seconds since 1970 UTC. Not limited to one client: whoever fetches may share it."""

    def __init__(
        self,
        unix_time: Callable[[], float],
        load_suffixes: Callable[[], Awaitable[PublicSuffixes]] = load_public_suffixes,
    ) -> None:
        self._unix_time = unix_time
        self._load_suffixes = load_suffixes
        self._loading = asyncio.Lock()
        self._suffixes: PublicSuffixes | None = None
        self._cookies: dict[tuple[str, str, bool, str], Cookie] = {}  # by `Cookie.key`

    def __len__(self) -> int:
        self._expire()
        return len(self._cookies)

    async def prepare(self) -> None:
        """Have the list of public suffixes at hand: before `take`. Raises `HttpError(code="no_public_suffixes")`."""
        async with self._loading:
            if self._suffixes is None:
                self._suffixes = await self._load_suffixes()

    # -- requests and responses ---------------------------------------------------------------------

    def header(self, url: Url) -> str | None:
        """The value of the Cookie header for a request; None when no cookie fits."""
        now = self._expire()
        fitting = [cookie for cookie in self._cookies.values() if cookie.fits(url)]
        # Longer paths first, then older ones; of those that are equally old the first that was stored.
        fitting.sort(key=lambda cookie: (-len(cookie.path), cookie.created))
        for cookie in fitting:
            self._cookies[cookie.key] = replace(cookie, used=now)
        return "; ".join(cookie.pair for cookie in fitting) or None

    def take(self, url: Url, values: Sequence[str]) -> None:
        """Store the values of a response's Set-Cookie headers; those that break a rule are ignored, as everywhere."""
        if not values:
            return
        now = self._expire()
        for value in values:
            given = parse_set_cookie(value, now)
            cookie = self._accepted(url, given, now) if given is not None else None
            if cookie is not None:
                self._put(cookie, now)
        self._evict()

    def _accepted(self, url: Url, given: SetCookie, now: float) -> Cookie | None:
        """The cookie to be stored for what a server said; None when it may not say so (5.7)."""
        domain, host_only = given.domain or "", False
        if not domain.isascii():
            return None
        if domain and self._is_public(domain):
            if domain != url.host:
                return None
            domain = ""
        if not domain:
            domain, host_only = url.host, True
        elif not domain_matches(url.host, domain):
            return None
        elif url.address is not None:
            host_only = True  # there is nothing below an address
        cookie = Cookie(
            given.name,
            given.value,
            domain,
            given.path or default_path(url.path),
            host_only,
            given.secure,
            given.http_only,
            given.same_site,
            given.expires,
            now,
            now,
        )
        if cookie.secure and not url.secure:
            return None
        if not url.secure and self._overlays_a_secure_one(cookie):
            return None
        return cookie if bad_flags(cookie, path_given=given.path is not None) is None else None

    def _is_public(self, domain: str) -> bool:
        assert self._suffixes is not None, "prepare() comes first"
        return self._suffixes.is_public(domain)

    def _may_keep(self, cookie: Cookie) -> bool:
        return cookie.host_only or not self._is_public(cookie.domain)

    def _overlays_a_secure_one(self, cookie: Cookie) -> bool:
        """What came over https cannot be replaced or hidden from http."""
        return any(
            old.secure
            and old.name == cookie.name
            and (domain_matches(old.domain, cookie.domain) or domain_matches(cookie.domain, old.domain))
            and path_matches(cookie.path, old.path)
            for old in self._cookies.values()
        )

    def _put(self, cookie: Cookie, now: float) -> None:
        old = self._cookies.get(cookie.key)
        if cookie.expired(now):
            self._cookies.pop(cookie.key, None)
        else:
            self._cookies[cookie.key] = cookie if old is None else replace(cookie, created=old.created)

    # -- bounds -------------------------------------------------------------------------------------

    def _expire(self) -> float:
        """Forget what has expired; returns the time."""
        now = self._unix_time()
        for cookie in [cookie for cookie in self._cookies.values() if cookie.expired(now)]:
            del self._cookies[cookie.key]
        return now

    def _evict(self) -> None:
        """Within the bounds again: of a domain with too many first those that are not secure, the least used first."""
        count = Counter(cookie.domain for cookie in self._cookies.values())
        if len(self._cookies) <= TOTAL and all(number <= PER_DOMAIN for number in count.values()):
            return
        by_use = sorted(self._cookies.values(), key=lambda cookie: cookie.used)
        for cookie in sorted(by_use, key=lambda cookie: cookie.secure):
            if count[cookie.domain] > PER_DOMAIN:
                self._remove(cookie, count)
        for cookie in by_use:
            if len(self._cookies) <= TOTAL:
                break
            if cookie.key in self._cookies:
                self._remove(cookie, count)

    def _remove(self, cookie: Cookie, count: Counter[str]) -> None:
        del self._cookies[cookie.key]
        count[cookie.domain] -= 1

    # -- carrying it over ---------------------------------------------------------------------------

    def export(self) -> list[dict[str, Any]]:
        """All cookies, oldest first, as JSON can hold them: what `load` takes. See `exchange`."""
        self._expire()
        return [exchange.to_dict(cookie) for cookie in sorted(self._cookies.values(), key=lambda c: c.created)]

    async def load(self, cookies: Iterable[Mapping[str, Any]]) -> int:
        """Add cookies, replacing those of the same name, domain and path; returns how many were taken.

        Those that have expired are not, nor those of a domain that has become a public suffix. `UsageError` with the
        code `bad_cookie` says which one can be no cookie at all; then nothing was taken.
        """
        await self.prepare()
        now = self._expire()
        checked = [exchange.from_dict(item, index, now) for index, item in enumerate(exchange.listed(cookies))]
        taken = [cookie for cookie in checked if not cookie.expired(now) and self._may_keep(cookie)]
        for cookie in taken:
            self._cookies[cookie.key] = cookie
        self._evict()
        return len(taken)

    def clear(self) -> None:
        """Forget all cookies."""
        self._cookies.clear()
