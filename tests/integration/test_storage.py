"""A stored identity over real tunnels: the same address and gateway again, a gateway that forgot, the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from localnet import Network
from smolmix_web.errors import OptionError, StateError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.storage import files
from smolmix_web.tunnel import Tunnel
from tests.integration.test_cli import smolmix
from tests.integration.tunnels import get, open_tunnel, tunnel_to

pytestmark = [pytest.mark.timeout(90), pytest.mark.parametrize("localnet", [{"gateways": 4}], indirect=True)]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the client id `me`."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "smolmix-web" / "me"


def address(tunnel: Tunnel) -> Recipient:
    assert tunnel._engine is not None
    return tunnel._engine.mixnet.address


def gateway_of(network: Network, tunnel: Tunnel) -> Any:
    """The local network's gateway that the tunnel uses."""
    gateways = [*network.gateways, *(host.gateway for host in network.exits)]
    return next(one for one in gateways if one.identity_text == tunnel.snapshot()["gateway"])


def registrations(network: Network) -> int:
    gateways = [*network.gateways, *(host.gateway for host in network.exits)]
    return sum(gateway.counters["registered"] for gateway in gateways)


async def test_by_default_nothing_is_stored(localnet: Network, tmp_path: Path) -> None:
    addresses = []
    for _ in range(2):
        async with open_tunnel(localnet) as tunnel:
            addresses.append(address(tunnel))
            assert tunnel.snapshot()["warnings"] == []
    assert addresses[0].identity != addresses[1].identity
    assert not (tmp_path / "smolmix-web").exists()


