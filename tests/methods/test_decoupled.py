"""SRe2L, CDA and CV-DD: what makes them the same, and what they tell of their teachers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import methods
from condense.budget import Budget
from condense.data import Split
from condense.distilled import DistilledSet
from condense.errors import BadInput
from condense.method import with_overrides
from condense.recovery import priors
from condense.run import Run

NETWORK = "convnet-d1:width=4,norm=batch"
SMALL = {"teacher_recipe": "tiny-images", "teacher_epochs": 2, "steps": 4, "batch": 2, "roll_to": 2}
ALONE = {"lr": 0.2, "statistics_weight": 0.1, "initial": "noise", "smallest_crop": 0.3, "labels": "hard"}


@pytest.fixture(scope="module")
def train() -> Split:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    images = 40 * labels[:, None, None, None] + torch.randint(0, 120, (60, 1, 8, 8), generator=draws)
    return Split.from_arrays(images.to(torch.uint8), labels, ("one", "two", "three"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs and their cache: the teacher is trained once for all tests."""
    return tmp_path_factory.mktemp("decoupled")


def distilled(method: str, train: Split, folder: Path, ipc: int = 2, *, seed: int = 5, **changes: Any) -> DistilledSet:
    plugin = methods.get(method)
    config = dataclasses.replace(plugin.config(), **{**SMALL, **changes})
    with Run(folder / f"{method}-{len(list(folder.iterdir()))}", seed=seed, cache_dir=folder / "cache") as run:
        made: DistilledSet = plugin.distill(train, Budget(ipc=ipc), config, run)
    return made


def pixels(made: DistilledSet) -> torch.Tensor:
    assert made.images is not None
    return made.images


def test_cda_without_a_curriculum_is_sre2l(train: Split, folder: Path) -> None:
    alike = {**ALONE, "teacher": NETWORK, "flip": True}
    base = distilled("sre2l", train, folder, **alike)
    assert torch.equal(pixels(base), pixels(distilled("cda", train, folder, **alike, curriculum="constant")))
    assert torch.equal(pixels(base), pixels(distilled("cda", train, folder, **alike, milestone=0.0)))
    assert not torch.equal(pixels(base), pixels(distilled("cda", train, folder, **alike)))


def test_a_committee_of_one_is_sre2l(train: Split, folder: Path) -> None:
    base = distilled("sre2l", train, folder, **ALONE, teacher=NETWORK, flip=True)
    committee = distilled("cvdd", train, folder, **ALONE, committee=NETWORK, members=1, voting="equal")
    assert torch.equal(pixels(base), pixels(committee))
    assert "priors" not in committee.provenance  # nothing is measured that nobody asks for


def test_votes_follow_what_students_of_each_member_reach(train: Split, folder: Path) -> None:
    committee = {"committee": f"{NETWORK} + convnet-d2:width=4,norm=batch", "members": 2, "label_batch": 4}
    prior = {"prior_ipc": 2, "prior_steps": 3, "prior_epochs": 2, "prior_student": NETWORK}
    measured = distilled("cvdd", train, folder, **ALONE, **committee, **prior)
    priors = measured.provenance["priors"]
    assert len(priors) == 2
    assert all(
        0 <= percent <= 100 and (percent * 6 / 100) == pytest.approx(round(percent * 6 / 100)) for percent in priors
    )
    text = "+".join(str(percent) for percent in priors)
    given = distilled("cvdd", train, folder, **ALONE, **committee, priors=text)
    assert torch.equal(pixels(measured), pixels(given))
    one, other = (distilled("cvdd", train, folder, **ALONE, **committee, priors=text) for text in ("100+0", "0+100"))
    assert not torch.equal(pixels(one), pixels(other))
    assert measured.provenance["priors_from"] == "the held-out tenth of the training split"
    assert given.provenance["priors_from"] == "numbers that were stated"


def test_the_members_for_a_single_image_are_chosen_by_what_was_measured(train: Split, folder: Path) -> None:
    members = f"{NETWORK} + convnet-d2:width=4,norm=batch + convnet-d1:width=8,norm=batch"
    prior = {"prior_ipc": 2, "prior_steps": 3, "prior_epochs": 2, "prior_student": NETWORK}
    fields = {**ALONE, **prior, "committee": members, "members": 2, "voting": "equal", "label_voting": "equal"}
    one = distilled("cvdd", train, folder, **fields, ipc=1)
    assert len(one.provenance["priors"]) == 3
    text = "+".join(str(percent) for percent in one.provenance["priors"])
    assert torch.equal(pixels(one), pixels(distilled("cvdd", train, folder, **fields, ipc=1, priors=text)))
    assert "priors" not in distilled("cvdd", train, folder, **fields, ipc=2).provenance  # every pair has its turn


