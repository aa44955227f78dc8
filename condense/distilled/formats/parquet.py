"""A data set of the Hugging Face Hub: pictures and labels in one Parquet file, and a card, ready to be uploaded.

`datasets.load_dataset(FOLDER)` reads it, and the Hub shows it. Columns: `image`, lossless PNG; `label`, the class,
where there is one; `soft_label` or `target`, the numbers of soft labels or of target vectors.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from condense import files
from condense.distilled import card
from condense.distilled.container import DistilledSet
from condense.distilled.exchange import label_values, pictures, require_plain, rounding
from condense.distilled.labels import HardLabels, SoftLabels
from condense.distilled.replacing import staged_export

SUMMARY = "pictures and labels for the Hugging Face Hub, with a card"
_FILE = "data/train-00000-of-00001.parquet"
_GROUP = 1000  # rows; the Hub's viewer reads a group at a time


def write(distilled: DistilledSet, target: Path) -> list[str]:
    """Floating-point images are brought to pixels, clamped and rounded; soft labels are kept in float32."""
    require_plain(distilled, "parquet")
    columns = _columns(distilled, label_values(distilled, "parquet"))
    with staged_export(target) as folder:
        files.write_bytes(folder / _FILE, _parquet(distilled, columns))
        files.write_text(folder / "README.md", _card(distilled, list(columns)))
    return rounding(distilled)


def _columns(distilled: DistilledSet, values: Tensor) -> dict[str, tuple[dict[str, Any], list[Any]]]:
    """By name: the Hub's description of the column, and its values."""
    vector = {"_type": "Sequence", "feature": {"_type": "Value", "dtype": "float32"}}
    classes = {"_type": "ClassLabel", "names": list(distilled.classes)}
    if isinstance(distilled.labels, HardLabels):
        return {"label": (classes, values.tolist())}
    rows = values.float().tolist()
    if isinstance(distilled.labels, SoftLabels):
        return {"label": (classes, distilled.labels.hard().tolist()), "soft_label": (vector, rows)}
    return {"target": (vector, rows)}


def _parquet(distilled: DistilledSet, columns: dict[str, tuple[dict[str, Any], list[Any]]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    images = [{"bytes": picture, "path": name} for name, picture in pictures(distilled)]
    kinds = {"ClassLabel": pa.int64(), "Sequence": pa.list_(pa.float32())}
    arrays = {"image": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()}))}
    arrays |= {name: pa.array(values, kinds[kind["_type"]]) for name, (kind, values) in columns.items()}
    features = {"image": {"_type": "Image"}, **{name: kind for name, (kind, _) in columns.items()}}
    table = pa.table(arrays).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, row_group_size=_GROUP)
    return buffer.getvalue()


def _card(distilled: DistilledSet, columns: list[str]) -> str:
    told = {
        "label": "`label`, the class",
        "soft_label": f"`soft_label`, {getattr(distilled.labels, 'form', '')} over the classes",
        "target": "`target`, a vector to regress instead of a class",
    }
    lines = ["Columns: `image`, a PNG; " + "; ".join(told[name] for name in columns) + "."]
    lines += [f"{note[0].upper()}{note[1:]}." for note in rounding(distilled)]
    lines += [
        "Networks are trained on images that were preprocessed as the set was made: "
        f"`{json.dumps(distilled.preprocessing.spec(), sort_keys=True)}`."
    ]
    if distilled.step_size is not None:
        lines += [f"Networks train on it at the learned step size {distilled.step_size:g}."]
    if isinstance(distilled.labels, SoftLabels) and distilled.labels.temperature != 1:
        lines += [f"Soft labels are meant at temperature {distilled.labels.temperature:g}."]
    header = card.header(distilled, data_files=_FILE)
    return "\n\n".join([header, f"# {card.title(distilled)}", *lines]) + "\n"
