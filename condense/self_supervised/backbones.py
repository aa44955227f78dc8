"""Networks with weights from elsewhere: torchvision's trained ones, and state dicts in local files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from condense import files, networks
from condense.data import Split
from condense.errors import BadInput, DamagedFile
from condense.networks import Network
from condense.networks.zoo import TorchvisionClassifier
from condense.preprocessing import Preprocessing, from_spec, normalise
from condense.teachers import weights

_SPACE = "preprocessing"  # of a teacher's images, in the metadata of a file that this project wrote
_COUNTER = ".num_batches_tracked"  # of a batch norm, which files from before PyTorch 0.4.1 lack and no answer needs


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network with its weights, the space of its images, and what identifies it."""

    network: Network
    name: str
    space: Preprocessing
    identity: Mapping[str, Any]


def load(source: str, train: Split) -> Backbone:
    """A backbone for the images of `train`, without its classifier; labels are not asked for.

    source: "torchvision:resnet18@IMAGENET1K_V1", or "NETWORK@FILE" with a state dict of that network in FILE. Images
        are normalised as the file says, where this project wrote it, or else by the mean and deviation of `train`.

    Raises:
        UnknownName: for a network or weights that do not exist.
        BadInput: for another form of source, weights that are not on this machine, or that do not fit the network.
        DamagedFile: for a file that cannot be read as tensors alone.
    """
    name, _, where = source.partition("@")
    network = networks.build(name, train.shape, 1)
    if where.endswith(weights.FILES):
        path = Path(where).expanduser()
        state = weights.read_state(path)
        space = _space_of(path) or normalise(train.mean, train.std)
    else:
        found = weights.published(name, where)
        path = weights.downloaded(found.url)
        state, prepared = weights.read_state(path), found.transforms()
        channels = train.shape[0]
        space = normalise(_for_channels(prepared.mean, channels), _for_channels(prepared.std, channels))
    adopt_body(network, state, source)
    identity = {"kind": "backbone", "network": name, "weights": files.sha256(path), "space": space.digest}
    return Backbone(network, networks.canonical(name), space, identity)


def space_metadata(space: Preprocessing) -> dict[str, str]:
    """What a file of weights says of the images that its network sees; `load` reads it."""
    return {_SPACE: json.dumps(space.spec(), sort_keys=True)}


def _space_of(path: Path) -> Preprocessing | None:
    """None for files of others, which do not say."""
    words = files.read_metadata(path).get(_SPACE) if path.suffix == ".safetensors" else None
    try:
        return None if words is None else from_spec(json.loads(words))
    except ValueError as error:  # no JSON, or no preprocessing
        raise DamagedFile(path, f"what it says of its images: {error}") from error


def adopt_body(network: Network, state: Mapping[str, Tensor], source: str) -> None:
    """Copies everything below the classifier; `state` names the parts as the network does, or as torchvision does.

    Raises:
        BadInput: naming the first part that is missing or has another shape.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("classifier.")}
    as_torchvision = isinstance(network, TorchvisionClassifier) and network.names_as_torchvision(state)
    given = {name: state.get(name.removeprefix("body.") if as_torchvision else name) for name in own}
    for name, value in own.items():
        found = given[name]
        if found is None and name.endswith(_COUNTER):
            continue
        if found is None or found.shape != value.shape:
            problem = "lack" if found is None else f"have another shape, {tuple(found.shape)}, of"
            raise BadInput(
                f"the weights of {source!r} {problem} {name}, {tuple(value.shape)} in this network; "
                "name the network that they are of"
            )
    network.load_state_dict({name: item for name, item in given.items() if item is not None}, strict=False)


def _for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Three numbers as they are; for grey images their mean."""
    return tuple(values) if channels == len(values) else (sum(values) / len(values),) * channels
