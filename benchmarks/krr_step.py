"""The sides of a whole outer step of KRR-ST, for `krr.py`: a plain loop, and the method with its parts timed."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from watch import Watch

NETWORK, TEACHER = "convnet:growth=2,norm=batch,width={width}", "resnet18:norm=batch,width={teacher}"
SHAPE = (3, 32, 32)
RIDGE = 1e-6
_COMPARED, _IMAGES = 256, 50_000  # images whose features are compared in two precisions; of a training split
SETTINGS: dict[str, dict[str, Any]] = {
    "fresh": {},
    "fresh-bf16": {"teacher_precision": "bfloat16"},
    "cached": {"cached_views": 1},
    "cached-bf16": {"cached_views": 1, "precision": "bfloat16"},  # of the online networks: there is no teacher's pass
}


def outer_step(side: str, given: argparse.Namespace) -> dict[str, Any]:
    """The plain loop, or the method with its parts timed."""
    from condense import networks

    pixels = _train(max(2048, given.queries))
    teacher = networks.build(TEACHER.format(teacher=given.teacher_width), SHAPE, 1).eval().requires_grad_(False)
    if side == "reference":
        return _reference(pixels, teacher, given)
    found = _method(side, pixels, teacher, given)
    if side == "fresh-bf16":
        found |= _half_precision(*_taught(given) or (pixels, teacher))
        found["cosine_of"] = (
            f"trained {given.teacher.partition('@')[0]} on {given.data}" if given.teacher else "random weights on noise"
        )
    if side == "cached":
        found["filling"] = _filling(pixels, teacher, given)
    return found


def _train(count: int) -> Any:
    import torch

    from condense.data import Split

    pixels = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split.from_arrays(pixels, torch.zeros(count, dtype=torch.int64), ["one"]).unlabelled()


def _taught(given: argparse.Namespace) -> tuple[Any, Any] | None:
    """Real training images, and the trained network of --teacher NETWORK@FILE; None when none is named."""
    if given.teacher is None:
        return None
    from condense import data
    from condense.self_supervised import backbones

    train = data.load(given.data).train.unlabelled()
    return train, backbones.load(given.teacher, train).network.eval().requires_grad_(False)


def _half_precision(train: Any, teacher: Any) -> dict[str, float]:
    """Mean cosines between features whose convolutions are bfloat16 and those in float32, of 256 images.

    Features after a ReLU are all positive and point the same way whatever they say; the centred cosine is of what is
    left when the mean feature of the images in float32 is taken away.
    """
    import torch

    from condense import kernels
    from condense.preprocessing import normalise

    images = normalise(train.mean, train.std).forward(train.take(torch.arange(_COMPARED)))
    with torch.no_grad():
        exact, half = (kernels.embed(teacher, images, precision) for precision in ("float32", "bfloat16"))
    similar, mean = torch.nn.functional.cosine_similarity, exact.mean(0)
    return {
        "cosine": round(float(similar(exact, half).mean()), 5),
        "centred_cosine": round(float(similar(exact - mean, half - mean).mean()), 5),
    }


def _filling(train: Any, teacher: Any, given: argparse.Namespace) -> dict[str, float]:
    """Processor seconds of the teacher's pass that fills one cached view of 50 000 images, from as many as a batch.

    A step with a fresh teacher spends the same on its batch: V views of N images are repaid after V N / batch steps.
    """
    import time

    import torch

    from condense.preprocessing import normalise

    images = normalise(train.mean, train.std).forward(train.take(torch.arange(given.queries)))
    begin = time.process_time()
    with torch.no_grad():
        for part in images.split(256):
            teacher.embed(part)
    each = (time.process_time() - begin) / len(images)
    return {
        "cpu_seconds_of_a_view_of_50000": round(each * _IMAGES, 1),
        "steps_that_repay_a_view": round(_IMAGES / given.queries, 1),
    }


def _method(side: str, train: Any, teacher: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The method's own loop; its parts are timed by wrapping what it calls."""
    import torch

    from condense import files, kernels
    from condense.budget import Budget
    from condense.methods import krr_st
    from condense.pool import Pool
    from condense.run import Run
    from condense.self_supervised import TeacherBatches

    watch = Watch()

    class Marked(Run):
        def loop(self, name: str, *arguments: Any, **options: Any) -> Iterator[int]:
            for step in super().loop(name, *arguments, **options):
                if name == "regress":
                    watch.mark()
                yield step
                if name == "regress" and step == given.steps:  # the last one, before the loop saves its checkpoint
                    watch.mark()

    parts = {
        "real images and teacher": (TeacherBatches, "draw"),
        "features of real images": (kernels, "frozen_features"),
        "features of synthetic images": (kernels, "support_features"),
        "regression": (kernels, "ridge_weights"),
        "gradient": (torch.Tensor, "backward"),
        "step of images and targets": (torch.optim.AdamW, "step"),
        "online update": (Pool, "advance"),
    }
    # An update in every step, as in 999 of 1000 with the published age; no long warm-up is needed for that.
    always = mock.patch.object(
        Pool, "advance", lambda pool, index, images, targets, _: pool.update(index, images, targets)
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        weights = Path(folder) / "teacher.safetensors"
        files.write_tensors(weights, teacher.state_dict())
        config = krr_st.Config(
            steps=given.steps + 1,
            real_batch=given.queries,
            pool=1,
            inner_steps=2,
            network=NETWORK.format(width=given.width),
            teacher=f"{TEACHER.format(teacher=given.teacher_width)}@{weights}",
            **SETTINGS[side],
        )
        patches.enter_context(always)
        for part, (owner, name) in parts.items():
            patches.enter_context(mock.patch.object(owner, name, watch.timed(part, getattr(owner, name))))
        run = patches.enter_context(Marked(Path(folder) / "run", seed=0, cache_dir=Path(folder) / "cache"))
        krr_st.distill(train, Budget(total=given.images), config, run)
    return watch.result()


def _reference(train: Any, teacher: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The outer loop as the authors' code goes through it, with this project's networks and augmentation."""
    import torch

    from condense import networks
    from condense.augment import CropFlip
    from condense.preprocessing import normalise

    space, augment = normalise(train.mean, train.std), CropFlip()
    images = space.forward(train.take(torch.arange(given.images)))
    with torch.no_grad():
        targets = teacher.embed(images).requires_grad_()
    images.requires_grad_()
    student = networks.build(NETWORK.format(width=given.width), SHAPE, targets.shape[1])
    inner = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    outer = torch.optim.AdamW([images, targets], lr=1e-4, weight_decay=0)
    watch = Watch()
    watch.mark()
    for step in range(given.steps + 1):
        student.eval()
        rows = torch.randperm(len(train))[: given.queries]
        real = augment(space.forward(train.take(rows)), torch.Generator().manual_seed(step))
        with torch.no_grad():
            answers, queries = teacher.embed(real), student.embed(real)
        support, queries = (torch.cat([part, torch.ones(len(part), 1)], 1) for part in (student.embed(images), queries))
        # As the authors' autograd.grad does: the student's own weights get no gradient here.
        _descend(outer, functools.partial(written_out_loss, support, targets, queries, answers), [images, targets])
        student.train()
        fixed, wanted = images.detach(), targets.detach()
        _descend(inner, lambda fixed=fixed, wanted=wanted: (student(fixed) - wanted).square().mean(), None)
        watch.mark()
    return watch.result()


def written_out_loss(support: Any, targets: Any, queries: Any, answers: Any) -> Any:
    import torch

    inner, outer = support @ support.T, queries @ support.T
    ridge = RIDGE * inner.detach().trace() * torch.eye(len(inner))
    return (outer @ torch.linalg.solve(inner + ridge, targets) - answers).square().mean()


def _descend(optimiser: Any, loss: Callable[[], Any], inputs: list[Any] | None) -> None:
    optimiser.zero_grad()
    loss().backward(inputs=inputs)
    optimiser.step()
