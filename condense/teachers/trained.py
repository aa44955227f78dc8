"""Training a teacher: on nine tenths of the training split, measured on the last tenth, kept in the cache."""

from __future__ import annotations

from condense import networks
from condense.data import Split, validation_split
from condense.method import Cost
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.run.cache import Value
from condense.teachers.teacher import Teacher
from condense.training import Recipe, SplitSource, accuracy
from condense.training import train as fit

_VERSION = 1  # of a teacher: raised when a change of the training gives another one from the same key
_STATE = "state."  # keeps the names of parameters apart from the plain values beside them


def train_teacher(train: Split, space: Preprocessing, network: str, recipe: Recipe, run: Run) -> Teacher:
    """A network trained by `recipe`, or the one of the cache that was.

    It learns from the nine tenths of `train` that `validation_split` keeps and is measured on the tenth held back, so
    that its accuracy is honest without a look at test data. Every method and seed that asks for the same teacher shares
    one training, which goes on where it was interrupted, bit for bit. Engines share it too, so that sets made on a GPU
    and on a CPU have the same teacher; each set records the checksum of the weights that it was made from.

    Raises:
        BadInput: for a split without two images of any class, or a recipe that does not fit it.
        Diverged: when the training leaves the finite numbers.
    """
    network = networks.canonical(network)
    key = {
        "kind": "teacher",
        "data": train.fingerprint,
        "preprocessing": space.digest,
        "network": network,
        "recipe": recipe.spec(),
    }

    def build(sub: Run) -> dict[str, Value]:
        kept, held = validation_split(train)
        module = networks.build(network, train.shape, train.n_classes, sub.rng("network")).to(sub.device)
        fit(module, SplitSource(kept, space), recipe, sub.rng, run=sub)
        right = accuracy(module, SplitSource(held, space))
        state = {_STATE + name: value for name, value in module.state_dict().items()}
        operations = training_cost(train, network, recipe).operations
        return {**state, "accuracy": right, "operations": operations, "seconds": sub.elapsed}

    found = run.cached(key, build, _VERSION)
    return Teacher(
        name=network,
        network=network,
        state={name.removeprefix(_STATE): value for name, value in found.items() if name.startswith(_STATE)},
        preprocessing=space,
        shape=train.shape,
        n_classes=train.n_classes,
        accuracy=found["accuracy"],
        trained_on="nine tenths of the training split",
        accuracy_on="the held-out tenth of the training split",
        recipe=recipe.spec(),
        operations=found["operations"],
        seconds=found["seconds"],
    )


def training_cost(train: Split, network: str, recipe: Recipe) -> Cost:
    """The work of `train_teacher`: three forward passes' worth per image and epoch."""
    each = networks.work(network, train.shape, train.n_classes)
    return Cost(
        operations=3.0 * each.operations * len(train) * 0.9 * recipe.epochs,
        memory_bytes=2.0 * each.activation_bytes * min(recipe.batch, len(train)),
    )
