"""Data that several tests of methods share; a test file that needs other data has a fixture of the same name."""

from __future__ import annotations

import pytest
import torch

from condense.data import Split


@pytest.fixture
def train() -> Split:
    """Twelve images of each of three classes that brightness tells apart."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(36) % 3
    images = torch.randint(0, 100, (36, 1, 8, 8), generator=draws) + 50 * labels.view(-1, 1, 1, 1)
    return Split.from_arrays(images.to(torch.uint8), labels, ("one", "two", "three"))
