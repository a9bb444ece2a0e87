"""`mixDNS` in Chromium."""

from __future__ import annotations

import pytest

from tests.browser.page_session import ApiPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]


async def test_names(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        return [await api.mixDNS("origin.test"), await api.mixDNS("www.test"),
          await tunnel.resolve("ipv6.test", {family: 6}), (await tunnel.resolve("many.test", {family: 4})).length,
          await api.mixDNS("203.0.114.99")];"""
    )
    assert got == ["203.0.114.10", "203.0.114.10", ["2a0e:6a80:114::a"], 80, "203.0.114.99"]


async def test_names_that_do_not_resolve(shared: ApiPage) -> None:
    got = await shared.run(
        """const tunnel = await api.getMixTunnel();
        const seen = [];
        for (const name of ["nowhere.test", "servfail.test", "bad name", ""]) {
          const error = await caught(() => api.mixDNS(name));
          seen.push([error.name, error.code, error.phase]);
        }
        const family = await caught(() => tunnel.resolve("origin.test", {family: 5}));
        const reason = await api.mixDNS("silent.test", {signal: AbortSignal.timeout(300)}).catch((error) => error.name);
        return [seen, family.code, reason, await idle(tunnel)];"""
    )
    codes = ["dns_not_found", "dns_servfail", "bad_name", "bad_name"]
    assert got == [[["TypeError", code, "dns"] for code in codes], "bad_message", "TimeoutError", 0]
