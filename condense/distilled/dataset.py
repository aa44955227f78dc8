"""A distilled set as a PyTorch data set, and the transform that brings real images into its space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from condense.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

    from condense.distilled.container import DistilledSet
    from condense.preprocessing import Preprocessing


class TorchDataset(Dataset[tuple[Tensor, Any]]):
    """Items are (image (C, H, W) float in preprocessed space, target).

    The target is a whole number for hard labels, (K,) probabilities for soft ones, (D,) floats for representations.

    Attributes:
        classes: names in label order.
        test_transform: brings a real image into the same space.

    Raises:
        BadInput: for labels that do not belong to single images (replayed, teacher); train on `training_view()`.
    """

    def __init__(self, distilled: DistilledSet):
        if distilled.labels.offers & {"replay", "teacher"}:
            raise BadInput(
                f"{distilled.labels.kind} labels do not belong to single images, so that a list of (image, target) "
                "cannot hold them; train on training_view()"
            )
        self.classes = distilled.classes
        self.test_transform = TestTransform(distilled.preprocessing, distilled.shape)
        self._view = distilled.view()
        self._labels = distilled.labels

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"the set has {len(self)} images, image {index} was asked for")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Any]]:
        """Several items at once: a data loader fetches its batches this way."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        labels = self._labels.view(0, 0, chosen)
        assert labels.target is not None
        targets = labels.target.softmax(1) if labels.form == "logits" else labels.target
        listed = targets.tolist() if labels.form == "hard" else list(targets)
        return list(zip(self._view.gather(chosen), listed, strict=True))


class TestTransform:
    """Real images into the space that the set's networks see.

    Takes a PIL image, a uint8 tensor or float tensor in [0, 1] of shape (C, H, W) or (B, C, H, W), or a uint8 array
    (H, W) or (H, W, C). Returns a float tensor (C, H, W), or (B, C, H, W) for a batch.

    Raises:
        BadInput: for another size, channel count or value type; nothing is resized unasked.
    """

    __test__ = False  # not a test, whatever a test runner makes of the name

    def __init__(self, preprocessing: Preprocessing, shape: tuple[int, int, int]):
        self.preprocessing = preprocessing
        self.shape = shape

    def __call__(self, image: Tensor | np.ndarray[Any, np.dtype[np.uint8]] | Image) -> Tensor:
        tensor = image if isinstance(image, Tensor) else self._from_array(image)
        if tensor.ndim not in (3, 4) or tuple(tensor.shape[-3:]) != self.shape:
            raise BadInput(f"expected images of (C, H, W) = {self.shape}, got {tuple(tensor.shape)}; resize them first")
        if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
            raise BadInput(f"expected uint8 pixels or floats in [0, 1], got {tensor.dtype}; convert them first")
        if tensor.is_floating_point() and not 0 <= float(tensor.min()) <= float(tensor.max()) <= 1:
            found = f"{float(tensor.min()):.3g} to {float(tensor.max()):.3g}"
            raise BadInput(f"floating-point images must lie in [0, 1], got {found}; give pixels, not normalised values")
        batch = tensor if tensor.ndim == 4 else tensor[None]
        prepared = self.preprocessing.forward(batch)
        return prepared if tensor.ndim == 4 else prepared[0]

    def _from_array(self, image: Any) -> Tensor:
        if hasattr(image, "convert"):
            image = image.convert("L" if self.shape[0] == 1 else "RGB")
        array = np.array(image)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise BadInput(f"expected a uint8 array (H, W) or (H, W, C), got {array.dtype} of shape {array.shape}")
        return torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)
