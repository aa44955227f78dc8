"""A step of a method that is compiled is the step that is not: what `--compile` changes is the last bits.

The graphs hold what a compiler could get wrong: batch statistics of a network in training, maps that a ReLU writes in
place and that are read again, and parameters that are drawn anew in place between two calls.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.budget import Budget
from condense.data import Split
from condense.methods import datadam, dm, frepo, kip, krr_st
from condense.run import Run

NORMED = "convnet-d2:width=4,growth=2,norm=batch"
REGRESSION: dict[str, Any] = {"steps": 2, "real_batch": 8, "ridge": 1e-2, "preprocessing": "normalise"}
COMMON: dict[str, Any] = {"steps": 2, "lr_images": 1.0, "momentum": 0.0, "real_batch": 4}
METHODS = {
    "dm": (dm, dm.Config(**COMMON, network="convnet:width=4")),
    "dm, batch norm": (dm, dm.Config(**COMMON, network="convnet:width=4,norm=batch")),
    "datadam": (datadam, datadam.Config(**COMMON, network="convnet:width=4,norm=batch", preprocessing="normalise")),
    "datadam, mirrored": (
        datadam,
        datadam.Config(**COMMON, mirror=True, network="convnet:width=4,norm=batch", preprocessing="normalise"),
    ),
    "frepo": (frepo, frepo.Config(**REGRESSION, lr=0.1, pool=1, network=f"{NORMED},norm_at=input")),
    "kip": (kip, kip.Config(**REGRESSION, networks=2, network="convnet-d2:width=4,norm=none")),
    "krr_st": (
        krr_st,
        krr_st.Config(
            **REGRESSION,
            lr_images=0.1,
            augment=False,
            pool=1,
            inner_steps=4,
            network=NORMED,
            teacher_network="convnet-d1:width=4,norm=batch",
            teacher_epochs=1,
            teacher_projector=4,
        ),
    ),
}
# PyTorch 2.13 looks at the .grad of what its compiler is given, and warns of that itself; to be removed (2026-11).
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),
]
QUICK = ("dm", "datadam", "frepo", "kip", "krr_st")


@pytest.fixture
def train() -> Split:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(30) % 3
    pixels = torch.randint(0, 120, (30, 1, 8, 8), generator=generator) + 60 * labels[:, None, None, None]
    return Split.from_arrays(pixels.to(torch.uint8), labels, ["a", "b", "c"])


def descent(method: Any, config: Any, train: Split, folder: Path, *, compile: bool) -> Tensor:
    """What both steps change of the images, each under a network of its own or of another age.

    Everything else that is trained (a teacher) is cached, and so the same for all.
    """
    seen = train if method.ABOUT.uses_labels else train.unlabelled()
    ends = []
    for steps in (0, config.steps):
        asked = type(config)(**{**vars(config), "steps": steps})
        with Run(folder / f"{compile}-{steps}", seed=5, compile=compile, cache_dir=folder / "cache") as run:
            ends.append(method.distill(seen, Budget(ipc=2), asked, run).images)
    return ends[0] - ends[1]


def relative_gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("method", "config"), [METHODS[name] for name in QUICK], ids=QUICK)
def test_the_traced_graph_has_the_gradients_of_the_eager_step(
    method: Any, config: Any, train: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that TorchInductor is handed, forward and backward as traced, but run operation by operation."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True))
    found = descent(method, config, train, tmp_path, compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    # float32, with batch norm written out into other sums; Adam divides what is nearly zero by its own size.
    assert relative_gap(found, descent(method, config, train, tmp_path, compile=False)) < 1e-3


@pytest.mark.soak  # compiling takes up to a minute for each
@pytest.mark.parametrize(("method", "config"), METHODS.values(), ids=METHODS)
def test_the_machine_code_has_the_gradients_of_the_eager_step(
    method: Any, config: Any, train: Split, tmp_path: Path
) -> None:
    torch.compiler.reset()
    found = descent(method, config, train, tmp_path, compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert relative_gap(found, descent(method, config, train, tmp_path, compile=False)) < 1e-3
