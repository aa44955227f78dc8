"""What is done to pixels before a network sees them, as a specification with a digest and an exact inverse.

Three kinds: identity, normalise ((x - mean) / std per channel), and ZCA whitening (`condense.zca`) fitted on the
training split, x -> (x - mu) W with x in [0, 1] and flattened to D = C*H*W. ZCA comes in three conventions: fitted on
pixels in [0, 1] (trajectory matching); on normalised ones (DataDAM), where the same epsilon whitens more directions;
and on normalised ones with a ridge of epsilon times their mean variance (FRePo), which no change of scale moves.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from condense import files, stated, whitening, zca
from condense.data import Split
from condense.errors import BadInput
from condense.identity import digest as digest_of

Kind = Literal["identity", "normalise", "zca"]
_KINDS = "identity, normalise, zca, zca-normalised or zca-relative"
_LARGEST = 16_384  # D of ZCA, 2 GiB a matrix: 64x64 colour images have 12,288
_NO_MATRICES = (
    "the ZCA matrices of this set are neither bundled nor in the cache; give the data set that it was distilled from, "
    "or have it exported with --self-contained"
)


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """A fixed, invertible map of images (B, C, H, W); equal digests mean equal maps.

    The digest is of the specification alone. A ZCA is specified by the fingerprint of the split it was fitted on and
    its epsilon, so that fitting it again, on another machine, gives the same digest although the last bits may differ.
    """

    kind: Kind
    mean: tuple[float, ...] = ()  # normalise: per channel, units of [0, 1]
    std: tuple[float, ...] = ()  # normalise; zca: what pixels are divided by before they are whitened, or nothing
    epsilon: float = 0.0  # zca
    relative: bool = False  # zca: whether epsilon is in units of the mean variance, that is times tr(S) / D
    shape: tuple[int, ...] = ()  # zca: (C, H, W)
    fingerprint: str = ""  # zca: of the training split
    matrices: Mapping[str, Tensor] = field(default_factory=dict, repr=False)  # zca: mean (D,), whiten, unwhiten (D, D)

    def spec(self) -> dict[str, Any]:
        """The specification as JSON values; `from_spec` and `resolve` take it back."""
        if self.kind == "normalise":
            return {"kind": self.kind, "mean": list(self.mean), "std": list(self.std)}
        if self.kind == "zca":
            fitted = {"epsilon": self.epsilon, "shape": list(self.shape), "fingerprint": self.fingerprint}
            optional = ({"std": list(self.std)} if self.std else {}) | ({"relative": True} if self.relative else {})
            return {"kind": self.kind, **fitted, **optional}
        return {"kind": self.kind}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the specification."""
        return digest_of(self.spec())

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), uint8 or float in [0, 1], to the space that networks see; differentiable.

        uint8 gives float32; a float type is kept.

        Raises:
            BadInput: when the images do not have the shape that this was made for.
        """
        x = images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images
        self._check(x)
        if self.kind == "normalise":
            mean, std = self._constant("mean", x), self._constant("std", x)
            return (x - mean) / std
        if self.kind == "zca":
            mean, whiten = self._constant("mean", x), self._constant("whiten", x)
            return ((x.flatten(1) - mean) @ whiten).unflatten(1, x.shape[1:])  # (B, D) -> (B, C, H, W)
        return x

    def inverse(self, x: Tensor) -> Tensor:
        """What `forward` maps to x, in units of [0, 1] and not clamped; differentiable."""
        self._check(x)
        if self.kind == "normalise":
            mean, std = self._constant("mean", x), self._constant("std", x)
            return x * std + mean
        if self.kind == "zca":
            mean, unwhiten = self._constant("mean", x), self._constant("unwhiten", x)
            return (x.flatten(1) @ unwhiten + mean).unflatten(1, x.shape[1:])  # (B, D) -> (B, C, H, W)
        return x

    def tensors(self) -> dict[str, Tensor]:
        """What a self-contained set bundles: nothing, or the ZCA matrices in float32.

        Mapping float32 or uint8 images by the bundle is bit-identical to mapping them by the fitted float64 matrices,
        which are rounded to the type of the images either way.
        """
        return {name: matrix.to(torch.float32).cpu() for name, matrix in sorted(self.matrices.items())}

    def nbytes(self) -> int:
        """Bytes of `tensors()`, which a set that uses this needs besides its own."""
        size = math.prod(self.shape)  # D
        return 4 * (size + 2 * size**2) if self.kind == "zca" else 0

    def to(self, device: torch.device | str) -> Preprocessing:
        """The same map with its matrices on `device`."""
        return replace(self, matrices={name: matrix.to(device) for name, matrix in self.matrices.items()})

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuses, with BadInput, images (C, H, W) that this was not made for."""
        if self.kind == "normalise" and shape[0] != len(self.mean):
            raise BadInput(f"this normalisation is for {len(self.mean)} channels, got images of shape {shape}")
        if self.kind == "zca" and shape != self.shape:
            raise BadInput(f"this ZCA was fitted on images {self.shape}, got {shape}; fit it on this data")

    def _check(self, x: Tensor) -> None:
        if not x.is_floating_point() or x.ndim != 4:
            raise BadInput(f"images must be (B, C, H, W), uint8 or float, got {x.dtype} of shape {tuple(x.shape)}")
        self.check_shape(tuple(x.shape[1:]))

    def _constant(self, name: str, x: Tensor) -> Tensor:
        # Kept, since judging asks for every batch; never as an inference tensor, which distilling could not use.
        key = (name, x.dtype, x.device)
        if key not in self._constants:
            with torch.inference_mode(False):
                if self.kind == "normalise":
                    values = torch.tensor(self.mean if name == "mean" else self.std, dtype=torch.float64).view(-1, 1, 1)
                elif name in self.matrices:
                    values = self.matrices[name]
                else:
                    raise BadInput(_NO_MATRICES)
                self._constants[key] = values.to(device=x.device, dtype=x.dtype)
        return self._constants[key]

    @cached_property
    def _constants(self) -> dict[tuple[str, torch.dtype, torch.device], Tensor]:
        return {}


