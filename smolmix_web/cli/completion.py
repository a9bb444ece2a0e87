"""Completion for shells: `smolmix-web completion bash` prints a script, made by shtab from the parser itself."""

from __future__ import annotations

import argparse
from typing import Any

from .. import extras

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Any) -> None:
    """The subcommand, for the `add_subparsers` object of the command line."""
    parser = commands.add_parser("completion", help="print a script that completes this command in a shell")
    parser.add_argument("shell", choices=SHELLS)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """For `eval "$(smolmix-web completion bash)"`. Raises `MissingLibrary`."""
    shtab = extras.load("shtab", "cpython")
    for command in _all(parser):
        for action in command._actions:
            if action.metavar == "FILE":
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks
    text: str = shtab.complete(parser, shell)
    return text


def _all(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += _all(below)
    return found
