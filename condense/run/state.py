"""The state of a phase: what changes from step to step, and how it is saved and put back in place."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from condense.errors import BadInput, Diverged

Node = Any  # a JSON value; tensors are named in it and stored beside it

_TENSORS = (Tensor, nn.Parameter)
# Those that PyTorch's own state_dicts are made of.
_MAPPINGS: dict[str, type[dict[Any, Any]]] = {kind.__name__: kind for kind in (dict, OrderedDict, Counter)}


class State:
    """Named things that a loop changes; read and assign them as attributes.

    Tensors, modules, optimisers (anything with state_dict and load_state_dict), generators, numbers, texts, None, and
    lists, tuples and dicts of these; of exactly these types, since a named tuple would come back as a plain one.
    Gradients are not part of it: zero them at the start of a step.
    """

    def __init__(self, **things: Any):
        object.__setattr__(self, "_things", things)
        object.__setattr__(self, "_shape", _fixed_parts(things))

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_things")[name]
        except KeyError:
            raise AttributeError(f"the state has no {name!r}; it was made of {sorted(self._things)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._things:
            raise BadInput(f"the state has no {name!r}; give it a first value in run.state({name}=...)")
        self._things[name] = value

    def save(self) -> tuple[Node, dict[str, Tensor]]:
        """The state as a JSON value and the tensors named in it, which are the live ones, not copies.

        Raises:
            BadInput: for a thing of a kind that cannot be restored.
        """
        shape = _fixed_parts(self._things)
        if shape != self._shape:
            changed = min(set(shape.items()) ^ set(self._shape.items()))[0]
            raise BadInput(
                f"{changed} changed its kind after run.state(...): modules, optimisers and generators are restored in "
                "place, so all of them must be there from the start"
            )
        writer = _Writer()
        return writer.encode(self._things, "state"), writer.tensors

    def restore(self, node: Node, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Puts saved values back: into the same tensors, modules and lists wherever they fit.

        Raises:
            BadInput: when the state was made of other things than the saved one.
        """
        _Reader(tensors, device).decode(node, self._things, "state")

    def check_finite(self, where: str) -> None:
        """Raises Diverged, naming the first floating-point tensor that holds a NaN or an infinity.

        One transfer from the device for all tensors together. Buffers of modules may hold infinities (masks).
        """
        writer = _Writer()
        writer.encode(self._things, "state")
        named = {name: tensor for name, tensor in writer.tensors.items() if name not in writer.buffers}
        if (first := first_not_finite(named)) is not None:
            raise Diverged(f"{where}: {first.split(':', 1)[1].removeprefix('state.')} is not finite; lower a step size")


