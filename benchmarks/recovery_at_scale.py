"""The recovery half of the rehearsal at ImageNet's scale: its estimate beside published costs, and two workers at work.

`scale_rehearsal.py` calls both; `expected` computes a cost alone, `recover` makes and saves images of many classes.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from processes import peak_bytes

# Recovery at 224 pixels, ResNet-18, 100 images a batch, 4000 steps, measured by FADRM (arXiv 2506.24125) on an RTX
# 4090: seconds of one image, and peak memory. They are of SRe2L++, whose steps are SRe2L's, begun at real patches.
PUBLISHED_SECONDS, PUBLISHED_BYTES = 2.52, 5.3e9
# Float32 operations a second that this card can do at most.
CARD_OPERATIONS = 82.6e12
PLAUSIBLE = (0.1, 0.5)  # parts of that which such networks reach
NEAR = (0.7, 1.1)  # of the estimated memory to the published one; ours counts maps and their gradients alone
STEPS = 4  # of the rehearsal, for each image
BATCH = 100  # classes of a block
WORKERS = 2
FEW = 8  # blocks, that one worker may have done before the other has begun


class Counted:
    """As much of a training split as a method's cost needs to know."""

    flips = True

    def __init__(self, classes: int, side: int, images: int):
        self.n_classes = classes
        self.shape = (3, side, side)
        self.images = images  # of each class

    def __len__(self) -> int:
        return self.n_classes * self.images

    def class_counts(self) -> list[int]:
        return [self.images] * self.n_classes


def expected(ipc: int = 50) -> dict[str, Any]:
    """What SRe2L's preset for ImageNet-1K takes; `of_the_card` is the part of a card's peak that published times mean.

    The estimate counts convolutions and matrix products alone; between a tenth and a half of a card's peak is what such
    networks reach in float32.

    Raises:
        SystemExit: for a part outside of that, or memory far from what is published: the estimate is wrong then.
    """
    from condense import machine, methods, networks
    from condense.budget import Budget

    plugin = methods.get("sre2l")
    config = plugin.config("released-imagenet")
    work = networks.work(config.teacher.partition("@")[0], (3, 224, 224), 1000)
    cost = plugin.cost(Counted(1000, 224, 1281), Budget(ipc=ipc), config)
    images = 1000 * ipc
    recovering = cost.operations - float(work.operations) * images * config.label_epochs  # without the labels
    part = recovering / (PUBLISHED_SECONDS * images) / CARD_OPERATIONS
    if not PLAUSIBLE[0] <= part <= PLAUSIBLE[1]:
        raise SystemExit(f"by the estimate the published time would be {part:.0%} of the card's peak; it is wrong")
    memory = 2 * work.activation_bytes * BATCH
    if not NEAR[0] <= memory / PUBLISHED_BYTES <= NEAR[1]:
        raise SystemExit(
            f"the estimate of memory is {memory / PUBLISHED_BYTES:.2f} times the published one; it is wrong"
        )
    return {
        "recovery_operations": recovering,
        "recovery_hours_at_least": recovering / machine.operations_per_second("cpu") / 3600,
        "recovery_hours_published": PUBLISHED_SECONDS * images / 3600,
        "of_the_card": part,
        "recovery_memory_bytes": memory,
        "recovery_memory_bytes_published": PUBLISHED_BYTES,
        "memory_bytes_with_all_pixels": cost.memory_bytes,
        "image_bytes": images * 3 * 224 * 224,
    }


def recover(source: Any, teacher: str, ipc: int, threads: int, out: str) -> dict[str, Any]:
    """Two processes share the blocks of one run; both end with all images, and the same ones, which the first saves.

    Args:
        source: the data set.
        teacher: a name with weights, as `condense.teachers` reads it.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(WORKERS) as pool:
        share = (source, teacher, ipc, max(1, threads // WORKERS))
        found = pool.starmap(_work, [(*share, out if worker == 0 else None) for worker in range(WORKERS)])
    if len({facts["sha256"] for facts in found}) != 1:
        raise SystemExit("two workers of one run ended with different images")
    blocks = -(-len(source.classes) // BATCH) * ipc
    done = [facts["jobs"] for facts in found]
    if sum(done) != blocks or (min(done) == 0 and blocks > FEW):
        raise SystemExit(f"{blocks} blocks were to be shared by the workers, they did {done}")
    return {"blocks": done, "workers_peak_bytes": sum(facts["peak_bytes"] for facts in found)}


def _work(source: Any, teacher: str, ipc: int, threads: int, out: str | None) -> dict[str, Any]:
    """One worker: the method itself, in a run that is shared."""
    import dataclasses
    import hashlib
    from unittest import mock

    import torch

    from condense import distilled, methods
    from condense.budget import Budget
    from condense.method import with_overrides
    from condense.run import Job, Run

    torch.set_num_threads(threads)
    plugin = methods.get("sre2l")
    changes = {"teacher": teacher, "steps": STEPS, "batch": BATCH, "labels": "hard"}
    config = with_overrides("sre2l", plugin.config("released-tiny-imagenet"), changes)
    saved = []
    save = Job.save

    def counting(job: Job, **tensors: torch.Tensor) -> None:
        save(job, **tensors)
        saved.append(job.index)

    with (
        mock.patch.object(Job, "save", counting),
        Run(Path("recover-run"), seed=0, cache_dir="cache", shared=True) as run,
    ):
        made = plugin.distill(source.train, Budget(ipc=ipc), config, run)
    assert made.images is not None
    if out is not None:
        told = {"method": "sre2l", "title": plugin.about.title, "kind": plugin.about.kind, "seed": 0}
        told |= {"dataset": {"name": source.name, "fingerprint": source.fingerprint}, "budget": {"ipc": ipc}}
        told |= {"config": dataclasses.asdict(config), "trained_on": "train"}
        distilled.save(dataclasses.replace(made, provenance={**made.provenance, **told}), out)
    return {
        "jobs": len(saved),
        "sha256": hashlib.sha256(made.images.numpy().tobytes()).hexdigest(),
        "peak_bytes": peak_bytes(),
    }
