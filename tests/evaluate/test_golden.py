"""The golden numbers of the judge: when they move, so does every number in the records."""

from __future__ import annotations

import pytest
import torch

from condense import training
from condense.data import Dataset, Split
from condense.distilled import DistilledSet
from condense.evaluate import trials
from condense.evaluate.judge import JUDGE, judge
from condense.preprocessing import normalise

WHAT_TO_DO = (
    "the judge computes other numbers than before. If that is meant, raise JUDGE in evaluate/version.py by one, so "
    "that old and new records are not compared, and put the new numbers here; if not, find the change that did it"
)

# judge -> network -> logits of the four test images, three classes each, row by row
GOLDEN = {
    1: {
        "convnet-d2:width=4": [
            -0.05137291997051743, -0.6188078216874072, -0.023586227270932174,
            -0.10991988250736068, -0.4960011162378438, -0.05582068765661204,
            -0.15729500025590915, -0.37972364053580043, -0.047727455581052396,
            -0.08317921568052192, -0.19231018743168576, -0.11173785506549219,
        ],
        "mlp:width=8": [
            0.11114643962686163, -0.23005150342067082, -0.16466125330557807,
            0.18434681042429835, -0.11384911292668812, -0.08181577793934111,
            0.15744798763935694, -0.1283907679778437, -0.082020312122538,
            0.05453764503539722, -0.13437701016909104, -0.14729737214454203,
        ],
    }
}  # fmt: skip


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up_split(count: int, step: int) -> Split:
    """Images and labels from whole-number arithmetic: no generator, hence the same on every platform."""
    values = torch.arange(count * 64) * step
    images = ((values % 251) // 2 + (values // 640 * 37 % 128)).to(torch.uint8).reshape(count, 1, 8, 8)
    labels = torch.arange(count) % 3
    return Split.from_arrays(images, labels, ("a", "b", "c"), flips=True, mean=(0.5,), std=(0.25,))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("network", ["convnet-d2:width=4", "mlp:width=8"])
def test_twenty_steps_of_the_judge_are_what_they_were(network, make_protocol, monkeypatch):
    train, test = made_up_split(9, 29), made_up_split(4, 31)
    dataset = Dataset(
        "made-up", train, test, train.classes, train.shape, "0" * 64, True, (0.5,), (0.25,), "none", "none"
    )
    recipe = {
        "epochs": 10,
        "batch": 5,
        "precision": "float64",
        "schedule": {"kind": "drop-restart", "after": 5, "factor": 0.1},
        "augment": {"kind": "dsa"},
    }
    logits = []

    def remember(trained, source, **more):
        logits.append(training.predict(trained, source))
        return training.accuracy(trained, source, **more)

    monkeypatch.setattr(trials, "accuracy", remember)
    view = DistilledSet.selection(torch.arange(9), train, normalise((0.5,), (0.25,))).training_view()
    ((_, cell),) = judge(view, dataset, make_protocol(recipe=recipe), networks=[network], seeds=[1])
    assert cell.status == "ok"
    assert logits[0].dtype == torch.float64
    # 1e-9: another order of summation moves float64 logits by 1e-15 a step; 20 steps amplify that far less than 1e6.
    expected = torch.tensor(GOLDEN[JUDGE][network], dtype=torch.float64)
    torch.testing.assert_close(
        logits[0].flatten(), expected, rtol=1e-9, atol=1e-9, msg=lambda text: f"{WHAT_TO_DO}\n{text}"
    )
