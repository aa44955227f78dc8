"""FKD files as other projects write them: read whole, with an order that has to be given, and never unpickled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from condense.errors import BadInput, DamagedFile
from condense.soft_labels import read_fkd, sampler_orders
from condense.training.replay import replay_mix

PICK = torch.zeros(1, dtype=torch.int64)
ORDERS = [torch.tensor([4, 2, 0, 1, 3]), torch.tensor([0, 1, 2, 3, 4])]


def batch_of(count: int, generator: torch.Generator, mix: str | None = "cutmix") -> list[object]:
    """One file's content; the box holds NumPy's numbers, as the authors' cut-off at the border leaves them."""
    box = [np.clip(side, 0, 32) for side in (2, 4, 9, 40)]
    crop = torch.rand(count, 4, generator=generator)
    flip = torch.rand(count, generator=generator) < 0.5
    logits = torch.randn(count, 3, generator=generator).half()
    if mix is None:
        return [crop, flip, None, None, None, logits]
    return [crop, flip, torch.arange(count).flip(0), 0.25, box if mix == "cutmix" else None, logits]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., dict[tuple[int, int], list[object]]]:
    """write(mix) -> contents of two epochs of five images in steps of three and two, by (epoch, batch)."""

    def write(mix: str | None = "cutmix") -> dict[tuple[int, int], list[object]]:
        generator = torch.Generator().manual_seed(0)
        contents = {}
        for epoch in range(2):
            (tmp_path / f"epoch_{epoch}").mkdir()
            for number, count in enumerate((3, 2)):
                contents[epoch, number] = batch_of(count, generator, mix)
                torch.save(contents[epoch, number], tmp_path / f"epoch_{epoch}" / f"batch_{number}.tar")
        return contents

    return write


@pytest.mark.parametrize("mix", ["cutmix", "mixup", None])
def test_what_was_written_is_replayed(write: Callable, tmp_path: Path, mix: str | None) -> None:
    contents = write(mix)
    labels = read_fkd(tmp_path, ORDERS, classes=torch.tensor([0, 0, 1, 1, 2]))
    assert (labels.batch, labels.steps(0), labels.n_classes) == (3, 2, 3)
    for (epoch, step), (crop, flip, partner, weight, box, logits) in contents.items():
        found = labels.view(epoch, step, PICK)
        assert torch.equal(found.indices, ORDERS[epoch][step * 3 : step * 3 + 3])
        assert torch.equal(found.crop, crop)
        assert torch.equal(found.flip, flip)
        assert torch.equal(found.target, logits.float())
        if mix is None:
            assert found.mix is None
            continue
        assert torch.equal(found.mix.partner, partner)
        assert float(found.mix.weight) == weight
        # x1, y1, x2, y2 run over rows and columns in the authors' code: rows 2 to 9, columns 4 to 32.
        assert (found.mix.box is None) if box is None else (found.mix.box.tolist() == [2, 4, 7, 28])


def test_groups_of_batch_statistics_are_those_that_are_stated(write: Callable, tmp_path: Path) -> None:
    """Files do not name them; each step starts anew, and a last one of one sample joins the group before."""
    write()
    labels = read_fkd(tmp_path, ORDERS, norm_group=2)
    groups = [labels.view(1, step, PICK).norm_group for step in range(2)]
    assert [group.tolist() for group in groups if group is not None] == [[0, 0, 0], [0, 0]]
    assert read_fkd(tmp_path, ORDERS).view(1, 0, PICK).norm_group is None
    with pytest.raises(BadInput, match="norm_group=1"):
        read_fkd(tmp_path, ORDERS, norm_group=1)


def test_an_empty_box_mixes_nothing(write: Callable, tmp_path: Path) -> None:
    """CutMix with a weight near 1 rounds its box to no pixels; as MixUp the images would be mixed a little."""
    contents = write()
    content = contents[0, 0]
    content[3:5] = 0.999, [np.clip(side, 0, 32) for side in (5, 6, 5, 6)]
    torch.save(content, tmp_path / "epoch_0" / "batch_0.tar")
    found = read_fkd(tmp_path, ORDERS).view(0, 0, PICK)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(replay_mix(images, found.mix), images)


def test_the_order_of_the_authors_is_that_of_pytorchs_sampler() -> None:
    orders = sampler_orders(7, 3)
    generator = torch.Generator().manual_seed(42)
    sampler = torch.utils.data.RandomSampler(range(7), generator=generator)
    assert [order.tolist() for order in orders] == [list(sampler) for _ in range(3)]
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_an_order_of_another_length_is_refused(write: Callable, tmp_path: Path) -> None:
    write()
    with pytest.raises(BadInput, match="labels of 5 samples, the order given has 4"):
        read_fkd(tmp_path, [torch.arange(4), torch.arange(5)])
    with pytest.raises(BadInput, match=r"holds 2 epochs .* 1 orders were given"):
        read_fkd(tmp_path, ORDERS[:1])
    with pytest.raises(BadInput, match="holds 0 epochs"):
        read_fkd(tmp_path / "nowhere", ORDERS)


