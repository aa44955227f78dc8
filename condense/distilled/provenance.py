"""What a set says of its making: free fields beside those that tables, cards and records read, which have a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from condense import stated
from condense.budget import Budget


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Source(_Open):
    name: str
    fingerprint: str


class _Budget(stated.Fields):
    ipc: int | None = None
    total: int | None = None
    fraction: float | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        Budget(self.ipc, self.total, self.fraction)
        return self


class _Volatile(_Open):
    licence: str | None = None
    changed: list[str] | None = None
    request: str | None = None
    seconds: float = Field(0.0, ge=0)
    shared_seconds: float = Field(0.0, ge=0)
    peak_bytes: int | None = None


class _Provenance(_Open):
    method: str = ""
    title: str = ""
    kind: Literal["synthetic", "selection", "full"] = "synthetic"
    preset: str | None = None
    seed: int = 0
    seeded: bool = True
    trained_on: str = ""
    dataset: _Source | None = None
    budget: _Budget | None = None
    config: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    stops: dict[str, Any] = {}
    flags: dict[str, Any] = {}
    volatile: _Volatile = _Volatile()
    label_recipe: dict[str, Any] | None = None


def check(made: Mapping[str, Any]) -> None:
    """Refuses fields that are there and of another type than their readers expect.

    Raises:
        Misstated: naming the field.
    """
    stated.read(_Provenance, dict(made), "provenance")
    for name in ("dataset", "budget"):
        if name in made and made[name] is None:
            raise stated.Misstated(f"provenance.{name}: leave it out where it is not known, found None")
