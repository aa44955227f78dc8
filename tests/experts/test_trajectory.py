from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from condense.errors import BadInput, DamagedFile
from condense.experts import journal
from condense.experts.trajectory import STORES, Store, Trajectory

SIZE = 50
HEAD = 64  # bytes in front of a payload


def walk(epochs: int, step: float = 0.01) -> Tensor:
    """Parameters (epochs + 1, P) of a random walk around 1, whose steps are far below bfloat16's spacing there."""
    draws = torch.randn(epochs + 1, SIZE, generator=torch.Generator().manual_seed(0))
    draws[0] = draws[0] * 0.1 / step + 1.0 / step
    return (draws * step).double().cumsum(0).float()


def opened(path: Path, store: Store = "float32", momentum: bool = False, **facts: str) -> Trajectory:
    """The file as a new process sees it."""
    found = Trajectory(path, {"data": "d", **facts}, SIZE, store=store, momentum=momentum)
    found.survey(10**6)
    return found


def written(
    path: Path, parameters: Tensor, store: Store = "float32", momentum: bool = False, state: Tensor | None = None
) -> Trajectory:
    """A file of some epochs, and the state of the optimiser after the last one where it is given."""
    found = opened(path, store, momentum)
    for epoch, values in enumerate(parameters):
        found.append(epoch, values, momentum=state if epoch == len(parameters) - 1 else None)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "experts" / "0000.trajectory"


def test_float32_parameters_come_back_bit_for_bit_in_any_order(path: Path) -> None:
    parameters = walk(6)
    written(path, parameters)
    found = opened(path)
    for epoch in (3, 0, 6, 1):
        assert torch.equal(found.read(epoch), parameters[epoch])


def test_differences_come_back_within_the_rounding_of_one_epoch(path: Path) -> None:
    parameters = walk(300)
    written(path, parameters, "bfloat16-differences")
    found = opened(path, "bfloat16-differences")
    assert torch.equal(found.read(0), parameters[0])
    errors = []
    for epoch in range(1, 301):
        before, now = found.read(epoch - 1), found.read(epoch)
        # Half a unit in the last of 8 bits of the difference, and half a unit of float32 for adding it.
        bound = (parameters[epoch] - before).abs() * 2.0**-8 + parameters[epoch].abs() * 2.0**-23
        assert bool(((now - parameters[epoch]).abs() <= bound).all())
        errors.append(float((now - parameters[epoch]).norm()))
    assert sum(errors[200:]) < 1.2 * sum(errors[:100])  # no growth
    rounded = parameters[300].to(torch.bfloat16).float()
    assert errors[-1] < 0.02 * float((rounded - parameters[300]).norm())


def test_differences_read_alike_in_any_order_and_by_the_writer(path: Path) -> None:
    writer = written(path, walk(8), "bfloat16-differences")
    expected = [opened(path, "bfloat16-differences").read(epoch) for epoch in range(9)]
    found = opened(path, "bfloat16-differences")
    for epoch in (5, 2, 8, 8, 0, 3):
        assert torch.equal(found.read(epoch), expected[epoch])
        assert torch.equal(writer.read(epoch), expected[epoch])


def test_what_is_read_may_be_changed(path: Path) -> None:
    for store in STORES:
        found = written(path.with_name(store), walk(3), store)
        expected = found.read(3)
        found.read(3).zero_()
        assert torch.equal(found.read(3), expected)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("momentum", [False, True])
def test_the_state_at_the_end_is_exact(path: Path, store: Store, momentum: bool) -> None:
    parameters, velocity = walk(5), torch.randn(SIZE * momentum)
    written(path, parameters[:4], store, momentum)
    found = opened(path, store, momentum)
    assert (found.last, found.trained) == (3, 0)
    found.append(4, parameters[4])
    found.append(5, parameters[5], momentum=velocity)
    resumed = opened(path, store, momentum)
    assert (resumed.trained, resumed.last) == (5, 5)
    assert torch.equal(resumed.resume().parameters, parameters[5])
    assert torch.equal(resumed.resume().momentum, velocity)


def test_training_begins_at_the_initialisation_and_at_rest(path: Path) -> None:
    found = written(path, walk(2), momentum=True)
    assert torch.equal(found.resume().parameters, walk(2)[0])
    assert torch.equal(found.resume().momentum, torch.zeros(SIZE))


