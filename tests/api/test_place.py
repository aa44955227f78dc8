"""Where work happens, and what is said of it before it starts."""

from __future__ import annotations

import pytest

from condense import machine
from condense.api.place import announcement
from condense.method import Cost


def test_what_the_cache_may_hold_is_announced_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "operations_per_second", lambda device: 1e9)
    own = Cost(operations=30e9, memory_bytes=2e9)
    assert announcement("DM", own, "cpu") == "DM: at least 30 s, about 2 GB of memory and 0 B of disk"
    shared = Cost(operations=90e9, memory_bytes=2e9, disk_bytes=3e6, shared_operations=60e9)
    assert announcement("MTT", shared, "cpu") == (
        "MTT: at least 30 s, before that 60 s for what it shares with others, unless the cache has it, about 2 GB of "
        "memory and 3 MB of disk"
    )
