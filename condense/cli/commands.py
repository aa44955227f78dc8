"""The commands and the words of each. No import here is slow, so that help answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

KINDS = ("methods", "datasets", "networks", "protocols", "sets")
Words = argparse.ArgumentParser


@dataclass(frozen=True)
class Command:
    """What the command line says of a command, what answers it, and the words that it takes.

    handler: module of this package and function, which takes the parsed words and returns the exit code; imported when
    the command is run, since it may load PyTorch.
    """

    about: str
    handler: str
    add_words: Callable[[Words], None]


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


def _place(parser: Words) -> None:
    group = parser.add_argument_group("where")
    group.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:1, ... (default: cpu)")
    group.add_argument("--threads", type=_threads, metavar="N", help="CPU threads (default: PyTorch's choice)")
    group.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie (default: $CONDENSE_DATA)")
    group.add_argument("--cache-dir", type=Path, metavar="DIR", help="what is kept between runs ($CONDENSE_CACHE)")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _run(parser: Words) -> None:
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


def _budget(parser: Words, *, several: bool) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    nargs = "+" if several else None
    group.add_argument("--ipc", type=int, nargs=nargs, metavar="K", help="images per class")
    group.add_argument("--total", type=int, nargs=nargs, metavar="N", help="images in all")
    group.add_argument("--fraction", type=float, nargs=nargs, metavar="F", help="of each class, in (0, 1]")


def _dataset(parser: Words) -> None:
    text = "a name from `condense list datasets`, with adapters such as cifar10[0-4] or digits+rgb@32, or a folder"
    parser.add_argument("--dataset", required=True, metavar="NAME|PATH", help=text)


def _settings(parser: Words) -> None:
    parser.add_argument("--preset", metavar="NAME", help="named settings (default: the paper's main setting)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE", help="change one setting"
    )


def _judging(parser: Words, protocol: str | None) -> None:
    text = f" (default: {protocol})" if protocol else ""
    parser.add_argument("--protocol", default=protocol, required=protocol is None, metavar="NAME", help="rules" + text)
    parser.add_argument("--networks", nargs="+", metavar="A", help="networks to train (default: the protocol's panel)")
    parser.add_argument("--seeds", type=_at_least_one, metavar="N", help="networks of each kind")


def _results(parser: Words, default: str) -> None:
    text = f"folder of the records (default: {default})"
    parser.add_argument("--results", type=Path, default=Path(default), metavar="DIR", help=text)


def _set(parser: Words, *, several: bool = False) -> None:
    text = "folder of a set, or its name in `condense list sets`"
    if several:
        parser.add_argument("sets", nargs="+", metavar="SET", help=text)
    else:
        parser.add_argument("set", metavar="SET", help=text)


def _moved(parser: Words) -> None:
    text = "where the set's data lies now, if not where it did"
    parser.add_argument("--dataset", metavar="NAME|PATH", help=text)


def _folders(parser: Words) -> None:
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="(default: $CONDENSE_DATA)")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="(default: $CONDENSE_CACHE)")


def _listing(parser: Words) -> None:
    parser.add_argument("kind", metavar="|".join(KINDS))
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie (default: $CONDENSE_DATA)")


_SHARED = (
    "let several processes started with the same words share the work: teachers, blocks of images, epochs of labels; "
    "what they share stays in runs/work until the command is given once more without this"
)


def _distill(parser: Words) -> None:
    parser.add_argument("method", metavar="METHOD", help="a name from `condense list methods`, or a Python file")
    _dataset(parser)
    _budget(parser, several=False)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: 0)")
    _settings(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the set (default: a new one in runs/sets)")
    parser.add_argument("--shared", action="store_true", help=_SHARED)
    _run(parser)
    _place(parser)


def _gate(parser: Words) -> None:
    parser.add_argument("method", metavar="METHOD", help="a method with such a teacher, as krr_st")
    _dataset(parser)
    _settings(parser)
    text = "write the teacher's weights, for --set teacher=NETWORK@FILE"
    parser.add_argument("--weights", type=Path, metavar="FILE.safetensors", help=text)
    _place(parser)


def _evaluate(parser: Words) -> None:
    _set(parser, several=True)
    _judging(parser, None)
    _moved(parser)
    _results(parser, "runs/results")
    _place(parser)


def _relabel(parser: Words) -> None:
    _set(parser)
    text = "name of a label recipe, a JSON file, or another set, whose recipe and teachers are taken"
    parser.add_argument("--labels", required=True, metavar="NAME|FILE|SET", help=text)
    parser.add_argument("--seed", type=int, metavar="S", help="of the labels (default: the set's own)")
    _moved(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the set (default: a new one in runs/sets)")
    _place(parser)


def _transfer(parser: Words) -> None:
    _set(parser, several=True)
    text = "data sets to use the networks on, brought into the shape of the set's images"
    parser.add_argument("--targets", nargs="+", required=True, metavar="NAME|PATH", help=text)
    _judging(parser, "transfer-quick")
    text = "leave out the random and k-means images with teacher features that every set must beat"
    parser.add_argument("--no-baselines", action="store_false", dest="baselines", help=text)
    text = "where the sets' teacher lies, if it came from a file: baselines have the same"
    parser.add_argument("--teacher", metavar="NETWORK@FILE", help=text)
    text = "leave out fresh networks and those trained self-supervised on the whole source"
    parser.add_argument("--no-references", action="store_false", dest="references", help=text)
    _moved(parser)
    _results(parser, "runs/results")
    _place(parser)


def _bench(parser: Words) -> None:
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


def _leaderboard(parser: Words) -> None:
    _results(parser, "results")
    text = "folder of the cards (default: data_cards for results, else DIR/data_cards)"
    parser.add_argument("--cards", type=Path, metavar="DIR", help=text)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")


def _show(parser: Words) -> None:
    _set(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: runs/previews/<name>.png)")
    parser.add_argument("--per-class", type=_at_least_one, default=10, metavar="N", help="(default: 10)")
    _folders(parser)


def _card(parser: Words) -> None:
    _set(parser)
    parser.add_argument("--results", type=Path, metavar="DIR", help="add the accuracies recorded there")


def _verify(parser: Words) -> None:
    parser.add_argument("paths", nargs="+", metavar="SET|RECORD")


def _export(parser: Words) -> None:
    _set(parser)
    parser.add_argument("format", metavar="FORMAT", help="npz, pt, imagefolder, parquet, self-contained")
    parser.add_argument("target", type=Path, metavar="TARGET")
    _folders(parser)
    parser.add_argument("--replace", action="store_true", help="write over an earlier export")


def _import(parser: Words) -> None:
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
    _folders(parser)
    parser.add_argument("--replace", action="store_true", help="write over a saved set")


def _cache(parser: Words) -> None:
    parser.add_argument("action", nargs="?", default="list", choices=("list", "verify", "clear"))
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="(default: $CONDENSE_CACHE)")


COMMANDS: Mapping[str, Command] = {
    "list": Command(
        "what there is: methods, data sets, networks, protocols, distilled sets", "listing:listing", _listing
    ),
    "distill": Command("turn a training set into a small one", "work:distill", _distill),
    "gate": Command("probe the self-supervised teacher of a method before it teaches", "work:gate", _gate),
    "evaluate": Command("judge distilled sets under a protocol", "work:evaluate", _evaluate),
    "relabel": Command(
        "give a distilled set the labels of a recipe, or those of another set", "work:relabel", _relabel
    ),
    "transfer": Command("pre-train on distilled sets, judge the networks on other data", "work:transfer", _transfer),
    "bench": Command("distil and judge with many methods, then print the leaderboard", "work:bench", _bench),
    "leaderboard": Command("draw tables, plots and cards from the records", "work:leaderboard", _leaderboard),
    "show": Command("draw the images of a distilled set", "exchange:show", _show),
    "card": Command("print the card of a distilled set", "exchange:card", _card),
    "verify": Command("check a distilled set or a record for damage", "exchange:verify", _verify),
    "import": Command("turn a set in another layout into a distilled set", "exchange:import_set", _import),
    "export": Command("write a distilled set in another layout", "exchange:export_set", _export),
    "cache": Command("list, verify or clear what is kept between runs", "caching:cache", _cache),
}