def test_sets_of_one_committee_share_what_was_measured(
    train: Split, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second distillation seed, or other votes, measure nothing anew; another student does."""
    measured: list[str] = []
    kept = priors.images

    def counting(members: Any, *rest: Any) -> Any:
        measured.append(members[0].name)
        return kept(members, *rest)

    monkeypatch.setattr(priors, "images", counting)
    names = ["convnet-d1:norm=batch,width=4", "convnet-d2:norm=batch,width=4"]
    fields = {**ALONE, "committee": " + ".join(names), "members": 2, "label_batch": 4, "prior_ipc": 2}
    fields |= {"prior_steps": 2, "prior_epochs": 3, "prior_student": NETWORK}
    one = distilled("cvdd", train, folder, **fields)
    assert measured == names
    for changes in ({"seed": 6}, {"vote_temperature": 1.0}, {"label_voting": "equal"}):
        assert (
            distilled("cvdd", train, folder, **{**fields, **changes}).provenance["priors"] == one.provenance["priors"]
        )
    assert measured == names
    distilled("cvdd", train, folder, **{**fields, "prior_student": names[1]})
    assert measured == 2 * names


def test_votes_on_images_and_on_labels_are_switched_off_apart(train: Split, folder: Path) -> None:
    committee = {"committee": f"{NETWORK} + convnet-d2:width=4,norm=batch", "members": 2, "priors": "90+30"}
    common = {**ALONE, **committee, "labels": "teacher", "label_statistics": "running"}
    off = {
        name: distilled("cvdd", train, folder, **common, **dict.fromkeys(fields, "equal"))
        for name, fields in {"none": (), "images": ("voting",), "labels": ("label_voting",)}.items()
    }
    weights = {name: made.labels.spec()["weights"] for name, made in off.items()}
    assert weights["images"] == weights["none"] != weights["labels"] == [0.5, 0.5]
    assert torch.equal(pixels(off["labels"]), pixels(off["none"]))
    assert not torch.equal(pixels(off["images"]), pixels(off["none"]))


@pytest.mark.parametrize("method", ["sre2l", "cda"])
def test_a_set_tells_its_teacher_and_its_label_recipe(method: str, train: Split, folder: Path) -> None:
    told = distilled(method, train, folder, teacher=NETWORK, label_statistics="running").provenance
    (teacher,) = told["teachers"]
    assert teacher["network"] == "convnet-d1:norm=batch,width=4"
    assert 0 <= teacher["accuracy"] <= 1
    assert teacher["operations"] > 0
    assert told["label_recipe"]["teachers"] == "convnet-d1:norm=batch,width=4"
    assert list(told["volatile"]["teacher_seconds"]) == ["convnet-d1:norm=batch,width=4"]


def test_images_are_pixels_and_labels_know_their_class(train: Split, folder: Path) -> None:
    made = distilled("sre2l", train, folder, teacher=NETWORK)
    assert pixels(made).dtype == torch.uint8
    assert made.labels.offers == {"teacher", "hard"}
    assert made.labels.hard().tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("cvdd", {"members": 3, "committee": NETWORK}, "from 1 to 1 members of this committee, got 3"),
        ("cvdd", {"priors": "60+many", "committee": NETWORK, "members": 1}, "priors are 1 percentages"),
        ("cvdd", {"committee": f"{NETWORK}+convnet-d1:width=4"}, "convnet-d1:width=4 has no batch norm"),
        ("sre2l", {"teacher": "convnet-d1:width=4"}, "convnet-d1:width=4 has no batch norm"),
        ("cda", {"teacher": NETWORK, "smallest_crop": 0.0}, r"an area in \(0, 1\]"),
        ("sre2l", {"teacher": NETWORK, "labels": "regions", "label_group": 1}, "at least two samples"),
        ("sre2l", {"teacher": NETWORK, "labels": "regions", "label_epochs": 0}, "at least one epoch"),
        ("infer", {"teachers": "convnet-d1:width=4"}, "convnet-d1:width=4 has no batch norm"),
        ("rded", {"factor": 9}, "images of 8 pixels cannot hold factor=9 patches along a side; lower factor"),
        ("rded", {"min_scale": 0.0}, r"min_scale is an area in \(0, 1\], got 0.0"),
        ("rded", {"min_scale": 5.0}, r"min_scale is an area in \(0, 1\], got 5.0"),
        (
            "rded",
            {"factor": 4, "crops": 1},
            "needs 160 patches, and crops=1 of each of its 20 images are 20; lower factor",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_the_work_is_announced(
    method: str, changes: dict[str, Any], message: str, train: Split
) -> None:
    plugin = methods.get(method)
    with pytest.raises(BadInput, match=message):
        plugin.cost(train, Budget(ipc=10), dataclasses.replace(plugin.config(), **changes))


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("sre2l", "temperature", "0"),
        ("cda", "label_epochs", "0"),
        ("cda", "label_group", "1"),
        ("cvdd", "vote_temperature", "0"),
        ("cvdd", "label_temperature", "0"),
        ("cvdd", "members", "0"),
        ("infer", "temperature", "0"),
        ("rded", "temperature", "0"),
    ],
)
def test_numbers_that_cannot_be_are_refused_when_they_are_read(method: str, field: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{method}: {field} must be a finite number"):
        with_overrides(method, methods.get(method).config(), {field: value})
