"""The words of the command line, and nothing else: no import here is slow, so that help answers at once."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from condense import __version__
from condense.budget import Budget
from condense.errors import BadInput, UnknownName

_ALONE = ("-h", "--help", "--version", "--traceback")  # options that need no command
KINDS = ("methods", "datasets", "networks", "protocols", "sets")
COMMANDS = {
    "list": "what there is: methods, data sets, networks, protocols, distilled sets",
    "distill": "turn a training set into a small one",
    "gate": "probe the self-supervised teacher of a method before it teaches",
    "evaluate": "judge distilled sets under a protocol",
    "relabel": "give a distilled set the labels of a recipe, or those of another set",
    "transfer": "pre-train on distilled sets, judge the networks on other data",
    "bench": "distil and judge with many methods, then print the leaderboard",
    "leaderboard": "draw tables, plots and cards from the records",
    "show": "draw the images of a distilled set",
    "card": "print the card of a distilled set",
    "verify": "check a distilled set or a record for damage",
    "import": "turn a set in another layout into a distilled set",
    "export": "write a distilled set in another layout",
    "cache": "list, verify or clear what is kept between runs",
}
_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again: it resumes",
    errno.EDQUOT: "free some of your quota, then run the same command again: it resumes",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "a file stands where a folder is needed; remove it or choose another place",
    errno.EEXIST: "something stands there already; remove it or choose another place",
    errno.EISDIR: "a folder stands where a file is needed; remove it or choose another place",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
}


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
    parsers = {
        name: commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    for add in (
        _listing,
        _distill,
        _gate,
        _evaluate,
        _relabel,
        _transfer,
        _bench,
        _leaderboard,
        _exchange,
        _import,
        _cache,
    ):
        add(parsers)
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


def explain(error: OSError) -> str:
    """What the system refused, where, and what to do about it."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    from condense import files  # here, because help must answer at once

    # Of a renaming, only its target has a name that the user knows.
    named = error.filename if error.filename2 is None else error.filename2
    place = "" if named is None else f"{files.intended(str(named))}: "
    hint = _HINTS.get(error.errno or 0)
    return place + reason + (f"; {hint}" if hint else "")


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


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _threads(text: str) -> int:
    most = 1024  # far beyond any machine this runs on; a slip of the keyboard would start them all
    if _at_least_one(text) > most:
        raise argparse.ArgumentTypeError(f"expected at most {most} threads, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def _place(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where")
    group.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, ... (default: cpu)")
    group.add_argument("--threads", type=_threads, metavar="N", help="CPU threads (default: PyTorch's choice)")
    group.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie (default: $CONDENSE_DATA)")
    group.add_argument("--cache-dir", type=Path, metavar="DIR", help="what is kept between runs ($CONDENSE_CACHE)")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--time-budget", type=_seconds, metavar="SECONDS", help="stop distilling a set after this long")
    group.add_argument(
        "--checkpoint-seconds",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="work that a kill may lose (default: 30)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="let the method compile its networks: one to two minutes once, then faster steps; "
        "trajectory matching leaves it where the run is too short to repay it; "
        "experts and the judge decide for themselves",
    )


def _budget(parser: argparse.ArgumentParser, *, several: bool) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    nargs = "+" if several else None
    group.add_argument("--ipc", type=int, nargs=nargs, metavar="K", help="images per class")
    group.add_argument("--total", type=int, nargs=nargs, metavar="N", help="images in all")
    group.add_argument("--fraction", type=float, nargs=nargs, metavar="F", help="of each class, in (0, 1]")


def _dataset(parser: argparse.ArgumentParser) -> None:
    text = "a name from `condense list datasets`, with adapters such as cifar10[0-4] or digits+rgb@32, or a folder"
    parser.add_argument("--dataset", required=True, metavar="NAME|PATH", help=text)


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", metavar="NAME", help="named settings (default: the paper's main setting)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE", help="change one setting"
    )


def _judging(parser: argparse.ArgumentParser, protocol: str | None) -> None:
    text = f" (default: {protocol})" if protocol else ""
    parser.add_argument("--protocol", default=protocol, required=protocol is None, metavar="NAME", help="rules" + text)
    parser.add_argument("--networks", nargs="+", metavar="A", help="networks to train (default: the protocol's panel)")
    parser.add_argument("--seeds", type=_at_least_one, metavar="N", help="networks of each kind")


