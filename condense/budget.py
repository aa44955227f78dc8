"""How large a distilled set may be: images per class, a total, or a fraction of the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condense.errors import BadInput


@dataclass(frozen=True)
class Budget:
    """Exactly one of the three is set.

    Raises:
        BadInput: when none or several are given, or one is out of range.
    """

    ipc: int | None = None  # images per class, >= 1
    total: int | None = None  # images in all, >= 1; split over the classes as evenly as it goes
    fraction: float | None = None  # of each class, in (0, 1]

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.ipc, self.total, self.fraction)) != 1:
            raise BadInput("a budget is one of ipc, total or fraction; give exactly one")
        for name in ("ipc", "total"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise BadInput(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.fraction is not None and not 0.0 < self.fraction <= 1.0:
            raise BadInput(f"fraction must lie in (0, 1], got {self.fraction!r}")

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Budget:
        """Reads what `spec` writes.

        Raises:
            BadInput: for anything else.
        """
        if set(spec) - {"ipc", "total", "fraction"}:
            raise BadInput(f"a budget is one of ipc, total or fraction, got {dict(spec)}")
        return cls(**spec)

    def counts(self, available: Sequence[int], classes: Sequence[str] | None = None) -> list[int]:
        """Images for each class, given how many real ones each class has.

        A total that is not a multiple of the number of classes gives the first classes one image more.

        Raises:
            BadInput: naming the first class with fewer real images than asked for.
        """
        wanted = self.wanted(available)
        for index, (want, have) in enumerate(zip(wanted, available, strict=True)):
            if want > have:
                name = classes[index] if classes is not None else str(index)
                raise BadInput(f"class {name!r} has {have} training images, {want} were asked for; lower the budget")
        return wanted

    def wanted(self, available: Sequence[int]) -> list[int]:
        """`counts`, whether or not a class has so many real images.

        Raises:
            BadInput: for no classes, or a total with less than one image for each.
        """
        if not available:
            raise BadInput("the training split has no classes")
        if self.ipc is not None:
            return [self.ipc] * len(available)
        if self.total is not None:
            if self.total < len(available):
                raise BadInput(
                    f"a total of {self.total} leaves some of the {len(available)} classes without an image; raise it"
                )
            base, rest = divmod(self.total, len(available))
            return [base + (index < rest) for index in range(len(available))]
        assert self.fraction is not None
        return [max(1, round(self.fraction * have)) for have in available]

    def images(self, samples: int, n_classes: int) -> int:
        """Images in all, for a method that sees no labels, given how many real images and classes there are.

        Raises:
            BadInput: when there are fewer real images than asked for.
        """
        wanted = self.total or (self.ipc or 0) * n_classes or max(1, round((self.fraction or 0.0) * samples))
        if wanted > samples:
            raise BadInput(f"{self} asks for {wanted} images, the training split has {samples}; lower the budget")
        return wanted

    def spec(self) -> dict[str, int | float]:
        """The one field that is set, as it stands in records."""
        return {name: value for name in ("ipc", "total", "fraction") if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        ((name, value),) = self.spec().items()
        return f"{name}-{value:g}"
