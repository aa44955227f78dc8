"""Which members of a committee recover which images, and how much each of them says (CV-DD, Sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch

from condense.errors import BadInput


def pairings(priors: Sequence[float], size: int, numbers: int, generator: torch.Generator) -> list[tuple[int, ...]]:
    """The members that recover image number 0, 1, ..., numbers - 1 of every class: positions in ascending order.

    One image: the `size` members of highest prior. As many images as there are choices of `size` members: each choice
    once, in the order of the committee. Otherwise a random choice for every number.

    Raises:
        BadInput: for more members than the committee has, or none.
    """
    if not 1 <= size <= len(priors):
        raise BadInput(f"each image is recovered from 1 to {len(priors)} members of this committee, got {size}")
    if numbers == 1:
        best = sorted(range(len(priors)), key=lambda member: (-priors[member], member))[:size]
        return [tuple(sorted(best))]
    choices = list(combinations(range(len(priors)), size))
    if numbers == len(choices):
        return choices
    picks = torch.randint(len(choices), (numbers,), generator=generator)
    return [choices[pick] for pick in picks.tolist()]


def votes(priors: Sequence[float], temperature: float) -> list[float]:
    """softmax(priors / temperature), both in percent points."""
    highest = max(priors)
    weights = [math.exp((prior - highest) / temperature) for prior in priors]
    return [weight / sum(weights) for weight in weights]


def stated(priors: str, members: int) -> list[float]:
    """The numbers in "63.0+65.3+68.5", one for each member of a committee.

    Raises:
        BadInput: for another count, or something that is no percentage.
    """
    parts = priors.split("+")
    try:
        found = [float(part) for part in parts]
    except ValueError:
        found = []
    if len(found) != members or not all(0 <= value <= 100 for value in found):
        raise BadInput(f"priors are {members} percentages joined by +, one for each member; got {priors!r}")
    return found
