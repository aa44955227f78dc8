"""The tiny cases of `transfer_cases` as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import transfer_cases

from condense.data import Dataset
from condense.distilled import DistilledSet
from condense.evaluate.transfer.protocol import TransferProtocol
from condense.run import Run


@pytest.fixture(scope="session")
def source() -> Dataset:
    return transfer_cases.source()


@pytest.fixture(scope="session")
def targets() -> list[Dataset]:
    return transfer_cases.targets()


@pytest.fixture(scope="session")
def represented() -> DistilledSet:
    return transfer_cases.represented()


@pytest.fixture
def make_protocol() -> Callable[..., TransferProtocol]:
    return transfer_cases.protocol


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path / "run", seed=0, cache_dir=tmp_path / "cache") as opened:
        yield opened
