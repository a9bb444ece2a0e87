"""The stored identity of programs: a folder."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from tests.node.programs import Programs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(200)]

ADDRESS = """const tunnel = new api.MixTunnel({ ...options, clientId: "bot ä/1", ...args });
const failure = await caught(() => tunnel.setup());
const { address } = tunnel;
if (!failure) await tunnel.disconnect();
return failure ? failure.code : address;"""


def folder_of(programs: Programs) -> Path:
    (folder,) = (programs.home / "smolmix-web-node").iterdir()
    return folder


@pytest.mark.feature("Programs", "the identity is kept in a folder, sealed")
async def test_it_is_kept(programs: Programs) -> None:
    first = await programs.value(ADDRESS)
    assert await programs.value(ADDRESS) == first and "@" in first
    folder = folder_of(programs)
    assert folder.name == "bot%20%C3%A4%2F1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "identity": 0o600,
        "key": 0o600,
    }
    record = (folder / "identity").read_bytes()
    assert record.startswith(b"SMOLMIX") and not [part for part in first.split("@") if part.encode() in record]


async def test_one_tunnel_at_a_time(programs: Programs) -> None:
    """... of this program or another one; a program that is killed leaves the place to the next one."""
    body = """const [one, two] = [0, 1].map(() => new api.MixTunnel({ ...options, clientId: "one" }));
        await one.setup();
        const failure = await caught(() => two.setup());
        console.log("result: " + JSON.stringify(failure.code));
        process.kill(process.pid, "SIGKILL");"""
    with tempfile.TemporaryDirectory() as short:  # a socket's name has about a hundred characters
        programs.home = Path(short)
        ended = await programs.run(body)
        assert (ended.value, ended.code) == ("client_id_in_use", -9)
        assert (folder_of(programs) / "lock").is_socket()
        got = await programs.value(
            """const tunnel = new api.MixTunnel({ ...options, clientId: "one" });
            await tunnel.setup();
            await tunnel.disconnect();
            return tunnel.state.state;"""
        )
        assert got == "shutdown" and not (folder_of(programs) / "lock").exists()


@pytest.mark.feature("Programs", "a passphrase for the stored identity")
async def test_a_passphrase(programs: Programs) -> None:
    first = await programs.value(ADDRESS, {"storagePassphrase": "correct horse"})
    assert "@" in first
    assert await programs.value(ADDRESS, {"storagePassphrase": "wrong"}) == "bad_option"
    assert await programs.value(ADDRESS, {"storagePassphrase": "correct horse"}) == first


async def test_a_damaged_record_is_set_aside(programs: Programs) -> None:
    first = await programs.value(ADDRESS)
    (folder_of(programs) / "identity").write_bytes(b"nonsense")
    ended = await programs.run(ADDRESS)
    assert ended.code == 0 and "@" in ended.value and ended.value != first
    assert [path.name for path in folder_of(programs).glob("identity.*.aside")]
