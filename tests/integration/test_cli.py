"""The command line as a user starts it, against a local network of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from localnet import Network
from localnet.origin import body_bytes, body_sha256

pytestmark = pytest.mark.timeout(90)


async def smolmix(network: Network, *arguments: str, stdin: bytes = b"", common: bool = True) -> tuple[int, bytes, str]:
    """Exit code, stdout, stderr of `python -m smolmix_web`."""
    tunnel = ["--directory", network.directory_url, "--no-tls", "--no-poisson", "--ca", str(network.ca_path)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "smolmix_web",
        *arguments,
        *(tunnel if common else ()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    assert process.returncode is not None
    return process.returncode, out, err.decode()


async def json_of(network: Network, *arguments: str, stdin: bytes = b"") -> dict[str, Any]:
    code, out, err = await smolmix(network, *arguments, "--json", stdin=stdin)
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


async def test_fetch(localnet: Network) -> None:
    code, out, err = await smolmix(localnet, "fetch", "https://origin.test/bytes/50000")
    assert (code, out) == (0, body_bytes(50_000))
    assert "tunnel ready" in err

    result = await json_of(localnet, "fetch", "https://origin.test/bytes/50000")
    assert (result["status"], result["bytes"], result["sha256"]) == (200, 50_000, body_sha256(50_000))
    assert result["tls"] == "TLSv1.3" and result["setup_ms"] > 0

    result = await json_of(localnet, "fetch", "http://http.test/echo", "-d", "posted", "-H", "X-Test: 1")
    assert "posted" in result["text"]


async def test_a_capture_of_the_tunnel(localnet: Network, tmp_path: Path) -> None:
    capture = tmp_path / "tunnel.pcap"
    await json_of(localnet, "fetch", "http://http.test/text", "--pcap", str(capture))
    data = capture.read_bytes()
    order: Literal["little", "big"] = "little" if data[0] == 0xD4 else "big"
    assert int.from_bytes(data[:4], order) == 0xA1B2C3D4 and int.from_bytes(data[20:24], order) == 101
    assert data[24 + 16] >> 4 == 4, "the first record holds an IPv4 packet"
    assert b"\x04http\x04test" in data.lower() and b"GET /text HTTP/1.1" in data


@pytest.mark.feature("DNS", "Command line: dns NAME --type MX --server tls://...")
async def test_records(localnet: Network) -> None:
    (code, out, err), mail, secret, wrong = await asyncio.gather(
        smolmix(localnet, "dns", "zone.test", "--type", "mx"),
        json_of(localnet, "dns", "203.0.114.10", "--type", "PTR"),
        json_of(localnet, "dns", "zone.test", "--server", "tls://9.9.9.9#dns.test"),
        smolmix(localnet, "dns", "zone.test", "--type", "SRV"),
    )
    assert code == 0, err
    lines = [b"preference=10 exchange=mail.zone.test", b"preference=20 exchange=backup.zone.test"]
    assert out.splitlines() == [b"zone.test 300 MX " + line for line in lines]
    assert mail["records"][0]["target"] == "origin.test" and mail["server"] == "8.8.8.8:53"
    assert secret["server"] == "tls://9.9.9.9#dns.test" and secret["records"][0]["address"] == "203.0.114.10"
    assert wrong[0] == 1 and "dns_no_data [dns]" in wrong[2]


@pytest.mark.feature("Python", "command line: dns, ws, udp, tcp, ping")
async def test_dns_ws_udp_tcp_ping(localnet: Network) -> None:
    answers = await asyncio.gather(
        json_of(localnet, "dns", "origin.test"),
        json_of(localnet, "ws", "wss://ws.test/", "-m", "one", "-m", "two"),
        json_of(localnet, "udp", "echo.test:50007", "datagram"),
        json_of(localnet, "tcp", "echo.test:50007", stdin=b"stream"),
        json_of(localnet, "ping", "origin.test", "-c", "2"),
    )
    dns, ws, udp, tcp, ping = answers
    assert (ping["address"], ping["sent"], len(ping["ms"])) == ("203.0.114.10", 2, 2) and min(ping["ms"]) > 0
    assert dns["addresses"] == ["203.0.114.10", "2a0e:6a80:114::a"]
    assert (ws["received"], ws["close"]) == (["one", "two"], [1000, ""])
    assert udp["text"] == "datagram"
    assert (tcp["sent"], tcp["received"], tcp["base64"]) == (6, 6, "c3RyZWFt")


async def test_a_chosen_gateway_and_exit(localnet: Network) -> None:
    network = localnet.describe()
    gateway, exit_address = network["gateways"][1]["identity"], network["exits"][1]["address"]
    await json_of(localnet, "fetch", "http://http.test/text", "--gateway", gateway, "--ipr", exit_address)


async def test_mistakes_end_with_one_clear_line(localnet: Network) -> None:
    cases = [
        (("udp", "echo.test", "text"), 2, "bad_endpoint"),
        (("fetch", "ftp://origin.test/"), 1, "bad_url"),
        (("fetch", "http://nowhere.test/"), 1, "dns_not_found"),
        (("dns", "origin.test", "--ipr", "nonsense"), 2, "bad_option"),
    ]
    for arguments, expected, code_name in cases:
        code, out, err = await smolmix(localnet, *arguments, "--quiet", "--json")
        assert code == expected, err
        assert code_name in err and len(err.splitlines()) == 1
        assert json.loads(out)["error"]["code"] == code_name
