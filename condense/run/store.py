"""Streamed results: numbered shards of one schema, each written whole, never all in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from condense.errors import BadInput
from condense.run.randomness import derived_seed, generator
from condense.run.settings import Settings
from condense.run.units import Exclusively, Units

Schema = Mapping[str, tuple[str, tuple[int | None, ...]]]  # field -> (dtype name, shape); None is any length


class Shard:
    """One shard to be written.  Its randomness depends on the run's seed, the store's name and its index alone."""

    def __init__(self, units: Units, index: int, seed: int):
        self.index = index
        self.note = ""  # written beside the tensors; `Store.note` gives it back
        self._units = units
        self._seed = seed

    def rng(self, name: str, *ids: int) -> torch.Generator:
        """A CPU generator of this shard."""
        return generator(self._seed, name, *ids)

    def write(self, **tensors: Tensor) -> None:
        """Stores the shard, whole.

        Raises:
            BadInput: when fields, dtypes or shapes are not the schema's.
        """
        self._units.write(self.index, tensors, self.note)


class Store:
    """`missing()` yields the shards to write, `read(i)` gives one back; `len` is their number."""

    def __init__(
        self,
        folder: Path,
        name: str,
        shards: int,
        schema: Schema,
        seed: int,
        settings: Settings,
        exclusively: Exclusively,
    ):
        self.name = name
        self.schema = {field: (dtype, tuple(shape)) for field, (dtype, shape) in schema.items()}
        for field, (dtype, _) in self.schema.items():
            if not isinstance(getattr(torch, dtype, None), torch.dtype):
                raise BadInput(f"store {name!r}: field {field} has the unknown dtype {dtype!r}; name one of PyTorch's")
        self._units = Units(folder, f"store {name!r}", shards, settings, self._problem)
        self._seed = seed
        self._exclusively = exclusively

    def __len__(self) -> int:
        return self._units.count

    @property
    def directory(self) -> Path:
        """The folder of the shards, `00000.safetensors` and so on."""
        return self._units.folder

    def path(self, index: int) -> Path:
        """The file of one shard, whether it is there or not."""
        return self._units.path(index)

    def note(self, index: int) -> str:
        """What was noted beside a shard, empty for nothing and for a shard that is not there."""
        return self._units.note(index) if self.path(index).is_file() else ""

    def missing(self) -> Iterator[Shard]:
        """The shards that are absent or damaged; each must be written in the body of the loop."""
        return self._exclusively(self.name, self._pending())

    def _pending(self) -> Generator[Shard, None, None]:
        for index in self._units.missing():
            yield Shard(self._units, index, derived_seed(self._seed, "store", self.name, index))

    def read(self, index: int) -> dict[str, Tensor]:
        """The tensors of one shard.

        Raises:
            BadInput: for a shard that is not there.
            DamagedFile: naming the file when its content is not what was written.
        """
        return self._units.read(index)

    def _problem(self, tensors: dict[str, Tensor]) -> str | None:
        if tensors.keys() != self.schema.keys():
            return f"fields {sorted(tensors)} where the schema has {sorted(self.schema)}"
        for field, (dtype, shape) in self.schema.items():
            tensor = tensors[field]
            found = str(tensor.dtype).removeprefix("torch.")
            lengths = zip(tensor.shape, shape, strict=False)
            if found != dtype or tensor.ndim != len(shape) or any(want not in (None, have) for have, want in lengths):
                return f"{field} is {found} {list(tensor.shape)} where the schema has {dtype} {list(shape)}"
        return None
