"""Which of the known layouts a folder has."""

from __future__ import annotations

from pathlib import Path

from condense.data.sources import Source, idx, images, parquet
from condense.errors import BadInput


def source(folder: Path, name: str) -> Source:
    """A folder of Parquet files, of idx files, or of images sorted into one folder a class.

    Raises:
        BadInput: when it is none of these.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is a file where a folder should be; give the folder that holds the data set")
    for layout in (parquet, idx, images):
        if layout.matches(folder):
            return layout.source(folder, name)
    raise BadInput(
        f"{folder} is not a data set: expected train/<class>/ and test/<class>/ (or val/) with images, "
        "train-*.parquet and test-*.parquet, or train-images-idx3-ubyte(.gz) and its companions"
    )
