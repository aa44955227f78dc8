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
    check_size(size, len(priors))
    if numbers == 1:
        best = sorted(range(len(priors)), key=lambda member: (-priors[member], member))[:size]
        return [tuple(sorted(best))]
    choices = list(combinations(range(len(priors)), size))
    if numbers == len(choices):
        return choices
    picks = torch.randint(len(choices), (numbers,), generator=generator)
    return [choices[pick] for pick in picks.tolist()]


def check_size(size: int, members: int) -> None:
    """Refuses to recover an image from none of the members, or from more than there are, with BadInput."""
    if not 1 <= size <= members:
        raise BadInput(f"each image is recovered from 1 to {members} members of this committee, got {size}")


def votes(priors: Sequence[float], temperature: float) -> list[float]:
    """softmax(priors / temperature), both in percent points."""
    highest = max(priors)
    weights = [math.exp((prior - highest) / temperature) for prior in priors]
    return [weight / sum(weights) for weight in weights]