def test_a_short_file_before_the_last_is_refused(write: Callable, tmp_path: Path) -> None:
    write()
    torch.save(batch_of(3, torch.Generator().manual_seed(1)), tmp_path / "epoch_1" / "batch_2.tar")
    labels = read_fkd(tmp_path, [ORDERS[0], torch.arange(8)])
    with pytest.raises(BadInput, match=r"batch_1\.tar holds 2 samples where the first file has 3"):
        labels.view(1, 0, PICK)


@pytest.mark.parametrize("first", ["cutmix", None])
def test_mixed_and_plain_files_in_one_epoch_are_refused(write: Callable, tmp_path: Path, first: str | None) -> None:
    write(first)
    other = batch_of(2, torch.Generator().manual_seed(1), None if first else "cutmix")
    torch.save(other, tmp_path / "epoch_1" / "batch_1.tar")
    mixed, plain = ("batch_0", "batch_1") if first else ("batch_1", "batch_0")
    labels = read_fkd(tmp_path, ORDERS)
    with pytest.raises(BadInput, match=rf"of .*{mixed}.tar are mixed and those of .*{plain}.tar are not"):
        labels.view(1, 1, PICK)


def test_a_missing_file_is_named(write: Callable, tmp_path: Path) -> None:
    write()
    (tmp_path / "epoch_1" / "batch_0.tar").unlink()
    with pytest.raises(BadInput, match=r"lacks batch_0\.tar"):
        read_fkd(tmp_path, ORDERS).view(1, 0, PICK)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([torch.rand(2, 4)], "expected a list of 6"),
        ([torch.rand(2, 4), torch.zeros(2, dtype=torch.bool), None, None, None, torch.zeros(3, 3)], "for 2 images"),
        (
            [torch.rand(2, 4), torch.zeros(2, dtype=torch.bool), torch.tensor([0, 0]), 0.5, None, torch.zeros(2, 3)],
            "no permutation",
        ),
        (
            [torch.rand(2, 4), torch.zeros(2, dtype=torch.bool), torch.tensor([1, 0]), 0.5, [1, 2], torch.zeros(2, 3)],
            "four sides",
        ),
    ],
)
def test_a_file_that_holds_something_else_is_named(
    write: Callable, tmp_path: Path, content: list[object], reason: str
) -> None:
    write()
    damaged = tmp_path / "epoch_0" / "batch_0.tar"
    torch.save(content, damaged)
    with pytest.raises(DamagedFile, match=reason) as error:
        read_fkd(tmp_path, ORDERS)
    assert str(damaged) in str(error.value)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, witness: Path):
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.witness,))  # type: ignore[return-value]


def test_code_in_a_file_is_never_run(write: Callable, tmp_path: Path) -> None:
    write()
    witness = tmp_path / "ran"
    torch.save(Trap(witness), tmp_path / "epoch_0" / "batch_0.tar")
    with pytest.raises(DamagedFile, match="as tensors and numbers alone"):
        read_fkd(tmp_path, ORDERS)
    assert not witness.exists()


def test_a_truncated_file_is_named(write: Callable, tmp_path: Path) -> None:
    write()
    path = tmp_path / "epoch_0" / "batch_1.tar"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedFile, match="batch_1"):
        read_fkd(tmp_path, ORDERS)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.full((3, 4), float("nan")), "values of crop that are not finite"),
        (1, torch.tensor(True), r"flip \(\), expected one for each image"),
        (2, torch.tensor(0), "no permutation"),
        (3, float("nan"), r"a number in \[0, 1\], found nan"),
        (3, 1.5, r"a number in \[0, 1\], found 1.5"),
        (3, 1j, "a number in"),
        (4, ["a", "b", "c", "d"], "four sides in whole numbers"),
        (4, 4, "four sides in whole numbers"),
        (4, [5, 0, 2, 2], r"box \(5, 0, 2, 2\) ends before it begins"),
        (5, torch.full((3, 3), float("inf")).half(), "values of logits that are not finite"),
    ],
)
def test_a_file_that_holds_what_no_batch_can_is_refused_by_name(
    write: Callable, tmp_path: Path, place: int, value: object, message: str
) -> None:
    content = write()[1, 0]
    content[place] = value
    torch.save(content, tmp_path / "epoch_1" / "batch_0.tar")
    labels = read_fkd(tmp_path, ORDERS)
    with pytest.raises(DamagedFile, match=rf"epoch_1/batch_0\.tar: .*{message}"):
        labels.view(1, 0, PICK)


def test_an_order_that_leaves_the_images_is_refused(write: Callable, tmp_path: Path) -> None:
    write()
    with pytest.raises(BadInput, match=r"epoch 0 .* indices from 0 to 4, expected 0 to 3"):
        read_fkd(tmp_path, ORDERS, classes=torch.tensor([0, 0, 1, 1]))
