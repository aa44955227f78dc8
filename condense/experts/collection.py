"""Experts on disk: trained once for everyone who asks for the same, and extended when somebody needs longer ones.

They lie under `<cache>/experts/<digest>/<number>.trajectory`. The digest covers all that decides their bits: data,
preprocessing, recipe, storage and engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from condense import networks
from condense.data import Split
from condense.errors import BadInput
from condense.experts import spent
from condense.experts.recipe import ExpertRecipe
from condense.experts.trajectory import STORES, Store, Trajectory, file_bytes
from condense.experts.workshop import Workshop
from condense.flat import FlatNetwork
from condense.method import Cost
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.training import Engine


class Experts:
    """Parameters of `len(experts)` networks after every epoch from 0, the initialisation, to `epochs`.

    Attributes:
        recipe: how they were trained.
        network: the architecture, as a function of the vectors that `at` gives.
        folder: where their files lie.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        epochs: int,
        recipe: ExpertRecipe,
        network: FlatNetwork,
        device: torch.device,
    ):
        self.epochs = epochs
        self.recipe = recipe
        self.network = network
        self._trajectories = trajectories
        self._device = device

    def __len__(self) -> int:
        return len(self._trajectories)

    @property
    def folder(self) -> Path:
        return self._trajectories[0].path.parent

    def at(self, expert: int, epoch: int) -> Tensor:
        """Parameters (P,) float32 of an expert after so many epochs, on the run's device, in memory of their own.

        Raises:
            BadInput: for an expert or an epoch that is not there.
            DamagedFile: naming the file when the record is not what was written; asking for the experts mends it.
        """
        if not 0 <= expert < len(self):
            raise BadInput(f"there are the experts 0 to {len(self) - 1}, {expert} was asked for; train more of them")
        if not 0 <= epoch <= self.epochs:
            raise BadInput(f"these experts hold the epochs 0 to {self.epochs}, {epoch} was asked for; train longer")
        return self._trajectories[expert].read(epoch).to(self._device)


def experts(
    train: Split,
    space: Preprocessing,
    recipe: ExpertRecipe,
    *,
    count: int,
    epochs: int,
    run: Run,
    store: Store = "float32",
    engine: Engine | None = None,
) -> Experts:
    """The experts 0 to count - 1 after 0 to `epochs` epochs, trained as far as they are not in the cache.

    Every record that is needed is verified, and a damaged one is named and trained again. What is missing, its time and
    its size are said before work starts. Training goes on where it was interrupted, by whoever: after a kill at any
    moment the files are those of an unbroken training, bit for bit (on a CPU, with equally many threads). Processes
    that ask at the same time share the experts out.

    Args:
        space: the pixels that the networks see.
        store: "float32", or "bfloat16-differences": half the size, off by at most 2^-8 of an epoch's change.
        engine: by default what `condense.experts.engines.choose_engine` names. Of the batched engine the last bits
            depend on which experts are trained together.

    Raises:
        BadInput: for a count or a number of epochs below 1, a network that depends on its batch, an unlabelled split,
            or too small a disk.
        Diverged: when parameters are not finite.
    """
    for name, value in (("count", count), ("epochs", epochs)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadInput(f"{name} of experts must be a whole number of at least 1, got {value!r}")
    if store not in STORES:
        raise BadInput(f"store must be one of {', '.join(STORES)}; got {store!r}")
    if engine is not None and engine.precision == "float64":
        raise BadInput("experts are stored in float32 and trained in it, or with bfloat16 products; got float64")
    begin = monotonic()
    workshop = Workshop(train, space, recipe, run, store=store, engine=engine)
    trajectories = [workshop.trajectory(number, epochs) for number in range(count)]
    workshop.complete(trajectories, epochs, cost(train, recipe, 1, 1).operations)
    seconds = {f"{workshop.folder.name}/{found.path.stem}": spent.seconds(found.path, epochs) for found in trajectories}
    run.share(seconds, waited=monotonic() - begin)
    return Experts(trajectories, epochs, recipe, workshop.network, run.device)


def cost(train: Split, recipe: ExpertRecipe, count: int, epochs: int, store: Store = "float32") -> Cost:
    """The work of `experts` when none of them is in the cache.

    A step is one pass forward and two backward over its batch; the input penalty adds a pass forward, one back to the
    pixels, and twice both to differentiate that; GSAM does all of it twice.
    """
    network = networks.build(recipe.network, train.shape, train.n_classes)
    passes = (9 if recipe.gradient_penalty else 3) * (2 if recipe.optimiser == "gsam" else 1)
    kept = networks.activation_bytes(network, train.shape) * min(recipe.batch, len(train))
    size = networks.parameter_count(network)
    operations = float(count) * epochs * len(train) * passes * networks.operations(network, train.shape)
    return Cost(
        operations=operations,
        shared_operations=operations,
        memory_bytes=kept * (4.0 if recipe.gradient_penalty else 1.5) + 16.0 * size,
        disk_bytes=float(count * file_bytes(size, epochs, store, bool(recipe.momentum))),
    )
