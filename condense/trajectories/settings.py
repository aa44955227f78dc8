"""What the configurations of the family have in common, as far as its shared ingredients need it."""

from __future__ import annotations

from typing import Protocol

from condense.experts import Store


class Settings(Protocol):
    """Fields with one name and one meaning in every method of trajectory matching."""

    @property
    def steps(self) -> int: ...  # outer steps

    @property
    def student_steps(self) -> int: ...  # N

    @property
    def batch(self) -> int | None: ...  # b, of a student's step; None: all images

    @property
    def lr_images(self) -> float: ...

    @property
    def momentum(self) -> float: ...  # of the SGD on images and step size

    @property
    def step_size(self) -> float: ...  # of the student's steps, before any is learned

    @property
    def lr_step_size(self) -> float: ...

    @property
    def threshold(self) -> float | None: ...  # of the outer loss

    @property
    def experts(self) -> int: ...

    @property
    def expert_store(self) -> Store: ...

    @property
    def engine(self) -> str: ...  # a name of condense.unroll.ENGINES

    @property
    def graph_gibibytes(self) -> float: ...

    @property
    def bfloat16(self) -> bool: ...

    @property
    def network(self) -> str: ...
