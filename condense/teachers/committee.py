"""One teacher or several, by their names."""

from __future__ import annotations

from condense import networks
from condense.data import Split
from condense.errors import BadInput
from condense.method import Cost
from condense.preprocessing import Preprocessing
from condense.run import Run
from condense.teachers.pretrained import load_teacher
from condense.teachers.teacher import Teacher
from condense.teachers.trained import train_teacher, training_cost
from condense.training import Recipe


def teacher(name: str, train: Split, space: Preprocessing, recipe: Recipe, run: Run) -> Teacher:
    """A teacher by name: `<network>` is trained by `recipe`, `<network>@<weights>` is loaded.

    Raises as `train_teacher` and `load_teacher`.
    """
    if "@" in name:
        return load_teacher(name, train, space, run)
    return train_teacher(train, space, name, recipe, run)


def committee(names: str, train: Split, space: Preprocessing, recipe: Recipe, run: Run) -> list[Teacher]:
    """The teachers named in "a + b + c", in that order, each as `teacher` gives it.

    Raises:
        BadInput: for one teacher under two spellings, and as `members` and `teacher`.
    """
    parts = members(names)
    if len({_one_spelling(part) for part in parts}) != len(parts):
        raise BadInput(f"a committee is different teachers, and two names of {names!r} are spellings of one")
    return [teacher(name, train, space, recipe, run) for name in parts]


def _one_spelling(name: str) -> str:
    network, at, weights = name.partition("@")
    return networks.canonical(network) + at + weights


def members(names: str) -> list[str]:
    """The names in "a + b + c".

    Raises:
        BadInput: for an empty name, or one that stands twice.
    """
    parts = [part.strip() for part in names.split("+")]
    if not all(parts) or len(set(parts)) != len(parts):
        raise BadInput(
            f"a committee is different teachers joined by +, as in 'resnet18:norm=batch+mobilenet-v2'; got {names!r}"
        )
    return parts


def committee_cost(names: str, train: Split, recipe: Recipe) -> Cost:
    """The work of `committee`, as if nothing of it were in the cache; loading counts as nothing."""
    costs = [training_cost(train, name, recipe) for name in members(names) if "@" not in name]
    return Cost(
        operations=sum(cost.operations for cost in costs),
        memory_bytes=max((cost.memory_bytes for cost in costs), default=0.0),
    )
