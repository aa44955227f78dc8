"""Teachers that were trained elsewhere: `<network>@<where its weights are>`.

torchvision:resnet18@IMAGENET1K_V1      weights that torchvision publishes
resnet18:norm=batch@teacher.pt          a local file; also .pth and .safetensors
resnet18:norm=batch@teacher.pt#5f3a...  the same, refused when the weights in it are others

Sets name a file by the last form, without its folder: that is what another machine can use, and what tells apart two
files that had the same place one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from condense import networks
from condense.data import Split, validation_split
from condense.errors import BadInput
from condense.networks import Network
from condense.networks.zoo import TorchvisionClassifier
from condense.preprocessing import Preprocessing, normalise
from condense.run import Run
from condense.teachers import weights
from condense.teachers.teacher import Teacher
from condense.tensor_format import checksum
from condense.training import SplitSource, accuracy

_MEASURED = 10_000  # images of the last tenth, evenly spread, that decide the accuracy
_DIGITS = 16  # of a state's checksum in the name of a file


def load_teacher(name: str, train: Split, space: Preprocessing, run: Run) -> Teacher:
    """A teacher with weights made elsewhere, measured on the tenth of `train` that other teachers do not learn from.

    A file's network is taken to see `space`; torchvision's weights name their own mean and deviation.

    Raises:
        UnknownName: for a network, or weights of it, that do not exist.
        BadInput: for a missing file, one that holds no weights of this network or others than the name says, another
            number of classes, or a network that answers no better than guessing, which another order of classes looks
            like.
    """
    asked, _, where = name.partition("@")
    network = networks.canonical(asked)
    path, _, digits = where.partition("#")
    module = networks.build(network, train.shape, train.n_classes)
    own = path.endswith(weights.FILES)
    if own:
        state, learned_from = weights.read_state(Path(path)), "unknown images"
    else:
        state, space = _published(network, where, train.n_classes)
        learned_from = f"the data of torchvision's weights {where}"
    _adopt(module, state, name)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    found = checksum(state)
    if own and not found.startswith(digits):
        raise BadInput(f"{path} holds the weights {found[:_DIGITS]}, the teacher {name!r} has others; find its file")
    return Teacher(
        name=f"{network}@{Path(path).name}#{found[:_DIGITS]}" if own else f"{network}@{where}",
        network=network,
        state=state,
        preprocessing=space,
        shape=train.shape,
        n_classes=train.n_classes,
        accuracy=_measured(name, module, train, space, run),
        trained_on=learned_from,
        accuracy_on="a tenth of the training split, which it may have learned from",
    )


def _published(network: str, name: str, n_classes: int) -> tuple[dict[str, Tensor], Preprocessing]:
    """The state dict of weights that torchvision publishes, and the pixel space they were trained in."""
    found = weights.published(network, name)
    categories = len(found.meta["categories"])
    if categories != n_classes:
        raise BadInput(f"{network}@{name} knows {categories} classes, the data have {n_classes}; train a teacher")
    prepared = found.transforms()
    return weights.read_state(weights.downloaded(found.url)), normalise(tuple(prepared.mean), tuple(prepared.std))


def _adopt(module: Network, state: Mapping[str, Tensor], name: str) -> None:
    """Fills the network with a state of its own layout, or of torchvision's for a network of torchvision."""
    try:
        if isinstance(module, TorchvisionClassifier) and module.names_as_torchvision(state):
            module.adopt(state)
        else:
            module.load_state_dict(dict(state))
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"the weights of teacher {name!r} are not those of its network: {reason}") from error


def _measured(name: str, module: Network, train: Split, space: Preprocessing, run: Run) -> float:
    """Accuracy on the last tenth, kept in the cache."""
    _, held = validation_split(train)
    if len(held) > _MEASURED:
        held = held.subset(torch.linspace(0, len(held) - 1, _MEASURED).long())
    key = {
        "kind": "teacher accuracy",
        "data": held.fingerprint,
        "preprocessing": space.digest,
        "network": name.partition("@")[0],
        "state": checksum(module.state_dict()),
    }

    def build(sub: Run) -> dict[str, float]:
        return {"accuracy": accuracy(module.to(sub.device), SplitSource(held, space))}

    right = float(run.cached(key, build)["accuracy"])
    guessing = 1 / train.n_classes
    noise = (guessing * (1 - guessing) / len(held)) ** 0.5
    if right <= guessing + 2 * noise:
        raise BadInput(
            f"teacher {name!r} is right for {right:.1%} of {len(held)} training images, no better than guessing; its "
            "classes may be in another order, or its pixels prepared in another way"
        )
    return right
