"""Saving, loading and verifying a distilled set as a folder.

data.safetensors   images, labels_*, lr, source_index, extra.*
set.json           everything else, with the SHA-256 of every file; written last
labels/            epochs of replayed labels, or the teacher
zca.safetensors    only when the set is self-contained: the whitening matrices
README.md          the card
preview.png        for synthetic images; the real images of a selection are not redistributed
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condense import files, preprocessing, stated
from condense.distilled import labels as label_kinds
from condense.distilled import schema
from condense.distilled.container import DistilledSet, Selection
from condense.distilled.replacing import require_saved
from condense.errors import BadInput, CondenseError, DamagedFile

if TYPE_CHECKING:
    from torch import Tensor

    from condense.data import Split

DATA = "data.safetensors"
LABELS = "labels"
MATRICES = "zca.safetensors"
CARD = "README.md"
PREVIEW = "preview.png"


def save(
    distilled: DistilledSet, directory: str | Path, *, self_contained: bool = False, replace_existing: bool = False
) -> Path:
    """Writes a set; the folder appears whole or not at all.

    Args:
        self_contained: bundle the whitening matrices, so that the set needs neither a cache nor its training split.
        replace_existing: write over a saved set.

    Raises:
        BadInput: when the folder exists and is not empty, unless that is a set to be replaced, or is a file.
    """
    from condense.distilled import card

    target = Path(directory)
    if replace_existing:
        require_saved(target)
    with files.staged_directory(target, replace_existing=replace_existing) as folder:
        files.write_tensors(folder / DATA, distilled.tensors())
        _write_labels(distilled.labels, folder / LABELS)
        if self_contained and (matrices := distilled.preprocessing.tensors()):
            files.write_tensors(folder / MATRICES, matrices)
        if distilled.images is not None:
            files.write_bytes(folder / PREVIEW, _preview_png(distilled))
        files.write_text(folder / CARD, card.render(distilled))
        hashes = {path.relative_to(folder).as_posix(): files.sha256(path) for path in _files_of(folder)}
        described = _describe(distilled, hashes).sealed()
        files.write_json(folder / schema.NAME, described.model_dump(mode="json", by_alias=True))
        if replace_existing:
            require_saved(target)
    return target


def _write_labels(labels: label_kinds.Labels, folder: Path) -> None:
    """Gigabytes of a store take no second place on the disk; reading each file checks it."""
    there = labels.paths() if isinstance(labels, label_kinds.Streamed) else {}
    for name, tensors in labels.files():
        if name in there:
            files.link_file(there[name], folder / name)
        else:
            files.write_tensors(folder / name, tensors)


def load(
    directory: str | Path,
    verify: bool = True,
    *,
    train: Split | None = None,
    cache_dir: Path | None = None,
) -> DistilledSet:
    """Reads a saved set.

    Args:
        verify: compare every file with its recorded hash first.
        train: the training split, to bind a selection and to refit whitening matrices that are not at hand. Without
            it both wait for `bind`.

    Raises:
        BadInput: when the folder is not a set, or a newer version wrote it, or `train` is another split.
        DamagedFile: naming the file that is missing, truncated or not what was written.
    """
    folder = Path(directory)
    described = schema.read(folder)
    if verify:
        for path, reason in _damages(folder, described):
            raise DamagedFile(path, reason)
    tensors = files.read_tensors(folder / DATA)
    try:
        loaded = _assemble(folder, described, tensors, train, cache_dir)
    except KeyError as error:
        raise DamagedFile(folder, f"an entry named {error} is missing") from error
    except stated.Misstated as error:
        raise DamagedFile(folder / schema.NAME, str(error)) from error
    if surplus := sorted(tensors.keys() - loaded.tensors().keys()):
        raise DamagedFile(folder / DATA, f"holds {', '.join(surplus)}, which is no part of such a set")
    return loaded if train is None else loaded.bind(train, cache_dir=cache_dir)


def verify(directory: str | Path) -> list[str]:
    """What is wrong with a saved set, a line for each problem, naming the file; nothing when it is sound."""
    folder = Path(directory)
    try:
        described = schema.read(folder)
    except CondenseError as error:
        return [str(error)]
    problems = [str(DamagedFile(path, reason)) for path, reason in _damages(folder, described)]
    if problems:
        return problems
    try:
        loaded = load(folder, verify=False)
        return [str(DamagedFile(folder / schema.NAME, reason)) for reason in _false_statements(described, loaded)]
    except CondenseError as error:
        return [str(error)]


def _damages(folder: Path, described: schema.SetFile) -> Iterator[tuple[Path, str]]:
    for name, expected in sorted(described.files.items()):
        path = folder / name
        if not path.is_file():
            yield path, "missing"
        elif files.sha256(path) != expected:
            yield path, "its SHA-256 is not the recorded one"
    if DATA not in described.files:
        yield folder / schema.NAME, f"records no {DATA}"
    for path in sorted((folder / LABELS).glob("*.safetensors")):
        if f"{LABELS}/{path.name}" not in described.files:
            yield path, f"{schema.NAME} does not record it"


def _false_statements(described: schema.SetFile, loaded: DistilledSet) -> Iterator[str]:
    """What set.json says of the content and the content does not bear out."""
    if loaded.id != described.id:
        yield f"the content has the id {loaded.id[:12]}, not {described.id[:12]}"
    found = _describe(loaded, described.files).model_dump(mode="json")
    for name, value in described.model_dump(mode="json", exclude={"id", "version", "seal"}).items():
        if value != found[name]:
            yield f"{name}: says {value}, the content has {found[name]}"


def _describe(distilled: DistilledSet, hashes: dict[str, str]) -> schema.SetFile:
    return schema.SetFile(
        version=schema.VERSION,
        id=distilled.id,
        classes=distilled.classes,
        shape=distilled.shape,
        count=len(distilled),
        images=None if distilled.images is None else str(distilled.images.dtype).removeprefix("torch."),
        selected_from=None if distilled.source is None else distilled.source.fingerprint,
        labels=distilled.labels.spec(),
        preprocessing=distilled.preprocessing.spec(),
        expansion=dict(distilled.expansion),
        bytes=schema.Sizes(**dataclasses.asdict(distilled.bytes()), total=distilled.bytes().total),
        files=hashes,
        provenance=dict(distilled.provenance),
    )


def _assemble(
    folder: Path, described: schema.SetFile, tensors: dict[str, Any], train: Split | None, cache_dir: Path | None
) -> DistilledSet:
    bundled = files.read_tensors(folder / MATRICES) if MATRICES in described.files else None
    source = None
    if described.selected_from is not None:
        source = Selection(tensors["source_index"], described.selected_from, described.shape)
    return DistilledSet(
        images=tensors["images"] if described.images is not None else None,
        source=source,
        labels=label_kinds.restore(described.labels, tensors, folder / LABELS),
        classes=described.classes,
        preprocessing=_preprocessing(described.preprocessing, bundled, train, cache_dir),
        step_size=_step_size(tensors["lr"], folder / DATA) if "lr" in tensors else None,
        extras={name.removeprefix("extra."): value for name, value in tensors.items() if name.startswith("extra.")},
        expansion=described.expansion,
        provenance=described.provenance,
    )


def _step_size(stored: Tensor, path: Path) -> float:
    if stored.ndim or not stored.is_floating_point():
        raise DamagedFile(path, f"lr should be one number, is {tuple(stored.shape)} of {stored.dtype}")
    return float(stored)


def _preprocessing(
    spec: dict[str, Any], bundled: dict[str, Any] | None, train: Split | None, cache_dir: Path | None
) -> preprocessing.Preprocessing:
    try:
        return preprocessing.resolve(spec, bundled=bundled, train=train, cache_dir=cache_dir)
    except BadInput:
        if spec.get("kind") != "zca" or bundled or train is not None:
            raise
        # Much of what one does with a set needs no matrices; what does, says so until `bind(train)`.
        return preprocessing.without_matrices(spec)


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _preview_png(distilled: DistilledSet) -> bytes:
    from condense.distilled import preview

    buffer = io.BytesIO()
    preview.grid(distilled).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
