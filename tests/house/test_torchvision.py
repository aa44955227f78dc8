"""The one door to torchvision opens whether or not torchvision's compiled part fits the installed PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from condense import _torchvision


def test_the_parts_in_use_can_be_loaded() -> None:
    assert callable(_torchvision.load("models").resnet18)
    assert _torchvision.load("datasets").__name__ == "torchvision.datasets"
    assert _torchvision.load().__name__ == "torchvision"


def test_operators_that_are_missing_are_declared_and_the_import_is_tried_again() -> None:
    # Hiding the compiled part makes any torchvision the one that does not fit.
    program = (
        "import torch\n"
        "def refuse(path): raise OSError('built for another PyTorch')\n"
        "torch.ops.load_library = refuse\n"
        "try: import torchvision\n"
        "except RuntimeError as error: assert 'torchvision::nms does not exist' in str(error)\n"
        "else: raise SystemExit('torchvision imported without its operators')\n"
        "from condense import _torchvision\n"
        "print(_torchvision.load('models').resnet18(num_classes=3).fc.out_features)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "3\n"


def test_a_torchvision_that_fits_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _torchvision.load()
    monkeypatch.setattr(_torchvision, "declare_operators", lambda: pytest.fail("nothing was missing"))
    _torchvision.load("transforms.v2")


def test_any_other_failure_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("compiled with different CUDA major versions")

    monkeypatch.setattr(_torchvision, "import_module", fail)
    with pytest.raises(RuntimeError, match="different CUDA major versions"):
        _torchvision.load("ops")