def first_not_finite(named: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with a NaN or an infinity, at the price of one transfer per device."""
    floating = {name: tensor for name, tensor in named.items() if tensor.is_floating_point() and tensor.numel()}
    by_device: dict[torch.device, list[str]] = {}
    for name, tensor in floating.items():
        by_device.setdefault(tensor.device, []).append(name)
    bad: set[str] = set()
    for names in by_device.values():
        finite = torch.stack([floating[name].detach().isfinite().all() for name in names]).tolist()
        bad.update(name for name, good in zip(names, finite, strict=True) if not good)
    return next((name for name in floating if name in bad), None)


def _has_state_dict(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _fixed_parts(value: Any, path: str = "state") -> dict[str, str]:
    """Paths and kinds of the parts that can only be restored in place."""
    if isinstance(value, dict):
        items = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    elif isinstance(value, torch.Generator | np.random.Generator) or _has_state_dict(value):
        return {path: type(value).__name__}
    else:
        return {}
    return {name: kind for item_path, item in items for name, kind in _fixed_parts(item, item_path).items()}


class _Writer:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.buffers: set[str] = set()
        self._names: dict[int, str] = {}  # by identity: a tensor that is there twice is stored once

    def encode(self, value: Any, path: str) -> Node:
        kind = type(value)  # no isinstance: a part comes back as the very type that it is read as
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind in _TENSORS:
            node = {"tensor": self._store(value, path), "device": value.device.type, "grad": value.requires_grad}
            node |= {} if kind is Tensor else {"kind": kind.__name__}
            return node | ({} if value.is_contiguous() else {"strides": _dense_strides(value)})
        if kind in (list, tuple):
            return {kind.__name__: [self.encode(item, f"{path}[{index}]") for index, item in enumerate(value)]}
        if kind in _MAPPINGS.values():
            items = [[self._key(key, path), self.encode(item, f"{path}.{key}")] for key, item in value.items()]
            return {"dict": items} | ({} if kind is dict else {"kind": kind.__name__})
        return self._encode_stateful(value, path)

    def _encode_stateful(self, value: Any, path: str) -> Node:
        if isinstance(value, nn.Module):
            parameters = {name: self._store(item, f"{path}.{name}") for name, item in value.named_parameters()}
            buffers = {name: self._store(item, f"{path}.{name}") for name, item in value.named_buffers()}
            self.buffers.update(buffers.values())
            training = [part.training for part in value.modules()]
            return {"module": parameters | buffers, "training": training}
        if isinstance(value, torch.Generator):
            return {"generator": self._store(value.get_state(), path)}
        if isinstance(value, np.random.Generator):
            return {"numpy": self.encode(_numpy_plain(value.bit_generator.state), path)}
        if _has_state_dict(value):
            return {"state_dict": self.encode(dict(value.state_dict()), path)}
        raise BadInput(
            f"{path} is a {type(value).__name__}, which cannot be restored as such; keep tensors and plain values, of "
            "a number of NumPy its item()"
        )

    def _store(self, tensor: Tensor, path: str) -> str:
        if id(tensor) not in self._names:
            name = f"{len(self.tensors)}:{path}"  # the number keeps names apart, whatever dots the keys hold
            self._names[id(tensor)] = name
            self.tensors[name] = tensor
        return self._names[id(tensor)]

    @staticmethod
    def _key(key: Any, path: str) -> str | int:
        if type(key) not in (str, int):
            raise BadInput(f"{path} has the key {key!r}; keys are texts or whole numbers")
        return key


def _dense_strides(tensor: Tensor) -> list[int] | None:
    """The strides of a tensor whose numbers lie side by side in some order; None for a part of a larger one."""
    strides = torch.empty_like(tensor, device="meta").stride()  # keeps the order where it is dense
    return list(strides) if strides == tensor.stride() else None


def _numpy_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numpy_plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


class _Reader:
    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device):
        self._tensors = tensors
        self._device = device
        self._restored: dict[str, Tensor] = {}  # so that a tensor that was there twice is one again
        self._filled: set[int] = set()  # live tensors that already took a value

    def decode(self, node: Node, current: Any, path: str) -> Any:
        if not isinstance(node, dict):
            return node
        if "float" in node:
            return float(node["float"])
        if "tensor" in node:
            return self._tensor(node, current)
        if "list" in node or "tuple" in node:
            return self._sequence(node, current, path)
        if "dict" in node:
            return self._mapping(node, current, path)
        return self._stateful(node, current, path)

    def _tensor(self, node: Node, current: Any) -> Tensor:
        name = node["tensor"]
        if name in self._restored:
            return self._restored[name]
        saved = self._tensors[name]
        if _fits(current, saved) and id(current) not in self._filled:
            self._fill(current, saved)
            result = current
        else:
            device = torch.device("cpu") if node["device"] == "cpu" else self._device
            # Files hold numbers in the order of their indices. Fused optimisers walk through memory: a momentum that
            # lies in another order there than its parameter would be applied to other weights.
            strides = node.get("strides") or torch.empty(saved.shape, device="meta").stride()
            result = torch.empty_strided(saved.shape, strides, dtype=saved.dtype, device=device).copy_(saved)
            result = result.requires_grad_(node["grad"]) if "kind" not in node else nn.Parameter(result, node["grad"])
        self._restored[name] = result
        return result

    def _fill(self, live: Tensor, saved: Tensor) -> None:
        with torch.no_grad():
            live.copy_(saved)
        self._filled.add(id(live))

    def _sequence(self, node: Node, current: Any, path: str) -> Any:
        nodes = node.get("list", node.get("tuple"))
        old = list(current) if isinstance(current, list | tuple) else []
        old += [None] * (len(nodes) - len(old))
        items = [self.decode(part, old[index], f"{path}[{index}]") for index, part in enumerate(nodes)]
        if "tuple" in node:
            return tuple(items)
        if isinstance(current, list):
            current[:] = items
            return current
        return items

    def _mapping(self, node: Node, current: Any, path: str) -> Any:
        kind = _MAPPINGS[node.get("kind", "dict")]
        old = current if isinstance(current, dict) else {}
        items = kind({key: self.decode(part, old.get(key), f"{path}.{key}") for key, part in node["dict"]})
        if type(current) is kind:
            current.clear()
            current.update(items)
            return current
        return items

    def _stateful(self, node: Node, current: Any, path: str) -> Any:
        if "module" in node and isinstance(current, nn.Module):
            self._module(node, current, path)
        elif "generator" in node and isinstance(current, torch.Generator):
            current.set_state(self._tensors[node["generator"]].clone())
        elif "numpy" in node and isinstance(current, np.random.Generator):
            current.bit_generator.state = self.decode(node["numpy"], None, path)
        elif "state_dict" in node and _has_state_dict(current):
            current.load_state_dict(self.decode(node["state_dict"], None, path))
        else:
            raise BadInput(
                f"{path} was saved as a {next(iter(node))} and is now a {type(current).__name__}; start anew"
            )
        return current

    def _module(self, node: Node, current: nn.Module, path: str) -> None:
        live = dict(current.named_parameters()) | dict(current.named_buffers())
        saved = {name: self._tensors[key] for name, key in node["module"].items()}
        parts = list(current.modules())
        different = [name for name in sorted(live.keys() | saved.keys()) if not _fits(live.get(name), saved.get(name))]
        if different or len(parts) != len(node["training"]):
            raise BadInput(f"{path} is another network than the saved one (first at {different[:1]}); start anew")
        for name, tensor in live.items():
            self._fill(tensor, saved[name])
            self._restored[node["module"][name]] = tensor
        for part, training in zip(parts, node["training"], strict=True):
            part.training = training


def _fits(live: Any, saved: Any) -> bool:
    tensors = isinstance(live, Tensor) and isinstance(saved, Tensor)
    return tensors and live.shape == saved.shape and live.dtype == saved.dtype
