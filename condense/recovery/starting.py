"""The images that a recovery starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data import Split
from condense.errors import BadInput
from condense.matching import random_indices
from condense.preprocessing import Preprocessing
from condense.run import Job, Run
from condense.teachers import Teacher
from condense.tensor_format import checksum

Starting = Literal["noise", "real", "medium"]
STARTS = ("noise", "real", "medium")
_CANDIDATES = 100  # real images of a class, of which the medium ones are taken
_CHUNK = 256
_VERSION = 3  # of the choice of medium images: raised when a change here or below gives others


def starting_images(
    kind: Starting, train: Split, counts: Sequence[int], space: Preprocessing, teacher: Teacher, run: Run
) -> Callable[[Job], Tensor]:
    """A function that gives a job of blocks its first images (B, C, H, W) in `space`, on the run's device.

    noise: standard normal draws. real: random real images, each at most once. medium: of up to 100 random real images
    of a class, those whose cross-entropy by the teacher is nearest to the median.

    Raises:
        BadInput: for another kind, or a class with fewer real images than are asked for.
    """
    if kind not in STARTS:
        raise BadInput(f"initial must be one of {', '.join(STARTS)}, got {kind!r}")
    if kind == "noise":
        return lambda job: torch.randn(
            (len(job.item.classes), *train.shape), generator=job.rng("initial"), dtype=torch.float32
        ).to(run.device)
    if kind == "real":
        rows = random_indices(train, counts, run.rng("initial"))
    else:
        rows = medium_indices(train, counts, space, teacher, run)
    first = torch.tensor([0, *counts]).cumsum(0)  # the images of class k are rows[first[k]], rows[first[k] + 1], ...

    def real(job: Job) -> Tensor:
        places = [int(first[label]) + job.item.number for label in job.item.classes]
        return space.forward(train.take(rows[places])).to(run.device)

    return real


def medium_indices(train: Split, counts: Sequence[int], space: Preprocessing, teacher: Teacher, run: Run) -> Tensor:
    """Rows of `train`, counts[k] of class k, sorted by class and the most medium first; kept in the cache.  (M,).

    The candidates are those of the run's seed, whoever the teacher is: sets of one seed choose among the same ones.
    """
    available = train.class_counts()
    wanted = [min(have, max(_CANDIDATES, count)) for have, count in zip(available, counts, strict=True)]
    drawn = random_indices(train, wanted, run.rng("candidates"))
    key = {
        "kind": "medium images",
        "data": train.fingerprint,
        "counts": list(counts),
        "preprocessing": space.digest,
        "teacher": checksum(teacher.state),
        "candidates": checksum({"rows": drawn}),
    }

    def build(sub: Run) -> dict[str, Tensor]:
        module = teacher.module(sub.device)
        chosen = []
        for candidates, count in zip(drawn.split(wanted), counts, strict=True):
            losses = _losses(module, teacher, train, candidates)
            order = (losses - losses.median()).abs().argsort(stable=True)
            chosen.append(candidates[order[:count]])
        return {"rows": torch.cat(chosen)}

    rows: Tensor = run.cached(key, build, _VERSION)["rows"]
    return rows


@torch.no_grad()
def _losses(module: torch.nn.Module, teacher: Teacher, train: Split, rows: Tensor) -> Tensor:
    """Cross-entropy of each image, (n,) on the CPU."""
    device = next(module.parameters()).device
    parts = []
    for part in rows.split(_CHUNK):
        logits = module(teacher.preprocessing.forward(train.take(part)).to(device))
        parts.append(F.cross_entropy(logits.cpu(), train.labels[part], reduction="none"))
    return torch.cat(parts)
