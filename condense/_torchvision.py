"""The one door to torchvision.

A torchvision built for CUDA cannot load its compiled operators beside a PyTorch built for the CPU, and then fails at
import although nothing here uses them. Declaring the two operators that its import asks for is enough to use its data
sets, transforms and models.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("torchvision::nms", "torchvision::qnms")


def load(part: str = "") -> ModuleType:
    """The module `torchvision`, or a part of it such as "models" or "transforms.v2".

    Raises:
        ImportError: when torchvision or the part is not installed.
        RuntimeError: as torchvision raises it, when it does not fit the installed PyTorch for another reason.
    """
    name = f"torchvision.{part}" if part else "torchvision"
    try:
        return import_module(name)
    except RuntimeError as error:
        if f"operator {_OPERATORS[0]} does not exist" not in str(error):
            raise
    declare_operators()
    # The import that failed left half of torchvision behind, which the next one would take for loaded.
    for loaded in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        del sys.modules[loaded]
    return import_module(name)


def declare_operators() -> None:
    """Declares, without an implementation, the operators that importing torchvision looks up."""
    for operator in _OPERATORS:
        torch.library.define(operator, _SIGNATURE)
