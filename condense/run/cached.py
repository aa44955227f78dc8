"""Building a cached value: one process builds, the others wait; the builder resumes after an interruption."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from condense import files
from condense.errors import BadInput, DamagedFile
from condense.run import cache
from condense.run.randomness import derived_seed
from condense.run.state import first_not_finite

if TYPE_CHECKING:
    from condense.run.run import Run

Build = Callable[["Run"], Mapping[str, cache.Value]]
OpenRun = Callable[[Path, int, Mapping[str, Any]], "Run"]  # (directory, seed, request)


class Entry(NamedTuple):
    values: dict[str, Any]
    seconds: dict[str, float]  # of building it, and each entry it was made from


_building: list[str] = []  # keys that this process is building, outermost first


def cached(
    key: Mapping[str, Any],
    build: Build,
    cache_dir: Path | None,
    open_run: OpenRun,
    version: int = 1,
    engine: str | None = None,
) -> Entry:
    """The entry for `key`, built when it is absent or damaged.

    The value is read back from the disk also right after it was built, so that both are the same bits. Another version
    or engine is another entry, with the draws of the same seed; the first version, and no engine, go without a name.

    Raises:
        BadInput: when a value needs itself, or the builder returns something that cannot be kept.
    """
    seed = derived_seed("cached", cache.place(key, cache_dir).name)
    key = key if version == 1 else {**key, "version": version}
    key = key if engine is None else {**key, "engine": engine}
    folder = cache.place(key, cache_dir)
    if (found := _sound(folder, announce=False)) is not None:
        return found
    if folder.name in _building:
        raise BadInput(
            f"the cached value {dict(key)} needs itself while it is being built; give the inner one another key"
        )
    with files.lock(folder):
        if (found := _sound(folder, announce=True)) is not None:
            return found
        _building.append(folder.name)
        try:
            work = folder.with_name(folder.name + cache.WORK)
            with open_run(work, seed, dict(key)) as run:
                values = dict(build(run))
                seconds = {**run.shared_seconds, folder.name: run.own_seconds}
            _check(key, values)
            cache.store(folder, key, values, seconds)
            files.discard(work)
        finally:
            _building.pop()
    return _read(folder)


def _read(folder: Path) -> Entry:
    return Entry(dict(cache.read(folder)), cache.seconds(folder))


def _sound(folder: Path, announce: bool) -> Entry | None:
    if not folder.is_dir():
        return None
    try:
        return _read(folder)
    except DamagedFile as error:
        if announce:
            print(f"condense: {error}; building it again", file=sys.stderr)
        return None


def _check(key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor | bool | int | float | str):
            raise BadInput(f"cached {dict(key)}: {name} is a {type(value).__name__}; keep tensors, numbers and texts")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInput(f"cached {dict(key)}: {name} is {value}; a cached value must be finite")
    if (bad := first_not_finite({name: item for name, item in values.items() if isinstance(item, Tensor)})) is not None:
        raise BadInput(f"cached {dict(key)}: {bad} is not finite")