async def test_the_second_start_is_the_same_client_and_authenticates(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me") as tunnel:
        first = address(tunnel)
        assert (await get(tunnel, "http://http.test/text"))[0] == 200
    written = (place / "identity").read_bytes()
    registered = registrations(localnet)
    for _ in range(2):
        async with open_tunnel(localnet, clientId="me") as tunnel:
            assert address(tunnel) == first, "the same keys and, of several gateways, the same one"
            assert (await get(tunnel, "http://http.test/text"))[0] == 200
            assert tunnel.warnings == []
        assert (place / "identity").read_bytes() != written, "the time of the authentication was noted"
    assert registrations(localnet) == registered
    async with open_tunnel(localnet, clientId="other") as tunnel:
        assert address(tunnel).identity != first.identity


async def test_no_secret_is_in_the_file(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me") as tunnel:
        identity = tunnel._identity
        assert identity is not None
        record = gateway_of(localnet, tunnel).clients.get(address(tunnel).identity)
        assert record is not None and record.shared_key in identity.shared_keys.values()
    keys = identity.keys
    stored = (place / "identity").read_bytes()
    for secret in (keys.identity_seed, keys.encryption_secret, keys.ack_key, record.shared_key):
        assert secret not in stored


async def test_a_gateway_that_forgot_us_registers_the_same_client_anew(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me") as tunnel:
        first, gateway = address(tunnel), gateway_of(localnet, tunnel)
        old_key = gateway.clients.get(first.identity).shared_key
    gateway.clients.clear()
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert address(tunnel) == first
        new_key = gateway.clients.get(first.identity).shared_key
        assert new_key != old_key
    registered = registrations(localnet)
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert address(tunnel) == first
        assert tunnel._identity is not None and new_key in tunnel._identity.shared_keys.values()
    assert registrations(localnet) == registered, "the new key was stored"


async def test_a_preferred_gateway_comes_before_the_last_one(localnet: Network, place: Path) -> None:
    one, two = (gateway.identity_text for gateway in localnet.gateways[:2])
    for wanted in (one, two, one):
        async with open_tunnel(localnet, clientId="me", preferredGateway=wanted) as tunnel:
            assert tunnel.snapshot()["gateway"] == wanted
    assert registrations(localnet) == 2, "the third start knew the first gateway still"
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert tunnel.snapshot()["gateway"] == one


async def test_a_gateway_that_is_gone_is_replaced_and_the_new_one_stored(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me", preferredGateway=localnet.gateways[0].identity_text) as tunnel:
        first = address(tunnel)
    await localnet.stop_node(localnet.gateways[0].name)
    for _ in range(2):
        async with open_tunnel(localnet, clientId="me") as tunnel:
            now = address(tunnel)
            assert (now.identity, now.encryption) == (first.identity, first.encryption)
            assert now.gateway != first.gateway


async def test_a_passphrase(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me", storagePassphrase="sesame") as tunnel:
        first, gateway = address(tunnel), gateway_of(localnet, tunnel)
    stored = (place / "identity").read_bytes()
    assert not (place / "key").exists()
    sessions = gateway.counters["sessions"]
    for wrong in ({"storagePassphrase": "Sesame"}, {}):
        tunnel = tunnel_to(localnet, clientId="me", **wrong)
        with pytest.raises(OptionError) as raised:
            await tunnel.start()
        assert raised.value.option == "storagePassphrase" and tunnel.state == "failed"
        await tunnel.close()
    assert (place / "identity").read_bytes() == stored and not list(place.glob("*.aside"))
    assert gateway.counters["sessions"] == sessions, "refused before anybody was asked"
    async with open_tunnel(localnet, clientId="me", storagePassphrase="sesame") as tunnel:
        assert address(tunnel) == first


async def test_a_passphrase_without_client_id_is_a_warning(localnet: Network, tmp_path: Path) -> None:
    async with open_tunnel(localnet, storagePassphrase="sesame") as tunnel:
        (warning,) = tunnel.snapshot()["warnings"]
    assert (warning["name"], warning["code"]) == ("StorageError", "store_unused")
    assert not (tmp_path / "smolmix-web").exists()


async def test_a_damaged_store_is_set_aside_with_a_warning(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me") as tunnel:
        first = address(tunnel)
    damaged = (place / "identity").read_bytes()[:-7]
    (place / "identity").write_bytes(damaged)
    snapshots: list[dict[str, Any]] = []
    tunnel = tunnel_to(localnet, clientId="me", on_change=snapshots.append)
    await tunnel.start()
    second = address(tunnel)
    assert [warning["code"] for warning in tunnel.snapshot()["warnings"]] == ["store_damaged"]
    assert next(snapshot["step"] for snapshot in snapshots if snapshot["warnings"]) == "storage"
    await tunnel.close()
    assert second.identity != first.identity
    assert [path.read_bytes() for path in place.glob("identity.*.aside")] == [damaged]
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert address(tunnel) == second and tunnel.warnings == []


async def test_two_tunnels_of_one_client_id(localnet: Network, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_PATIENCE", 0.2)
    async with open_tunnel(localnet, clientId="me") as first:
        second = tunnel_to(localnet, clientId="me")
        with pytest.raises(StateError) as raised:
            await second.start()
        assert raised.value.code == "client_id_in_use" and second.state == "failed"
        await second.close()
        assert first.state == "ready" and (await get(first, "http://http.test/text"))[0] == 200
    async with open_tunnel(localnet, clientId="me") as third:
        assert address(third) == address(first)


async def test_a_failed_start_frees_the_place(localnet: Network, place: Path) -> None:
    tunnel = tunnel_to(localnet, clientId="me", directoryUrls=["http://127.0.0.1:9/api/"])
    with pytest.raises(Exception, match="directory"):
        await tunnel.start()
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert tunnel.warnings == []


async def test_no_place_costs_a_warning_only(
    localnet: Network, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.parent.write_text("a file in the way")
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert (await get(tunnel, "http://http.test/text"))[0] == 200
        assert [warning.code for warning in tunnel.warnings] == ["store_unavailable"]
    assert "memory only" in capsys.readouterr().err


async def test_the_disk_fails_while_the_tunnel_is_up(
    localnet: Network, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "no space left", "disk")

    monkeypatch.setattr(files.os, "replace", full)
    async with open_tunnel(localnet, clientId="me") as tunnel:
        async with asyncio.timeout(10):
            while not tunnel.warnings:
                await asyncio.sleep(0.05)
        assert [warning.code for warning in tunnel.warnings] == ["store_unavailable"]
        assert (await get(tunnel, "http://http.test/text"))[0] == 200


async def test_a_reconnect_notes_the_new_authentication(localnet: Network, place: Path) -> None:
    async with open_tunnel(localnet, clientId="me") as tunnel:
        assert tunnel._identity is not None and tunnel._store is not None
        before = tunnel._identity.registrations[0].authenticated_at
        gateway = gateway_of(localnet, tunnel)
        await localnet.stop_node(gateway.name)
        await localnet.start_node(gateway.name)
        async with asyncio.timeout(30):
            while tunnel._identity.registrations[0].authenticated_at == before:
                await asyncio.sleep(0.05)
        await tunnel._store.flush(5)
        assert tunnel._store.writes == 2


async def test_the_command_line(localnet: Network, place: Path, tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("sesame, open\nnot this line\n")
    arguments = ["dns", "http.test", "--json", "--client-id", "me"]
    sealed = [*arguments, "--storage-passphrase-file", str(passphrase)]
    for _ in range(2):
        code, _out, err = await smolmix(localnet, *sealed)
        assert code == 0, err
    assert registrations(localnet) == 1
    code, out, err = await smolmix(localnet, *arguments)
    error = json.loads(out)["error"]
    assert (code, error["code"], error["option"]) == (2, "bad_option", "storagePassphrase")
    code, out, err = await smolmix(localnet, *arguments, "--storage-passphrase-file", str(tmp_path / "missing"))
    assert code == 1 and "missing" in err
