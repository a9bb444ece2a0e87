"""The command line without a network: what docs/command-line.md says of it, mistakes, the table of exit codes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import build
from buildtools.common import ROOT
from smolmix_web.cli import main as cli
from smolmix_web.errors import OptionError, UsageError
from smolmix_web.proxy import command
from smolmix_web.proxy.server import Place
from tests.examples import examples, pages_with

pytestmark = pytest.mark.cpython

PAGE = ROOT / "docs" / "command-line.md"


def commands(program: str) -> list[list[str]]:
    """What follows `program` in every line of the shell examples of all pages."""
    start, found = program.split(), []
    for path in pages_with("sh").values():
        for line in "".join(examples(path, "sh")).splitlines():
            words = shlex.split(line, comments="#" in line and "tls://" not in line)
            words = words[: words.index(">")] if ">" in words else words
            if words[: len(start)] == start and words[len(start)] != "--help":
                found.append(words[len(start) :])
    return found


@pytest.mark.parametrize("words", commands("smolmix-web"), ids=" ".join)
def test_what_the_pages_say_can_be_said(words: list[str]) -> None:
    assert cli.build_parser().parse_args(words).command == words[0]


@pytest.mark.parametrize("words", commands("python3 build.py"), ids=" ".join)
def test_tasks_that_the_pages_name_are_there(words: list[str]) -> None:
    assert build.parser().parse_known_args(words)[0].command == words[0]


def test_exit_codes_are_those_of_the_page() -> None:
    table = re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    assert list(map(int, table)) == [0, cli.EXIT_FAILED, cli.EXIT_USAGE, cli.EXIT_INTERRUPTED]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nonsense"], "bad_arguments"),
        (["fetch"], "bad_arguments"),
        (["ping", "a.test", "-c", "many"], "bad_arguments"),
        (["fetch", "http://a.test/", "--ca", "/nowhere/ca.pem"], "system"),
        (["dns", "a.test", "--ipr", "nonsense", "--quiet"], "bad_option"),
    ],
)
def test_mistakes(words: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = cli.EXIT_FAILED if code == "system" else cli.EXIT_USAGE
    assert cli.main([*words, "--json"]) == expected
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == code and len(err.splitlines()) == 1


def options(*words: str) -> object:
    return command.options_from(cli.build_parser().parse_args(["proxy", *words]))


def test_places_of_the_proxy(tmp_path: Path) -> None:
    assert vars(options()) | {} == vars(options("--socks"))
    made = options("--http", "[::1]:0", "--dns")
    assert (made.socks, made.http, made.dns) == (None, Place("::1", 0), Place("127.0.0.1", 5353))  # type: ignore[attr-defined]
    for wrong in ("8080", "127.0.0.1:", "127.0.0.1:99999"):
        with pytest.raises(UsageError):
            options("--socks", wrong)
    (tmp_path / "bad").write_text("nobody\n")
    with pytest.raises(OptionError):
        options("--credentials-file", str(tmp_path / "bad"))
    (tmp_path / "good").write_text("alice:a:b\r\nrest")
    assert options("--credentials-file", str(tmp_path / "good")).credentials == ("alice", "a:b")  # type: ignore[attr-defined]
