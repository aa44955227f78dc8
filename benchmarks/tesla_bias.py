"""How far TESLA's gradient lies from the exact one, and how this grows with the inner steps and their length.

    python benchmarks/tesla_bias.py [--network convnet:width=16] [--out FILE.json]

TESLA (Cui et al., ICML 2023) holds every theta_k constant when it differentiates step k, so that the way in which
earlier steps move later gradients is dropped. Digits (scikit-learn), one image of each class, an expert trained by SGD
(rate 0.01, batch 256) on the training split; the segment is two of its epochs, from its initialisation and from its
epoch 20. For each number of inner steps and step size: cosine and ratio of norms of the images' gradients, TESLA's
over the exact one, and the same ratio for the step size, where a negative number is a wrong sign.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import torch
from processes import machine_facts, print_result, run_as_script
from torch import Tensor
from torch.nn import functional as F

from condense import networks, preprocessing
from condense.budget import Budget
from condense.data import Split, load
from condense.flat import FlatNetwork
from condense.matching import initial_images
from condense.unroll import Engine, InnerLoop, Segment, outer_loss

LATE, SEGMENT = 20, 2  # epochs


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--network", default="convnet:width=16")
    options.add_argument("--steps", type=int, nargs="+", default=[10, 50])
    options.add_argument("--step-sizes", type=float, nargs="+", default=[0.01, 0.05])
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    train = load("digits").train
    rng = torch.Generator().manual_seed(0)
    space = preprocessing.fit("normalise", train)
    module = networks.build(given.network, train.shape, train.n_classes, rng)
    path = _expert(train, space.forward(train.take(torch.arange(len(train)))), module, rng)
    images, labels = initial_images(train, Budget(ipc=1), space, rng, "real")
    rows = []
    for epoch, steps, size in itertools.product((0, LATE), given.steps, given.step_sizes):
        inner = InnerLoop(FlatNetwork(module), [torch.arange(len(images))] * steps)
        segment = Segment.ending_at(path[epoch], path[epoch + SEGMENT], steps)
        rows.append({"epoch": epoch, "steps": steps, "step_size": size, **_bias(inner, segment, images, labels, size)})
    print_result({"machine": machine_facts(), "network": given.network, "rows": rows}, given.out)


def _expert(train: Split, pixels: Tensor, module: torch.nn.Module, rng: torch.Generator) -> list[Tensor]:
    """Parameters (P,) before training and after each epoch."""
    network = FlatNetwork(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    path = [network.flatten(module)]
    for _ in range(LATE + SEGMENT):
        for rows in torch.randperm(len(train), generator=rng).split(256):
            optimizer.zero_grad()
            F.cross_entropy(module(pixels[rows]), train.labels[rows]).backward()
            optimizer.step()
        path.append(network.flatten(module))
    return path


def _bias(inner: InnerLoop, segment: Segment, images: Tensor, labels: Tensor, size: float) -> dict[str, Any]:
    found = []
    for name in ("tesla", "adjoint"):
        pixels, step_size = images.clone().requires_grad_(), torch.tensor(size, requires_grad=True)
        outer_loss(inner, segment, pixels, labels, step_size, Engine(name)).loss.backward()
        assert pixels.grad is not None
        assert step_size.grad is not None
        found.append((pixels.grad.flatten(), float(step_size.grad)))
    (ours, our_slope), (exact, exact_slope) = found
    return {
        "cosine": round(float(F.cosine_similarity(ours, exact, dim=0)), 4),
        "norm_ratio": round(float(ours.norm() / exact.norm()), 3),
        "step_size_ratio": round(our_slope / exact_slope, 3),
    }


if __name__ == "__main__":
    run_as_script(main)