def _results(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"folder of the records (default: {default})"
    parser.add_argument("--results", type=Path, default=Path(default), metavar="DIR", help=text)


def _listing(parsers: dict[str, Parser]) -> None:
    parser = parsers["list"]
    parser.add_argument("kind", metavar="|".join(KINDS))
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie (default: $CONDENSE_DATA)")


_SHARED = (
    "let several processes started with the same words share the work: teachers, blocks of images, epochs of labels; "
    "what they share stays in runs/work until the command is given once more without this"
)


def _distill(parsers: dict[str, Parser]) -> None:
    parser = parsers["distill"]
    parser.add_argument("method", metavar="METHOD", help="a name from `condense list methods`, or a Python file")
    _dataset(parser)
    _budget(parser, several=False)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    _settings(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the set (default: a new one in runs/sets)")
    parser.add_argument("--shared", action="store_true", help=_SHARED)
    _run(parser)
    _place(parser)


def _gate(parsers: dict[str, Parser]) -> None:
    parser = parsers["gate"]
    parser.add_argument("method", metavar="METHOD", help="a method with such a teacher, as krr_st")
    _dataset(parser)
    _settings(parser)
    text = "write the teacher's weights, for --set teacher=NETWORK@FILE"
    parser.add_argument("--weights", type=Path, metavar="FILE.safetensors", help=text)
    _place(parser)


def _evaluate(parsers: dict[str, Parser]) -> None:
    parser = parsers["evaluate"]
    parser.add_argument("sets", nargs="+", metavar="SET", help="folder of a set, or its name in `condense list sets`")
    _judging(parser, None)
    parser.add_argument("--dataset", metavar="NAME|PATH", help="where the set's data lies now, if not where it did")
    _results(parser, "runs/results")
    _place(parser)


def _relabel(parsers: dict[str, Parser]) -> None:
    parser = parsers["relabel"]
    parser.add_argument("set", metavar="SET", help="folder of a set, or its name in `condense list sets`")
    text = "name of a label recipe, a JSON file, or another set, whose recipe and teachers are taken"
    parser.add_argument("--labels", required=True, metavar="NAME|FILE|SET", help=text)
    parser.add_argument("--seed", type=int, metavar="S", help="of the labels (default: the set's own)")
    parser.add_argument("--dataset", metavar="NAME|PATH", help="where the set's data lies now, if not where it did")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the set (default: a new one in runs/sets)")
    _place(parser)


def _transfer(parsers: dict[str, Parser]) -> None:
    parser = parsers["transfer"]
    parser.add_argument("sets", nargs="+", metavar="SET", help="folder of a set, or its name in `condense list sets`")
    text = "data sets to use the networks on, brought into the shape of the set's images"
    parser.add_argument("--targets", nargs="+", required=True, metavar="NAME|PATH", help=text)
    _judging(parser, "transfer-quick")
    text = "leave out the random and k-means images with teacher features that every set must beat"
    parser.add_argument("--no-baselines", action="store_false", dest="baselines", help=text)
    text = "leave out fresh networks and those trained self-supervised on the whole source"
    parser.add_argument("--no-references", action="store_false", dest="references", help=text)
    parser.add_argument("--dataset", metavar="NAME|PATH", help="where the set's data lies now, if not where it did")
    _results(parser, "runs/results")
    _place(parser)


def _bench(parsers: dict[str, Parser]) -> None:
    parser = parsers["bench"]
    _dataset(parser)
    _budget(parser, several=True)
    parser.add_argument("--methods", nargs="+", metavar="A", help="(default: every built-in method)")
    parser.add_argument("--preset", default="cpu", metavar="NAME", help='settings (default: cpu; "none": the paper\'s)')
    parser.add_argument("--distill-seeds", type=_at_least_one, default=1, metavar="N", help="sets of each (default: 1)")
    text = "label every set alike before it is judged: a recipe's name, a JSON file, or another set"
    parser.add_argument("--labels", metavar="NAME|FILE|SET", help=text)
    _judging(parser, "quick")
    _results(parser, "runs/results")
    _run(parser)
    _place(parser)


def _leaderboard(parsers: dict[str, Parser]) -> None:
    parser = parsers["leaderboard"]
    _results(parser, "results")
    text = "folder of the cards (default: data_cards for results, else DIR/data_cards)"
    parser.add_argument("--cards", type=Path, metavar="DIR", help=text)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")


def _exchange(parsers: dict[str, Parser]) -> None:
    for name in ("show", "card", "export"):
        parsers[name].add_argument("set", metavar="SET", help="folder of a set, or its name in `condense list sets`")
    parsers["show"].add_argument("--out", type=Path, metavar="FILE", help="(default: runs/previews/<name>.png)")
    parsers["show"].add_argument("--per-class", type=_at_least_one, default=10, metavar="N", help="(default: 10)")
    parsers["card"].add_argument("--results", type=Path, metavar="DIR", help="add the accuracies recorded there")
    parsers["verify"].add_argument("paths", nargs="+", metavar="SET|RECORD")
    parsers["export"].add_argument("format", metavar="FORMAT", help="npz, pt, imagefolder, parquet, self-contained")
    parsers["export"].add_argument("target", type=Path, metavar="TARGET")
    for name in ("show", "import", "export"):
        parsers[name].add_argument("--data-dir", type=Path, metavar="DIR", help="(default: $CONDENSE_DATA)")
        parsers[name].add_argument("--cache-dir", type=Path, metavar="DIR", help="(default: $CONDENSE_CACHE)")
    for name in ("import", "export"):
        parsers[name].add_argument("--replace", action="store_true", help="write over what stands there")


def _import(parsers: dict[str, Parser]) -> None:
    parser = parsers["import"]
    parser.add_argument("format", metavar="FORMAT", help="dc, mtt, datm, selfsup, imagefolder, npz")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the foreign file or folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the set")
    _dataset(parser)
    group = parser.add_argument_group("what the files leave open")
    group.add_argument("--space", metavar="S", help="pixel space: raw01, uint8, normalised, zca")
    group.add_argument("--label-form", metavar="F", help="hard, probabilities, logits, vectors")
    group.add_argument("--step-size", type=float, metavar="X", help="the learned step size")
    group.add_argument("--method", metavar="NAME", help="what made the set (default: the format's name)")
    group.add_argument("--title", metavar="TEXT", help="how tables call the method (default: its name)")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of the distillation (default: 0)")
    group.add_argument("--no-probe", action="store_true", help="do not train a small network on it as a check")


def _cache(parsers: dict[str, Parser]) -> None:
    parser = parsers["cache"]
    parser.add_argument("action", nargs="?", default="list", choices=("list", "verify", "clear"))
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="(default: $CONDENSE_CACHE)")
