"""condense: distil a training set, judge it fairly, and use it elsewhere."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condense.api import distill, load, score, transfer

__version__ = "0.1.0"
__all__ = ["distill", "load", "score", "transfer"]

# In a checkout `methods` and `evaluate` lie beside this folder; installed, they lie inside it. Both are
# condense.methods and condense.evaluate: top-level packages of those names would overwrite other people's.
_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "setup.cfg").is_file():
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    # Lazy, so that `import condense` does not import PyTorch.
    if name in __all__:
        return getattr(import_module("condense.api"), name)
    raise AttributeError(f"module 'condense' has no attribute {name!r}")