def test_a_torn_end_is_cut_off_without_a_word(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(path, walk(3))
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) - 4 * SIZE, len(whole) - 4 * SIZE - 1, len(whole) - 4 * SIZE - HEAD + 1):
        path.write_bytes(whole[:length])
        found = opened(path)
        assert (found.last, found.damaged) == (2, False)
        found.mend()
        found.append(3, walk(3)[3])
        assert path.read_bytes() == whole
    assert capsys.readouterr().err == ""


def test_a_state_without_the_parameters_behind_it_is_torn(path: Path) -> None:
    written(path, walk(2), momentum=True)
    before = path.stat().st_size
    opened(path, momentum=True).append(3, walk(3)[3], momentum=torch.ones(SIZE))
    whole = path.read_bytes()
    for length in (before + 4 * SIZE + HEAD, len(whole) - 1):
        path.write_bytes(whole[:length])
        found = opened(path, momentum=True)
        assert (found.last, found.trained, found.damaged) == (2, 0, False)
        found.mend()
        assert path.stat().st_size == before
        found.append(3, walk(3)[3], momentum=torch.ones(SIZE))
        assert path.read_bytes() == whole
        assert (found.last, found.trained) == (3, 3)


def test_every_damaged_byte_is_found_and_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(path, walk(3), momentum=True, state=torch.ones(SIZE))
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        content = bytearray(whole)
        content[place] ^= 16
        path.write_bytes(content)
        found = opened(path, momentum=True)
        assert found.damaged
        for epoch in range(found.last + 1):
            assert torch.equal(found.read(epoch), walk(3)[epoch])
        found.mend()
        assert f"{path}: damaged (" in capsys.readouterr().err
        remade = opened(path, momentum=True)
        assert (remade.last, remade.trained, remade.damaged) == (found.last, found.trained, False)


def test_damage_after_opening_is_found_by_the_read(path: Path) -> None:
    written(path, walk(3))
    found = opened(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"0000\.trajectory: damaged file \(the record at byte \d+ is not"):
        found.read(3)
    assert torch.equal(found.read(2), walk(3)[2])


def test_a_file_that_became_shorter_is_an_error_and_not_the_end_of_the_process(path: Path) -> None:
    written(path, walk(3))
    found = opened(path)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(DamagedFile, match=r"0000\.trajectory"):
        found.read(3)


def test_reading_touches_one_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, walk(40))
    found = opened(path)
    asked: list[int] = []
    payload = journal.payload

    def counted(file: Path, record: journal.Record) -> bytearray:
        asked.append(record.length)
        return payload(file, record)

    monkeypatch.setattr(journal, "payload", counted)
    found.read(17)
    assert asked == [4 * SIZE]


def test_a_survey_ends_at_the_epoch_that_is_needed(path: Path) -> None:
    written(path, walk(9))
    found = Trajectory(path, {"data": "d"}, SIZE, store="float32", momentum=False)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found.survey(4)
    assert (found.last, found.damaged) == (4, False)


@pytest.mark.parametrize(
    "other",
    [
        lambda path: opened(path, data="other"),
        lambda path: opened(path, "bfloat16-differences"),
        lambda path: opened(path, momentum=True),
    ],
)
def test_a_file_for_something_else_is_not_taken(path: Path, other: Callable[[Path], Trajectory]) -> None:
    written(path, walk(2))
    found = other(path)
    assert (found.last, found.damaged) == (-1, True)


def test_an_epoch_that_is_not_there_is_refused(path: Path) -> None:
    found = written(path, walk(2))
    for epoch in (-1, 3):
        with pytest.raises(BadInput, match=rf"holds the epochs 0 to 2, {epoch} was asked for"):
            found.read(epoch)


def test_the_announced_size_is_about_that_of_the_file(path: Path) -> None:
    for store in STORES:
        for momentum in (False, True):
            place = path.with_name(f"{store}-{momentum}")
            found = written(place, walk(30), store, momentum, state=torch.zeros(SIZE * momentum))
            heads = 33 * HEAD + 200
            assert found.nbytes(30) <= place.stat().st_size <= found.nbytes(30) + heads
