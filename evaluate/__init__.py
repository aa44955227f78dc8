"""The fixed judge: it trains fresh networks on a set and knows nothing of the method that made it."""

from __future__ import annotations

if __name__ == "evaluate":
    raise ImportError("import condense.evaluate: the bare name 'evaluate' may belong to another package")
