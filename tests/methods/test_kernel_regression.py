"""FRePo, KIP and KRR-ST: a step against the formula written out plainly, and what surrounds it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from condense import networks
from condense.budget import Budget
from condense.centred_labels import centred, initial_targets
from condense.data import Split
from condense.distilled import DistilledSet
from condense.errors import BadInput
from condense.kernels import InfiniteNetwork
from condense.lamb import Lamb
from condense.matching import initial_images
from condense.method import with_overrides
from condense.methods import frepo, kip, krr_st
from condense.preprocessing import fit
from condense.run import Run
from condense.self_supervised import TeacherBatches, teacher_for
from condense.training import SplitSource

IPC, CLASSES, REAL = 2, 3, 8
RIDGE = 1e-2  # large enough for float32 to leave the comparison its digits


@pytest.fixture
def train() -> Split:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(30) % CLASSES
    pixels = torch.randint(0, 120, (30, 1, 8, 8), generator=generator) + 60 * labels[:, None, None, None]
    return Split.from_arrays(pixels.to(torch.uint8), labels, ["a", "b", "c"], flips=False)


def run_method(method: Any, config: Any, train: Split, folder: Path, **options: Any) -> tuple[DistilledSet, Run]:
    with Run(folder, seed=5, **options) as run:
        return method.distill(train, Budget(ipc=IPC), config, run), run


def ridge_prediction(support: Tensor, targets: Tensor, queries: Tensor, strength: float) -> Tensor:
    """K_ts (K_ss + r I)^-1 Y_s with an inverse, r detached or not as `strength` says."""
    gram = support @ support.T
    return queries @ support.T @ torch.linalg.inv(gram + strength * torch.eye(len(gram))) @ targets


# ---------------------------------------------------------------------------------------------------------------- FRePo

FREPO = frepo.Config(
    steps=1,
    lr=0.1,
    real_batch=REAL,
    ridge=RIDGE,
    pool=1,
    online_updates=5,
    network="convnet:width=4,growth=2,norm=batch,norm_at=input",
    preprocessing="normalise",
)


def test_a_step_of_frepo_descends_the_error_of_the_ridge_regressor(train: Split, tmp_path: Path) -> None:
    made, run = run_method(frepo, FREPO, train, tmp_path)
    space = fit("normalise", train)
    images, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), "real")
    targets = initial_targets(labels, CLASSES)
    network = networks.build(FREPO.network, train.shape, CLASSES, run.rng("network", 0)).eval()
    rows = torch.randperm(30, generator=run.rng("real", 0))[:REAL]
    images.requires_grad_(), targets.requires_grad_()
    support, queries = network.embed(images), network.embed(space.forward(train.take(rows))).detach()
    strength = RIDGE * (support @ support.T).trace() / len(support)
    prediction = ridge_prediction(support, targets, queries, strength)
    loss = 0.5 * ((prediction - centred(train.labels[rows], CLASSES)) ** 2).sum(1).mean()
    loss.backward()
    Lamb([images, targets], lr=0.1).step()
    # float32, and Adam's first step is the sign of the gradient: entries next to zero are left out.
    close = torch.isclose(made.images, images.detach(), rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]
    assert close.float().mean() > 0.99
    torch.testing.assert_close(made.labels.tensors()["labels_soft"], targets.detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "agreement"),
    [({"low_memory": True, "chunk": 2}, 0.999), ({"gram": "float64"}, 0.999), ({"precision": "bfloat16"}, 0.9)],
    ids=["low-memory", "float64", "bfloat16"],
)
def test_ways_to_compute_a_step_of_frepo_agree(
    changes: dict[str, Any], agreement: float, train: Split, tmp_path: Path
) -> None:
    plain, _ = run_method(frepo, FREPO, train, tmp_path / "plain")
    other, _ = run_method(frepo, dataclasses.replace(FREPO, **changes), train, tmp_path / "other")
    start, _ = run_method(frepo, dataclasses.replace(FREPO, steps=0), train, tmp_path / "start")
    moved, expected = (made.images - start.images for made in (other, plain))  # type: ignore[operator]
    # Signs of small gradients flip, more of them in bfloat16.
    assert nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), 0) > agreement


@pytest.mark.parametrize("part", [0.9, 0.1])
def test_an_online_update_replaces_the_stated_part_of_the_statistics(part: float, train: Split, tmp_path: Path) -> None:
    config = dataclasses.replace(FREPO, statistics=part, online_lr=0.0)
    seen = []
    with Run(tmp_path, seed=5) as run:
        pool = frepo._pool(train, config, run)
        norm = pool.members[0].blocks[1].norm
        norm.register_forward_pre_hook(lambda _, maps: seen.append(maps[0].detach().mean((0, 2, 3))))
        images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        pool.advance(0, images, torch.zeros(6, CLASSES), run.rng("birth"))
    torch.testing.assert_close(norm.running_mean, part * seen[0])  # it starts at zero
    assert seen[0].abs().min() > 0


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [(frepo, "online_batch", 0), (frepo, "statistics", 3.0), (krr_st, "teacher_precision", "half")],
)
def test_settings_that_cannot_work_are_refused(method: Any, field: str, value: object) -> None:
    with pytest.raises(BadInput, match=field):
        with_overrides("mine", method.Config(), {field: value})


def test_mirror_images_enlarge_the_support_and_are_refused_for_digits(train: Split, tmp_path: Path) -> None:
    config = dataclasses.replace(FREPO, mirror=True)
    with pytest.raises(BadInput, match="mirror"):
        run_method(frepo, config, train, tmp_path / "refused")
    facing = dataclasses.replace(train, flips=True)
    (plain, _), (both, _) = (
        run_method(frepo, choice, facing, tmp_path / str(choice.mirror)) for choice in (FREPO, config)
    )
    assert len(both) == len(plain)
    assert not torch.equal(both.images, plain.images)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------------ KIP

KIP = kip.Config(steps=2, real_batch=REAL, networks=1, network="convnet:width=4,norm=none", preprocessing="normalise")


@pytest.mark.parametrize("kernel", ["ntk", "nngp", "random-features"])
def test_a_step_of_kip_descends_the_error_of_the_kernel_regressor(kernel: Any, train: Split, tmp_path: Path) -> None:
    config = kip.Config(
        steps=1,
        lr=0.1,
        real_batch=REAL,
        ridge=RIDGE,
        kernel=kernel,
        networks=2,
        network="convnet:width=4,norm=none",
        depth=2,
        preprocessing="normalise",
        chunk=3,
    )
    made, run = run_method(kip, config, train, tmp_path)
    space = fit("normalise", train)
    images, labels = initial_images(train, Budget(ipc=IPC), space, run.rng("initial"), "real")
    targets = initial_targets(labels, CLASSES)
    images.requires_grad_(), targets.requires_grad_()
    rows = torch.randperm(30, generator=run.rng("real", 0))[:REAL]
    real = space.forward(train.take(rows))
    if kernel == "random-features":
        members = [networks.build(config.network, train.shape, CLASSES, run.rng("network", 0, i)) for i in range(2)]
        grams = [sum(m.embed(a) @ m.embed(images).T for m in members) for a in (images, real.detach())]
    else:
        infinite = InfiniteNetwork(kernel, "dense", 2)
        grams = [infinite(images), infinite(real, images)]
    strength = RIDGE * grams[0].trace() / len(images)
    inverse = torch.linalg.inv(grams[0] + strength * torch.eye(len(images)))
    loss = 0.5 * ((grams[1] @ inverse @ targets - centred(train.labels[rows], CLASSES)) ** 2).sum(1).mean()
    loss.backward()
    torch.optim.Adam([images, targets], lr=0.1).step()
    close = torch.isclose(made.images, images.detach(), rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]
    assert close.float().mean() > 0.98  # float32, as above
    torch.testing.assert_close(made.labels.tensors()["labels_soft"], targets.detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kernel", ["ntk", "random-features"])
def test_solved_labels_are_the_least_squares_optimum_over_all_real_images(
    kernel: Any, train: Split, tmp_path: Path
) -> None:
    config = kip.Config(
        steps=0,
        solve_labels=True,
        real_batch=REAL,
        ridge=RIDGE,
        kernel=kernel,
        networks=1,
        network="convnet:width=4,norm=none",
        preprocessing="normalise",
    )
    made, run = run_method(kip, config, train, tmp_path)
    space = fit("normalise", train)
    real, images = space.forward(train.take(torch.arange(30))), made.images
    assert images is not None
    if kernel == "random-features":
        member = networks.build(config.network, train.shape, CLASSES, run.rng("network", 0, 0)).requires_grad_(False)
        grams = [member.embed(part) @ member.embed(images).T for part in (images, real)]
    else:
        infinite = InfiniteNetwork(kernel, "dense", 3)
        grams = [infinite(images), infinite(real, images)]
    strength = RIDGE * grams[0].trace() / len(images)
    a = grams[1] @ torch.linalg.inv(grams[0] + strength * torch.eye(len(images)))
    expected = torch.linalg.lstsq(a.double(), centred(train.labels, CLASSES).double()).solution
    torch.testing.assert_close(made.labels.tensors()["labels_soft"], expected.float(), rtol=1e-2, atol=1e-3)
    free = dataclasses.replace(config, solve_labels=False)
    assert kip.cost(train, Budget(ipc=IPC), free).operations == 0 < kip.cost(train, Budget(ipc=IPC), config).operations


def test_labels_that_are_being_solved_are_gone_on_with(train: Split, tmp_path: Path) -> None:
    """Interrupted after two of the four parts of the real images: the same labels to the last bit."""
    config = dataclasses.replace(KIP, steps=0, solve_labels=True)
    whole, _ = run_method(kip, config, train, tmp_path / "whole")
    gather, calls = SplitSource.gather, []

    def interrupted(self: SplitSource, *where: Any) -> Tensor:
        calls.append(where)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return gather(self, *where)

    with mock.patch.object(SplitSource, "gather", interrupted), pytest.raises(KeyboardInterrupt):
        run_method(kip, config, train, tmp_path / "parts", checkpoint_seconds=0.0)
    with mock.patch.object(SplitSource, "gather", autospec=True, side_effect=gather) as again:
        continued, _ = run_method(kip, config, train, tmp_path / "parts")
    assert again.call_count == 2
    assert torch.equal(continued.labels.tensors()["labels_soft"], whole.labels.tensors()["labels_soft"])


@pytest.mark.parametrize("gram", ["float32", "float64"])
def test_exact_kernels_have_the_precision_that_is_asked_for(
    gram: Any, train: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.dtype] = set()
    call = InfiniteNetwork.__call__

    def watched(self: InfiniteNetwork, *images: torch.Tensor) -> torch.Tensor:
        seen.update(part.dtype for part in images)
        return call(self, *images)

    monkeypatch.setattr(InfiniteNetwork, "__call__", watched)
    config = kip.Config(steps=1, real_batch=REAL, kernel="ntk", depth=2, gram=gram, preprocessing="normalise")
    made, _ = run_method(kip, config, train, tmp_path)
    assert seen == {getattr(torch, gram)}
    assert made.images is not None
    assert made.images.dtype == torch.float32


# --------------------------------------------------------------------------------------------------------------- KRR-ST

KRR = krr_st.Config(
    steps=1,
    lr_images=0.1,
    lr_targets=0.05,
    real_batch=REAL,
    ridge=RIDGE,
    augment=False,
    pool=1,
    inner_steps=2,
    network="convnet:width=4,growth=2,norm=batch",
    teacher_network="convnet:width=4,norm=batch",
    teacher_epochs=1,
    teacher_projector=8,
)


def test_a_step_of_krr_st_descends_the_error_of_the_ridge_regressor(train: Split, tmp_path: Path) -> None:
    hidden = train.unlabelled()
    made, run = run_method(krr_st, KRR, hidden, tmp_path / "run")
    space = fit("normalise", hidden)
    with Run(tmp_path / "teacher", seed=9) as other:
        teacher = teacher_for(hidden, KRR, other)
    pixels = hidden.take(torch.randperm(30, generator=run.rng("initial"))[: IPC * CLASSES])
    images, targets = space.forward(pixels), teacher.embed(space.forward(pixels))
    network = networks.build(KRR.network, hidden.shape, targets.shape[1], run.rng("network", 0))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    ((network.train()(images) - targets) ** 2).mean().backward()  # one update before the first step
    optimiser.step()
    network.eval()
    images.requires_grad_(), targets.requires_grad_()
    real = space.forward(hidden.take(torch.randperm(30, generator=run.rng("real", 0))[:REAL]))
    support, queries = (torch.cat([f, torch.ones(len(f), 1)], 1) for f in (network.embed(images), network.embed(real)))
    strength = RIDGE * (support @ support.T).trace().detach()
    loss = ((ridge_prediction(support, targets, queries.detach(), strength) - teacher.embed(real)) ** 2).mean()
    loss.backward()
    torch.optim.AdamW([{"params": [images], "lr": 0.1}, {"params": [targets], "lr": 0.05}], weight_decay=0).step()
    for ours, theirs in ((made.images, images), (made.labels.tensors()["targets_repr"], targets)):
        close = torch.isclose(ours, theirs.detach(), rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]
        assert close.float().mean() > 0.98  # float32, as above


def test_cached_views_are_those_that_a_teacher_would_have_been_shown(train: Split, tmp_path: Path) -> None:
    config = dataclasses.replace(KRR, augment=True, padding=1, cached_views=2)
    space = fit("normalise", train)
    with Run(tmp_path, seed=5) as run:
        teacher = teacher_for(train, config, run)
        images, answers = TeacherBatches(train, space, teacher, config, run).draw(3)
    torch.testing.assert_close(answers, teacher.embed(images), rtol=1e-4, atol=1e-5)
    plain = space.forward(train.take(torch.randperm(30, generator=run.rng("real", 3))[:REAL]))
    assert not torch.equal(images, plain)


@pytest.mark.parametrize("cached_views", [0, 2])
def test_what_a_crop_shows_beyond_the_edge_is_black(cached_views: int, train: Split, tmp_path: Path) -> None:
    config = dataclasses.replace(KRR, augment=True, padding=9, cached_views=cached_views)  # images have 8 pixels
    space = fit("normalise", train)
    with Run(tmp_path, seed=5) as run:
        teacher = teacher_for(train, config, run)
        images, answers = TeacherBatches(train, space, teacher, config, run).draw(0)
    black = space.forward(torch.zeros(1, *train.shape))
    gone = (images == black).flatten(1).all(1)
    assert gone.any(), "no image of the batch was shifted by its whole width"
    nothing = teacher.embed(black)
    torch.testing.assert_close(answers[gone], nothing.expand(int(gone.sum()), -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rebirth", ["young", "old"])
def test_a_network_that_is_born_anew_is_trained_unless_the_authors_code_is_asked_for(
    rebirth: Any, train: Split, tmp_path: Path
) -> None:
    config = dataclasses.replace(KRR, rebirth=rebirth)  # one network, two updates; one of them before the first step
    hidden = train.unlabelled()
    images, targets = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.ones(4, 5)
    with Run(tmp_path, seed=5) as run:
        pool = krr_st._trained_pool(hidden, images, targets, config, run)
        ages, updates = [], []
        for step in range(5):
            pool.advance(0, images, targets, run.rng("birth", step))
            ages.append(pool.ages[0])
            updates.append(int(pool.members[0].blocks[0].norm.num_batches_tracked))
    assert ages == ([2, 0, 1, 2, 0] if rebirth == "young" else [2, 2, 2, 2, 2])
    assert updates == ([2, 0, 1, 2, 0] if rebirth == "young" else [2, 0, 0, 0, 0])


def test_first_images_are_pixels_only_where_the_authors_quirk_is_asked_for(train: Split, tmp_path: Path) -> None:
    quirk = dataclasses.replace(KRR, steps=0, initial_space="pixels")
    made, _ = run_method(krr_st, quirk, train.unlabelled(), tmp_path / "quirk")
    ours, run = run_method(krr_st, dataclasses.replace(KRR, steps=0), train.unlabelled(), tmp_path / "ours")
    pixels = train.take(torch.randperm(30, generator=run.rng("initial"))[: IPC * CLASSES])
    assert torch.equal(made.images, pixels.float() / 255)  # type: ignore[arg-type]
    assert torch.equal(ours.images, fit("normalise", train).forward(pixels))  # type: ignore[arg-type]
    targets = [s.labels.tensors()["targets_repr"] for s in (made, ours)]
    torch.testing.assert_close(*targets)  # the teacher always sees images in its own space


def test_the_rates_of_images_and_targets_are_apart(train: Split, tmp_path: Path) -> None:
    start, _ = run_method(krr_st, dataclasses.replace(KRR, steps=0), train.unlabelled(), tmp_path / "start")
    fixed, _ = run_method(krr_st, dataclasses.replace(KRR, lr_targets=0.0), train.unlabelled(), tmp_path / "fixed")
    assert torch.equal(fixed.labels.tensors()["targets_repr"], start.labels.tensors()["targets_repr"])
    assert not torch.equal(fixed.images, start.images)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------- jitters


@pytest.mark.parametrize(
    ("method", "config", "solves"),
    [
        (frepo, dataclasses.replace(FREPO, steps=2), 2),
        (kip, KIP, 2),
        (kip, dataclasses.replace(KIP, kernel="ntk"), 2),
        (kip, dataclasses.replace(KIP, steps=0, solve_labels=True), 2),  # one for all 30 real images, and the labels
        (krr_st, dataclasses.replace(KRR, steps=2), 2),
    ],
    ids=["frepo", "kip", "kip-ntk", "kip-solved", "krr-st"],
)
def test_a_set_says_how_often_rounding_asked_for_a_jitter(
    method: Any, config: Any, solves: int, train: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = run_method(method, config, train, tmp_path / "plain")
    assert plain.provenance == {}
    attempts, factor = [], torch.linalg.cholesky_ex

    def indefinite_at_first(matrix: Tensor) -> tuple[Tensor, Tensor]:
        attempts.append(matrix)
        lower, failed = factor(matrix)
        return lower, failed + len(attempts) % 2

    monkeypatch.setattr(torch.linalg, "cholesky_ex", indefinite_at_first)
    flagged, _ = run_method(method, config, train, tmp_path / "flagged")
    assert flagged.provenance == {"flags": {"jittered_solves": solves}}
