"""The command line as words are read from it; no import here is slow, so that help answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from condense import __version__
from condense.budget import Budget
from condense.cli.commands import COMMANDS
from condense.errors import BadInput, UnknownName

_ALONE = ("-h", "--help", "--version", "--traceback")  # options that need no command


class Parser(argparse.ArgumentParser):
    """Reports a misused option as every other bad input, on one line."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}; see `{self.prog} --help`")

    def options(self) -> list[str]:
        """Every long option of this command."""
        return [option for option in self._option_string_actions if option.startswith("--")]


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command and its options.

    Raises:
        BadInput: for anything that the command line does not know, with the nearest that it does.
        SystemExit: after printing help or the version.
    """
    if not words:
        raise BadInput(f"give a command: {', '.join(COMMANDS)}; see `condense --help`")
    command = words[0]
    if command not in COMMANDS and command not in _ALONE:
        kind, known = ("option", _ALONE) if command.startswith("-") else ("command", tuple(COMMANDS))
        raise UnknownName(kind, command, known)
    top = Parser(
        prog="condense",
        description="Distil a training set, judge the result fairly, and use it elsewhere.",
        epilog="`condense COMMAND --help` says more; `condense distill METHOD --help` lists a method's settings.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"condense {__version__}")
    top.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    parsers = {}
    for name, each in COMMANDS.items():
        text = each.about
        parsers[name] = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
        )
        each.add_words(parsers[name])
    if command == "distill" and len(words) > 1 and {"-h", "--help"} & set(words) and not words[1].startswith("-"):
        from condense.cli.method_help import describe

        parsers["distill"].epilog = describe(words[1])
        parsers["distill"].formatter_class = argparse.RawDescriptionHelpFormatter
    arguments, rest = top.parse_known_args(words)
    if rest:
        if rest[0].startswith("-"):
            raise UnknownName(f"option of {command}", rest[0].split("=")[0], parsers[command].options())
        raise BadInput(f"unexpected argument {rest[0]!r}; see `condense {command} --help`")
    arguments.words = list(words)  # what records keep as the command that made them
    return arguments


def budgets(arguments: argparse.Namespace) -> list[Budget]:
    """The budgets that --ipc, --total or --fraction name.

    Raises:
        BadInput: for a number that no set can have.
    """
    for name in ("ipc", "total", "fraction"):
        given = getattr(arguments, name)
        if given is not None:
            return [Budget(**{name: value}) for value in (given if isinstance(given, list) else [given])]
    raise AssertionError("the command line requires one of the three")


def overrides(words: Sequence[str]) -> dict[str, str]:
    """FIELD=VALUE words as a mapping; the method reads each value as its field's type.

    Raises:
        BadInput: for a word without a field, or a field given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise BadInput(f"--set takes FIELD=VALUE, got {word!r}; `condense distill METHOD --help` lists the fields")
        if name in found:
            raise BadInput(f"--set {name} was given twice, as {found[name]!r} and {value!r}; give it once")
        found[name] = value
    return found
