"""What every test may rely on: a cache of its own session, and a reason where real data is absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the user's cache; the workers of one session share one, as processes of a user do."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONDENSE_CACHE", str(shared))
        # Machine code too: a worker that is killed while it links leaves a torn library for the next session to load.
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(base / "inductor"))
        yield shared


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_data") is not None:
        folder = os.environ.get("CONDENSE_DATA")
        if not folder or not Path(folder).is_dir():
            pytest.skip(f"real data: CONDENSE_DATA is {folder!r}, not a folder")
