"""Where the verbs read, compute and write, and the distilled sets that are there."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from condense import data, distilled, machine
from condense.data import Dataset
from condense.distilled import DistilledSet
from condense.errors import BadInput, UnknownName
from condense.method import Cost
from condense.progress import NoProgress, Progress
from condense.quantities import duration, size

SETS = Path("runs/sets")
WORK = Path("runs/work")
RESULTS = Path("runs/results")


@dataclass(frozen=True)
class Place:
    """Where a call reads data, keeps caches and computes. None means the default of each."""

    device: str = "cpu"
    data_dir: Path | None = None
    cache_dir: Path | None = None
    time_budget: float | None = None  # seconds of distillation, after which every phase ends
    checkpoint_seconds: float = 30.0
    shared: bool = False  # let several processes that are given the same words share the work of one distillation
    compile: bool = False  # let a method compile its networks: a minute or two once, then faster steps
    progress: Progress | NoProgress = field(default_factory=NoProgress)

    def __post_init__(self) -> None:
        machine.keep_float32(self.device)  # before a request or a record names the engine

    def dataset(self, name: str) -> Dataset:
        """The named data set with both splits on this device."""
        loaded = data.load(name, data_dir=self.data_dir, cache_dir=self.cache_dir)
        return dataclasses.replace(loaded, train=loaded.train.to(self.device), test=loaded.test.to(self.device))

    def options(self) -> dict[str, Any]:
        """What a `Run` takes from here."""
        return {
            "cache_dir": self.cache_dir,
            "device": self.device,
            "checkpoint_seconds": self.checkpoint_seconds,
            "shared": self.shared,
            "compile": self.compile,
            "time_budget": self.time_budget,
            "progress": self.progress,
        }


def require_writable(target: Path, option: str) -> Path:
    """The folder that stands on the way to `target`, or is it, before work goes into what could not be kept.

    Raises:
        BadInput: naming the command line's option, when nothing can be written there.
    """
    try:
        os.fspath(target).encode()
    except UnicodeEncodeError:
        raise BadInput(f"{os.fspath(target)!a} is not valid UTF-8; choose another {option}") from None
    standing = next(place for place in (target, *target.absolute().parents) if place.exists())
    if not standing.is_dir():
        raise BadInput(f"{standing} is a file where a folder should be; choose another {option}")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise BadInput(f"{standing} cannot be written to; choose another {option}, or change its permissions")
    return standing


def announcement(what: str, cost: Cost, device: str) -> str:
    """A line that says what a work will take, before it starts."""
    rate = machine.operations_per_second(device)
    shared = cost.shared_operations / rate
    parts = [f"at least {duration(cost.operations / rate - shared)}"]
    if shared:
        parts += [f"before that {duration(shared)} for what it shares with others, unless the cache has it"]
    parts += [f"about {size(cost.memory_bytes)} of memory and {size(cost.disk_bytes)} of disk"]
    return f"{what}: {', '.join(parts)}"


def load(name: str | Path, *, dataset: str | None = None, place: Place | None = None) -> DistilledSet:
    """Loads a distilled set, ready to train on, by its folder or by its name under `runs/sets`.

    A selection stores the positions of real images: their data set is opened too, and must be on this machine.

    Args:
        dataset: where that data set is found, when the set's recorded name does not say.

    Raises:
        UnknownName: offering the nearest sets there.
        DamagedFile: naming the file whose hash is not the recorded one.
        BadInput: when the data set is not there, or is not the one that the set was made from.
    """
    loaded = distilled.load(set_folder(name))
    if loaded.source is None:
        return loaded
    return loaded.bind(origin(loaded, name, dataset, place or Place()).train)


def sets() -> list[str]:
    """Names of the distilled sets under `runs/sets`."""
    return sorted(path.parent.name for path in SETS.glob("*/set.json"))


def set_folder(name: str | Path) -> Path:
    """The folder of a set, given itself or by its name under `runs/sets`; raises as `load`."""
    for folder in (Path(name), SETS / name):
        if (folder / "set.json").is_file():
            return folder
    if Path(name).exists():
        raise BadInput(f"{name} is not a distilled set: it has no set.json; `condense import` reads other layouts")
    raise UnknownName("distilled set", str(name), sets())


def origin(loaded: DistilledSet, name: str | Path, dataset: str | None, place: Place) -> Dataset:
    """The data set that a distilled set was made from."""
    made = loaded.provenance
    if not {"dataset", "budget", "method"} <= set(made):
        raise BadInput(f"{name} does not record its data set, budget and method; import it again with --dataset")
    source = place.dataset(dataset or made["dataset"]["name"])
    if source.fingerprint != made["dataset"]["fingerprint"]:
        raise BadInput(
            f"{name} was made from data with fingerprint {made['dataset']['fingerprint'][:12]}, "
            f"{source.name} has {source.fingerprint[:12]}; give the data set it was made from with --dataset"
        )
    return source
