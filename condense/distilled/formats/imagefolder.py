"""One folder per class with picture files in it, as torchvision's ImageFolder reads them.

Class folders are matched to the data set by name, or by number (`00007`); sorting them and hoping is how label orders
get lost.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condense import files
from condense.data.decode import FAILURES
from condense.distilled.container import DistilledSet
from condense.distilled.exchange import label_values, pictures, require_plain, rounding
from condense.distilled.foreign import Request, compose, in_space, require_folder
from condense.distilled.labels import HardLabels
from condense.distilled.replacing import staged_export
from condense.errors import BadInput, DamagedFile

SUMMARY = "class folders of pictures; written as lossless PNG"
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_MODES = frozenset({"L", "P", "RGB"})  # 8 bits per channel, no transparency
_SAFE_NAME = re.compile(r"[\w][\w .,()+-]{0,80}")


def read(request: Request) -> DistilledSet:
    """Imports the pictures, class by class in label order, by file name within a class."""
    folders = _class_folders(request)
    images, labels = [], []
    for label, folder in enumerate(folders):
        for path in sorted(folder.iterdir()) if folder is not None else []:
            if path.suffix.lower() in _SUFFIXES:
                images.append(_picture(path, request.dataset.train.shape))
                labels.append(label)
    if not images:
        raise BadInput(f"{request.source} holds no pictures ({', '.join(sorted(_SUFFIXES))}) in its class folders")
    if request.space not in (None, "uint8"):
        raise BadInput(f"picture files hold uint8 pixels, --space {request.space} was given; leave it out")
    stored, space = in_space(torch.stack(images), request)
    return compose(request, "imagefolder", stored, space, HardLabels(torch.tensor(labels), len(folders)))


def write(distilled: DistilledSet, target: Path) -> list[str]:
    """PNG files named by position; floating-point images are brought to pixels, clamped and rounded.

    Raises:
        BadInput: for labels that are not hard, which class folders would lose.
    """
    require_plain(distilled, "imagefolder")
    if not isinstance(distilled.labels, HardLabels):
        raise BadInput(f"class folders hold hard labels, this set has {distilled.labels.kind} ones; export npz instead")
    labels = label_values(distilled, "imagefolder").tolist()
    names = _folder_names(distilled.classes)
    with staged_export(target) as folder:
        for label, (name, picture) in zip(labels, pictures(distilled), strict=True):
            files.write_bytes(folder / names[label] / name, picture)
    return rounding(distilled)


def _class_folders(request: Request) -> list[Path | None]:
    """The folder of each class in label order; None for a class that has none."""
    classes = request.dataset.train.classes
    folder = require_folder(request, "one folder for each class")
    found = {path.name: path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if not found:
        raise BadInput(f"{request.source} holds no class folders; give the folder that holds one for each class")
    by_name = dict(zip(_folder_names(classes), range(len(classes)), strict=True))
    if found.keys() <= by_name.keys():
        return [found.get(name) for name in by_name]
    numbers = {int(name): path for name, path in found.items() if re.fullmatch(r"[0-9]+", name)}
    if len(numbers) == len(found) and max(numbers) < len(classes):
        return [numbers.get(label) for label in range(len(classes))]
    strange = sorted(found.keys() - by_name.keys())[0]
    raise BadInput(
        f"{request.source}: the folder {strange!r} is no class of {request.dataset.name}; name the folders as its "
        f"classes ({', '.join(classes[:3])}, ...) or by their numbers from 0 to {len(classes) - 1}"
    )


def _folder_names(classes: tuple[str, ...]) -> list[str]:
    """Class names where all of them can be folder names, told apart without regard to case; numbers otherwise."""
    if all(_SAFE_NAME.fullmatch(name) for name in classes) and len({name.lower() for name in classes}) == len(classes):
        return list(classes)
    return [f"{label:05d}" for label in range(len(classes))]


def _picture(path: Path, shape: tuple[int, int, int]) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            opened.load()
            picture = opened
    except FAILURES as error:
        raise DamagedFile(path, f"not a picture that can be decoded: {error}") from error
    if picture.mode not in _MODES:
        raise BadInput(f"{path} has the mode {picture.mode}, expected 8-bit grey or colour without transparency")
    array = np.array(picture.convert("L" if shape[0] == 1 else "RGB"))
    image = torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)
    if tuple(image.shape) != shape:
        raise BadInput(f"{path} is {image.shape[2]} x {image.shape[1]} pixels, expected {shape[2]} x {shape[1]}")
    return image
