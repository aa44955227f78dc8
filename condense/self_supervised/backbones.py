"""Networks with weights from elsewhere: torchvision's trained ones, and state dicts in local files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import _torchvision, files, networks
from condense.data import Split
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.networks import Network
from condense.preprocessing import Preprocessing, normalise

_TORCHVISION = "torchvision:"
_FILES = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network with its weights, the space of its images, and what identifies it."""

    network: Network
    name: str
    space: Preprocessing
    identity: Mapping[str, Any]


def load(source: str, train: Split) -> Backbone:
    """A backbone for the images of `train`.

    source: "torchvision:resnet18@IMAGENET1K_V1", or "NETWORK@FILE", the state dict of a network that
        `networks.build` knows, with or without its classifier. Files are read without running code in them.

    Raises:
        UnknownName: for a network or weights that do not exist.
        BadInput: for another form of source, weights that are not on this machine, or that do not fit the network.
        DamagedFile: for a file that cannot be read.
    """
    name, at, weights = source.partition("@")
    if not at or not weights:
        raise BadInput(
            f"a teacher is 'barlow-twins', 'torchvision:resnet18@IMAGENET1K_V1' or 'NETWORK@FILE', got {source!r}"
        )
    if Path(weights).suffix in _FILES:
        return _from_file(name, Path(weights).expanduser(), train)
    if not name.startswith(_TORCHVISION):
        raise BadInput(f"the weights of {name} are a file ({', '.join(_FILES)}), got {weights!r}")
    return _from_torchvision(name, weights, train)


def _from_file(name: str, path: Path, train: Split) -> Backbone:
    network = networks.build(name, train.shape, 1)
    fill(network, read_state(path), str(path))
    space = normalise(train.mean, train.std)
    identity = {"kind": "backbone", "network": name, "weights": files.sha256(path), "space": space.digest}
    return Backbone(network, name, space, identity)


def _from_torchvision(name: str, weights_name: str, train: Split) -> Backbone:
    classifier = name.removeprefix(_TORCHVISION)
    network = networks.build(name, train.shape, 1)
    known = _torchvision.load("models").get_model_weights(classifier)
    if weights_name not in known.__members__:
        raise UnknownName(f"weights of {name}", weights_name, known.__members__)
    weights = known[weights_name]
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not place.is_file() and os.environ.get("CONDENSE_DOWNLOAD") != "1":
        raise BadInput(
            f"the weights {weights_name} of {name} are not on this machine; put {place.name} into {place.parent}, or "
            "set CONDENSE_DOWNLOAD=1 to let torchvision download it"
        )
    fill(network, weights.get_state_dict(progress=False, check_hash=True), str(place))
    prepared = weights.transforms()
    mean, std = _for_channels(prepared.mean, train.shape[0]), _for_channels(prepared.std, train.shape[0])
    space = normalise(mean, std)
    identity = {"kind": "backbone", "network": name, "weights": Path(weights.url).name, "space": space.digest}
    return Backbone(network, name, space, identity)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name; one that lies under "state_dict" is taken out.

    Raises:
        BadInput: when there is no such file, or it holds something else.
        DamagedFile: when it cannot be read as tensors alone.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give the path of a state dict ({', '.join(_FILES)})")
    if path.suffix == ".safetensors":
        return files.read_tensors(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for a file that is not what it expects
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DamagedFile(path, f"cannot be read as tensors alone: {reason}") from error
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not found or not all(isinstance(item, Tensor) for item in found.values()):
        raise BadInput(f"{path} is no state dict of tensors; save it with torch.save(network.state_dict(), path)")
    return dict(found)


def fill(network: Network, state: Mapping[str, Tensor], where: str) -> None:
    """Loads everything below the classifier.

    `state` may name parts as the network does, or, for torchvision's networks, as torchvision does.

    Raises:
        BadInput: when a part is missing or has another shape, naming the first.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("classifier.")}
    plain = all(name.removeprefix("body.") in state for name in own)
    given = {name: state.get(name.removeprefix("body.") if plain else name) for name in own}
    for name, value in own.items():
        found = given[name]
        if found is None or found.shape != value.shape:
            state_of_it = "lacks" if found is None else f"has another shape ({tuple(found.shape)}) of"
            raise BadInput(f"{where} {state_of_it} {name}, {tuple(value.shape)} in this network; name the one it is of")
    network.load_state_dict({name: item for name, item in given.items() if item is not None}, strict=False)


def _for_channels(values: list[float], channels: int) -> tuple[float, ...]:
    """Three numbers as they are; for grey images their mean."""
    return tuple(values) if channels == len(values) else (sum(values) / len(values),) * channels
