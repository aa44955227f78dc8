"""The experiment on norms of students: what its verdict follows from."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from condense import networks
from condense.evaluate import records


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("student_norm")


def test_the_gap_to_random_images_is_compared_between_norms(script: ModuleType) -> None:
    """Accuracies that differ by network and seed, and gaps of 2 and 9 points that differ by the norm alone."""
    runs = [(one, other) for one in range(2) for other in range(3)]
    random = {
        cell: {run: 0.3 + 0.01 * at + 0.001 * sum(run) for run in runs} for at, cell in enumerate(script.NETWORKS)
    }
    lost = {"instance": 0.02, "batch": 0.09}
    recovered = {
        (family, norm): {run: value - lost[norm] + 1e-4 * run[1] for run, value in random[family, norm].items()}
        for family, norm in random
    }
    for family, found in script.compared(recovered, random).items():
        assert found["instance"]["gap"]["mean"] == pytest.approx(-1.99), family
        assert found["batch"]["gap"]["mean"] == pytest.approx(-8.99), family
        assert found["instance - batch"]["mean"] == pytest.approx(7.0), family
        assert found["instance - batch"]["pairs"] == 6


def test_records_are_found_by_whatever_spelling_a_network_has(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Records name instance norm by leaving it out."""
    cell = SimpleNamespace(seeds=[0, 1], accuracy=[0.25, 0.5])
    names = {networks.canonical(name): cell for name in script.NETWORKS.values()}
    kept = SimpleNamespace(set=SimpleNamespace(id="a"), protocol=SimpleNamespace(name="p"), cells=names)
    monkeypatch.setattr(records, "read_all", lambda _: [kept])
    outcomes = script.Outcomes(tmp_path)
    monkeypatch.setattr(outcomes, "_id", lambda _: "a")
    for name in script.NETWORKS.values():
        assert outcomes.accuracies([tmp_path], "p", name) == {(0, 0): 0.25, (0, 1): 0.5}


@pytest.mark.parametrize(
    ("mean", "p", "said"), [(7.0, 0.01, "holds"), (-7.0, 0.01, "refuted"), (7.0, 0.2, "open"), (7.0, None, "open")]
)
def test_the_verdict_is_that_of_the_tables(mean: float, p: float | None, said: str, script: ModuleType) -> None:
    assert script.verdict({"mean": mean, "p": p}) == said
    assert script.verdict(None) == "open"


def test_each_pair_of_networks_differs_by_its_norm_alone(script: ModuleType) -> None:
    for family in script.FAMILIES:
        names = {norm: script.NETWORKS[family, norm] for norm in ("instance", "batch")}
        built = {norm: networks.build(name, (3, 32, 32), 10) for norm, name in names.items()}
        shapes = [[tuple(weight.shape) for weight in net.parameters() if weight.ndim > 1] for net in built.values()]
        assert shapes[0] == shapes[1]
        kinds = {norm: str(network) for norm, network in built.items()}
        assert "BatchNorm" in kinds["batch"]
        assert "BatchNorm" not in kinds["instance"]
