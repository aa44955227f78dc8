"""Weights from elsewhere: state dicts in local files, and those that torchvision publishes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import _torchvision, files
from condense.distilled.tensor_files import read_plain
from condense.errors import BadInput, UnknownName

FILES = (".pt", ".pth", ".bin", ".safetensors")
TORCHVISION = "torchvision:"
_NESTED = ("state_dict", "model", "net")  # where checkpoints of other projects keep the weights
_PREFIXES = ("module.", "_orig_mod.")  # of networks that were saved inside a wrapper
# torchvision's files of DenseNet are older than its code: norm.1 and conv.2 are norm1 and conv2 of the network now.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, whatever wrapped it; code in the file is never run.

    Raises:
        BadInput: when there is no such file, or it holds something else.
        DamagedFile: when it cannot be read as tensors alone.
    """
    if not path.is_file():
        raise BadInput(f"{path} does not exist; a teacher's file is a state dict as .pt, .pth or .safetensors")
    if path.suffix == ".safetensors":
        return files.read_tensors(path)
    content = read_plain(path)
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise BadInput(f"{path} holds a {type(content).__name__}, not a state dict; save network.state_dict()")
    return {_as_today(str(key)): value for key, value in content.items()}


def _as_today(key: str) -> str:
    """The name of a tensor without what wrapped its network, as the network names it now."""
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return _OLD_DENSENET.sub(r"\1", key)


def published(network: str, name: str) -> Any:
    """torchvision's entry for the weights `name` of the network "torchvision:<classifier>": url, meta, transforms.

    Raises:
        BadInput: for a network that is not torchvision's.
        UnknownName: for weights that it does not have.
    """
    if not network.startswith(TORCHVISION):
        raise BadInput(
            f"{network}@{name} is neither a file ({', '.join(FILES)}) nor a network of torchvision; write for "
            "example torchvision:resnet18@IMAGENET1K_V1"
        )
    known = _torchvision.load("models").get_model_weights(network.removeprefix(TORCHVISION)).__members__
    if name not in known:
        raise UnknownName(f"weights of {network}", name, known)
    return known[name]


def downloaded(url: str) -> Path:
    """The file of published weights in PyTorch's own folder of such files."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        if os.environ.get("CONDENSE_DOWNLOAD") != "1":
            raise BadInput(f"{path} is missing; set CONDENSE_DOWNLOAD=1 to fetch it from {url}, or put it there")
        path.parent.mkdir(parents=True, exist_ok=True)
        digits = path.stem.rpartition("-")[2]  # the first ones of its SHA-256 are part of the name
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits)
    return path