def identity() -> Preprocessing:
    """Pixels as they are, in [0, 1]."""
    return Preprocessing("identity")


def normalise(mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    """(x - mean) / std for each channel, in units of [0, 1].

    Raises:
        BadInput: when the two differ in length, or a number is not finite, or a deviation not positive.
    """
    means, stds = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    if len(means) != len(stds) or not means:
        raise BadInput(f"give one mean and one deviation for each channel, got {len(means)} and {len(stds)}")
    if not all(map(math.isfinite, means + stds)) or min(stds) <= 0:
        raise BadInput(f"means must be finite and deviations positive, got {means} and {stds}; use 1 to leave a scale")
    return Preprocessing("normalise", mean=means, std=stds)


def fit(
    kind: str, train: Split, *, epsilon: float = 0.1, cache_dir: str | os.PathLike[str] | None = None
) -> Preprocessing:
    """The preprocessing of a kind for a training split; ZCA matrices are kept in the cache.

    Args:
        kind: identity, normalise, zca, zca-normalised (each channel is divided by its deviation first), or zca-relative
            (the same, and epsilon is in units of the mean variance of what is whitened).

    Raises:
        BadInput: for an unknown kind, an epsilon that is not positive, or a ZCA of fewer than two images.
    """
    if kind == "identity":
        return identity()
    if kind == "normalise":
        return normalise(train.mean, train.std)
    if kind not in ("zca", "zca-normalised", "zca-relative"):
        raise BadInput(f"unknown preprocessing {kind!r}; use {_KINDS}")
    return _whitening(
        Preprocessing(
            "zca",
            std=() if kind == "zca" else tuple(map(float, train.std)),
            epsilon=float(epsilon),
            relative=kind == "zca-relative",
            shape=train.shape,
            fingerprint=train.fingerprint,
        ),
        train,
        cache_dir,
    )


def _whitening(wanted: Preprocessing, train: Split, cache_dir: str | os.PathLike[str] | None) -> Preprocessing:
    """A specified ZCA with its matrices, from the cache or fitted now."""
    if not wanted.epsilon > 0:
        raise BadInput(f"epsilon of ZCA must be positive, got {wanted.epsilon}; the papers use 0.1")
    if len(train) < 2:
        raise BadInput("ZCA needs at least two training images for a covariance, got one")
    if math.prod(train.shape) > _LARGEST:
        raise BadInput(
            f"ZCA of images {train.shape} needs two matrices of {math.prod(train.shape)} squared numbers; "
            "use normalise, or a smaller size as in @64"
        )
    path = whitening.place(wanted.digest, cache_dir)
    with files.lock(path):
        matrices = whitening.kept(path, math.prod(wanted.shape))
        if matrices is None:
            channels = torch.tensor(wanted.std or (1.0,) * train.shape[0], dtype=torch.float64)
            scale = channels.repeat_interleave(math.prod(train.shape[1:]))  # (D,)
            matrices = zca.matrices(*zca.moments(train), wanted.epsilon, scale, relative=wanted.relative)
            whitening.keep(path, matrices)
    return replace(wanted, matrices=matrices)


def from_spec(spec: Mapping[str, Any], matrices: Mapping[str, Tensor] | None = None) -> Preprocessing:
    """The preprocessing that a specification describes; a ZCA needs its matrices.

    Raises:
        BadInput: for a specification that is none, or matrices that are missing or of another shape.
    """
    wanted = without_matrices(spec)
    if wanted.kind != "zca":
        return wanted
    problem = zca.misfit(matrices or {}, math.prod(wanted.shape))
    if problem:
        raise BadInput(f"the ZCA matrices do not fit their specification: {problem}; bundle them again")
    return replace(wanted, matrices=dict(matrices or {}))


def resolve(
    spec: Mapping[str, Any],
    *,
    bundled: Mapping[str, Tensor] | None = None,
    train: Split | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Preprocessing:
    """The preprocessing of a saved set: from bundled matrices, else from the cache, else fitted anew on `train`.

    Raises:
        BadInput: when a ZCA has none of the three, or `train` is not the split that it was fitted on.
    """
    wanted = without_matrices(spec)
    if bundled or wanted.kind != "zca":
        return from_spec(spec, bundled)
    matrices = whitening.kept(whitening.place(wanted.digest, cache_dir), math.prod(wanted.shape))
    if matrices is not None:
        return replace(wanted, matrices=matrices)
    if train is None:
        raise BadInput(_NO_MATRICES)
    if train.fingerprint != wanted.fingerprint:
        raise BadInput(
            f"this set was whitened by training data {wanted.fingerprint[:8]}, and the data given are "
            f"{train.fingerprint[:8]}; give the same data set, or have the set exported with --self-contained"
        )
    return _whitening(wanted, train, cache_dir)


def without_matrices(spec: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing of a specification; a ZCA can then be described, while `forward` and `inverse` raise BadInput.

    Raises:
        Misstated: for a specification that is none, naming the field.
    """
    given = stated.read(_Spec, spec, "preprocessing")
    if isinstance(given, _Normalise):
        return normalise(given.mean, given.std)
    return Preprocessing(**dict(given))


class _Identity(stated.Fields):
    kind: Literal["identity"]


class _Normalise(stated.Fields):
    kind: Literal["normalise"]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Whitening(stated.Fields):
    kind: Literal["zca"]
    epsilon: Annotated[float, Field(gt=0)]
    shape: tuple[_Size, _Size, _Size]
    fingerprint: str
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    relative: bool = False


_Size = Annotated[int, Field(ge=1)]
_Spec = Annotated[_Identity | _Normalise | _Whitening, Field(discriminator="kind")]
