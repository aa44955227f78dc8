"""Where work happens, and what is said of it before it starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from condense import machine
from condense.api.place import Place, announcement
from condense.method import Cost


def test_what_the_cache_may_hold_is_announced_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "operations_per_second", lambda device: 1e9)
    own = Cost(operations=30e9, memory_bytes=2e9)
    assert announcement("DM", own, "cpu") == "DM: at least 30 s, about 2 GB of memory and 0 B of disk"
    shared = Cost(operations=90e9, memory_bytes=2e9, disk_bytes=3e6, shared_operations=60e9)
    assert announcement("MTT", shared, "cpu") == (
        "MTT: at least 30 s, before that 60 s for what it shares with others, unless the cache has it, about 2 GB of "
        "memory and 3 MB of disk"
    )


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU by name, whose convolutions PyTorch rounds to TF32, as is its default, and its products too."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")
    settings = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = True
    yield
    for setting, value in zip(settings, before, strict=True):
        setting.allow_tf32 = value


@pytest.mark.usefixtures("rounding")
def test_a_gpu_computes_float32_without_rounding_and_its_engine_says_so() -> None:
    release = torch.__version__.split("+")[0]
    assert machine.engine("cuda")["tf32"] is True
    assert machine.engine_words("cuda:1") == f"cuda: H200, TF32; torch {release}"
    Place(device="cuda:1")
    assert machine.engine("cuda")["tf32"] is False
    assert machine.engine_words("cuda") == f"cuda: H200, no TF32; torch {release}"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("rounding")
def test_a_place_on_a_cpu_touches_no_setting() -> None:
    Place()
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
    assert "tf32" not in machine.engine()
    assert machine.engine_words() == f"cpu, {torch.get_num_threads()} threads; torch {machine.engine()['torch']}"
