"""Features for selection: the embedding of a network trained on the training split, computed once and shared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condense import networks
from condense.budget import Budget
from condense.data import Split
from condense.method import Cost
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.training import Recipe, Schedule, SplitSource, train

# rule(features of one class (n, D), how many to keep, generator) -> rows kept (count,), in the order of their choice
Rule = Callable[[Tensor, int, torch.Generator], Tensor]


def recipe(epochs: int, flips: bool) -> Recipe:
    """SGD with momentum, one cosine to zero, shifts, and mirroring where that keeps the class."""
    return Recipe(
        epochs=epochs,
        batch=128,
        optimiser="sgd",
        lr=0.02,
        momentum=0.9,
        weight_decay=5e-4,
        schedule=Schedule("cosine"),
        augment={"kind": "crop-flip", "padding": 4 if flips else 1, "flip": flips},
    )


def trained_features(split: Split, space: Preprocessing, network: str, epochs: int, run: Run) -> Tensor:
    """Embeddings (N, D) float32 on the CPU of every image of `split`, in its order.

    The network is trained on `split` alone. The result is cached under the split's fingerprint, the pixel space, the
    network and its recipe, so that methods that ask for the same features share one training.
    """
    how = recipe(epochs, split.flips)
    key = {
        "kind": "features",
        "data": split.fingerprint,
        "preprocessing": space.digest,
        "network": network,
        "recipe": how.spec(),
    }

    def build(sub: Run) -> dict[str, Tensor]:
        module = networks.build(network, split.shape, split.n_classes, sub.rng("network")).to(sub.device)
        train(module, SplitSource(split, space), how, sub.rng, run=sub)
        return {"features": embed(module, split, space)}

    return run.cached(key, build)["features"]


@torch.inference_mode()
def embed(network: torch.nn.Module, split: Split, space: Preprocessing, chunk: int = 512) -> Tensor:
    """Embeddings (N, D) of a whole split, on the CPU."""
    network.eval()
    rows = torch.arange(len(split)).split(chunk)
    return torch.cat([network.embed(space.forward(split.take(part))).float().cpu() for part in rows])  # type: ignore[operator]


def select_by_class(split: Split, budget: Budget, features: Tensor, rule: Rule, run: Run) -> Tensor:
    """Applies a selection rule to each class by itself.  Returns rows of `split` (M,) int64, sorted by class."""
    counts = budget.counts(split.class_counts(), split.classes)
    chosen = []
    for label, count in enumerate(counts):
        members = split.of_class(label)
        chosen.append(members[rule(features[members], count, run.rng("rule", label))])
    return torch.cat(chosen)


def training_cost(split: Split, network: str, epochs: int) -> Cost:
    """The work of `trained_features`: three forward passes' worth per image and epoch, and one to embed."""
    module = networks.build(network, split.shape, split.n_classes)
    forward, activations = networks.operations(module, split.shape), networks.activation_bytes(module, split.shape)
    operations = float(forward * len(split) * (3 * epochs + 1))
    return Cost(operations, memory_bytes=activations * 3.0 * 512, shared_operations=operations)
