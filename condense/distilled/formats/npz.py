"""NumPy archives: `images`, `labels` and, in those written here, `about`, a JSON text that states space and labels.

A foreign archive has the first two; images may be (M, H, W, C), as some published ones are. Nothing pickled is read.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from condense import files, preprocessing, stated
from condense.distilled.container import DistilledSet
from condense.distilled.exchange import label_values, require_plain
from condense.distilled.foreign import Request, as_labels, compose, in_space, require_images, require_pairs
from condense.distilled.labels import HardLabels, Labels, LabelSpec, Representations, SoftLabels
from condense.distilled.labels.stored import SoftSpec
from condense.distilled.replacing import require_archive
from condense.errors import BadInput, DamagedFile

SUMMARY = "one .npz file with images and labels"
# What NumPy raises on broken files; a header may ask for more memory than there is.
_FAILURES = (
    *(ValueError, TypeError, OSError, EOFError, KeyError, MemoryError, OverflowError, SyntaxError),
    *(NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error),
)


def read(request: Request) -> DistilledSet:
    """Imports the archive; one that was not written here needs its pixel space and label form stated."""
    arrays = _load(request.source)
    if missing := {"images", "labels"} - arrays.keys():
        raise BadInput(f"{request.source} lacks {', '.join(sorted(missing))}; found {', '.join(sorted(arrays))}")
    values = _tensor(arrays, "labels", request.source)
    images = _channels_first(_tensor(arrays, "images", request.source), request.dataset.train.shape)
    require_images(images, request)
    require_pairs(images, values, request)
    if "about" not in arrays:
        images, space = in_space(images, request)
        return compose(request, "npz", images, space, as_labels(values, request))
    try:
        about = _described(request, arrays["about"])
        space = preprocessing.resolve(about.preprocessing, train=request.dataset.train, cache_dir=request.cache_dir)
        labels = _labels(values, about.labels)
    except stated.Misstated as error:
        raise DamagedFile(request.source, f"`about` is not what an export writes: {error}") from error
    return compose(request, "npz", images, space, labels, about.step_size)


def write(distilled: DistilledSet, target: Path) -> list[str]:
    """Images as stored; those of a selection as the uint8 pixels that it points to.

    Raises:
        BadInput: for a target that is anything else than an earlier export.
    """
    require_plain(distilled, "npz")
    require_archive(target)
    images = distilled.stored.raw(torch.arange(len(distilled))).cpu()
    about = {
        "classes": distilled.classes,
        "labels": distilled.labels.spec(),
        "preprocessing": distilled.preprocessing.spec(),
        "set": distilled.id,
        "step_size": distilled.step_size,
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        images=images.numpy(),
        labels=label_values(distilled, "npz").numpy(),
        about=np.array(json.dumps(about, sort_keys=True)),
    )
    files.write_bytes(target, buffer.getvalue())
    return []


def _load(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise BadInput(f"{path} is a folder where an .npz file was expected")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return dict(archive)
    except _FAILURES as error:
        # NumPy takes whatever it does not know for a pickle, and then advises to load it unsafely.
        reason = "not an .npz file, or one that holds pickled objects" if "pickle" in str(error) else str(error)
        raise DamagedFile(path, f"cannot be read as an .npz file: {reason}") from error


def _tensor(arrays: Mapping[str, Any], name: str, source: Path) -> Tensor:
    """An array of the archive; members that are no arrays come as bytes."""
    array = arrays[name]
    if not isinstance(array, np.ndarray):
        raise DamagedFile(source, f"its {name} are no NumPy array")
    if array.dtype.kind not in "biuf" or not array.dtype.isnative or array.dtype == np.longdouble:
        raise BadInput(
            f"{source}: the {name} are an array of {array.dtype.str}, expected whole or floating-point numbers of up "
            "to 64 bits in the byte order of this machine; convert them"
        )
    return torch.from_numpy(array)


def _channels_first(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    if images.ndim == 4 and tuple(images.shape[1:]) == (height, width, channels) != shape:
        return images.permute(0, 3, 1, 2)
    return images


class _About(BaseModel):
    classes: tuple[str, ...]
    labels: dict[str, Any]
    preprocessing: dict[str, Any]
    step_size: float | None


def _described(request: Request, text: Any) -> _About:
    try:
        content = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(request.source, f"`about` is not what an export writes: {error!r}") from error
    about: _About = stated.read(_About, content)
    classes = about.classes
    if request.space is not None or request.label_form is not None:
        raise BadInput(f"{request.source} states its pixel space and labels itself; leave out --space and --label-form")
    if classes != request.dataset.train.classes:
        raise BadInput(
            f"{request.source} has the classes {', '.join(classes)}; {request.dataset.name} has others; "
            "name the data set that it was made from"
        )
    return about


def _labels(values: Tensor, spec: dict[str, Any]) -> Labels:
    kind = spec.get("kind")
    given = stated.read(SoftSpec if kind == "soft" else LabelSpec, spec, "labels")
    if kind == "hard":
        return HardLabels(values, given.n_classes)
    if kind == "soft":
        return SoftLabels(values, given.form, given.temperature)
    if kind == "representation":
        return Representations(values)
    raise stated.Misstated(f"labels.kind: expected hard, soft or representation, found {kind!r}")
