"""torchvision's classifiers with fresh weights, as networks of this package."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from condense import _torchvision
from condense.errors import BadInput, UnknownName
from condense.networks.layers import Network, Shape

# These were made for a second output during training, and warn unless told how to draw their weights.
_TWO_OUTPUTS = ("googlenet", "inception_v3")


def check_name(name: str) -> None:
    """Raises UnknownName for a classifier that torchvision does not have."""
    models = _torchvision.load("models")
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision classifier", name, known)


class TorchvisionClassifier(Network):
    """The network `torchvision.models.<name>` for images `shape` (C, H, W), split before its last linear layer.

    Grey images are repeated to the three channels it expects. Its weights are drawn as its constructor draws them,
    which is therefore run again, apart, at each initialisation.

    Raises:
        UnknownName: for a name that torchvision does not have.
        BadInput: for images with neither one nor three channels, images too small for the network, or a network
            that does not end in a linear layer.
    """

    def __init__(self, name: str, shape: Shape, classes: int, generator: torch.Generator):
        super().__init__()
        check_name(name)
        if shape[0] not in (1, 3):
            raise BadInput(f"torchvision:{name} takes images with 1 or 3 channels, got {shape[0]}")
        self._name = name
        self._options = _options(name, shape, classes)
        with _refused(name, shape):
            self.body = self._fresh(generator)
        path = [path for path, layer in self.body.named_modules() if not list(layer.children())][-1]
        last = self.body.get_submodule(path)
        if not isinstance(last, nn.Linear):
            raise BadInput(f"torchvision:{name} does not end in a linear layer; use another network")
        self._last = path
        self.body.set_submodule(path, nn.Identity())
        self.classifier = last
        with _refused(name, shape), torch.no_grad():  # shapes only
            copy.deepcopy(self).to("meta").eval()(torch.empty(1, *shape, device="meta"))

    def embed(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.body(images.expand(-1, 3, -1, -1))
        return embedding

    def draw_parameters(self, generator: torch.Generator) -> None:
        """Weights and statistics of a newly constructed network, copied into this one."""
        self.adopt(self._fresh(generator).state_dict())

    @staticmethod
    def names_as_torchvision(state: Mapping[str, Tensor]) -> bool:
        """Whether a state's names are those of torchvision's own network, which `adopt` takes, and not of this one."""
        return not any(name.startswith("body.") for name in state)

    @torch.no_grad()
    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Copies a state of torchvision's own network into this one.

        Raises:
            KeyError, RuntimeError: when a part is missing, unknown or of another shape.
        """
        rest = dict(state)
        for part in ("weight", "bias"):
            getattr(self.classifier, part).copy_(rest.pop(f"{self._last}.{part}"))
        self.body.load_state_dict(rest)

    def _fresh(self, generator: torch.Generator) -> nn.Module:
        seed = int(torch.randint(2**62, (1,), generator=generator))
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            # Not torch.manual_seed, which would also seed the accelerators, whose state is not put back.
            torch.default_generator.manual_seed(seed)
            network: nn.Module = _torchvision.load("models").get_model(self._name, weights=None, **self._options)
        return network


@contextmanager
def _refused(name: str, shape: Shape) -> Iterator[None]:
    """Tells the user what torchvision means by its errors while a network meets images of a size."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BadInput(
            f"torchvision:{name} cannot take images of {shape[1]}x{shape[2]} pixels ({str(error).splitlines()[0]}); "
            "resize the data set, as in cifar10@64, or use a built-in network"
        ) from error


def _options(name: str, shape: Shape, classes: int) -> dict[str, Any]:
    options: dict[str, Any] = {"num_classes": classes}
    if name in _TWO_OUTPUTS:
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = shape[1]
    if name.startswith("maxvit_"):
        options["input_size"] = tuple(shape[1:])
    return options
