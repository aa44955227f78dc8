"""Data sets as splits of uint8 images, by name or path: `load("cifar10[0-4]")`."""

from __future__ import annotations

from condense.data.dataset import Dataset, DatasetInfo, known, load
from condense.data.locate import default_data_dir
from condense.data.split import Split, validation_split

__all__ = ["Dataset", "DatasetInfo", "Split", "default_data_dir", "known", "load", "validation_split"]
