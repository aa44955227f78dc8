"""Tensors under the names that the code of MTT and its successors loads; `mtt` reads them back."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from condense import files
from condense.distilled.container import DistilledSet
from condense.distilled.exchange import label_values, require_plain
from condense.distilled.replacing import staged_export

SUMMARY = "images_best.pt, labels_best.pt and, where a step size was learned, lr_best.pt"


def write(distilled: DistilledSet, target: Path) -> list[str]:
    """Images as floats in preprocessed space, as such code trains on them."""
    require_plain(distilled, "pt")
    kind = distilled.preprocessing.kind
    note = (
        f"images are in the preprocessed space ({kind}), which the files do not state; import them with "
        f"--space {'zca' if kind == 'zca' else 'normalised'}"
    )
    with staged_export(target) as folder:
        _save(folder / "images_best.pt", distilled.view().gather(torch.arange(len(distilled)), "cpu"))
        _save(folder / "labels_best.pt", label_values(distilled, "pt"))
        if distilled.step_size is not None:
            _save(folder / "lr_best.pt", torch.tensor(distilled.step_size, dtype=torch.float64))
    return [note]


def _save(path: Path, tensor: Tensor) -> None:
    buffer = io.BytesIO()
    # A contiguous copy: of a view, the whole storage behind it would be saved.
    torch.save(tensor.detach().cpu().clone(memory_format=torch.contiguous_format), buffer)
    files.write_bytes(path, buffer.getvalue())
