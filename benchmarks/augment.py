"""Milliseconds of CPU time per augmented batch, against loops over the images and against torchvision.

    python benchmarks/augment.py [--batch 256] [--side 32]

Forward is what training and real batches cost; the backward pass, through to the images, what synthetic batches cost
besides. The loop applies the same code to one image at a time, as a transform in a data loader does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from processes import run_as_script
from torch import Tensor

from condense import _torchvision, allocator
from condense.augment import DSA, Augmentation, CropFlip, CutMix, Draw, MixUp, RandomResizedCrop
from condense.augment.dsa import OPS

_REPEATS = 30


def milliseconds(action: Callable[[], object], repeats: int = _REPEATS) -> float:
    """CPU time of one call, the median of `repeats` after one to warm up; waiting for other programs does not count."""
    action()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return 1e3 * sorted(times)[len(times) // 2]


def forward_and_backward(augmentation: Augmentation, images: Tensor, draw: Draw) -> None:
    leaf = images.detach().requires_grad_()
    torch.autograd.grad(augmentation.apply(leaf, draw), leaf, images)


def one_by_one(augmentation: Augmentation, images: Tensor, draw: Draw) -> Tensor:
    singles = [draw.take(torch.tensor([index])) for index in range(len(images))]
    return torch.cat([augmentation.apply(images[i : i + 1], single) for i, single in enumerate(singles)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--side", type=int, default=32)
    arguments = parser.parse_args()
    allocator.keep_memory()
    generator = torch.Generator().manual_seed(0)
    shape = (3, arguments.side, arguments.side)
    images = torch.randn(arguments.batch, *shape, generator=generator)

    print(f"batch {tuple(images.shape)}, {torch.get_num_threads()} thread(s), CPU ms")
    print(f"{'':28}{'forward':>9}{'+backward':>11}{'shared':>9}{'loop':>9}")
    rows = {f"dsa {op}": DSA(ops=(op,)) for op in OPS}
    rows |= {"dsa, an op for each image": DSA(one_op_per="sample")}
    others: dict[str, Augmentation] = {"crop-flip": CropFlip(), "random-resized-crop": RandomResizedCrop()}
    for name, augmentation in {**rows, **others}.items():
        draw = augmentation.draw(len(images), shape, generator)
        shared = augmentation.draw(len(images), shape, generator, shared=True)
        columns = (
            milliseconds(lambda a=augmentation, d=draw: a.apply(images, d)),
            milliseconds(lambda a=augmentation, d=draw: forward_and_backward(a, images, d)),
            milliseconds(lambda a=augmentation, d=shared: a.apply(images, d)),
            milliseconds(lambda a=augmentation, d=draw: one_by_one(a, images, d), repeats=5),
        )
        print(f"{name:28}{columns[0]:9.2f}{columns[1]:11.2f}{columns[2]:9.2f}{columns[3]:9.1f}")
    for mixing in (CutMix(), MixUp()):
        mix = mixing.draw(len(images), shape, generator)
        print(f"{mixing.kind:28}{milliseconds(lambda m=mixing, d=mix: m.apply(images, d)):9.2f}")
    print(f"{'drawing (dsa)':28}{milliseconds(lambda: DSA().draw(len(images), shape, generator)):9.2f}")

    transforms = _torchvision.load("transforms.v2")
    for name, transform in {
        "torchvision crop and flip": transforms.Compose(
            [transforms.RandomCrop(arguments.side, padding=4), transforms.RandomHorizontalFlip()]
        ),
        "torchvision resized crop": transforms.RandomResizedCrop(arguments.side, antialias=False),
        "torchvision rotation": transforms.RandomRotation(15, interpolation=transforms.InterpolationMode.BILINEAR),
    }.items():
        # Its random transforms draw once for a batch, so that different draws need the loop.
        print(f"{name:28}{'':29}{milliseconds(lambda t=transform: torch.stack([t(i) for i in images]), 5):9.1f}")


if __name__ == "__main__":
    run_as_script(main)
